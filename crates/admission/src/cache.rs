//! What was made of objects, kept until they change.

use orrery_machinery::meta;
use serde_json::Value;
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// How many entries are kept. When there are more, one of them goes, whichever: it is made anew when it is needed.
const MOST: usize = 512;

/// Values by key, each in one version.
pub(crate) struct Cache<K, V>(Mutex<HashMap<K, (String, Arc<V>)>>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash + Clone, V> Cache<K, V> {
    /// The value of `key` in `version`, made when there is none.
    pub(crate) fn get<E>(&self, key: &K, version: &str, make: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        if let Some((known, value)) = self.lock().get(key)
            && known == version
        {
            return Ok(Arc::clone(value));
        }
        let made = Arc::new(make()?);
        let mut entries = self.lock();
        if entries.len() >= MOST
            && !entries.contains_key(key)
            && let Some(gone) = entries.keys().next().cloned()
        {
            entries.remove(&gone);
        }
        entries.insert(key.clone(), (version.to_owned(), Arc::clone(&made)));
        Ok(made)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, (String, Arc<V>)>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Cache<String, V> {
    /// What `make` makes of each object, in their order.
    pub(crate) fn all(&self, objects: &[Value], make: impl Fn(&Value) -> V) -> Vec<Arc<V>> {
        let one = |object: &Value| {
            let made = self.get(&meta::name(object).to_owned(), meta::resource_version(object), || {
                Ok::<V, std::convert::Infallible>(make(object))
            });
            match made {
                Ok(made) => made,
            }
        };
        objects.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn an_object_is_compiled_once_for_each_of_its_versions() {
        let cache = Cache::<String, String>::default();
        let compiled = AtomicUsize::new(0);
        let object = |version: &str| json!({"metadata": {"name": "a", "resourceVersion": version}});
        for version in ["1", "1", "2", "2"] {
            let made = cache.all(&[object(version)], |object| {
                compiled.fetch_add(1, Ordering::Relaxed);
                meta::resource_version(object).to_owned()
            });
            assert_eq!(*made[0], version);
        }
        assert_eq!(compiled.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let cache = Cache::<usize, usize>::default();
        for key in 0..MOST + 10 {
            cache.get(&key, "", || Ok::<_, ()>(key)).unwrap();
        }
        assert_eq!(cache.lock().len(), MOST);
    }
}
