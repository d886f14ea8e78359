//! Signatures that were verified a moment ago. What a signature covers never changes, so that an entry is true for as long
//! as it is kept; everything else about a token is asked anew each time.

use super::Claims;
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// Most tokens remembered: those of about as many pods as a large namespace has.
const MOST: usize = 4096;

type Key = [u8; 32];

/// Verified claims by the token's hash; the oldest gives way.
#[derive(Default)]
pub(super) struct Verified(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    claims: HashMap<Key, Arc<Claims>>,
    order: VecDeque<Key>,
}

impl Verified {
    /// The claims of a token, from before or by `verify`.
    pub(super) fn get(&self, token: &str, verify: impl FnOnce() -> Option<Claims>) -> Option<Arc<Claims>> {
        let key: Key = Sha256::digest(token).into();
        if let Some(known) = self.lock().claims.get(&key) {
            return Some(Arc::clone(known));
        }
        let claims = Arc::new(verify()?);
        let mut entries = self.lock();
        if entries.claims.insert(key, Arc::clone(&claims)).is_none() {
            entries.order.push_back(key);
        }
        if entries.order.len() > MOST {
            let oldest = entries.order.pop_front();
            oldest.map(|oldest| entries.claims.remove(&oldest));
        }
        Some(claims)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let text = r#"{"aud": [], "exp": 1, "iat": 1, "nbf": 1, "iss": "i", "sub": "s", "kubernetes.io": {}}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_token_is_verified_once_and_refusals_are_not_remembered() {
        let cache = Verified::default();
        assert!(cache.get("a", || None).is_none());
        assert!(cache.get("a", || Some(claims())).is_some());
        assert!(cache.get("a", || panic!("verified again")).is_some());
        assert!(cache.get("b", || None).is_none());
    }

    #[test]
    fn the_oldest_gives_way() {
        let cache = Verified::default();
        for index in 0..=MOST {
            cache.get(&index.to_string(), || Some(claims()));
        }
        assert_eq!(cache.lock().claims.len(), MOST);
        assert!(cache.get("0", || None).is_none());
        assert!(cache.get("1", || None).is_some());
    }
}
