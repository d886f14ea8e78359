//! The rules of what is made into files: secrets, maps of configuration, fields of the pod, tokens.

use crate::{
    fields::{elements, is_set, size, text},
    rules,
};
use orrery_machinery::status::FieldError;
use serde_json::{Value, json};

/// A relative path that leads nowhere else.
pub(super) fn local_path(path: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if text(path).starts_with('/') {
        errors.push(FieldError::invalid(field, path, "must be a relative path"));
    }
    no_way_back(path, field, errors);
}

/// A path without `..`.
pub(super) fn no_way_back(path: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if text(path).split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(field, path, "must not contain '..'"));
    }
}

/// A path of a file that is made, which besides does not begin with two dots.
fn made_path(path: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if !rules::required(errors, field, path) {
        return;
    }
    local_path(path, field, errors);
    if text(path).starts_with("..") && !text(path).starts_with("../") && text(path) != ".." {
        errors.push(FieldError::invalid(field, path, "must not start with '..'"));
    }
}

/// The permissions of files.
pub(super) fn mode(mode: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if mode.as_i64().is_some_and(|bits| !(0..=0o777).contains(&bits)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(field, mode, why));
    }
}

/// `items` of a secret or a map of configuration.
pub(super) fn items(source: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (index, item) in elements(&source["items"]).enumerate() {
        let field = format!("{field}.items[{index}]");
        rules::required(errors, &format!("{field}.key"), &item["key"]);
        made_path(&item["path"], &format!("{field}.path"), errors);
        mode(&item["mode"], &format!("{field}.mode"), errors);
    }
}

/// Fields that a file may hold. Labels and annotations may be asked for one by one.
const FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// `items` of what shows a pod's own fields.
pub(super) fn downward(source: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (index, item) in elements(&source["items"]).enumerate() {
        let field = format!("{field}.items[{index}]");
        made_path(&item["path"], &format!("{field}.path"), errors);
        mode(&item["mode"], &format!("{field}.mode"), errors);
        let (reference, amount) = (&item["fieldRef"], &item["resourceFieldRef"]);
        match (is_set(reference), is_set(amount)) {
            (true, true) => {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(field.as_str(), &json!("resource"), why));
            }
            (false, false) => {
                errors.push(FieldError::required(field.as_str(), "one of fieldRef and resourceFieldRef is required"));
            }
            (true, false) => field_reference(reference, &FIELDS, &format!("{field}.fieldRef"), errors),
            (false, true) => resource_reference(amount, true, &format!("{field}.resourceFieldRef"), errors),
        }
    }
}

/// A field of the pod, one of `known` or a single label or annotation.
pub(super) fn field_reference(reference: &Value, known: &[&str], field: &str, errors: &mut Vec<FieldError>) {
    rules::required(errors, &format!("{field}.apiVersion"), &reference["apiVersion"]);
    let (path, at) = (&reference["fieldPath"], format!("{field}.fieldPath"));
    if !rules::required(errors, &at, path) || known.contains(&text(path)) {
        return;
    }
    let one = ["metadata.labels['", "metadata.annotations['"].iter().any(|start| text(path).starts_with(start));
    if one && text(path).ends_with("']") {
        return;
    }
    if text(path).starts_with("metadata.") || text(path).starts_with("spec.") || text(path).starts_with("status.") {
        errors.push(FieldError::not_supported(at, path, known));
    } else {
        let why = format!("error converting fieldPath: field label not supported: {}", text(path));
        errors.push(FieldError::invalid(at, path, &why));
    }
}

/// A request or limit of a container.
pub(super) fn resource_reference(reference: &Value, in_volume: bool, field: &str, errors: &mut Vec<FieldError>) {
    if in_volume {
        rules::required(errors, &format!("{field}.containerName"), &reference["containerName"]);
    }
    let (resource, at) = (&reference["resource"], format!("{field}.resource"));
    if !rules::required(errors, &at, resource) {
        return;
    }
    let supported = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|start| text(resource).starts_with(start));
    if !huge {
        crate::fields::one_of(errors, &at, resource, &supported);
    }
}

/// `projected` of a volume.
pub(super) fn projected(source: &Value, field: &str, errors: &mut Vec<FieldError>) {
    mode(&source["defaultMode"], &format!("{field}.defaultMode"), errors);
    for (index, part) in elements(&source["sources"]).enumerate() {
        let field = format!("{field}.sources[{index}]");
        let kinds =
            ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];
        let given: Vec<&str> = kinds.into_iter().filter(|kind| is_set(&part[*kind])).collect();
        for extra in given.iter().skip(1) {
            let why = "may not specify more than 1 volume type";
            errors.push(FieldError::forbidden(format!("{field}.{extra}"), why));
        }
        let Some(kind) = given.first() else { continue };
        let (source, field) = (&part[*kind], format!("{field}.{kind}"));
        match *kind {
            "secret" | "configMap" => {
                rules::required(errors, &format!("{field}.name"), &source["name"]);
                items(source, &field, errors);
            }
            "downwardAPI" => downward(source, &field, errors),
            "serviceAccountToken" => {
                let seconds = &source["expirationSeconds"];
                let at = format!("{field}.expirationSeconds");
                if seconds.as_i64().is_some_and(|seconds| seconds < 600) {
                    let why = "may not specify a duration less than 10 minutes";
                    errors.push(FieldError::invalid(at, seconds, why));
                } else if seconds.as_i64().is_some_and(|seconds| seconds > 1 << 32) {
                    errors.push(FieldError::invalid(
                        at,
                        seconds,
                        "may not specify a duration larger than 2^32 seconds",
                    ));
                }
                made_path(&source["path"], &format!("{field}.path"), errors);
            }
            _ => made_path(&source["path"], &format!("{field}.path"), errors),
        }
    }
    same_paths(source, field, errors);
}

/// Two sources do not make the same file.
fn same_paths(source: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut seen = std::collections::BTreeSet::new();
    for part in elements(&source["sources"]) {
        let listed = ["secret", "configMap", "downwardAPI"].map(|kind| &part[kind]["items"]);
        let items = listed.into_iter().filter(|items| size(items) > 0).flat_map(elements).map(|item| &item["path"]);
        for path in items.chain([&part["serviceAccountToken"]["path"]]).filter(|path| !text(path).is_empty()) {
            if !seen.insert(text(path)) {
                errors.push(FieldError::invalid(field, path, "conflicting duplicate paths"));
            }
        }
    }
}
