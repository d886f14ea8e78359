//! The rules of containers.

use super::{environment, probe, projection, resources, security};
use crate::fields::{elements, is_set, one_of, port_number, report, size, text};
use orrery_machinery::{meta, status::FieldError};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Checks all lists of containers of a pod. `volumes` are the names of its volumes.
pub(super) fn check_all(spec: &Value, at: &str, volumes: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    if size(&spec["containers"]) == 0 {
        errors.push(FieldError::required(format!("{at}.containers"), ""));
    }
    let mut names = BTreeSet::new();
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (index, container) in elements(&spec[list]).enumerate() {
            let field = format!("{at}.{list}[{index}]");
            name(container, &field, &mut names, errors);
            check(container, &field, volumes, errors);
            restarts(container, list, &field, errors);
            if list == "ephemeralContainers" {
                ephemeral(container, spec, &field, errors);
            } else {
                probe::check_container(container, &field, list == "initContainers", errors);
            }
        }
    }
}

/// An init container that is always restarted is a sidecar.
fn restarts(container: &Value, list: &str, field: &str, errors: &mut Vec<FieldError>) {
    let (policy, field) = (&container["restartPolicy"], format!("{field}.restartPolicy"));
    if !is_set(policy) {
        return;
    }
    match list {
        "ephemeralContainers" => {
            errors.push(FieldError::forbidden(field, "cannot be set for an Ephemeral Container"));
        }
        _ => one_of(errors, &field, policy, &["Always", "Never", "OnFailure"]),
    }
}

/// What a container that only looks at a running pod cannot have.
fn ephemeral(container: &Value, spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for name in ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy"] {
        let given = &container[name];
        if is_set(given) && *given != json!([]) {
            let why = "cannot be set for an Ephemeral Container";
            errors.push(FieldError::forbidden(format!("{field}.{name}"), why));
        }
    }
    if size(&container["resources"]) > 0 {
        let why = "cannot be set for an Ephemeral Container";
        errors.push(FieldError::forbidden(format!("{field}.resources"), why));
    }
    for (index, mount) in elements(&container["volumeMounts"]).enumerate() {
        for name in ["subPath", "subPathExpr"].into_iter().filter(|name| !text(&mount[*name]).is_empty()) {
            let why = "cannot be set for an Ephemeral Container";
            errors.push(FieldError::forbidden(format!("{field}.volumeMounts[{index}].{name}"), why));
        }
    }
    let target = &container["targetContainerName"];
    let mut known = elements(&spec["containers"]).chain(elements(&spec["initContainers"]));
    if !text(target).is_empty() && !known.any(|container| container["name"] == *target) {
        errors.push(FieldError::not_found(format!("{field}.targetContainerName"), target));
    }
}

fn name<'a>(container: &'a Value, field: &str, names: &mut BTreeSet<&'a str>, errors: &mut Vec<FieldError>) {
    let field = format!("{field}.name");
    match text(&container["name"]) {
        "" => errors.push(FieldError::required(field, "")),
        name => {
            let problems = meta::dns_label_problems(name);
            report(errors, &field, &container["name"], &problems);
            if problems.is_empty() && !names.insert(name) {
                errors.push(FieldError::duplicate(field, &container["name"]));
            }
        }
    }
}

fn check(container: &Value, field: &str, volumes: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    let image = text(&container["image"]);
    if image.is_empty() {
        errors.push(FieldError::required(format!("{field}.image"), ""));
    } else if image.trim() != image {
        let why = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(format!("{field}.image"), &container["image"], why));
    }
    let pulls = ["Always", "IfNotPresent", "Never"];
    one_of(errors, &format!("{field}.imagePullPolicy"), &container["imagePullPolicy"], &pulls);
    let messages = ["FallbackToLogsOnError", "File"];
    let policy = &container["terminationMessagePolicy"];
    one_of(errors, &format!("{field}.terminationMessagePolicy"), policy, &messages);
    ports(&container["ports"], field, errors);
    environment::check(container, field, errors);
    mounts(&container["volumeMounts"], field, volumes, errors);
    devices(&container["volumeDevices"], field, volumes, errors);
    resources::check(&container["resources"], &format!("{field}.resources"), errors);
    if is_set(&container["securityContext"]) {
        security::container(&container["securityContext"], &format!("{field}.securityContext"), errors);
    }
    for (index, policy) in elements(&container["resizePolicy"]).enumerate() {
        let field = format!("{field}.resizePolicy[{index}]");
        one_of(errors, &format!("{field}.resourceName"), &policy["resourceName"], &["cpu", "memory"]);
        let policies = ["NotRequired", "RestartContainer"];
        one_of(errors, &format!("{field}.restartPolicy"), &policy["restartPolicy"], &policies);
    }
}

