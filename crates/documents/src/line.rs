//! Where a YAML text says something twice.
//!
//! A configuration to apply is YAML, and people look for the line. The first pass over a text tells that keys stand twice, by
//! their paths; this second pass, made only then, ends at the first such key, which the parser knows the line of.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::{cell::RefCell, collections::HashSet, fmt};

/// The first key that stands twice, in Kubernetes' words: `line 10: key "foo" already set in map`. None when there is none.
#[must_use]
pub fn first_in_yaml(text: &[u8]) -> Option<String> {
    let key = RefCell::default();
    let refused = Node(&key).deserialize(serde_yaml_ng::Deserializer::from_slice(text)).err()?;
    let line = refused.location()?.line();
    let key = key.take()?;
    Some(format!("line {line}: key {key:?} already set in map"))
}

/// Passes over a value; an error at the first key that stands twice, which is noted.
#[derive(Clone, Copy)]
struct Node<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = entries.next_key_seed(Key { seen: &seen, found: self.0 })? {
            seen.insert(key);
            entries.next_value_seed(self)?;
        }
        Ok(())
    }
}

/// Reads a key. The error comes from within it, so that the parser's mark is the key's.
struct Key<'a> {
    seen: &'a HashSet<String>,
    found: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        if !self.seen.contains(key) {
            return Ok(key.to_owned());
        }
        *self.found.borrow_mut() = Some(key.to_owned());
        Err(E::custom("stands twice"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_that_of_the_second_key() {
        let text = b"a: 1\nspec:\n  list:\n  - x: 1\n    y: 2\n  foo: foo1\n  foo: foo2\n  bar: true\n  bar: 1.5\n";
        assert_eq!(first_in_yaml(text).unwrap(), "line 7: key \"foo\" already set in map");
        let inner = b"list:\n- x: 1\n  y: null\n- x: 1\n  x: 2\n";
        assert_eq!(first_in_yaml(inner).unwrap(), "line 5: key \"x\" already set in map");
        assert_eq!(first_in_yaml(br#"{"a": 1, "a": 2}"#).unwrap(), "line 1: key \"a\" already set in map");
    }

    #[test]
    fn nothing_is_said_of_a_text_without_and_of_what_is_no_yaml() {
        for text in [&b"a: 1\nb: [1, 2]\n"[..], b"a: [", b""] {
            assert_eq!(first_in_yaml(text), None);
        }
    }
}
