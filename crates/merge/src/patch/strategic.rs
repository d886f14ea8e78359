//! Strategic merge patch, as `k8s.io/apimachinery/pkg/util/strategicpatch` does it.
//!
//! Maps merge key by key and null deletes. A list is replaced, unless the type says `patchStrategy: merge`: then a list of maps
//! merges element by element, told apart by the merge key, and a list of scalars becomes the union. A map with the strategy
//! `replace` is replaced. Directives in the patch:
//!
//! | directive | where | what it does |
//! |---|---|---|
//! | `$patch: replace` | map | the map becomes what the patch says |
//! | `$patch: delete` | map | the map becomes empty |
//! | `$patch: replace` | element of a list | the list becomes the patch's other elements |
//! | `$patch: delete` | element of a list | the elements with this merge key go |
//! | `$retainKeys: [..]` | map | all other keys go |
//! | `$deleteFromPrimitiveList/F: [..]` | beside list `F` | these scalars go from `F` |
//! | `$setElementOrder/F: [..]` | beside list `F` | `F` gets this order |
//!
//! One merge key tells elements apart, even where the type has several keys (ports of containers): of elements with the same
//! merge key the first is meant. That is upstream's behaviour, and why server-side apply has keys of its own.

use super::{
    PatchError,
    order::{ByValue, enforce, identity, is_consistent, places},
};
use orrery_machinery::shape::{Patch, PatchStrategy, View};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

/// Patches may be nested so deep.
const DEPTH_LIMIT: usize = 256;

/// What `patch` makes of `object`; both are maps.
pub(super) fn apply(object: &Value, patch: &Value, view: Option<View<'_>>) -> Result<Value, PatchError> {
    let empty = Map::new();
    let (object, patch) = (object.as_object().unwrap_or(&empty), patch.as_object().unwrap_or(&empty));
    merge_map(object.clone(), patch.clone(), At { view, depth: 0 }).map(Value::Object)
}

/// Where the merge is.
#[derive(Clone, Copy)]
struct At<'a> {
    /// The type, as far as it is known.
    view: Option<View<'a>>,
    depth: usize,
}

impl<'a> At<'a> {
    fn below(self, view: Option<View<'a>>) -> Result<Self, PatchError> {
        if self.depth >= DEPTH_LIMIT { Err(PatchError::TooDeep) } else { Ok(Self { view, depth: self.depth + 1 }) }
    }

    /// A field of this map: how it merges, and what is there.
    fn field(self, name: &str) -> Result<(Strategy<'a>, Self), PatchError> {
        let patch = self.view.and_then(|view| view.atom().map.as_ref()?.field(name)?.patch.as_deref());
        Ok((Strategy::of(patch), self.below(self.view.and_then(|view| view.child(name)))?))
    }

    /// An element of this list.
    fn element(self) -> Result<Self, PatchError> {
        self.below(self.view.and_then(View::element))
    }
}

/// How a field merges.
#[derive(Clone, Copy)]
enum Strategy<'a> {
    /// Maps merge, lists are replaced.
    Usual,
    /// Maps are replaced.
    Replace,
    /// Lists of scalars merge as sets.
    Set,
    /// Lists of maps merge, matched by this key.
    ByKey(&'a str),
}

impl<'a> Strategy<'a> {
    fn of(patch: Option<&'a Patch>) -> Self {
        match patch.and_then(|patch| Some((patch.strategy?, patch.merge_key.as_deref()))) {
            None => Self::Usual,
            Some((PatchStrategy::Replace, _)) => Self::Replace,
            Some((PatchStrategy::Merge, None)) => Self::Set,
            Some((PatchStrategy::Merge, Some(key))) => Self::ByKey(key),
        }
    }

    fn key(self) -> Option<&'a str> {
        match self {
            Self::ByKey(key) => Some(key),
            Self::Usual | Self::Replace | Self::Set => None,
        }
    }
}

fn merge_map(
    mut object: Map<String, Value>,
    mut patch: Map<String, Value>,
    at: At<'_>,
) -> Result<Map<String, Value>, PatchError> {
    if let Some(directive) = patch.remove(PATCH) {
        return match directive.as_str() {
            Some("replace") => Ok(clean_map(patch)),
            Some("delete") => Ok(Map::new()),
            _ => Err(bad_patch_type(&directive, patch)),
        };
    }
    retain_keys(&mut object, &mut patch)?;
    // Deletions from lists come before additions, and order last.
    for (field, values) in take_directives(&mut patch, DELETE_FROM, &PatchError::BadPrimitiveList)? {
        delete_scalars(&mut object, &field, &values)?;
    }
    for (field, wanted) in take_directives(&mut patch, SET_ORDER, &PatchError::BadSetElementOrder)? {
        let additions = patch.remove(&field);
        order_list(&mut object, &field, additions, &wanted, at)?;
    }
    for (field, value) in patch {
        merge_field(&mut object, field, value, at)?;
    }
    Ok(object)
}

