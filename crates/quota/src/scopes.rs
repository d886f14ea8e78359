//! Which objects a quota is about.

use crate::pods;
use serde_json::Value;

/// Whether `quota` is about this object of the resource `plural` of `group`: a quota without scopes is about all, one with
/// scopes about the pods that all of them pick.
#[must_use]
pub fn is_scoped(quota: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let spec = &quota["spec"];
    let plain = spec["scopes"].as_array().into_iter().flatten();
    let expressions = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
    let mut plain = plain.peekable();
    let mut expressions = expressions.peekable();
    if plain.peek().is_none() && expressions.peek().is_none() {
        return true;
    }
    if (group, plural) != ("", "pods") {
        return false;
    }
    let none = Value::Null;
    plain.all(|scope| picks(scope.as_str().unwrap_or_default(), &none, object))
        && expressions.all(|e| picks(e["scopeName"].as_str().unwrap_or_default(), e, object))
}

fn picks(scope: &str, expression: &Value, pod: &Value) -> bool {
    let ends = pod["spec"]["activeDeadlineSeconds"].as_i64().is_some();
    match scope {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => pods::is_best_effort(pod),
        "NotBestEffort" => !pods::is_best_effort(pod),
        "PriorityClass" => picks_class(expression, pod["spec"]["priorityClassName"].as_str().unwrap_or_default()),
        "CrossNamespacePodAffinity" => crosses_namespaces(&pod["spec"]["affinity"]),
        _ => false,
    }
}

fn picks_class(expression: &Value, class: &str) -> bool {
    let mut values = expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match expression["operator"].as_str() {
        Some("In") => values.any(|value| value == class),
        Some("NotIn") => values.all(|value| value != class),
        Some("DoesNotExist") => class.is_empty(),
        // A plain scope means `Exists`.
        Some(_) | None => !class.is_empty(),
    }
}

fn crosses_namespaces(affinity: &Value) -> bool {
    let list = |terms: &Value| terms.as_array().cloned().unwrap_or_default();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let required = list(&affinity[*kind]["requiredDuringSchedulingIgnoredDuringExecution"]);
        let preferred = list(&affinity[*kind]["preferredDuringSchedulingIgnoredDuringExecution"]);
        let mut terms =
            required.into_iter().chain(preferred.into_iter().map(|mut term| term["podAffinityTerm"].take()));
        terms.any(|term| {
            term["namespaces"].as_array().is_some_and(|names| !names.is_empty())
                || term["namespaceSelector"].is_object()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scopes_pick_pods() {
        let best_effort = json!({"spec": {"containers": [{}]}});
        let ending = json!({"spec": {"activeDeadlineSeconds": 5, "priorityClassName": "high",
            "containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
        let table = [
            (json!({}), true, true),
            (json!({"scopes": ["BestEffort"]}), true, false),
            (json!({"scopes": ["NotBestEffort", "Terminating"]}), false, true),
            (json!({"scopes": ["NotTerminating"]}), true, false),
            (
                json!({"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}),
                false,
                true,
            ),
            (
                json!({"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": "DoesNotExist"}]}}),
                true,
                false,
            ),
            (json!({"scopes": ["CrossNamespacePodAffinity"]}), false, false),
        ];
        for (spec, first, second) in table {
            let quota = json!({"spec": spec});
            assert_eq!(is_scoped(&quota, "", "pods", &best_effort), first, "{spec}");
            assert_eq!(is_scoped(&quota, "", "pods", &ending), second, "{spec}");
        }
        assert!(!is_scoped(&json!({"spec": {"scopes": ["BestEffort"]}}), "", "secrets", &json!({})));
    }
}
