//! Strategic merge patch, as `k8s.io/apimachinery/pkg/util/strategicpatch` does it.
//!
//! Maps merge key by key and null deletes. A list is replaced, unless the table of merge keys has it: then a list of
//! maps merges element by element, and a list of scalars becomes the union. Directives in the patch:
//!
//! | directive | where | what it does |
//! |---|---|---|
//! | `$patch: replace` | map | the map becomes what the patch says |
//! | `$patch: delete` | map | the map becomes empty |
//! | `$patch: replace` | element of a list | the list becomes the patch's other elements |
//! | `$patch: delete` | element of a list | the element with this merge key goes |
//! | `$retainKeys: [..]` | map | all other keys go |
//! | `$deleteFromPrimitiveList/F: [..]` | beside list `F` | these scalars go from `F` |
//! | `$setElementOrder/F: [..]` | beside list `F` | `F` gets this order |

use super::PatchError;
use super::order::{enforce, identity, is_consistent};
use crate::descriptor::MergeKey;
use serde_json::{Map, Value};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_PREFIX: &str = "$deleteFromPrimitiveList/";
const SET_ORDER_PREFIX: &str = "$setElementOrder/";

/// What `patch` makes of `object`; both are maps.
pub(super) fn apply(object: &Value, patch: &Value, merge_keys: &[MergeKey]) -> Result<Value, PatchError> {
    let empty = Map::new();
    let (object, patch) = (object.as_object().unwrap_or(&empty), patch.as_object().unwrap_or(&empty));
    Merge { merge_keys }.map(object.clone(), patch.clone(), "").map(Value::Object)
}

/// How a list merges.
#[derive(Clone, Copy)]
enum ListMerge {
    /// The patch's list takes the place of the object's.
    Replace,
    /// Scalars: the union.
    Set,
    /// Maps, matched by this key.
    ByKey(&'static str),
}

impl ListMerge {
    fn key(self) -> Option<&'static str> {
        match self {
            Self::ByKey(key) => Some(key),
            Self::Replace | Self::Set => None,
        }
    }
}

struct Merge<'a> {
    merge_keys: &'a [MergeKey],
}

impl Merge<'_> {
    fn list_merge(&self, path: &str) -> ListMerge {
        match self.merge_keys.iter().find(|m| m.path == path) {
            None => ListMerge::Replace,
            Some(MergeKey { key: None, .. }) => ListMerge::Set,
            Some(MergeKey { key: Some(key), .. }) => ListMerge::ByKey(key),
        }
    }

    fn map(
        &self,
        mut object: Map<String, Value>,
        mut patch: Map<String, Value>,
        path: &str,
    ) -> Result<Map<String, Value>, PatchError> {
        if let Some(directive) = patch.get(PATCH).cloned() {
            return match directive.as_str() {
                Some("replace") => {
                    patch.remove(PATCH);
                    Ok(patch)
                }
                Some("delete") => Ok(Map::new()),
                _ => Err(bad_patch_type(&directive, patch)),
            };
        }
        retain_keys(&mut object, &mut patch)?;
        // Deletions from lists come before additions, and order last.
        for (field, values) in take_prefixed(&mut patch, DELETE_FROM_PREFIX) {
            delete_scalars(&mut object, &field, &values)?;
        }
        let orders = take_prefixed(&mut patch, SET_ORDER_PREFIX);
        for (field, wanted) in &orders {
            let additions = patch.remove(field);
            self.ordered_list(&mut object, field, additions, wanted, path)?;
        }
        for (field, value) in patch {
            self.field(&mut object, field, value, path)?;
        }
        Ok(object)
    }

    fn field(
        &self,
        object: &mut Map<String, Value>,
        field: String,
        patch: Value,
        path: &str,
    ) -> Result<(), PatchError> {
        let at = join(path, &field);
        let merged = match (object.remove(&field), patch) {
            (_, Value::Null) => return Ok(()),
            (Some(Value::Object(old)), Value::Object(patch)) => self.map(old, patch, &at)?.into(),
            (Some(Value::Array(old)), Value::Array(patch)) => self.list(old, patch, &at)?.into(),
            (_, patch) => match clean(patch) {
                Some(value) => value,
                None => Value::Object(Map::new()),
            },
        };
        object.insert(field, merged);
        Ok(())
    }

    fn list(&self, old: Vec<Value>, patch: Vec<Value>, path: &str) -> Result<Vec<Value>, PatchError> {
        match self.list_merge(path) {
            ListMerge::Replace => Ok(patch),
            ListMerge::Set => {
                let mut union: Vec<Value> = Vec::with_capacity(old.len() + patch.len());
                for value in old.iter().chain(&patch) {
                    if !union.contains(value) {
                        union.push(value.clone());
                    }
                }
                Ok(enforce(union, &patch, &old, None))
            }
            ListMerge::ByKey(key) => self.keyed_list(old, patch, path, key),
        }
    }

    fn keyed_list(
        &self,
        mut old: Vec<Value>,
        patch: Vec<Value>,
        path: &str,
        key: &'static str,
    ) -> Result<Vec<Value>, PatchError> {
        let mut additions = Vec::with_capacity(patch.len());
        let mut replace = false;
        for element in patch {
            match element.get(PATCH).map(Value::as_str) {
                None => additions.push(element),
                Some(Some("replace")) => replace = true,
                Some(Some("delete")) => {
                    let gone = key_of(&element, key)?;
                    old.retain(|e| &e[key] != gone);
                }
                Some(Some("merge")) => return Err(PatchError::MergeDirectiveInList),
                Some(_) => return Err(bad_patch_type(&element[PATCH], element.clone())),
            }
        }
        if replace {
            return Ok(additions);
        }
        let mut merged = old.clone();
        for element in &additions {
            let id = key_of(element, key)?;
            match (merged.iter_mut().find(|e| &e[key] == id), element) {
                (Some(Value::Object(found)), Value::Object(patch)) => {
                    *found = self.map(std::mem::take(found), patch.clone(), path)?;
                }
                (Some(found), _) => *found = element.clone(),
                (None, _) => merged.extend(clean(element.clone())),
            }
        }
        Ok(enforce(merged, &additions, &old, Some(key)))
    }

    /// Merges `additions` into the list `field` and gives it the order `wanted`.
    fn ordered_list(
        &self,
        object: &mut Map<String, Value>,
        field: &str,
        additions: Option<Value>,
        wanted: &Value,
        path: &str,
    ) -> Result<(), PatchError> {
        let wanted = wanted.as_array().ok_or(PatchError::BadSetElementOrder)?;
        let at = join(path, field);
        let key = self.list_merge(&at).key();
        let additions = match additions {
            None | Some(Value::Null) => None,
            Some(Value::Array(list)) => Some(list),
            Some(_) => return Err(PatchError::BadSetElementOrder),
        };
        let old = match object.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::Array(list)) => Some(list),
            Some(_) => return Err(PatchError::NotAList { field: at }),
        };
        check_order(additions.as_deref().unwrap_or_default(), wanted, key)?;
        let merged = match (&old, additions) {
            (None, None) => return Ok(()),
            (Some(old), None) => old.clone(),
            (None, Some(additions)) => additions.into_iter().filter_map(clean).collect(),
            (Some(old), Some(additions)) => self.list(old.clone(), additions, &at)?,
        };
        let ordered = enforce(merged, wanted, old.as_deref().unwrap_or_default(), key);
        object.insert(field.to_owned(), ordered.into());
        Ok(())
    }
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn bad_patch_type(directive: &Value, map: impl Into<Value>) -> PatchError {
    PatchError::BadPatchType { directive: directive.to_string(), map: map.into().to_string() }
}

