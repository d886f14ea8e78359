//! The walk through a value with its schema.

use super::lists::list_map_old;
use super::outcome::Outcome;
use crate::path::{child, dotted, index, or_nil};
use crate::structural::{Additional, Structural};
use orrery_cel::{format, go_float};
use orrery_machinery::status::{ApiError, FieldError, FieldReason};
use serde_json::{Map, Number, Value};

/// Checks `new`; errors stand below `path`.
pub(super) fn check(schema: &Structural, new: &Value, old: Option<&Value>, path: &str) -> Outcome {
    let walk = Walk { base: path };
    let found = walk.node(schema, new, old, "");
    Outcome { errors: found.errors, warnings: found.warnings }.without_repetitions()
}

/// What was found so far. `matches` counts what was checked: of the alternatives of an `anyOf` that all fail, the one
/// with most checks explains itself.
#[derive(Default)]
struct Found {
    errors: Vec<FieldError>,
    warnings: Vec<FieldError>,
    matches: usize,
}

impl Found {
    fn merge(&mut self, other: Self) {
        for (own, more) in [(&mut self.errors, other.errors), (&mut self.warnings, other.warnings)] {
            let room = ApiError::ERRORS_SHOWN.saturating_sub(own.len());
            own.extend(more.into_iter().take(room));
        }
        self.matches += other.matches;
    }
}

struct Walk<'a> {
    base: &'a str,
}

