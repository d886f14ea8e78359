//! Fields that a type does not know.

use serde_json::Value;
use std::fmt;

/// Fields that are unknown are noted until their paths have so many bytes together. An object with more is refused: it is of
/// another type, or made to be expensive.
pub(super) const LIMIT_BYTES: usize = 1024 * 1024;

/// Where a field stands that a type does not know. Names may hold any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Name(String),
    Index(usize),
}

impl UnknownField {
    /// The field at `path`; none when its names are longer than `limit_bytes` together.
    pub(super) fn new(path: &serde_ignored::Path<'_>, limit_bytes: usize) -> Option<Self> {
        let mut parts = Vec::new();
        collect(path, &mut parts, limit_bytes)?;
        Some(Self(parts))
    }

    /// How many bytes its names have, or a few more.
    pub(super) fn length(&self) -> usize {
        self.0.iter().map(Part::length).sum()
    }

    /// Removes the field.
    pub(super) fn remove_from(&self, value: &mut Value) {
        let Some((Part::Name(last), parents)) = self.0.split_last() else { return };
        let parent = parents.iter().try_fold(value, |value, part| match part {
            Part::Name(name) => value.get_mut(name),
            Part::Index(index) => value.get_mut(index),
        });
        if let Some(Value::Object(map)) = parent {
            map.remove(last);
        }
    }
}

impl Part {
    fn length(&self) -> usize {
        match self {
            Self::Name(name) => name.len() + 1,
            Self::Index(_) => 4,
        }
    }
}

/// Appends the parts of `path`, outermost first; none when there is not enough room. Gives how much is left.
fn collect(path: &serde_ignored::Path<'_>, parts: &mut Vec<Part>, limit_bytes: usize) -> Option<usize> {
    use serde_ignored::Path;
    let (parent, length) = match path {
        Path::Root => return Some(limit_bytes),
        Path::Seq { parent, .. } => (parent, 4),
        Path::Map { parent, key } => (parent, key.len() + 1),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            return collect(parent, parts, limit_bytes);
        }
    };
    let left = collect(parent, parts, limit_bytes.checked_sub(length)?)?;
    match path {
        Path::Seq { index, .. } => parts.push(Part::Index(*index)),
        Path::Map { key, .. } => parts.push(Part::Name(key.clone())),
        _ => {}
    }
    Some(left)
}

/// As upstream writes it: `spec.containers[0].x`.
impl fmt::Display for UnknownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            match part {
                Part::Index(index) => write!(f, "[{index}]")?,
                Part::Name(name) if at == 0 => f.write_str(name)?,
                Part::Name(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::decode_as;
    use serde::Deserialize;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(Deserialize)]
    struct Container {
        #[serde(rename = "name")]
        _name: String,
    }

    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "containers")]
        _containers: Option<Vec<Container>>,
        #[serde(rename = "map")]
        _map: Option<BTreeMap<String, Container>>,
    }

    #[test]
    fn unknown_fields_are_removed_and_shown_as_upstream_shows_them() {
        let mut value = json!({"containers": [{"name": "a", "foo": 1}], "x.y": 2, "[0]": {}, "?": 1,
            "map": {"a.b[0]": {"name": "a", "": 3, "7": 1}}});
        let unknown = decode_as::<Typed>(&value).unwrap();
        let mut shown: Vec<String> = unknown.iter().map(ToString::to_string).collect();
        shown.sort();
        assert_eq!(shown, ["?", "[0]", "containers[0].foo", "map.a.b[0].", "map.a.b[0].7", "x.y"]);
        unknown.iter().for_each(|field| field.remove_from(&mut value));
        assert_eq!(value, json!({"containers": [{"name": "a"}], "map": {"a.b[0]": {"name": "a"}}}));
    }

    #[test]
    fn an_object_with_too_many_unknown_fields_is_refused() {
        // Each path repeats the long name: together they would be far longer than the object.
        let odd = (0..100).map(|number| (format!("x{number}"), json!(1))).chain([("name".to_owned(), json!("a"))]);
        let map = serde_json::Map::from_iter([("k".repeat(LIMIT_BYTES / 50), Value::Object(odd.collect()))]);
        let error = decode_as::<Typed>(&json!({ "map": map })).unwrap_err();
        assert!(error.message.contains("too many unknown fields"), "{error}");
    }
}
