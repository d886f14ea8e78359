//! The rules of claims of storage, wherever they stand.

use crate::{
    fields::{elements, is_set, one_of, size},
    quantity::{self, milli},
    rules,
};
use orrery_machinery::{meta, status::FieldError};
use serde_json::Value;

/// Checks a claim's spec that stands at `at`.
pub fn check_spec(spec: &Value, at: &str, errors: &mut Vec<FieldError>) {
    rules::selector(errors, &format!("{at}.selector"), &spec["selector"]);
    access_modes(&spec["accessModes"], &format!("{at}.accessModes"), "at least 1 access mode is required", errors);
    let (field, storage) = (format!("{at}.resources[storage]"), &spec["resources"]["requests"]["storage"]);
    if !is_set(storage) {
        errors.push(FieldError::required(field, ""));
    } else if quantity::check(errors, &field, storage) && milli(storage) == Some(0) {
        errors.push(FieldError::invalid(field, storage, "must be greater than zero"));
    }
    for name in ["storageClassName", "volumeAttributesClassName"] {
        rules::optional_name(errors, &format!("{at}.{name}"), &spec[name], meta::dns_subdomain_problems);
    }
    one_of(errors, &format!("{at}.volumeMode"), &spec["volumeMode"], &["Block", "Filesystem"]);
    for name in ["dataSource", "dataSourceRef"] {
        let source = &spec[name];
        for field in ["name", "kind"].into_iter().filter(|_| is_set(source)) {
            rules::required(errors, &format!("{at}.{name}.{field}"), &source[field]);
        }
    }
}

/// Checks access modes, of which there has to be one; `why` says so.
pub fn access_modes(modes: &Value, field: &str, why: &str, errors: &mut Vec<FieldError>) {
    if size(modes) == 0 {
        errors.push(FieldError::required(field, why));
    }
    for mode in elements(modes) {
        let supported = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
        one_of(errors, field, mode, &supported);
    }
    if size(modes) > 1 && elements(modes).any(|mode| mode == "ReadWriteOncePod") {
        let why = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(field, why));
    }
}
