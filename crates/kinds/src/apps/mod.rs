//! `apps/v1`: what keeps pods running.

mod controller_revision;
mod daemon_set;
mod deployment;
mod replica_set;
mod stateful_set;

pub(crate) use replica_set::{CURRENT, DESIRED, READY, SELECTABLE as REPLICAS_SELECTABLE, replica_status};

use super::{
    fields::{is_set, size, text},
    pod, rules,
};
use orrery_machinery::{
    descriptor::{FixedResource, ScalePaths, Subresource, Text},
    selector::LabelSelector,
    status::FieldError,
};
use serde_json::Value;

pub(crate) fn descriptors() -> [FixedResource; 5] {
    [
        deployment::descriptor(),
        replica_set::descriptor(),
        stateful_set::descriptor(),
        daemon_set::descriptor(),
        controller_revision::descriptor(),
    ]
}

/// `scale` of what has `spec.replicas` and a selector.
pub(crate) const SCALE: &[Subresource] = &[Subresource::scale(ScalePaths {
    spec_replicas: Text::Borrowed("spec.replicas"),
    status_replicas: Text::Borrowed("status.replicas"),
    selector: Some(Text::Borrowed("spec.selector")),
})];

/// Checks a selector that has to be there and to pick something. `kind` is what upstream calls the kind here.
fn selector(spec: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.selector";
    let selector = &spec["selector"];
    if !rules::required(errors, FIELD, selector) {
        return;
    }
    rules::selector(errors, FIELD, selector);
    if size(&selector["matchLabels"]) + size(&selector["matchExpressions"]) == 0 {
        errors.push(FieldError::invalid(FIELD, selector, &format!("empty selector is invalid for {kind}")));
    }
}

/// Adds an error when the template's labels are not what the selector picks. An empty selector was refused already.
fn labels_match(spec: &Value, errors: &mut Vec<FieldError>) {
    let labels = &spec["template"]["metadata"]["labels"];
    let picked = LabelSelector::from_object(&spec["selector"]);
    if is_set(&spec["selector"]) && !picked.matches_labels(labels.as_object()) {
        let why = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels, why));
    }
}

/// What the author of a workload should know of its template.
pub(crate) fn template_warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    let old = old.map(|old| &old["spec"]["template"]);
    pod::template_warnings(&object["spec"]["template"], old, "spec.template")
}

/// Checks the template of pods that run for ever. `kind` is the kind's name in upstream's words.
pub(crate) fn lasting_template(template: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    pod::validate_template(template, "spec.template", errors);
    always_restarted(template, kind, errors);
}

fn always_restarted(template: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    let spec = &template["spec"];
    if text(&spec["restartPolicy"]) != "Always" {
        let field = "spec.template.spec.restartPolicy";
        errors.push(FieldError::not_supported(field, &spec["restartPolicy"], &["Always"]));
    }
    if is_set(&spec["activeDeadlineSeconds"]) {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden("spec.template.spec.activeDeadlineSeconds", &why));
    }
}

/// Adds an error when one count of a status is above another: pairs of the field and what it may not exceed.
pub(crate) fn counts_fit(status: &Value, pairs: &[(&str, &str, &str)], errors: &mut Vec<FieldError>) {
    let count = |field: &str| status[field].as_i64().unwrap_or_default();
    for (field, most, words) in pairs {
        if count(field) > count(most) {
            let why = format!("cannot be greater than {words}");
            errors.push(FieldError::invalid(format!("status.{field}"), &count(field).into(), &why));
        }
    }
}

/// Adds an error when the count of collisions of names goes down.
fn collisions_grow(status: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let count = |status: &Value| status["collisionCount"].as_i64();
    if count(old).is_some_and(|old| count(status).unwrap_or_default() < old) {
        let now = count(status).unwrap_or_default().into();
        errors.push(FieldError::invalid("status.collisionCount", &now, "cannot be decremented"));
    }
}
