//! Amounts by name.

use orrery_api::units::{Bytes, MilliCpu, parse_quantity_milli};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Amounts by the name of what they are of, such as `requests.cpu` or `count/jobs.batch`. Each is in thousandths of its unit,
/// so that CPU is exact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<String, i128>);

impl Amounts {
    /// Reads a map of quantities, such as `spec.hard`. What is no quantity is left out: validation refuses it.
    #[must_use]
    pub fn read(map: &Value) -> Self {
        let entries = map.as_object().into_iter().flatten();
        Self(entries.filter_map(|(name, value)| Some((name.clone(), milli(value)?))).collect())
    }

    /// As `status.used` has them.
    #[must_use]
    pub fn write(&self) -> Value {
        let entries = self.0.iter().map(|(name, milli)| (name.clone(), text(name, *milli).into()));
        Value::Object(entries.collect::<Map<_, _>>())
    }

    /// The amount of `name` in thousandths; 0 when there is none.
    #[must_use]
    pub fn milli(&self, name: &str) -> i128 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Whether there is an amount of `name`, be it 0.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Adds thousandths of `name`.
    pub fn add_milli(&mut self, name: &str, milli: i128) {
        *self.0.entry(name.to_owned()).or_default() += milli;
    }

    /// Adds whole units of `name`.
    pub fn add(&mut self, name: &str, units: i128) {
        self.add_milli(name, units * 1000);
    }

    /// Raises the amount of `name` to `milli` thousandths.
    pub(crate) fn raise_milli(&mut self, name: &str, milli: i128) {
        let amount = self.0.entry(name.to_owned()).or_default();
        *amount = (*amount).max(milli);
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        other.0.iter().for_each(|(name, milli)| sum.add_milli(name, *milli));
        sum
    }

    /// What `other` leaves of these.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        other.0.iter().for_each(|(name, milli)| rest.add_milli(name, -milli));
        rest
    }

    /// Only the amounts that `names` has too.
    #[must_use]
    pub fn only(&self, names: &Self) -> Self {
        Self(self.0.iter().filter(|(name, _)| names.has(name)).map(|(name, milli)| (name.clone(), *milli)).collect())
    }

    /// These, with 0 for each of `names` that is missing.
    #[must_use]
    pub fn with_zeros(mut self, names: &Self) -> Self {
        for name in names.names() {
            self.0.entry(name.to_owned()).or_default();
        }
        self
    }

    /// `a=1,b=2Gi`, for the names that `pick` takes.
    #[must_use]
    pub(crate) fn shown(&self, pick: impl Fn(&str) -> bool) -> String {
        let picked = self.0.iter().filter(|(name, _)| pick(name));
        picked.map(|(name, milli)| format!("{name}={}", text(name, *milli))).collect::<Vec<_>>().join(",")
    }
}

fn milli(value: &Value) -> Option<i128> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let (sign, text) = text.strip_prefix('-').map_or((1, text.as_str()), |rest| (-1, rest));
    parse_quantity_milli(text).ok().and_then(|milli| i128::try_from(milli).ok()).map(|milli| sign * milli)
}

/// An amount as people write it: memory and storage with binary suffixes, CPU in thousandths where it has to be.
fn text(name: &str, milli: i128) -> String {
    let sign = if milli < 0 { "-" } else { "" };
    let amount = u64::try_from(milli.unsigned_abs()).unwrap_or(u64::MAX);
    let last = name.rsplit(['.', '/']).next().unwrap_or_default();
    let unsigned = match last {
        "memory" | "storage" | "ephemeral-storage" => Bytes(amount.div_ceil(1000)).to_quantity(),
        _ => MilliCpu(amount).to_quantity(),
    };
    format!("{sign}{unsigned}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn amounts_are_written_as_people_write_them() {
        let amounts =
            Amounts::read(&json!({"requests.cpu": "1500m", "memory": "1536Mi", "pods": 3, "x": [], "y": "-2"}));
        assert_eq!(amounts.write(), json!({"requests.cpu": "1500m", "memory": "1536Mi", "pods": "3", "y": "-2"}));
        assert_eq!(amounts.shown(|name| name != "y"), "memory=1536Mi,pods=3,requests.cpu=1500m");
    }

    proptest! {
        #[test]
        fn what_is_added_can_be_taken_away(a in 0i64..1 << 40, b in 0i64..1 << 40) {
            let of = |n: i64| Amounts::read(&json!({"cpu": format!("{n}m"), "memory": n.to_string()}));
            prop_assert_eq!(of(a).plus(&of(b)).minus(&of(b)), of(a));
        }

        #[test]
        fn nothing_that_is_read_panics(text in ".{0,12}") {
            let _ = Amounts::read(&json!({"cpu": text})).write();
        }
    }
}
