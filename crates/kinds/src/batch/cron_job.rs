//! `batch/v1 CronJob`.

use super::{job, schedule};
use crate::{
    columns::{age_or, column, flag_text, selector_text, wide_template_columns},
    fields::{is_set, map_at, set_default, set_new_status, size, text, text_or},
    rules,
};
use orrery_api::k8s::api::batch::v1::CronJob;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::{Value, json};

/// A job's name is its cron job's with eleven characters added.
const NAME_LIMIT: usize = 52;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["cj"],
        categories: &["all"],
        has_status: true,
        prepare_create: |object| set_new_status(object, &[]),
        counts_generation: true,
        default,
        validate,
        warnings,
        validate_part: Some(|part, object, old| match part {
            "status" => meta::validate(object, Some(old), true, NameRule::DnsSubdomain),
            _ => validate(object, Some(old)),
        }),
        columns: &COLUMNS,
        ..crate::namespaced::<CronJob>("cronjob")
    }
}

const WIDE: [Column; 3] = wide_template_columns!(
    ["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    |object, _| selector_text(&object["spec"]["jobTemplate"]["spec"]["selector"])
);

const COLUMNS: [Column; 8] = [
    column("Schedule", 0, "When jobs are started.", |object, _| text(&object["spec"]["schedule"]).into()),
    column("Timezone", 0, "The time zone of the schedule.", |object, _| text_or(&object["spec"]["timeZone"], "<none>")),
    Column {
        kind: "boolean",
        ..column("Suspend", 0, "Whether no more jobs are started.", |object, _| flag_text(&object["spec"]["suspend"]))
    },
    crate::columns::integer("Active", "How many jobs are running.", |object, _| {
        size(&object["status"]["active"]).into()
    }),
    column("Last Schedule", 0, "How long ago the last job was started.", |object, now| {
        age_or(&object["status"]["lastScheduleTime"], now, "<none>")
    }),
    WIDE[0],
    WIDE[1],
    WIDE[2],
];

fn default(object: &mut Value) {
    let Some(spec) = object.as_object_mut().and_then(|object| map_at(object, "spec")) else { return };
    if spec.get("concurrencyPolicy").is_none_or(|policy| text(policy).is_empty()) {
        spec.insert("concurrencyPolicy".into(), "Allow".into());
    }
    set_default(spec, "suspend", false);
    set_default(spec, "successfulJobsHistoryLimit", 3);
    set_default(spec, "failedJobsHistoryLimit", 1);
    if let Some(job) = map_at(spec, "jobTemplate").and_then(|template| map_at(template, "spec")) {
        job::fill_in(job);
    }
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    if rules::required(&mut errors, "spec.schedule", &spec["schedule"]) {
        let before = old.map(|old| text(&old["spec"]["schedule"])).unwrap_or_default();
        schedule(spec, before.contains("TZ"), &mut errors);
    }
    rules::none_negative(&mut errors, "spec", spec, &["startingDeadlineSeconds"]);
    if old.is_none_or(|old| old["spec"]["timeZone"] != spec["timeZone"]) {
        time_zone(&spec["timeZone"], &mut errors);
    }
    let policies = ["Allow", "Forbid", "Replace"];
    rules::required_one_of(&mut errors, "spec.concurrencyPolicy", &spec["concurrencyPolicy"], &policies);
    let job = &spec["jobTemplate"]["spec"];
    job::check_spec(job, "spec.jobTemplate.spec", &mut errors);
    if is_set(&job["selector"]) {
        let why = "`selector` will be auto-generated";
        errors.push(FieldError::invalid("spec.jobTemplate.spec.selector", &job["selector"], why));
    }
    if job["manualSelector"] == json!(true) {
        let field = "spec.jobTemplate.spec.manualSelector";
        errors.push(FieldError::not_supported(field, &job["manualSelector"], &["nil", "false"]));
    }
    let limits = ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
    rules::none_negative(&mut errors, "spec", spec, &limits);
    if old.is_none() && meta::name(object).len() > NAME_LIMIT {
        let why = "must be no more than 52 characters";
        errors.push(FieldError::invalid("metadata.name", &object["metadata"]["name"], why));
    }
    errors
}

fn warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    const AT: &str = "spec.jobTemplate.spec.template";
    let template = |object: &Value| object["spec"]["jobTemplate"]["spec"]["template"].clone();
    let mut warnings = crate::pod::template_warnings(&template(object), old.map(template).as_ref(), AT);
    if text(&object["spec"]["schedule"]).contains("TZ") {
        let where_to_read = "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/";
        warnings.push(format!(
            "CRON_TZ or TZ used in \"spec.schedule\" is not officially supported, see {where_to_read} for more details"
        ));
    }
    warnings
}