impl Walk<'_> {
    /// Where `name` (such as `.spec.x`) stands.
    fn at(&self, name: &str) -> String {
        match name.strip_prefix('.').unwrap_or(name) {
            "" => or_nil(self.base.to_owned()),
            name if name.starts_with('[') => or_nil(format!("{}{name}", self.base)),
            name => or_nil(child(self.base, name)),
        }
    }

    fn invalid(&self, name: &str, value: &Value, text: &str) -> FieldError {
        FieldError::invalid(self.at(name), value, &format!("{name} in body {text}"))
    }

    fn wrong_type(&self, name: &str, expected: &str, found: &str) -> FieldError {
        self.invalid(name, &found.into(), &format!("must be of type {expected}: {found:?}"))
    }

    /// A whole schema's say on a value. What is as it was does not fail.
    fn node(&self, schema: &Structural, new: &Value, old: Option<&Value>, name: &str) -> Found {
        let mut found = self.fresh(schema, new, old, name);
        if !found.errors.is_empty() && old == Some(new) {
            found.warnings.append(&mut found.errors);
        }
        found
    }

    fn fresh(&self, schema: &Structural, new: &Value, old: Option<&Value>, name: &str) -> Found {
        let mut found = Found { matches: 1, ..Found::default() };
        found.errors.extend(self.kind(schema, new, name));
        if new.is_null() {
            found.errors.extend(self.enumeration(schema, new, name));
            return found;
        }
        found.merge(self.junctors(schema, new, name));
        match new {
            Value::String(text) => found.errors.extend(self.text(schema, text, name)),
            Value::Number(number) => found.errors.extend(self.number(schema, number, new, name)),
            Value::Array(list) => found.merge(self.list(schema, list, old, name)),
            Value::Object(_) | Value::Null | Value::Bool(_) => {}
        }
        found.errors.extend(self.enumeration(schema, new, name));
        if let Value::Object(map) = new {
            found.merge(self.object(schema, map, old, name));
        }
        found.matches += 1;
        found
    }

    fn kind(&self, schema: &Structural, value: &Value, name: &str) -> Option<FieldError> {
        let expected = schema.kind.as_str();
        let format = usable_format(schema);
        if value.is_null() {
            return (!expected.is_empty() && !schema.nullable).then(|| self.wrong_type(name, expected, "null"));
        }
        let found = kind_of(value);
        let numbers_agree = match value {
            Value::Number(number) if expected == "integer" => number.is_i64() || is_whole(number),
            Value::Number(_) => expected == "number",
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => false,
        };
        if expected.is_empty() {
            let shown = match value {
                Value::Number(number) if number.is_i64() => "int64",
                Value::Number(_) => "float64",
                Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => "",
            };
            let scalar = value.is_number() || value.is_boolean() || value.is_object();
            return format.filter(|_| scalar).map(|format| self.wrong_type(name, format, shown));
        }
        (found != expected && !numbers_agree).then(|| self.wrong_type(name, expected, found))
    }

    fn enumeration(&self, schema: &Structural, value: &Value, name: &str) -> Option<FieldError> {
        let allowed = &schema.values.enumeration;
        if allowed.is_empty() || allowed.iter().any(|one| same(one, value)) {
            return None;
        }
        let texts: Vec<String> =
            allowed.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        Some(FieldError::not_supported(self.at(name), value, &texts))
    }

    fn text(&self, schema: &Structural, text: &str, name: &str) -> Vec<FieldError> {
        let rules = &schema.values;
        let length = || i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        let value = Value::from(text);
        let mut errors = Vec::new();
        if let Some(limit) = rules.max_length.filter(|limit| length() > *limit) {
            errors.push(FieldError::too_long(self.at(name), usize::try_from(limit).unwrap_or_default()));
        } else if let Some(limit) = rules.min_length.filter(|limit| length() < *limit) {
            errors.push(self.invalid(name, &value, &format!("should be at least {limit} chars long")));
        } else if let Some(pattern) = &rules.pattern {
            match pattern.regex() {
                Ok(regex) if regex.is_match(text) => {}
                Ok(_) => errors.push(self.invalid(name, &value, &format!("should match '{}'", pattern.source()))),
                Err(why) => {
                    let text = format!("should match '{}, but pattern is invalid: {why}'", pattern.source());
                    errors.push(self.invalid(name, &value, &text));
                }
            }
        }
        let format = usable_format(schema).filter(|format| format::is_valid(format, text) == Some(false));
        errors.extend(format.map(|format| self.wrong_type_of(name, format, &value)));
        errors
    }

    /// A text without its format: the value shown is the text itself.
    fn wrong_type_of(&self, name: &str, format: &str, value: &Value) -> FieldError {
        self.invalid(name, value, &format!("must be of type {format}: {value}"))
    }

    fn number(&self, schema: &Structural, number: &Number, value: &Value, name: &str) -> Vec<FieldError> {
        let rules = &schema.values;
        let mut errors = Vec::new();
        if let Some(factor) = rules.multiple_of.as_ref().filter(|factor| !is_multiple(number, factor)) {
            errors.push(self.invalid(name, value, &format!("should be a multiple of {}", shown(factor, number))));
        }
        let bounds = [
            (
                &rules.maximum,
                rules.exclusive_maximum,
                ["less than or equal to", "less than"],
                std::cmp::Ordering::Greater,
            ),
            (
                &rules.minimum,
                rules.exclusive_minimum,
                ["greater than or equal to", "greater than"],
                std::cmp::Ordering::Less,
            ),
        ];
        for (bound, exclusive, words, beyond) in bounds {
            let Some(bound) = bound else { continue };
            let order = compare(number, bound);
            if order == Some(beyond) || (exclusive && order == Some(std::cmp::Ordering::Equal)) {
                let text = format!("should be {} {}", words[usize::from(exclusive)], shown(bound, number));
                errors.push(self.invalid(name, value, &text));
            }
        }
        errors
    }

    fn list(&self, schema: &Structural, list: &[Value], old: Option<&Value>, name: &str) -> Found {
        let mut found = Found { matches: 1, ..Found::default() };
        if let Some(items) = &schema.items {
            let old = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            // Only the items of a map have an old self: by its place alone an item can't be told from another.
            let by_key = list_map_old(schema, old);
            for (i, item) in list.iter().enumerate() {
                found.merge(self.node(items, item, by_key(item), &index(name, i)));
            }
        }
        let (size, rules) = (list.len(), &schema.values);
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        if let Some(limit) = rules.min_items.filter(|limit| size < *limit) {
            found.errors.push(self.invalid(name, &size.into(), &format!("should have at least {limit} items")));
        }
        if let Some(limit) = rules.max_items.filter(|limit| size > *limit) {
            found.errors.push(self.too_many(name, size, limit));
        }
        let unique = || list.iter().collect::<std::collections::HashSet<_>>().len() == list.len();
        if rules.unique_items && !unique() {
            found.errors.push(self.invalid(name, &"".into(), "shouldn't contain duplicates"));
        }
        found
    }

    /// `FieldReason` has no word for it; the text is upstream's.
    fn too_many(&self, name: &str, size: i64, limit: i64) -> FieldError {
        let items = if limit == 1 { "item" } else { "items" };
        let message = format!("Too many: {size}: must have at most {limit} {items}");
        FieldError { reason: FieldReason::Invalid, field: self.at(name), message }
    }

    fn object(&self, schema: &Structural, map: &Map<String, Value>, old: Option<&Value>, name: &str) -> Found {
        let rules = &schema.values;
        let size = i64::try_from(map.len()).unwrap_or(i64::MAX);
        let only = |error| Found { errors: vec![error], ..Found::default() };
        if let Some(limit) = rules.min_properties.filter(|limit| size < *limit) {
            return only(self.invalid(name, &size.into(), &format!("should have at least {limit} properties")));
        }
        if let Some(limit) = rules.max_properties.filter(|limit| size > *limit) {
            return only(self.too_many(name, size, limit));
        }
        let mut found = Found::default();
        let field = |key: &str| child(name, key);
        let old = |key: &str| old.and_then(|old| old.get(key));
        let unnamed = map.iter().filter(|(key, _)| !schema.properties.contains_key(*key));
        match &schema.additional {
            Some(Additional::Any(false)) => found.errors.extend(unnamed.map(|(key, _)| {
                let text = format!("{name}.{key} in body is a forbidden property");
                FieldError::invalid(self.at(name), &key.as_str().into(), &text)
            })),
            Some(Additional::Schema(additional)) => unnamed.for_each(|(key, value)| {
                found.merge(self.node(additional, value, old(key), &dotted(name, key)));
            }),
            Some(Additional::Any(true)) | None => {}
        }
        for (key, property) in &schema.properties {
            if let Some(value) = map.get(key) {
                found.merge(self.node(property, value, old(key), &field(key)));
            }
        }
        let missing = rules.required.iter().filter(|key| !map.contains_key(*key));
        found.errors.extend(missing.map(|key| FieldError::required(self.at(&format!("{name}.{key}")), "")));
        found
    }

    /// `allOf` and the like. What stands there has no old value: upstream ratchets the node as a whole only.
    fn junctors(&self, schema: &Structural, new: &Value, name: &str) -> Found {
        let rules = &schema.values;
        let mut found = Found { matches: 1, ..Found::default() };
        let whole = |text: String| FieldError::invalid(or_nil(self.base.to_owned()), &"".into(), &text);
        let try_all = |clauses: &[Structural]| -> Vec<Found> {
            clauses.iter().map(|clause| self.fresh(clause, new, None, name)).collect()
        };
        if !rules.any_of.is_empty() {
            let tried = try_all(&rules.any_of);
            if !tried.iter().any(|one| one.errors.is_empty()) {
                found.errors.push(whole(format!("{name:?} must validate at least one schema (anyOf)")));
                found.merge(best(tried));
            }
        }
        if !rules.one_of.is_empty() {
            let tried = try_all(&rules.one_of);
            let valid = tried.iter().filter(|one| one.errors.is_empty()).count();
            if valid != 1 {
                let how =
                    if valid == 0 { "Found none valid".into() } else { format!("Found {valid} valid alternatives") };
                found.errors.push(whole(format!("{name:?} must validate one and only one schema (oneOf). {how}")));
                if valid == 0 {
                    found.merge(best(tried));
                }
            }
        }
        if !rules.all_of.is_empty() {
            let tried = try_all(&rules.all_of);
            let valid = tried.iter().filter(|one| one.errors.is_empty()).count();
            let all = tried.len();
            tried.into_iter().for_each(|one| found.merge(one));
            if valid != all {
                let none = if valid == 0 { ". None validated" } else { "" };
                found.errors.push(whole(format!("{name:?} must validate all the schemas (allOf){none}")));
            }
        }
        if rules.not.as_ref().is_some_and(|clause| self.fresh(clause, new, None, name).errors.is_empty()) {
            found.errors.push(whole(format!("{name:?} must not validate the schema (not)")));
        }
        found
    }
}

