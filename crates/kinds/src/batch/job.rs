//! `batch/v1 Job`.

use super::{failure_policy, success_policy};
use crate::{
    columns::{column, selector_text, wide_template_columns},
    fields::{
        default_text, elements, existing_map, is_set, map_at, maps_in, one_of, place, report, set_default,
        set_new_status, size, text,
    },
    pod, rules,
};
use orrery_api::k8s::api::batch::v1::Job;
use orrery_machinery::{
    descriptor::{Column, FixedResource, SelectableField},
    meta::{self, NameRule},
    selector::LabelSelector,
    status::FieldError,
    table::{human_duration, unix_seconds},
};
use serde_json::{Map, Value, json};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        categories: &["all"],
        has_status: true,
        counts_generation: true,
        orphans_by_default: true,
        prepare_create,
        default,
        validate,
        warnings,
        validate_part: Some(validate_part),
        columns: &COLUMNS,
        selectable_fields: SELECTABLE,
        ..crate::namespaced::<Job>("job")
    }
}

const SELECTABLE: &[SelectableField] = &[SelectableField {
    path: "status.successful",
    value: |job| job["status"]["succeeded"].as_i64().unwrap_or_default().to_string(),
}];

const WIDE: [Column; 3] =
    wide_template_columns!(["spec"]["template"]["spec"]; |object, _| selector_text(&object["spec"]["selector"]));

const COLUMNS: [Column; 6] = [
    column("Status", 0, "How far the job has come.", |job, _| state(job).into()),
    column("Completions", 0, "How many pods of how many have succeeded.", |job, _| completions(job).into()),
    column("Duration", 0, "How long the job has been running, or ran.", |job, now| duration(job, now).into()),
    WIDE[0],
    WIDE[1],
    WIDE[2],
];

