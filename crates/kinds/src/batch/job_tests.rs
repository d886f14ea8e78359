//! The rules of jobs, a table row each.

use super::*;
use crate::testing::{Rules, cells, headings};

fn rules() -> Rules {
    let pod = json!({"containers": [{"name": "c", "image": "x:1"}], "restartPolicy": "Never"});
    Rules::new(
        descriptor(),
        json!({
            "metadata": {"name": "once", "namespace": "n", "uid": "7"},
            "spec": {"template": {"metadata": {"labels": {"app": "x"}}, "spec": pod}},
        }),
    )
}

#[test]
fn a_job_gets_a_selector_of_its_own_and_upstreams_defaults() {
    let job = rules().filled();
    let spec = &job["spec"];
    assert_eq!(spec["selector"], json!({"matchLabels": {UID_LABEL: "7"}}));
    let labels = json!({
        "app": "x", "job-name": "once", "batch.kubernetes.io/job-name": "once", "controller-uid": "7", UID_LABEL: "7",
    });
    assert_eq!((&spec["template"]["metadata"]["labels"], &job["metadata"]["labels"]), (&labels, &labels));
    for (field, value) in [
        ("completions", json!(1)),
        ("parallelism", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("manualSelector", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
    ] {
        assert_eq!(spec[field], value, "{field}");
    }
    assert_eq!(rules().with(&[("/spec/parallelism", json!(3))])["spec"].get("completions"), None);
    let indexed = rules().with(&[("/spec/backoffLimitPerIndex", json!(1))]);
    assert_eq!(indexed["spec"]["backoffLimit"], json!(2_147_483_647));
}

#[test]
fn a_selector_of_ones_own_has_to_be_asked_for() {
    let rules = rules();
    let own = json!({"matchLabels": {"app": "x"}});
    rules.one_error("/spec/selector", &own, "spec.selector", "`selector` not auto-generated");
    rules.fine(&[("/spec/selector", own), ("/spec/manualSelector", json!(true))]);
    let field = "spec.template.metadata.labels[job-name]";
    rules.one_error("/spec/template/metadata/labels", &json!({"job-name": "other"}), field, "must be 'once'");
}

#[test]
fn a_job_follows_upstreams_rules() {
    let rules = rules();
    rules.fine(&[("/spec/completionMode", json!("Indexed")), ("/spec/completions", json!(3))]);
    for (at, value, field, text) in [
        ("parallelism", json!(-1), "parallelism", "must be greater than or equal to 0"),
        ("completionMode", json!("Any"), "completionMode", "supported values: \"NonIndexed\", \"Indexed\""),
        ("backoffLimitPerIndex", json!(1), "backoffLimitPerIndex", "requires indexed completion mode"),
        ("managedBy", json!("me"), "managedBy", "must be a domain-prefixed path (such as \"acme.io/foo\")"),
        ("successPolicy", json!({"rules": []}), "successPolicy", "requires indexed completion mode"),
        (
            "template/spec/restartPolicy",
            json!("Always"),
            "template.spec.restartPolicy",
            "Required value: valid values: \"OnFailure\", \"Never\"",
        ),
        ("template/spec/containers", json!([]), "template.spec.containers", "Required value"),
    ] {
        rules.one_error(&format!("/spec/{at}"), &value, &format!("spec.{field}"), text);
    }
}

#[test]
fn a_failure_policy_says_what_to_do_when() {
    let rules = rules();
    let one = |rule: Value| json!({"rules": [rule]});
    rules.fine(&[(
        "/spec/podFailurePolicy",
        json!({"rules": [
            {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [42]}},
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        ]}),
    )]);
    let codes = |values: Value| json!({"operator": "In", "values": values});
    for (rule, field, text) in [
        (json!({"action": "Ignore"}), "", "specifying one of OnExitCodes and OnPodConditions is required"),
        (json!({"action": "Stop", "onExitCodes": codes(json!([1]))}), ".action", "supported values: \"Count\""),
        (
            json!({"action": "FailIndex", "onExitCodes": codes(json!([1]))}),
            ".action",
            "requires the backoffLimitPerIndex to be set",
        ),
        (json!({"action": "Count", "onExitCodes": codes(json!([0]))}), ".onExitCodes.values[0]", "must not be 0"),
        (json!({"action": "Count", "onExitCodes": codes(json!([2, 1]))}), ".onExitCodes.values", "must be ordered"),
        (json!({"action": "Count", "onExitCodes": codes(json!([]))}), ".onExitCodes.values", "at least one value"),
    ] {
        let field = format!("spec.podFailurePolicy.rules[0]{field}");
        rules.one_error("/spec/podFailurePolicy", &one(rule), &field, text);
    }
}

#[test]
fn little_of_a_job_changes_and_where_its_pods_go_only_before_they_ran() {
    let rules = rules();
    rules.change("/spec/parallelism", &json!(2), None);
    rules.change("/spec/suspend", &json!(true), None);
    rules.change("/spec/completions", &json!(2), Some(("spec.completions", "field is immutable")));
    let image = "/spec/template/spec/containers/0/image";
    rules.change(image, &json!("y"), Some(("spec.template", "field is immutable")));
    let selector = "/spec/template/spec/nodeSelector";
    rules.change(selector, &json!({"a": "b"}), Some(("spec.template", "field is immutable")));

    let old = rules.with(&[("/spec/suspend", json!(true))]);
    for (at, value) in [
        (selector, json!({"a": "b"})),
        ("/spec/template/metadata/annotations", json!({"a": "b"})),
        ("/spec/template/spec/affinity", json!({"nodeAffinity": {}})),
    ] {
        let mut new = old.clone();
        crate::testing::put(&mut new, at, &value);
        assert_eq!(validate(&new, Some(&old)), [], "{at}");
        let mut ran = old.clone();
        ran["status"] = json!({"startTime": "1970-01-01T00:00:00Z"});
        assert_eq!(validate(&new, Some(&ran))[0].field, "spec.template", "{at}");
    }
    let mut other = old.clone();
    crate::testing::put(&mut other, "/spec/template/spec/affinity", &json!({"podAffinity": {}}));
    assert_eq!(validate(&other, Some(&old))[0].field, "spec.template");
}

#[test]
fn the_table_reads_as_upstreams() {
    let expected = ["Name", "Status", "Completions", "Duration", "Age", "Containers", "Images", "Selector"];
    assert_eq!(headings(descriptor()), expected);
    let mut job = rules().filled();
    job["status"] = json!({"succeeded": 0, "startTime": "1970-01-01T00:09:00Z"});
    assert_eq!(json!(cells(descriptor(), &job)[1..4]), json!(["Running", "0/1", "60s"]));
    job["status"] = json!({
        "succeeded": 1, "startTime": "1970-01-01T00:09:00Z", "completionTime": "1970-01-01T00:09:05Z",
        "conditions": [{"type": "Complete", "status": "True"}],
    });
    assert_eq!(json!(cells(descriptor(), &job)[1..4]), json!(["Complete", "1/1", "5s"]));
}