fn merge_field(object: &mut Map<String, Value>, field: String, patch: Value, at: At<'_>) -> Result<(), PatchError> {
    let (strategy, below) = at.field(&field)?;
    let merged = match (object.remove(&field), patch) {
        (_, Value::Null) => None,
        (Some(Value::Object(_)), Value::Object(patch)) if matches!(strategy, Strategy::Replace) => {
            Some(clean_map(patch).into())
        }
        (Some(Value::Object(old)), Value::Object(patch)) => Some(merge_map(old, patch, below)?.into()),
        (Some(Value::Array(old)), Value::Array(patch)) => Some(merge_list(old, patch, strategy, below)?.into()),
        // Nothing was there, or something of another kind. A map with a directive stands for nothing.
        (_, patch) => clean(patch),
    };
    if let Some(value) = merged {
        object.insert(field, value);
    }
    Ok(())
}

fn merge_list(
    old: Vec<Value>,
    patch: Vec<Value>,
    strategy: Strategy<'_>,
    at: At<'_>,
) -> Result<Vec<Value>, PatchError> {
    match strategy {
        Strategy::Usual | Strategy::Replace => Ok(patch.into_iter().map(without_nulls).collect()),
        Strategy::Set | Strategy::ByKey(_) if old.is_empty() && patch.is_empty() => Ok(old),
        Strategy::Set => {
            if check_kinds(&old, &patch)? == Some(Kind::Map) {
                return Err(PatchError::NoKeyForMaps);
            }
            let mut seen = BTreeSet::new();
            let each_once = old.iter().chain(&patch).filter(|value| seen.insert(ByValue(value)));
            let union: Vec<Value> = each_once.cloned().collect();
            Ok(enforce(union, &patch, &old, None))
        }
        Strategy::ByKey(key) => {
            check_kinds(&old, &patch)?;
            merge_by_key(old, &patch, key, at)
        }
    }
}

fn merge_by_key(mut old: Vec<Value>, patch: &[Value], key: &str, at: At<'_>) -> Result<Vec<Value>, PatchError> {
    let (mut additions, mut deletions) = (Vec::with_capacity(patch.len()), BTreeSet::new());
    let mut replace = false;
    for element in patch {
        match element.get(PATCH).map(Value::as_str) {
            None => additions.push(element),
            Some(Some("replace")) => replace = true,
            Some(Some("delete")) => {
                deletions.insert(ByValue(key_of(element, key)?));
            }
            Some(Some("merge")) => return Err(PatchError::MergeDirectiveInList),
            Some(_) => return Err(bad_patch_type(&element[PATCH], element.clone())),
        }
    }
    if replace {
        return Ok(additions.into_iter().cloned().filter_map(clean).collect());
    }
    old.retain(|element| !deletions.contains(&ByValue(&element[key])));
    let below = at.element()?;
    let mut merged = old.clone();
    let mut known = places(&old, Some(key));
    for element in &additions {
        let id = ByValue(key_of(element, key)?);
        match (known.get(&id).map(|place| &mut merged[*place]), *element) {
            (Some(Value::Object(found)), Value::Object(patch)) => {
                *found = merge_map(std::mem::take(found), patch.clone(), below)?;
            }
            (Some(found), element) => *found = element.clone(),
            (None, element) => {
                known.insert(id, merged.len());
                merged.extend(clean(element.clone()));
            }
        }
    }
    for element in &merged {
        key_of(element, key)?;
    }
    let additions: Vec<Value> = additions.into_iter().cloned().collect();
    Ok(enforce(merged, &additions, &old, Some(key)))
}

