//! The quality-of-service class of a pod (`k8s.io/kubernetes/pkg/apis/core/helper/qos`).

use crate::fields::elements;
use orrery_api::units::parse_quantity_milli;
use serde_json::Value;
use std::collections::BTreeMap;

/// Sums in thousandths, by resource.
type Amounts = BTreeMap<&'static str, u128>;

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(super) fn class(pod: &Value) -> &'static str {
    let spec = &pod["spec"];
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    let mut all_limited = true;
    for container in elements(&spec["containers"]).chain(elements(&spec["initContainers"])) {
        add(&mut requests, &container["resources"]["requests"]);
        all_limited &= add(&mut limits, &container["resources"]["limits"]) == COUNTED.len();
    }
    match () {
        () if requests.is_empty() && limits.is_empty() => "BestEffort",
        () if all_limited && requests == limits => "Guaranteed",
        () => "Burstable",
    }
}

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// Adds what is above zero; how many resources that were.
fn add(sums: &mut Amounts, amounts: &Value) -> usize {
    let mut found = 0;
    for name in COUNTED {
        let text = match &amounts[name] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => continue,
        };
        if let Some(milli) = parse_quantity_milli(&text).ok().filter(|milli| *milli > 0) {
            *sums.entry(name).or_default() += milli;
            found += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_class_follows_from_requests_and_limits() {
        let both = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory});
        let table = [
            (json!([{}]), "BestEffort"),
            (json!([{"resources": {"requests": {"cpu": "0"}}}]), "BestEffort"),
            (json!([{"resources": {"requests": {"cpu": "1"}}}]), "Burstable"),
            (json!([{"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}}]), "Burstable"),
            (json!([{"resources": {"limits": both("1", "1Gi"), "requests": both("1000m", "1024Mi")}}]), "Guaranteed"),
            (json!([{"resources": {"limits": both("1", "1Gi"), "requests": both("1", "1Gi")}}, {}]), "Burstable"),
            (json!([{"resources": {"limits": both("2", "1Gi"), "requests": both("1", "1Gi")}}]), "Burstable"),
        ];
        for (containers, expected) in table {
            assert_eq!(class(&json!({"spec": {"containers": containers}})), expected, "{containers}");
        }
    }
}
