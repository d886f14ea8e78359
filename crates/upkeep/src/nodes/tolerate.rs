//! Whether and how long a pod bears taints that make pods go. Pure.

use k8s_openapi::api::core::v1::{Taint, Toleration};
use std::time::Duration;

/// How a pod stands to the `NoExecute` taints of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bearing {
    /// There is none, or it bears all of them for ever.
    Stays,
    /// It bears all of them, for so long.
    For(Duration),
    /// It does not bear one of them.
    Goes,
}

/// The shortest of the tolerations that are used counts; a time below zero is no time
/// (<https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions>).
pub(super) fn bearing(taints: &[Taint], tolerations: &[Toleration]) -> Bearing {
    let mut shortest: Option<Duration> = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let mut used = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).peekable();
        if used.peek().is_none() {
            return Bearing::Goes;
        }
        for seconds in used.filter_map(|toleration| toleration.toleration_seconds) {
            let time = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
            shortest = Some(shortest.map_or(time, |shortest| shortest.min(time)));
        }
    }
    match shortest {
        None => Bearing::Stays,
        Some(time) if time.is_zero() => Bearing::Goes,
        Some(time) => Bearing::For(time),
    }
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (key, effect, value) = (text(&toleration.key), text(&toleration.effect), text(&toleration.value));
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => !key.is_empty() && value == taint.value.clone().unwrap_or_default(),
        Some("Gt" | "Lt") => compares(toleration.operator.as_deref(), &value, taint),
        Some(_) => false,
    }
}

/// `Gt`: the taint's value is above the toleration's; `Lt`: below. Values that are no numbers compare with nothing.
fn compares(operator: Option<&str>, value: &str, taint: &Taint) -> bool {
    let (Ok(own), Some(Ok(other))) = (value.parse::<i64>(), taint.value.as_deref().map(str::parse::<i64>)) else {
        return false;
    };
    if operator == Some("Gt") { other > own } else { other < own }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_shortest_toleration_that_is_used_counts() {
        let taint = json!({"key": "k", "value": "v", "effect": "NoExecute"});
        let soft = json!({"key": "k", "effect": "NoSchedule"});
        let seconds = |count| Bearing::For(Duration::from_secs(count));
        let table: [(Value, Value, Bearing); 10] = [
            (json!([]), json!([]), Bearing::Stays),
            (json!([soft]), json!([]), Bearing::Stays),
            (json!([taint]), json!([]), Bearing::Goes),
            (json!([taint]), json!([{"operator": "Exists"}]), Bearing::Stays),
            (
                json!([taint]),
                json!([{"key": "k", "value": "v", "effect": "NoExecute", "tolerationSeconds": 5}]),
                seconds(5),
            ),
            (json!([taint]), json!([{"key": "k", "value": "w"}]), Bearing::Goes),
            (json!([taint]), json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 0}]), Bearing::Goes),
            (json!([taint]), json!([{"key": "k", "operator": "Exists", "tolerationSeconds": -1}]), Bearing::Goes),
            (
                json!([taint]),
                json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 9}, {"operator": "Exists", "tolerationSeconds": 3}]),
                seconds(3),
            ),
            (
                json!([taint, {"key": "other", "effect": "NoExecute"}]),
                json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 9}]),
                Bearing::Goes,
            ),
        ];
        for (taints, tolerations, expected) in table {
            let (read, borne): (Vec<Taint>, Vec<Toleration>) =
                (serde_json::from_value(taints.clone()).unwrap(), serde_json::from_value(tolerations.clone()).unwrap());
            assert_eq!(bearing(&read, &borne), expected, "{taints} {tolerations}");
        }
    }
}
