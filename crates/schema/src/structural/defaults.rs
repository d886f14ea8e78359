//! Defaults are valid and name only known fields (`apiserver/schema/defaulting/validation.go`).

use super::{Structural, is_meta_field};
use crate::metadata::{self, Invalid};
use crate::path::{child, key};
use crate::validate::values;
use orrery_machinery::status::FieldError;
use serde_json::{Value, json};

/// Checks the whole schema that stands at `path`.
pub(super) fn check(schema: &Structural, path: &str) -> Vec<FieldError> {
    let mut root = schema.clone();
    root.extensions.embedded_resource = true;
    let mut errors = Vec::new();
    node(&root, path, &mut Vec::new(), &root, false, &mut errors);
    errors
}

/// A step from the object around to a default.
#[derive(Clone)]
enum Step {
    Field(String),
    Index,
}

fn node(
    schema: &Structural,
    path: &str,
    steps: &mut Vec<Step>,
    root: &Structural,
    inside_meta: bool,
    errors: &mut Vec<FieldError>,
) {
    if schema.extensions.embedded_resource && !steps.is_empty() {
        return node(schema, path, &mut Vec::new(), schema, false, errors);
    }
    if let Some(default) = &schema.default {
        let field = child(path, "default");
        if inside_meta {
            inside_metadata(schema, default, &field, steps, root, errors);
        } else {
            outside_metadata(schema, default, &field, errors);
        }
    }
    if let Some(items) = &schema.items {
        steps.push(Step::Index);
        node(items, &child(path, "items"), steps, root, inside_meta, errors);
        steps.pop();
    }
    for (name, property) in &schema.properties {
        let inside_meta = inside_meta || (schema.extensions.embedded_resource && is_meta_field(name));
        steps.push(Step::Field(name.clone()));
        node(property, &key(&child(path, "properties"), name), steps, root, inside_meta, errors);
        steps.pop();
    }
}

/// A default within an embedded object's metadata has to make valid metadata.
fn inside_metadata(
    schema: &Structural,
    default: &Value,
    field: &str,
    steps: &[Step],
    root: &Structural,
    errors: &mut Vec<FieldError>,
) {
    let mut object = steps.iter().rev().fold(default.clone(), |inner, step| match step {
        Step::Field(name) => json!({ name: inner }),
        Step::Index => json!([inner]),
    });
    for (name, value) in [("apiVersion", "validation/v1"), ("kind", "Validation")] {
        if let Some(map) = object.as_object_mut().filter(|map| !map.contains_key(name)) {
            map.insert(name.into(), value.into());
        }
    }
    let problem = match metadata::coerce(root, &mut object, "", true, Invalid::Refuse) {
        Err(error) => Some(format!("{}: {}", error.field, error.message)),
        Ok(_) => {
            let problems = metadata::validate(root, &object, "", true);
            let texts: Vec<String> = problems.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
            match texts.len() {
                0 => None,
                1 => texts.into_iter().next(),
                _ => Some(format!("[{}]", texts.join(", "))),
            }
        }
    };
    match problem {
        Some(problem) => {
            let why = format!("must result in valid metadata: {problem}");
            errors.push(FieldError::invalid(field, default, &why));
        }
        None => errors.extend(values(schema, default, None, field).errors),
    }
}

fn outside_metadata(schema: &Structural, default: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut pruned = default.clone();
    let whole = schema.extensions.embedded_resource;
    crate::prune::prune(schema, &mut pruned, whole);
    if pruned != *default {
        errors.push(FieldError::invalid(field, default, "must not have unknown fields"));
    }
    let mut coerced = default.clone();
    if let Err(error) = metadata::coerce(schema, &mut coerced, field, whole, Invalid::Refuse) {
        errors.push(error);
        return;
    }
    let problems = metadata::validate(schema, &coerced, field, whole);
    if problems.is_empty() {
        errors.extend(values(schema, default, None, field).errors);
    } else {
        errors.extend(problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_within_metadata_is_put_into_the_object_around_it() {
        let mut errors = Vec::new();
        let schema = json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {
            "metadata": {"type": "object", "properties": {"labels": {"type": "object", "properties": {
                "a": {"type": "string", "default": "not a label!"},
            }}}},
        }});
        let root = Structural::read(&schema).unwrap();
        node(&root, "s", &mut Vec::new(), &root, false, &mut errors);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].field, "s.properties[metadata].properties[labels].properties[a].default");
        assert!(
            errors[0].message.contains("must result in valid metadata: metadata.labels: Invalid value"),
            "{errors:?}"
        );
    }
}
