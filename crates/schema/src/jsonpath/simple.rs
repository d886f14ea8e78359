//! Paths in dot notation only, which can also be written: the replicas of `scale`.

use serde_json::{Map, Value};

/// Why a path is not simple. Texts are upstream's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimplePathError {
    /// Nothing.
    #[error("must not be empty")]
    Empty,
    /// Does not start with a dot.
    #[error("must be a simple json path starting with .")]
    NoDot,
    /// An empty name between dots, or brackets.
    #[error("must be a json path in the dot notation")]
    NotDotted,
}

/// A path such as `.spec.replicas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimplePath(Vec<String>);

impl SimplePath {
    /// Reads a path.
    ///
    /// # Errors
    /// When it is not in dot notation.
    pub fn parse(text: &str) -> Result<Self, SimplePathError> {
        if text.is_empty() {
            return Err(SimplePathError::Empty);
        }
        let rest = text.strip_prefix('.').ok_or(SimplePathError::NoDot)?;
        let names: Vec<String> = rest.split('.').map(str::to_owned).collect();
        if names.iter().any(|name| name.is_empty() || name.contains(['[', ']', '{', '}'])) {
            return Err(SimplePathError::NotDotted);
        }
        Ok(Self(names))
    }

    /// What stands there.
    #[must_use]
    pub fn get<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(object, |value, name| value.as_object()?.get(name))
    }

    /// Writes `value` there; objects on the way are made. Answers whether that was possible: it is not when something else
    /// than an object is on the way.
    #[must_use]
    pub fn set(&self, object: &mut Value, value: Value) -> bool {
        let mut place = object;
        for name in &self.0 {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(map) = place else { return false };
            place = map.entry(name.clone()).or_insert(Value::Null);
        }
        *place = value;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_simple_path_reads_and_writes() {
        let path = SimplePath::parse(".spec.replicas").unwrap();
        let mut object = json!({"spec": {"replicas": 1}});
        assert_eq!(path.get(&object), Some(&json!(1)));
        assert!(path.set(&mut object, json!(2)));
        assert_eq!(object, json!({"spec": {"replicas": 2}}));
        let mut empty = json!({});
        assert!(path.set(&mut empty, json!(3)));
        assert_eq!(path.get(&empty), Some(&json!(3)));
        assert!(!path.set(&mut json!({"spec": "text"}), json!(4)));
        for (text, why) in
            [("", SimplePathError::Empty), ("a", SimplePathError::NoDot), (".a[0]", SimplePathError::NotDotted)]
        {
            assert_eq!(SimplePath::parse(text), Err(why), "{text}");
        }
    }
}