/// The alternative that came furthest; the first of several.
fn best(tried: Vec<Found>) -> Found {
    tried.into_iter().reduce(|best, one| if one.matches > best.matches { one } else { best }).unwrap_or_default()
}

/// The format, unless it is one that is not checked.
fn usable_format(schema: &Structural) -> Option<&str> {
    let format = schema.values.format.as_str();
    let checked = matches!(schema.kind.as_str(), "" | "string") && format::is_valid(format, "").is_some();
    checked.then_some(format)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_whole(number: &Number) -> bool {
    number.as_f64().is_some_and(|f| f.fract() == 0.0 && f.abs() < 9_007_199_254_740_992.0)
}

/// Equal, where `1` and `1.0` are the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare(a, b) == Some(std::cmp::Ordering::Equal),
        (a, b) => a == b,
    }
}

fn compare(a: &Number, b: &Number) -> Option<std::cmp::Ordering> {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        (Some(_) | None, _) => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn is_multiple(number: &Number, factor: &Number) -> bool {
    if let (Some(number), Some(factor)) = (number.as_i64(), factor.as_i64()) {
        return factor == 0 || number.checked_rem(factor).is_none_or(|rest| rest == 0);
    }
    let (Some(number), Some(factor)) = (number.as_f64(), factor.as_f64()) else { return true };
    let times = if factor.abs() < 1.0 { 1.0 / factor * number } else { number / factor };
    (times - times.round()).abs() <= f64::EPSILON * times.abs().max(1.0)
}

/// A bound as it is shown beside `number`: whole beside whole numbers.
fn shown(bound: &Number, number: &Number) -> String {
    match (number.is_i64(), bound.as_i64(), bound.as_f64()) {
        (true, Some(bound), _) => bound.to_string(),
        (_, _, Some(bound)) => go_float(bound),
        (_, _, None) => bound.to_string(),
    }
}