/// Merges `additions` into the list `field` and gives it the order `wanted`.
fn order_list(
    object: &mut Map<String, Value>,
    field: &str,
    additions: Option<Value>,
    wanted: &Value,
    at: At<'_>,
) -> Result<(), PatchError> {
    let wanted = wanted.as_array().ok_or(PatchError::BadSetElementOrder)?;
    let (strategy, below) = at.field(field)?;
    let key = strategy.key();
    let additions = match additions {
        None | Some(Value::Null) => None,
        Some(Value::Array(list)) => Some(list),
        Some(_) => return Err(PatchError::BadSetElementOrder),
    };
    let old = match object.remove(field) {
        None | Some(Value::Null) => None,
        Some(Value::Array(list)) => Some(list),
        Some(_) => return Err(PatchError::NotAList { field: field.to_owned() }),
    };
    check_order(additions.as_deref().unwrap_or_default(), wanted, key)?;
    let merged = match (&old, additions) {
        (None, None) => return Ok(()),
        (Some(old), None) => old.clone(),
        (None, Some(additions)) => additions.into_iter().filter_map(clean).collect(),
        (Some(old), Some(additions)) => merge_list(old.clone(), additions, strategy, below)?,
    };
    let ordered = enforce(merged, wanted, old.as_deref().unwrap_or_default(), key);
    object.insert(field.to_owned(), ordered.into());
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Map,
    Text,
    Number,
    Truth,
    Null,
}

/// The kind of all elements; lists that merge have elements of one kind.
fn check_kinds(old: &[Value], patch: &[Value]) -> Result<Option<Kind>, PatchError> {
    let mut kind = None;
    for element in old.iter().chain(patch) {
        let own = match element {
            Value::Array(_) => return Err(PatchError::ListOfLists),
            Value::Object(_) => Kind::Map,
            Value::String(_) => Kind::Text,
            Value::Number(_) => Kind::Number,
            Value::Bool(_) => Kind::Truth,
            Value::Null => Kind::Null,
        };
        if kind.is_some_and(|kind| kind != own) {
            return Err(PatchError::MixedList);
        }
        kind = Some(own);
    }
    Ok(kind)
}

fn bad_patch_type(directive: &Value, map: impl Into<Value>) -> PatchError {
    PatchError::BadPatchType { directive: directive.to_string(), map: map.into().to_string() }
}

fn key_of<'a>(element: &'a Value, key: &str) -> Result<&'a Value, PatchError> {
    element.get(key).ok_or_else(|| PatchError::NoMergeKey { map: element.to_string(), key: key.to_owned() })
}

/// Takes the directives `directive/FIELD` out of `patch`: the fields they are about, with their values.
fn take_directives(
    patch: &mut Map<String, Value>,
    directive: &str,
    malformed: &PatchError,
) -> Result<Vec<(String, Value)>, PatchError> {
    let keys: Vec<String> = patch.keys().filter(|key| key.starts_with(directive)).cloned().collect();
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let Some(field) = key[directive.len()..].strip_prefix('/') else { return Err(malformed.clone()) };
        found.extend(patch.remove(&key).map(|value| (field.to_owned(), value)));
    }
    Ok(found)
}

fn delete_scalars(object: &mut Map<String, Value>, field: &str, gone: &Value) -> Result<(), PatchError> {
    let gone = places(gone.as_array().ok_or(PatchError::BadPrimitiveList)?, None);
    if let Some(Value::Array(list)) = object.get_mut(field) {
        list.retain(|value| !gone.contains_key(&ByValue(value)));
    }
    Ok(())
}

fn retain_keys(object: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), PatchError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let keys = keys.as_array().ok_or(PatchError::BadRetainKeys)?;
    let kept = |key: &str| keys.iter().any(|k| k.as_str() == Some(key));
    let directive = |key: &str| key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !directive(key) && !kept(key)) {
        return Err(PatchError::BadRetainKeys);
    }
    object.retain(|key, _| kept(key));
    Ok(())
}

fn check_order(list: &[Value], wanted: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    if list.is_empty() || wanted.is_empty() {
        return Ok(());
    }
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

/// A patch's value where the object has none: without nulls and directives. None for a map with a `$patch` directive, which
/// has nothing to act on.
fn clean(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(PATCH) => None,
        Value::Object(map) => Some(clean_map(map).into()),
        Value::Array(list) => Some(list.into_iter().filter_map(clean).collect()),
        scalar => Some(scalar),
    }
}

fn clean_map(map: Map<String, Value>) -> Map<String, Value> {
    let kept = map.into_iter().filter(|(key, value)| !value.is_null() && !is_directive(key));
    kept.filter_map(|(key, value)| clean(value).map(|value| (key, value))).collect()
}

/// An element of a list that is replaced: without nulls, which a type reads as missing.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            map.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, v)| (key, without_nulls(v))).collect()
        }
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        scalar => scalar,
    }
}

fn is_directive(key: &str) -> bool {
    key == PATCH || key == RETAIN_KEYS || key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER)
}

#[cfg(test)]
#[path = "strategic_tests.rs"]
mod tests;