fn state(job: &Value) -> &'static str {
    let holds = |kind: &str| {
        let mut conditions = elements(&job["status"]["conditions"]);
        conditions.any(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    match () {
        () if holds("Complete") => "Complete",
        () if holds("Failed") => "Failed",
        () if meta::is_deleting(job) => "Terminating",
        () if holds("Suspended") => "Suspended",
        () if holds("FailureTarget") => "FailureTarget",
        () if holds("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let succeeded = job["status"]["succeeded"].as_i64().unwrap_or_default();
    let parallel = job["spec"]["parallelism"].as_i64().unwrap_or_default();
    match job["spec"]["completions"].as_i64() {
        Some(completions) => format!("{succeeded}/{completions}"),
        None if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        None => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now: i64) -> String {
    let Some(start) = unix_seconds(text(&job["status"]["startTime"])) else { return String::new() };
    let end = unix_seconds(text(&job["status"]["completionTime"])).unwrap_or(now);
    human_duration(end - start)
}

/// Labels of pods of a job without a selector of its own: the name and uid of the job, under the old and the new names.
fn generated_labels(job: &Value) -> [(&'static str, String); 4] {
    let (name, uid) = (meta::name(job), meta::uid(job));
    [
        ("job-name", name.to_owned()),
        ("batch.kubernetes.io/job-name", name.to_owned()),
        ("controller-uid", uid.to_owned()),
        (UID_LABEL, uid.to_owned()),
    ]
}

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";

/// A selector that picks no other job's pods, unless the author wrote one. Labels that are there already are left, for
/// validation to refuse.
fn prepare_create(job: &mut Value) {
    set_new_status(job, &[]);
    let (labels, uid) = (generated_labels(job), meta::uid(job).to_owned());
    let Some(spec) = job.as_object_mut().and_then(|job| map_at(job, "spec")) else { return };
    if spec.get("manualSelector") == Some(&json!(true)) {
        return;
    }
    let template = map_at(spec, "template").and_then(|template| map_at(template, "metadata"));
    if let Some(own) = template.and_then(|metadata| map_at(metadata, "labels")) {
        labels.into_iter().for_each(|(key, value)| set_default(own, key, value));
    }
    if let Some(picked) = map_at(spec, "selector").and_then(|selector| map_at(selector, "matchLabels")) {
        set_default(picked, UID_LABEL, uid);
    }
}

fn default(job: &mut Value) {
    let Some(job) = job.as_object_mut() else { return };
    let labels = job.get("spec").map(|spec| spec["template"]["metadata"]["labels"].clone()).unwrap_or_default();
    let own = job.get("metadata").map_or(0, |metadata| size(&metadata["labels"]));
    if own == 0
        && labels.is_object()
        && let Some(metadata) = map_at(job, "metadata")
    {
        metadata.insert("labels".into(), labels);
    }
    if let Some(spec) = map_at(job, "spec") {
        fill_in(spec);
        set_default(spec, "manualSelector", false);
    }
}

/// Fills in a job's spec, wherever it stands.
pub(super) fn fill_in(spec: &mut Map<String, Value>) {
    let per_index = spec.get("backoffLimitPerIndex").is_some_and(is_set);
    if spec.get("completions").is_none_or(Value::is_null) && spec.get("parallelism").is_none_or(Value::is_null) {
        set_default(spec, "completions", 1);
    }
    set_default(spec, "parallelism", 1);
    set_default(spec, "backoffLimit", if per_index { i64::from(i32::MAX) } else { 6 });
    set_default(spec, "completionMode", "NonIndexed");
    set_default(spec, "suspend", false);
    let replacement = if spec.get("podFailurePolicy").is_some_and(is_set) { "Failed" } else { "TerminatingOrFailed" };
    set_default(spec, "podReplacementPolicy", replacement);
    if let Some(policy) = existing_map(spec, "podFailurePolicy") {
        for rule in maps_in(policy, "rules") {
            maps_in(rule, "onPodConditions").for_each(|pattern| default_text(pattern, "status", "True"));
        }
    }
    pod::fill_in_template(spec);
}

fn validate(job: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(job, old, true, NameRule::DnsSubdomain);
    let spec = &job["spec"];
    if old.is_none() {
        generated_selector(job, &mut errors);
    }
    check_spec(spec, "spec", &mut errors);
    if rules::required(&mut errors, "spec.selector", &spec["selector"]) {
        rules::selector(&mut errors, "spec.selector", &spec["selector"]);
    }
    let labels = &spec["template"]["metadata"]["labels"];
    if !LabelSelector::from_object(&spec["selector"]).matches_labels(labels.as_object()) {
        let why = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels, why));
    }
    // An Indexed job's pods are found by their names, which the job's name is part of.
    if old.is_none() && spec["completionMode"] == "Indexed" && spec["completions"].as_i64().unwrap_or_default() > 0 {
        let last = spec["completions"].as_i64().unwrap_or_default() - 1;
        let host = format!("{}-{last}", meta::name(job));
        let problems = meta::dns_label_problems(&host);
        let why = |problem: &String| format!("will not able to create pod with invalid DNS label: {host}: {problem}");
        let name = &job["metadata"]["name"];
        errors.extend(problems.iter().map(|p| FieldError::invalid("metadata.name", name, &why(p))).take(1));
    }
    if let Some(old) = old {
        change(job, old, &mut errors);
    }
    errors
}

fn warnings(job: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = crate::apps::template_warnings(job, old);
    let spec = &job["spec"];
    let above = |field: &str, most: i64| spec[field].as_i64().is_some_and(|count| count > most);
    if spec["completionMode"] == "Indexed" && above("completions", MOST_PARALLEL) && above("parallelism", 10_000) {
        let why = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
                   Kubernetes might not be able to track completedIndexes when a big number of indexes fail";
        warnings.push(why.to_owned());
    }
    warnings
}

fn generated_selector(job: &Value, errors: &mut Vec<FieldError>) {
    let spec = &job["spec"];
    if spec["manualSelector"] == json!(true) || !is_set(&spec["selector"]) {
        return;
    }
    rules::required(errors, "metadata.uid", &job["metadata"]["uid"]);
    let expected = generated_labels(job);
    let labels = &spec["template"]["metadata"]["labels"];
    for (key, value) in &expected {
        let (field, why) = (format!("spec.template.metadata.labels[{key}]"), format!("must be '{value}'"));
        match labels[*key].as_str() {
            None => errors.push(FieldError::required(field, &why)),
            Some(found) if found != value => errors.push(FieldError::invalid(field, labels, &why)),
            Some(_) => {}
        }
    }
    let found = |key: &str| expected.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str());
    if !LabelSelector::from_object(&spec["selector"]).matches_by(found) {
        errors.push(FieldError::invalid("spec.selector", &spec["selector"], "`selector` not auto-generated"));
    }
}

/// Checks a job's spec that stands at `at`.
pub(super) fn check_spec(spec: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let numbers = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    rules::none_negative(errors, at, spec, &numbers);
    if is_set(&spec["maxFailedIndexes"]) && !is_set(&spec["backoffLimitPerIndex"]) {
        let why = "when maxFailedIndexes is specified";
        errors.push(FieldError::required(format!("{at}.backoffLimitPerIndex"), why));
    }
    managed_by(&spec["managedBy"], &format!("{at}.managedBy"), errors);
    one_of(errors, &format!("{at}.completionMode"), &spec["completionMode"], &["NonIndexed", "Indexed"]);
    if spec["completionMode"] == "Indexed" {
        indexed(spec, at, errors);
    } else {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if is_set(&spec[field]) {
                let why = "requires indexed completion mode";
                errors.push(FieldError::invalid(format!("{at}.{field}"), &spec[field], why));
            }
        }
    }
    failure_policy::check(spec, &format!("{at}.podFailurePolicy"), errors);
    success_policy::check(spec, &format!("{at}.successPolicy"), errors);
    replacement_policy(spec, &format!("{at}.podReplacementPolicy"), errors);
    pod::validate_template(&spec["template"], &format!("{at}.template"), errors);
    restart_policy(spec, &format!("{at}.template.spec.restartPolicy"), errors);
}

fn managed_by(manager: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let Some(name) = manager.as_str() else { return };
    report(errors, field, manager, &rules::domain_path_problems(name));
    if name.len() > 63 {
        errors.push(FieldError::too_long(field, 63));
    }
}

const MOST_PARALLEL: i64 = 100_000;

fn indexed(spec: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let (completions, failed) = (spec["completions"].as_i64(), spec["maxFailedIndexes"].as_i64());
    if completions.is_none() {
        errors.push(FieldError::required(format!("{at}.completions"), "when completion mode is Indexed"));
    }
    let mut refuse = |field: &str, why: &str| {
        errors.push(FieldError::invalid(format!("{at}.{field}"), &spec[field], why));
    };
    if spec["parallelism"].as_i64().is_some_and(|parallel| parallel > MOST_PARALLEL) {
        refuse("parallelism", "must be less than or equal to 100000 when completion mode is Indexed");
    }
    if let (Some(completions), Some(failed)) = (completions, failed)
        && failed > completions
    {
        refuse("maxFailedIndexes", "must be less than or equal to completions");
    }
    if failed.is_some_and(|failed| failed > MOST_PARALLEL) {
        refuse("maxFailedIndexes", "must be less than or equal to 100000");
    }
    if completions.is_some_and(|completions| completions > MOST_PARALLEL) && is_set(&spec["backoffLimitPerIndex"]) {
        let why = "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit \
                   per index";
        for field in ["parallelism", "maxFailedIndexes"] {
            if spec[field].as_i64().is_some_and(|count| count > 10_000) {
                refuse(field, why);
            }
        }
        if failed.is_none() {
            let why = "must be specified when completions is above 100000";
            errors.push(FieldError::required(format!("{at}.maxFailedIndexes"), why));
        }
    }
}

fn replacement_policy(spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let supported: &[&str] =
        if is_set(&spec["podFailurePolicy"]) { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    one_of(errors, field, &spec["podReplacementPolicy"], supported);
}

fn restart_policy(spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let policy = &spec["template"]["spec"]["restartPolicy"];
    match text(policy) {
        "" | "Always" => errors.push(FieldError::required(field, "valid values: \"OnFailure\", \"Never\"")),
        "OnFailure" if is_set(&spec["podFailurePolicy"]) => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(FieldError::invalid(field, policy, why));
        }
        "OnFailure" | "Never" => {}
        _ => errors.push(FieldError::not_supported(field, policy, &["OnFailure", "Never"])),
    }
}

fn change(job: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (spec, before) = (&job["spec"], &old["spec"]);
    let completions = &spec["completions"];
    if *completions != before["completions"] {
        if spec["completionMode"] != "Indexed" {
            rules::immutable(errors, "spec.completions", completions, &before["completions"]);
        } else if is_set(completions) && *completions != spec["parallelism"] {
            let why = "can only be modified in tandem with spec.parallelism";
            errors.push(FieldError::invalid("spec.completions", completions, why));
        }
    }
    rules::immutable(errors, "spec.selector", &spec["selector"], &before["selector"]);
    template_change(job, old, errors);
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        rules::immutable(errors, &format!("spec.{field}"), &spec[field], &before[field]);
    }
}

