//! What is to be done so that a cluster has what every cluster has. Additions by its administrators stay, and an object
//! whose annotation `rbac.authorization.kubernetes.io/autoupdate` is `false` is left alone.

use crate::rbac::{Binding, covered, rules_of};
use orrery_machinery::meta;
use serde_json::{Value, json};

/// Whether an object follows the release; `false` keeps it as it is.
pub(super) const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// What is to be done with one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// It is missing.
    Create(Value),
    /// It lacks something.
    Update(Value),
    /// It is a binding of another role, which can't be changed.
    Replace(Value),
}

/// What is to be done so that `expected` holds.
#[must_use]
pub fn reconcile(existing: Option<&Value>, expected: &Value) -> Step {
    let Some(existing) = existing else { return Step::Create(expected.clone()) };
    if existing["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return Step::Keep;
    }
    let mut new = existing.clone();
    if expected["roleRef"].is_object() {
        let (old, wanted) = (Binding::of(existing), Binding::of(expected));
        if old.role != wanted.role {
            return Step::Replace(expected.clone());
        }
        let missing = expected["subjects"].as_array().into_iter().flatten();
        let missing = missing.zip(&wanted.subjects).filter(|(_, subject)| !old.subjects.contains(subject));
        extend(&mut new["subjects"], missing.map(|(object, _)| object.clone()).collect());
    } else if expected["aggregationRule"].is_object() {
        // The rules are the aggregation's business.
        let wanted = &expected["aggregationRule"]["clusterRoleSelectors"];
        let missing = wanted.as_array().into_iter().flatten();
        let old = existing["aggregationRule"]["clusterRoleSelectors"].as_array().cloned().unwrap_or_default();
        let missing: Vec<Value> = missing.filter(|selector| !old.contains(selector)).cloned().collect();
        if !missing.is_empty() {
            new["aggregationRule"] = json!({"clusterRoleSelectors": ([old, missing].concat())});
        }
    } else {
        let old = rules_of(existing);
        let missing = rules_of(expected).into_iter().filter(|rule| !covered(rule, &old));
        extend(&mut new["rules"], missing.map(|rule| rule.to_json()).collect());
    }
    for field in ["labels", "annotations"] {
        for (key, value) in expected["metadata"][field].as_object().into_iter().flatten() {
            if new["metadata"][field].get(key).is_none() {
                meta::metadata_mut(&mut new).entry(field).or_insert_with(|| json!({}))[key] = value.clone();
            }
        }
    }
    if new == *existing { Step::Keep } else { Step::Update(new) }
}

fn extend(list: &mut Value, more: Vec<Value>) {
    if more.is_empty() {
        return;
    }
    if let Some(list) = list.as_array_mut() {
        list.extend(more);
    } else {
        *list = more.into();
    }
}
