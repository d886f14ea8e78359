//! Resource quotas: what is used is counted, and no more is let in.

mod counts;
mod pods;

pub(super) use counts::TESTS as COUNTS;
pub(super) use pods::TESTS as PODS;

use super::workload::PATIENCE;
use crate::harness::{Context, Objects, Outcome, resource};
use serde_json::{Value, json};

/// A quota of these limits whose status is calculated, and the quotas of its namespace.
async fn quota(context: &Context, namespace: &str, name: &str, spec: &Value) -> Outcome<Objects> {
    let quotas = context.objects(resource::resource_quotas(), namespace);
    quotas.create(&json!({ "metadata": { "name": name }, "spec": spec })).await?;
    let hard = &spec["hard"];
    quotas
        .wait(name, "its limits are in its status", PATIENCE, |quota| same_amounts(&quota["status"]["hard"], hard))
        .await?;
    Ok(quotas)
}

/// Waits until the quota says that so much is used; amounts that are not named may be anything.
async fn used(quotas: &Objects, name: &str, amounts: &Value) -> Outcome {
    let what = format!("{amounts} are used");
    quotas.wait(name, &what, PATIENCE, |quota| has_amounts(&quota["status"]["used"], amounts)).await.map(drop)
}

/// Whether every amount of `wanted` is in `found`.
fn has_amounts(found: &Value, wanted: &Value) -> bool {
    let wanted = wanted.as_object().into_iter().flatten();
    wanted
        .into_iter()
        .all(|(resource, amount)| number(&found[resource]) == number(amount) && found[resource].is_string())
}

/// Whether both name the same amounts.
fn same_amounts(found: &Value, wanted: &Value) -> bool {
    let count = |value: &Value| value.as_object().map_or(0, serde_json::Map::len);
    has_amounts(found, wanted) && count(found) == count(wanted)
}

/// A quantity in thousandths; none when it is not one. The suffixes are those of
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>, without exponents.
fn number(quantity: &Value) -> Option<i128> {
    const SUFFIXES: [(&str, i128); 13] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
        ("", 1),
    ];
    let text = quantity.as_str()?;
    if let Some(thousandths) = text.strip_suffix('m') {
        return thousandths.parse().ok();
    }
    let (digits, factor) = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction: i128 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some((whole.parse::<i128>().ok()? * 1000 + fraction) * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_compared_whatever_their_form() {
        let table = [
            ("1", Some(1000)),
            ("500m", Some(500)),
            ("0.5", Some(500)),
            ("1Ki", Some(1_024_000)),
            ("2k", Some(2_000_000)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("much", None),
        ];
        for (text, expected) in table {
            assert_eq!(number(&json!(text)), expected, "{text}");
        }
        assert!(same_amounts(&json!({ "cpu": "1000m" }), &json!({ "cpu": "1" })));
        assert!(!same_amounts(&json!({ "cpu": "1", "pods": "1" }), &json!({ "cpu": "1" })));
        assert!(!has_amounts(&json!({}), &json!({ "cpu": "0" })));
    }
}