/// Volumes that are block devices.
fn devices(devices: &Value, field: &str, volumes: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    let mut paths = BTreeSet::new();
    for (index, device) in elements(devices).enumerate() {
        let field = format!("{field}.volumeDevices[{index}]");
        match text(&device["name"]) {
            "" => errors.push(FieldError::required(format!("{field}.name"), "")),
            name if !volumes.contains(name) => {
                errors.push(FieldError::not_found(format!("{field}.name"), &device["name"]));
            }
            _ => {}
        }
        let (path, field) = (&device["devicePath"], format!("{field}.devicePath"));
        if text(path).is_empty() {
            errors.push(FieldError::required(field, ""));
        } else {
            if !paths.insert(text(path)) {
                errors.push(FieldError::invalid(field.as_str(), path, "must be unique"));
            }
            projection::no_way_back(path, &field, errors);
        }
    }
}

fn ports(ports: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut names = BTreeSet::new();
    for (index, port) in elements(ports).enumerate() {
        let field = format!("{field}.ports[{index}]");
        let name = text(&port["name"]);
        if !name.is_empty() {
            report(errors, &format!("{field}.name"), &port["name"], &port_name_problems(name));
            if !names.insert(name) {
                errors.push(FieldError::duplicate(format!("{field}.name"), &port["name"]));
            }
        }
        match &port["containerPort"] {
            Value::Null => errors.push(FieldError::required(format!("{field}.containerPort"), "")),
            number if *number == json!(0) => {
                errors.push(FieldError::required(format!("{field}.containerPort"), ""));
            }
            number => port_number(errors, &format!("{field}.containerPort"), number),
        }
        port_number_or_none(&port["hostPort"], &format!("{field}.hostPort"), errors);
        one_of(errors, &format!("{field}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
    }
}

fn port_number_or_none(port: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if *port != json!(0) {
        port_number(errors, field, port);
    }
}

/// An IANA service name.
pub(crate) fn port_name_problems(name: &str) -> Vec<String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let rules = [
        (name.len() <= 15, "must be no more than 15 characters"),
        (name.bytes().all(allowed), "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
        (name.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)"),
        (!name.contains("--"), "must not contain consecutive hyphens"),
        (!name.starts_with('-') && !name.ends_with('-'), "must not begin or end with a hyphen"),
    ];
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, why)| why.to_owned()).collect()
}

fn mounts(mounts: &Value, field: &str, volumes: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    let mut paths = BTreeSet::new();
    for (index, mount) in elements(mounts).enumerate() {
        let field = format!("{field}.volumeMounts[{index}]");
        match text(&mount["name"]) {
            "" => errors.push(FieldError::required(format!("{field}.name"), "")),
            name if !volumes.contains(name) => {
                errors.push(FieldError::not_found(format!("{field}.name"), &mount["name"]));
            }
            _ => {}
        }
        let path = text(&mount["mountPath"]);
        if path.is_empty() {
            errors.push(FieldError::required(format!("{field}.mountPath"), ""));
        } else if !paths.insert(path) {
            errors.push(FieldError::invalid(format!("{field}.mountPath"), &mount["mountPath"], "must be unique"));
        }
        let sub = &mount["subPath"];
        if text(sub).starts_with('/') {
            errors.push(FieldError::invalid(format!("{field}.subPath"), sub, "must be a relative path"));
        } else if text(sub).split('/').any(|part| part == "..") {
            errors.push(FieldError::invalid(format!("{field}.subPath"), sub, "must not contain '..'"));
        }
        let modes = ["Bidirectional", "HostToContainer", "None"];
        one_of(errors, &format!("{field}.mountPropagation"), &mount["mountPropagation"], &modes);
        if !text(sub).is_empty() && is_set(&mount["subPathExpr"]) {
            let why = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(format!("{field}.subPathExpr"), &mount["subPathExpr"], why));
        }
    }
}
