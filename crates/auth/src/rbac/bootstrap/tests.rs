//! The tables as a whole, and what becomes of what administrators changed.

use super::*;
use crate::rbac::rules_of;
use serde_json::json;
use std::collections::HashSet;

fn find(plural: &str, name: &str) -> Value {
    let all = objects();
    let found = all.iter().find(|object| object.plural == plural && object.object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("{plural} {name}")).object.clone()
}

#[test]
fn every_table_reads_and_no_object_stands_twice() {
    let mut seen = HashSet::new();
    for Bootstrap { plural, object } in objects() {
        let name = (plural, object["metadata"]["namespace"].to_string(), object["metadata"]["name"].to_string());
        assert!(seen.insert(name.clone()), "{name:?}");
        let grants = !rules_of(&object).is_empty();
        let binds = object["subjects"].as_array().is_some_and(|list| !list.is_empty());
        assert!(grants || binds || object["aggregationRule"].is_object(), "{name:?} does nothing");
    }
    assert!(seen.len() > 100, "{}", seen.len());
}

#[test]
fn a_rule_is_read_as_its_line_says() {
    let scheduler = find("clusterroles", "system:kube-scheduler");
    let rules = scheduler["rules"].as_array().unwrap();
    let lease = json!({"verbs": ["get", "update"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
        "resourceNames": ["kube-scheduler"]});
    assert!(rules.contains(&lease), "{rules:#?}");
    let pods = json!({"verbs": ["delete", "get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]});
    assert!(rules.contains(&pods), "{rules:#?}");
    let admin = find("clusterroles", "cluster-admin");
    assert_eq!(admin["rules"][1], json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
}

#[test]
fn controllers_have_accounts_and_strangers_see_health_only() {
    let binding = find("clusterrolebindings", "system:controller:job-controller");
    let account = json!([{"kind": "ServiceAccount", "namespace": "kube-system", "name": "job-controller"}]);
    assert_eq!(binding["subjects"], account);
    for Bootstrap { object, .. } in objects() {
        let strangers = object["subjects"].as_array().into_iter().flatten();
        if strangers.into_iter().any(|subject| subject["name"] == crate::user::UNAUTHENTICATED) {
            assert_eq!(object["roleRef"]["name"], "system:public-info-viewer");
        }
    }
}

#[test]
fn what_administrators_added_stays_and_what_is_missing_comes() {
    let expected = find("clusterroles", "system:kube-dns");
    assert_eq!(reconcile(None, &expected), Step::Create(expected.clone()));
    assert_eq!(reconcile(Some(&expected), &expected), Step::Keep);
    let mut wider = expected.clone();
    wider["rules"] = json!([{"verbs": ["*"], "apiGroups": [""], "resources": ["*"]}]);
    assert_eq!(reconcile(Some(&wider), &expected), Step::Keep);
    let mut narrower = expected.clone();
    narrower["rules"] = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    narrower["metadata"]["labels"] = json!({"own": "x"});
    let Step::Update(new) = reconcile(Some(&narrower), &expected) else { panic!() };
    assert_eq!(new["rules"].as_array().unwrap().len(), 2);
    assert_eq!(new["metadata"]["labels"], json!({"own": "x", "kubernetes.io/bootstrapping": "rbac-defaults"}));
    narrower["metadata"]["annotations"] = json!({"rbac.authorization.kubernetes.io/autoupdate": "false"});
    assert_eq!(reconcile(Some(&narrower), &expected), Step::Keep);
}

#[test]
fn a_binding_gets_its_subjects_back_and_is_replaced_when_it_names_another_role() {
    let expected = find("clusterrolebindings", "system:discovery");
    let mut other = expected.clone();
    other["subjects"] = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}]);
    let Step::Update(new) = reconcile(Some(&other), &expected) else { panic!() };
    assert_eq!(new["subjects"].as_array().unwrap().len(), 2);
    other["roleRef"]["name"] = json!("cluster-admin");
    assert_eq!(reconcile(Some(&other), &expected), Step::Replace(expected));
}

#[test]
fn an_aggregated_role_keeps_its_rules_and_regains_its_selector() {
    let expected = find("clusterroles", "view");
    let mut existing = expected.clone();
    existing["rules"] = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    assert_eq!(reconcile(Some(&existing), &expected), Step::Keep);
    existing["aggregationRule"] = json!({"clusterRoleSelectors": []});
    let Step::Update(new) = reconcile(Some(&existing), &expected) else { panic!() };
    assert_eq!(new["aggregationRule"], expected["aggregationRule"]);
    assert_eq!(new["rules"], existing["rules"]);
}
