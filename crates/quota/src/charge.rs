//! What an object adds to a quota's use.

use crate::{Amounts, is_scoped, usage};
use serde_json::Value;
use std::collections::BTreeMap;

/// Why an object does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The quota limits what the object leaves open.
    Unspecified(String),
    /// The quota is used up.
    Exceeded(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unspecified(why) | Self::Exceeded(why) => f.write_str(why),
        }
    }
}

/// The use of `quota` once `new` is there, in the place of `old` if there is one; none when it stays as it is.
///
/// # Errors
/// When the object does not fit, in upstream's words.
pub fn charge(
    quota: &Value,
    (group, plural): (&str, &str),
    new: &Value,
    old: Option<&Value>,
) -> Result<Option<Amounts>, Refusal> {
    let hard = Amounts::read(&quota["status"]["hard"]);
    let used = Amounts::read(&quota["status"]["used"]);
    let name = quota["metadata"]["name"].as_str().unwrap_or_default();
    if !is_scoped(quota, group, plural, new) {
        return Ok(None);
    }
    if (group, plural) == ("", "pods") && old.is_none() {
        check_specified(name, &hard, new)?;
    }
    let before = old.filter(|old| is_scoped(quota, group, plural, old)).map(|old| usage(group, plural, old));
    let after = usage(group, plural, new).only(&hard);
    let delta = match before {
        Some(before) => after.minus(&before.only(&hard)),
        None => after,
    };
    let grows = |amount: &str| delta.milli(amount) > 0;
    if !delta.names().any(grows) {
        return Ok(None);
    }
    let sum = used.plus(&delta);
    let exceeded = |amount: &str| grows(amount) && sum.milli(amount) > hard.milli(amount);
    if delta.names().any(exceeded) {
        return Err(Refusal::Exceeded(format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            delta.shown(exceeded),
            used.with_zeros(&delta).shown(exceeded),
            hard.shown(exceeded)
        )));
    }
    Ok(Some(sum.only(&hard)))
}

/// A quota on what containers ask for needs each of them to say so.
fn check_specified(name: &str, hard: &Amounts, pod: &Value) -> Result<(), Refusal> {
    const DEMANDED: [(&str, &str, &str); 6] = [
        ("cpu", "requests", "cpu"),
        ("memory", "requests", "memory"),
        ("requests.cpu", "requests", "cpu"),
        ("requests.memory", "requests", "memory"),
        ("limits.cpu", "limits", "cpu"),
        ("limits.memory", "limits", "memory"),
    ];
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (limited, list, resource) in DEMANDED.into_iter().filter(|(limited, ..)| hard.has(limited)) {
        for kind in ["containers", "initContainers"] {
            for container in pod["spec"][kind].as_array().into_iter().flatten() {
                if container["resources"][list].get(resource).is_none() {
                    missing.entry(limited).or_default().push(container["name"].as_str().unwrap_or_default());
                }
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let each = missing.iter().map(|(resource, containers)| format!("{resource} for: {}", containers.join(",")));
    Err(Refusal::Unspecified(format!("failed quota: {name}: must specify {}", each.collect::<Vec<_>>().join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn quota(hard: &Value, used: &Value) -> Value {
        json!({"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
    }

    fn pod(cpu: &str) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})
    }

    #[test]
    fn an_object_is_charged_to_what_the_quota_limits() {
        let quota = quota(&json!({"pods": "5", "requests.cpu": "2"}), &json!({"pods": "1", "requests.cpu": "500m"}));
        let used = charge(&quota, ("", "pods"), &pod("1"), None).unwrap().unwrap();
        assert_eq!(used.write(), json!({"pods": "2", "requests.cpu": "1500m"}));
        assert_eq!(charge(&quota, ("", "secrets"), &json!({}), None), Ok(None));
        assert_eq!(charge(&quota, ("", "pods"), &pod("1"), Some(&pod("1"))), Ok(None), "nothing grows");
    }

    #[test]
    fn what_is_exceeded_is_named_with_its_amounts() {
        let quota = quota(&json!({"pods": "5", "cpu": "2"}), &json!({"pods": "1", "cpu": "1500m"}));
        let refusal = charge(&quota, ("", "pods"), &pod("1"), None).unwrap_err();
        assert_eq!(refusal.to_string(), "exceeded quota: q, requested: cpu=1, used: cpu=1500m, limited: cpu=2");
        let grown = charge(&quota, ("", "pods"), &pod("2"), Some(&pod("1"))).unwrap_err();
        assert_eq!(grown.to_string(), "exceeded quota: q, requested: cpu=1, used: cpu=1500m, limited: cpu=2");
    }

    #[test]
    fn what_is_limited_has_to_be_specified() {
        let quota = quota(&json!({"limits.memory": "1Gi", "cpu": "1"}), &json!({}));
        let refusal =
            charge(&quota, ("", "pods"), &json!({"spec": {"containers": [{"name": "c"}, {"name": "d"}]}}), None);
        assert_eq!(
            refusal.unwrap_err().to_string(),
            "failed quota: q: must specify cpu for: c,d; limits.memory for: c,d"
        );
    }

    #[test]
    fn a_quota_that_nobody_has_counted_yet_holds_nothing_back() {
        let fresh = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}});
        assert_eq!(charge(&fresh, ("", "pods"), &pod("1"), None), Ok(None));
    }
}
