use super::*;
use orrery_apiserver::Operation;
use serde_json::json;

const PODS: Form<'_> = Form { group: "", version: "v1", plural: "pods", kind: "Pod" };

fn subject() -> Subject<'static> {
    Subject {
        operation: Operation::Create,
        served: PODS,
        stored: None,
        subresource: "",
        is_namespaced: true,
        name: "web",
        object: None,
        old: None,
        namespace: None,
    }
}

fn rule(changes: &Value) -> Value {
    let mut rule = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"],
        "scope": "*"});
    for (field, value) in changes.as_object().unwrap() {
        rule[field] = value.clone();
    }
    rule
}

#[test]
fn a_rule_is_about_what_it_lists() {
    let attach = Subject { subresource: "attach", operation: Operation::Connect, ..subject() };
    let node = Form { plural: "nodes", kind: "Node", ..PODS };
    let node = Subject { served: node, is_namespaced: false, ..subject() };
    let table = [
        (json!({}), [true, true, true]),
        (json!({"operations": ["CREATE"]}), [true, false, true]),
        (json!({"operations": ["CONNECT", "DELETE"]}), [false, true, false]),
        (json!({"apiGroups": [""]}), [true, true, true]),
        (json!({"apiGroups": ["apps"]}), [false, false, false]),
        (json!({"apiVersions": ["v1beta1"]}), [false, false, false]),
        (json!({"resources": ["pods"]}), [true, false, false]),
        (json!({"resources": ["*"]}), [true, false, true]),
        (json!({"resources": ["pods/*"]}), [true, true, false]),
        (json!({"resources": ["pods/attach"]}), [false, true, false]),
        (json!({"resources": ["*/attach"]}), [false, true, false]),
        (json!({"resources": ["nodes", "services"]}), [false, false, true]),
        (json!({"resources": []}), [false, false, false]),
        (json!({"scope": "Namespaced"}), [true, true, false]),
        (json!({"scope": "Cluster"}), [false, false, true]),
        (json!({"resourceNames": ["web", "db"]}), [true, true, true]),
        (json!({"resourceNames": ["db"]}), [false, false, false]),
    ];
    for (changes, expected) in table {
        let matching = Match::webhook(&json!({"rules": [rule(&changes)]}));
        let got = [subject(), attach, node].map(|subject| matching.form(&subject).is_some());
        assert_eq!(got, expected, "{changes}");
    }
}

#[test]
fn a_rule_for_the_stored_form_matches_unless_the_policy_is_exact() {
    let stored = Form { group: "", version: "v1", plural: "events", kind: "Event" };
    let served = Form { group: "events.k8s.io", ..stored };
    let subject = Subject { served, stored: Some(stored), ..subject() };
    for (policy, groups, expected) in [
        ("Equivalent", json!([""]), Some(stored)),
        ("Exact", json!([""]), None),
        ("Exact", json!(["events.k8s.io"]), Some(served)),
        // The requested form is taken where both are named.
        ("Equivalent", json!(["", "events.k8s.io"]), Some(served)),
        ("Equivalent", json!(["apps"]), None),
    ] {
        let hook = json!({"matchPolicy": policy, "rules": [rule(&json!({"apiGroups": groups}))]});
        assert_eq!(Match::webhook(&hook).form(&subject), expected, "{hook}");
    }
}

#[test]
fn selectors_look_at_the_namespace_and_at_the_new_or_the_old_object() {
    let (web, db) = (json!({"metadata": {"labels": {"app": "web"}}}), json!({"metadata": {"labels": {"app": "db"}}}));
    let options = json!({"kind": "PodExecOptions"});
    let picks_web = json!({"matchLabels": {"app": "web"}});
    let not_db = json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]});
    let object = |object, old| Subject { object, old, ..subject() };
    let namespace = |namespace| Subject { namespace, ..subject() };
    for (field, selector, subject, expected) in [
        ("objectSelector", &picks_web, object(Some(&web), None), true),
        ("objectSelector", &picks_web, object(Some(&db), Some(&web)), true),
        ("objectSelector", &picks_web, object(Some(&db), None), false),
        ("objectSelector", &not_db, object(None, None), false),
        ("objectSelector", &not_db, object(Some(&options), None), false),
        ("objectSelector", &json!({}), object(Some(&options), None), true),
        ("namespaceSelector", &picks_web, namespace(Some(&web)), true),
        ("namespaceSelector", &picks_web, namespace(Some(&db)), false),
        // Nothing without a namespace is left out.
        ("namespaceSelector", &picks_web, namespace(None), true),
    ] {
        let hook = json!({"rules": [rule(&json!({}))], field: selector});
        assert_eq!(Match::webhook(&hook).form(&subject).is_some(), expected, "{hook}");
    }
}

#[test]
fn a_binding_without_rules_matches_all_and_exclusions_come_first() {
    assert!(Match::binding(&json!(null)).form(&subject()).is_some());
    assert!(Match::constraints(&json!({})).form(&subject()).is_none());
    let excluded = json!({"excludeResourceRules": [rule(&json!({"resources": ["pods"]}))]});
    assert!(Match::binding(&excluded).form(&subject()).is_none());
}

#[test]
fn what_decides_on_requests_is_not_decided_on() {
    assert!(is_exempt(GROUP, "validatingwebhookconfigurations"));
    assert!(!is_exempt("", "pods"));
    assert!(!is_exempt("example.org", "validatingwebhookconfigurations"));
}
