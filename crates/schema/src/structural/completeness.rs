//! What value validations mention has to be on the spine as well (`apiserver/schema/complete.go`): otherwise a field
//! could be required that is pruned.

use super::{Structural, ValueValidation};
use crate::path::{child, index, key};
use orrery_machinery::status::FieldError;

/// Checks the whole schema that stands at `path`.
pub(super) fn check(schema: &Structural, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    values(&schema.values, schema, path, path, &mut errors);
    errors
}

/// `spine_path` is where the spine stands, `path` where the clause.
fn values(values: &ValueValidation, spine: &Structural, spine_path: &str, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(clause) = &values.not {
        nested(clause, Some(spine), spine_path, &child(path, "not"), errors);
    }
    for (junctor, clauses) in [("allOf", &values.all_of), ("anyOf", &values.any_of), ("oneOf", &values.one_of)] {
        for (i, clause) in clauses.iter().enumerate() {
            nested(clause, Some(spine), spine_path, &index(&child(path, junctor), i), errors);
        }
    }
}

fn nested(clause: &Structural, spine: Option<&Structural>, spine_path: &str, path: &str, errors: &mut Vec<FieldError>) {
    let Some(spine) = spine else {
        errors.push(FieldError::required(spine_path, &format!("because it is defined in {path}")));
        return;
    };
    values(&clause.values, spine, spine_path, path, errors);
    if let Some(items) = &clause.items {
        nested(items, spine.items.as_deref(), &child(spine_path, "items"), &child(path, "items"), errors);
    }
    for (name, property) in &clause.properties {
        let at = |base: &str| key(&child(base, "properties"), name);
        nested(property, spine.properties.get(name), &at(spine_path), &at(path), errors);
    }
}