/// The template is fixed, but where a job's pods may go can change before any of them ran.
fn template_change(job: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (template, mut before) = (&job["spec"]["template"], old["spec"]["template"].clone());
    let never_ran = old["spec"]["suspend"] == json!(true) && !is_set(&old["status"]["startTime"]);
    if never_ran {
        for (part, field) in [
            ("spec", "nodeSelector"),
            ("spec", "tolerations"),
            ("spec", "schedulingGates"),
            ("metadata", "labels"),
            ("metadata", "annotations"),
        ] {
            let (Some(before), value) = (before.as_object_mut(), template[part].get(field)) else { continue };
            take_over(before, part, field, value);
        }
        let (wanted, spec) = (&template["spec"]["affinity"], place(&mut before, &["spec"]));
        if let Some(spec) = spec.and_then(Value::as_object_mut) {
            node_affinity(wanted, spec);
        }
    }
    rules::immutable(errors, "spec.template", template, &before);
}

/// Sets or removes a field of a part.
fn take_over(whole: &mut Map<String, Value>, part: &str, field: &str, value: Option<&Value>) {
    match value {
        Some(value) => {
            if let Some(part) = map_at(whole, part) {
                part.insert(field.to_owned(), value.clone());
            }
        }
        None => {
            if let Some(part) = existing_map(whole, part) {
                part.remove(field);
            }
        }
    }
}