fn key_of<'a>(element: &'a Value, key: &'static str) -> Result<&'a Value, PatchError> {
    element.get(key).ok_or_else(|| PatchError::NoMergeKey { map: element.to_string(), key })
}

/// Takes the directives with this prefix out of `patch`; the fields they are about, with their values.
fn take_prefixed(patch: &mut Map<String, Value>, prefix: &str) -> Vec<(String, Value)> {
    let keys: Vec<String> = patch.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
    keys.into_iter().filter_map(|key| patch.remove(&key).map(|v| (key[prefix.len()..].to_owned(), v))).collect()
}

fn delete_scalars(object: &mut Map<String, Value>, field: &str, gone: &Value) -> Result<(), PatchError> {
    let gone = gone.as_array().ok_or(PatchError::BadPrimitiveList)?;
    if let Some(Value::Array(list)) = object.get_mut(field) {
        list.retain(|value| !gone.contains(value));
    }
    Ok(())
}

fn retain_keys(object: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), PatchError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let keys = keys.as_array().ok_or(PatchError::BadRetainKeys)?;
    let kept = |key: &str| keys.iter().any(|k| k.as_str() == Some(key));
    let directive = |key: &str| key.starts_with(DELETE_FROM_PREFIX) || key.starts_with(SET_ORDER_PREFIX);
    if patch.iter().any(|(key, value)| !value.is_null() && !directive(key) && !kept(key)) {
        return Err(PatchError::ContentNotInRetainKeys);
    }
    object.retain(|key, _| kept(key));
    Ok(())
}

fn check_order(list: &[Value], wanted: &[Value], key: Option<&'static str>) -> Result<(), PatchError> {
    let present: Vec<&Value> = list.iter().filter(|e| e.get(PATCH).is_none()).collect();
    if let Some(key) = key {
        for element in list.iter().filter(|e| e.get(PATCH).and_then(Value::as_str) != Some("replace")).chain(wanted) {
            key_of(element, key)?;
        }
    }
    if is_consistent(&present, wanted, key) {
        return Ok(());
    }
    let names =
        |list: &mut dyn Iterator<Item = &Value>| Value::from_iter(list.map(|e| identity(e, key).clone())).to_string();
    Err(PatchError::OrderMismatch { list: names(&mut present.into_iter()), order: names(&mut wanted.iter()) })
}

/// A patch's value where the object has none: without nulls and directives. None for a map that says it is deleted.
fn clean(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) => {
            if map.get(PATCH).and_then(Value::as_str) == Some("delete") {
                return None;
            }
            let kept = map.into_iter().filter(|(key, value)| !value.is_null() && !is_directive(key));
            Some(kept.filter_map(|(key, value)| clean(value).map(|v| (key, v))).collect::<Map<_, _>>().into())
        }
        Value::Array(list) => {
            let only_directive = |v: &Value| v.get(PATCH).and_then(Value::as_str) == Some("replace");
            Some(list.into_iter().filter(|v| !only_directive(v)).filter_map(clean).collect())
        }
        scalar => Some(scalar),
    }
}

fn is_directive(key: &str) -> bool {
    key == PATCH || key == RETAIN_KEYS || key.starts_with(DELETE_FROM_PREFIX) || key.starts_with(SET_ORDER_PREFIX)
}

#[cfg(test)]
#[path = "strategic_tests.rs"]
mod tests;
