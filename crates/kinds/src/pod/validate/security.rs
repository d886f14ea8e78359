//! The rules of security contexts, of a pod and of its containers.

use crate::{
    fields::{elements, is_set, one_of, text},
    rules,
};
use orrery_machinery::status::FieldError;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Checks what holds for a whole pod; its spec stands at `at`.
pub(super) fn pod(spec: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let context = &spec["securityContext"];
    let field = format!("{at}.securityContext");
    for name in ["runAsUser", "runAsGroup", "fsGroup"] {
        id(&context[name], &format!("{field}.{name}"), errors);
    }
    for (index, group) in elements(&context["supplementalGroups"]).enumerate() {
        id(group, &format!("{field}.supplementalGroups[{index}]"), errors);
    }
    let policies = ["Merge", "Strict"];
    let policy = &context["supplementalGroupsPolicy"];
    one_of(errors, &format!("{field}.supplementalGroupsPolicy"), policy, &policies);
    let policies = ["Always", "OnRootMismatch"];
    one_of(errors, &format!("{field}.fsGroupChangePolicy"), &context["fsGroupChangePolicy"], &policies);
    sysctls(spec, &format!("{field}.sysctls"), errors);
    profiles(context, &field, errors);
    let os = &spec["os"]["name"];
    if is_set(&spec["os"]) {
        rules::required_one_of(errors, &format!("{at}.os.name"), os, &["linux", "windows"]);
    }
}

/// Checks the context of a container that stands at `field`.
pub(super) fn container(context: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for name in ["runAsUser", "runAsGroup"] {
        id(&context[name], &format!("{field}.{name}"), errors);
    }
    let mounts = ["Default", "Unmasked"];
    one_of(errors, &format!("{field}.procMount"), &context["procMount"], &mounts);
    if context["allowPrivilegeEscalation"] == json!(false) {
        let mut refuse = |what: &str| {
            let why = format!("cannot set `allowPrivilegeEscalation` to false and {what}");
            errors.push(FieldError::invalid(field, context, &why));
        };
        if context["privileged"] == json!(true) {
            refuse("`privileged` to true");
        }
        if elements(&context["capabilities"]["add"]).any(|added| added == "CAP_SYS_ADMIN") {
            refuse("`capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    profiles(context, field, errors);
}

/// A user or a group.
fn id(id: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if id.as_i64().is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id)) {
        errors.push(FieldError::invalid(field, id, "must be between 0 and 2147483647, inclusive"));
    }
}

/// The profiles of seccomp and `AppArmor`: a file on the node if and only if the type says so.
fn profiles(context: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for name in ["seccompProfile", "appArmorProfile"].into_iter().filter(|name| is_set(&context[*name])) {
        let (profile, field) = (&context[name], format!("{field}.{name}"));
        let types = ["Localhost", "RuntimeDefault", "Unconfined"];
        let kind = &profile["type"];
        if text(kind).is_empty() {
            let why = if name == "seccompProfile" {
                "type is required when seccompProfile is set"
            } else {
                "type is required when appArmorProfile is set"
            };
            errors.push(FieldError::required(format!("{field}.type"), why));
            continue;
        }
        one_of(errors, &format!("{field}.type"), kind, &types);
        let (file, at) = (&profile["localhostProfile"], format!("{field}.localhostProfile"));
        let words = if name == "seccompProfile" { "seccomp type" } else { "AppArmor type" };
        match (*kind == "Localhost", is_set(file)) {
            (true, false) => {
                errors.push(FieldError::required(at, &format!("must be set when {words} is Localhost")));
            }
            (false, true) => {
                errors.push(FieldError::invalid(at, file, &format!("can only be set when {words} is Localhost")));
            }
            (true, true) if name == "seccompProfile" => super::projection::local_path(file, &at, errors),
            (_, _) => {}
        }
    }
}

const SYSCTL_LIMIT: usize = 253;

fn sysctls(spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut names = BTreeSet::new();
    for (index, sysctl) in elements(&spec["securityContext"]["sysctls"]).enumerate() {
        let field = format!("{field}[{index}].name");
        let name = &sysctl["name"];
        if text(name).is_empty() {
            errors.push(FieldError::required(field, ""));
            continue;
        }
        if !is_sysctl(text(name)) {
            let why = "must have at most 253 characters and match regex \
                       ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(FieldError::invalid(field.as_str(), name, why));
        } else if !names.insert(text(name)) {
            errors.push(FieldError::duplicate(field.as_str(), name));
        }
        if spec["hostNetwork"] == json!(true) && text(name).starts_with("net.") {
            let why = "may not be specified when 'hostNetwork' is true";
            errors.push(FieldError::invalid(field.as_str(), name, why));
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        part.bytes().all(|byte| alphanumeric(byte) || b"-_".contains(&byte))
            && part.bytes().next().is_some_and(alphanumeric)
            && part.bytes().last().is_some_and(alphanumeric)
    };
    name.len() <= SYSCTL_LIMIT && name.split(['.', '/']).all(is_part)
}