/// Takes over the node affinity; an affinity that is nothing else comes and goes with it.
fn node_affinity(wanted: &Value, spec: &mut Map<String, Value>) {
    take_over(spec, "affinity", "nodeAffinity", wanted.get("nodeAffinity"));
    if spec.get("affinity").is_none_or(|affinity| size(affinity) == 0) {
        spec.remove("affinity");
        if is_set(wanted) {
            spec.insert("affinity".into(), json!({}));
        }
    }
}

fn validate_part(part: &str, job: &Value, old: &Value) -> Vec<FieldError> {
    if part != "status" {
        return validate(job, Some(old));
    }
    let mut errors = meta::validate(job, Some(old), true, NameRule::DnsSubdomain);
    let status = &job["status"];
    rules::none_negative(&mut errors, "status", status, &["active", "succeeded", "failed", "ready", "terminating"]);
    let mut seen = std::collections::BTreeSet::new();
    for list in ["succeeded", "failed"] {
        for (index, uid) in elements(&status["uncountedTerminatedPods"][list]).enumerate() {
            let field = format!("status.uncountedTerminatedPods.{list}[{index}]");
            if text(uid).is_empty() {
                errors.push(FieldError::invalid(field, uid, "must not be empty"));
            } else if !seen.insert(text(uid)) {
                errors.push(FieldError::duplicate(field, uid));
            }
        }
    }
    errors
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