fn schedule(spec: &Value, zone_allowed: bool, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.schedule";
    let schedule = &spec["schedule"];
    if let Some(why) = schedule::problem(text(schedule)) {
        errors.push(FieldError::invalid(FIELD, schedule, &why));
    }
    if text(schedule).contains("TZ") {
        let why = match (zone_allowed, is_set(&spec["timeZone"])) {
            (true, true) => "cannot use both timeZone field and TZ or CRON_TZ in schedule",
            (true, false) => return,
            (false, _) => "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        };
        errors.push(FieldError::invalid(FIELD, schedule, why));
    }
}

/// The form of a zone's name; whether there is such a zone is known only where jobs are started.
fn time_zone(zone: &Value, errors: &mut Vec<FieldError>) {
    let Some(name) = zone.as_str() else { return };
    let mut refuse = |why: &str| errors.push(FieldError::invalid("spec.timeZone", zone, why));
    if name.is_empty() {
        refuse("timeZone must be nil or non-empty string");
        return;
    }
    let fine = |part: &str| {
        (1..=14).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte))
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
    };
    if !name.split('/').all(fine) {
        refuse(&format!("unknown time zone {name}"));
    } else if name.eq_ignore_ascii_case("local") {
        refuse("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};

    fn rules() -> Rules {
        let pod = json!({"containers": [{"name": "c", "image": "x:1"}], "restartPolicy": "OnFailure"});
        Rules::new(
            descriptor(),
            json!({
                "metadata": {"name": "nightly", "namespace": "n"},
                "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": pod}}}},
            }),
        )
    }

    #[test]
    fn a_cron_job_gets_upstreams_defaults() {
        let spec = rules().filled()["spec"].take();
        assert_eq!((&spec["concurrencyPolicy"], &spec["suspend"]), (&json!("Allow"), &json!(false)));
        assert_eq!((&spec["successfulJobsHistoryLimit"], &spec["failedJobsHistoryLimit"]), (&json!(3), &json!(1)));
        let job = &spec["jobTemplate"]["spec"];
        assert_eq!((&job["backoffLimit"], job.get("manualSelector")), (&json!(6), None));
    }

    #[test]
    fn a_cron_job_follows_upstreams_rules() {
        let rules = rules();
        rules.fine(&[("/spec/timeZone", json!("Europe/Berlin"))]);
        for (at, value, field, text) in [
            ("schedule", json!(""), "schedule", "Required value"),
            ("schedule", json!("often"), "schedule", "expected exactly 5 fields, found 1: [often]"),
            ("schedule", json!("TZ=UTC 0 3 * * *"), "schedule", "use timeZone field instead"),
            ("timeZone", json!("Local"), "timeZone", "must be an explicit time zone"),
            ("timeZone", json!("a b"), "timeZone", "unknown time zone a b"),
            ("concurrencyPolicy", json!("Maybe"), "concurrencyPolicy", "supported values: \"Allow\""),
            ("startingDeadlineSeconds", json!(-1), "startingDeadlineSeconds", "greater than or equal to 0"),
            (
                "jobTemplate/spec/template/spec/restartPolicy",
                json!("Always"),
                "jobTemplate.spec.template.spec.restartPolicy",
                "valid values: \"OnFailure\", \"Never\"",
            ),
            (
                "jobTemplate/spec/selector",
                json!({"matchLabels": {"a": "b"}}),
                "jobTemplate.spec.selector",
                "`selector` will be auto-generated",
            ),
        ] {
            rules.one_error(&format!("/spec/{at}"), &value, &format!("spec.{field}"), text);
        }
        let long = json!("a".repeat(53));
        rules.one_error("/metadata/name", &long, "metadata.name", "must be no more than 52 characters");
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        let expected = [
            "Name",
            "Schedule",
            "Timezone",
            "Suspend",
            "Active",
            "Last Schedule",
            "Age",
            "Containers",
            "Images",
            "Selector",
        ];
        assert_eq!(headings(descriptor()), expected);
        let mut object = rules().filled();
        object["status"] = json!({"lastScheduleTime": "1970-01-01T00:05:00Z", "active": [{}]});
        let expected = json!(["0 3 * * *", "<none>", "False", 1, "5m"]);
        assert_eq!(json!(cells(descriptor(), &object)[1..6]), expected);
    }
}
