//! How the tests of this crate look at a kind: a good object, changed at one place.

use orrery_machinery::{
    descriptor::{FixedResource, ResourceDescriptor},
    table::{self, IncludeObject},
};
use serde_json::Value;

/// A kind, and an object of it that is fine.
pub(crate) struct Rules {
    kind: FixedResource,
    good: Value,
}

/// Puts `value` at `pointer`, making the maps on the way; null removes the field.
pub(crate) fn put(object: &mut Value, pointer: &str, value: &Value) {
    let mut place = &mut *object;
    for key in pointer.trim_start_matches('/').split('/') {
        if !place.is_object() && !place.is_array() {
            *place = Value::Object(serde_json::Map::default());
        }
        place = match key.parse::<usize>() {
            Ok(index) if place.is_array() => &mut place[index],
            _ => &mut place[key],
        };
    }
    *place = value.clone();
    drop_nulls(object);
}

fn drop_nulls(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(drop_nulls);
    }
}

impl Rules {
    pub(crate) fn new(kind: FixedResource, good: Value) -> Self {
        Self { kind, good }
    }

    fn fill_in(&self, object: &mut Value) {
        (self.kind.prepare_create)(object);
        (self.kind.default)(object);
        let once = object.clone();
        (self.kind.default)(object);
        assert_eq!(*object, once, "filling in twice changes nothing more");
        if let Err(error) = (self.kind.decode)(object) {
            panic!("{error} in {object:#}");
        }
    }

    /// The good object, filled in.
    pub(crate) fn filled(&self) -> Value {
        self.with(&[])
    }

    /// The good object with changes, filled in.
    pub(crate) fn with(&self, changes: &[(&str, Value)]) -> Value {
        let mut object = self.good.clone();
        changes.iter().for_each(|(pointer, value)| put(&mut object, pointer, value));
        self.fill_in(&mut object);
        object
    }

    /// With these changes the object is still fine.
    pub(crate) fn fine(&self, changes: &[(&str, Value)]) {
        let object = self.with(changes);
        assert_eq!((self.kind.validate)(&object, None), [], "{changes:?}");
    }

    /// A value at `pointer` leads to just one error, at `field` and with `text` in it.
    pub(crate) fn one_error(&self, pointer: &str, value: &Value, field: &str, text: &str) {
        let object = self.with(&[(pointer, value.clone())]);
        let found = (self.kind.validate)(&object, None);
        assert_eq!(found.len(), 1, "{pointer} = {value}: {found:#?}");
        assert_eq!(found[0].field, field, "{pointer} = {value}: {}", found[0].message);
        assert!(found[0].message.contains(text), "{pointer} = {value}: {}", found[0].message);
    }

    /// A change of the good object is taken, or its first error is at this field and contains this text.
    pub(crate) fn change(&self, pointer: &str, value: &Value, expected: Option<(&str, &str)>) {
        let old = self.filled();
        let mut new = old.clone();
        put(&mut new, pointer, value);
        (self.kind.prepare_update)(&old, &mut new);
        (self.kind.default)(&mut new);
        let found = (self.kind.validate)(&new, Some(&old));
        Self::check_first(&found, expected, &format!("{pointer} = {value}"));
    }

    /// A status is taken, or its first error is at this field and contains this text.
    pub(crate) fn status(&self, status: &Value, expected: Option<(&str, &str)>) {
        let old = self.filled();
        let mut new = old.clone();
        new["status"] = status.clone();
        (self.kind.default)(&mut new);
        let validate = self.kind.validate_part.expect("the kind has rules of its own for its status");
        Self::check_first(&validate("status", &new, &old), expected, &status.to_string());
    }

    fn check_first(found: &[orrery_machinery::status::FieldError], expected: Option<(&str, &str)>, what: &str) {
        match expected {
            None => assert_eq!(found, [], "{what}"),
            Some((field, text)) => {
                let first = found.first().unwrap_or_else(|| panic!("{what} is taken"));
                assert!(first.field == field && first.message.contains(text), "{what}: {found:#?}");
            }
        }
    }

    /// What the client is warned of with these changes.
    pub(crate) fn warnings(&self, changes: &[(&str, Value)]) -> Vec<String> {
        (self.kind.warnings)(&self.with(changes), None)
    }
}

/// The headings of a kind's table, those that only `-o wide` shows included.
pub(crate) fn headings(kind: FixedResource) -> Vec<String> {
    ResourceDescriptor::from(kind).columns.iter().map(|column| column.name.to_string()).collect()
}

/// A row of a kind's table, ten minutes after 1970 began.
pub(crate) fn cells(kind: FixedResource, object: &Value) -> Vec<Value> {
    let row = table::row(&ResourceDescriptor::from(kind), object, IncludeObject::None, 600);
    row["cells"].as_array().cloned().unwrap_or_default()
}
