//! The rules of volumes.

use crate::fields::{elements, is_set, report, text};
use orrery_machinery::{meta, status::FieldError};
use serde_json::Value;
use std::collections::BTreeSet;

/// Checks the volumes of a pod; their names.
pub(super) fn check<'a>(volumes: &'a Value, at: &str, errors: &mut Vec<FieldError>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (index, volume) in elements(volumes).enumerate() {
        let field = format!("{at}[{index}]");
        match text(&volume["name"]) {
            "" => errors.push(FieldError::required(format!("{field}.name"), "")),
            name => {
                report(errors, &format!("{field}.name"), &volume["name"], &meta::dns_label_problems(name));
                if !names.insert(name) {
                    errors.push(FieldError::duplicate(format!("{field}.name"), &volume["name"]));
                }
            }
        }
        source(volume, &field, errors);
    }
    names
}

/// Exactly one source, with what it cannot do without.
fn source(volume: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut sources = volume.as_object().into_iter().flatten().filter(|(key, value)| *key != "name" && is_set(value));
    let Some((kind, source)) = sources.next() else {
        errors.push(FieldError::required(field, "must specify a volume type"));
        return;
    };
    for (extra, _) in sources {
        errors.push(FieldError::forbidden(format!("{field}.{extra}"), "may not specify more than 1 volume type"));
    }
    let needed = match kind.as_str() {
        "secret" => "secretName",
        "configMap" => "name",
        "persistentVolumeClaim" => "claimName",
        _ => return,
    };
    if text(&source[needed]).is_empty() {
        errors.push(FieldError::required(format!("{field}.{kind}.{needed}"), ""));
    }
}
