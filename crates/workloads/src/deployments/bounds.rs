//! How many pods there may be too many or too few during a rolling update. Pure.

use super::object::{Deployment, Strategy};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// `value` of `total`: a number stands for itself, a percentage is rounded up or down.
pub(crate) fn of_total(value: &IntOrString, total: i32, round_up: bool) -> i32 {
    let percent = match value {
        IntOrString::Int(number) => return *number,
        IntOrString::String(text) => text.strip_suffix('%').and_then(|digits| digits.parse::<i64>().ok()),
    };
    // The API server refuses what is neither; it counts as nothing.
    let product = percent.unwrap_or_default() * i64::from(total);
    let rounded = if round_up {
        product.div_euclid(100) + i64::from(product.rem_euclid(100) > 0)
    } else {
        product.div_euclid(100)
    };
    i32::try_from(rounded).unwrap_or(i32::MAX)
}

/// How many more, and how many fewer: (surge, unavailable). Surge is rounded up, unavailable down; if both come to nothing,
/// one may be unavailable, because otherwise nothing could ever move.
pub(crate) fn fenceposts(surge: &IntOrString, unavailable: &IntOrString, desired: i32) -> (i32, i32) {
    let (surge, unavailable) = (of_total(surge, desired, true), of_total(unavailable, desired, false));
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

impl Deployment {
    /// How many pods there may be above `spec.replicas`.
    pub(super) fn max_surge(&self) -> i32 {
        match &self.strategy {
            Strategy::Recreate => 0,
            Strategy::Rolling { surge, unavailable } => fenceposts(surge, unavailable, self.replicas).0,
        }
    }

    /// How many pods may be missing from `spec.replicas`.
    pub(super) fn max_unavailable(&self) -> i32 {
        match &self.strategy {
            Strategy::Rolling { surge, unavailable } if self.replicas > 0 => {
                fenceposts(surge, unavailable, self.replicas).1.min(self.replicas)
            }
            Strategy::Rolling { .. } | Strategy::Recreate => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surge_is_rounded_up_and_unavailable_down_and_never_both_nothing() {
        let text = |text: &str| IntOrString::String(text.to_owned());
        let table = [
            ((text("25%"), text("25%"), 10), (3, 2)),
            ((text("25%"), text("25%"), 1), (1, 0)),
            ((text("0%"), text("25%"), 3), (0, 1)),
            ((IntOrString::Int(0), IntOrString::Int(0), 3), (0, 1)),
            ((IntOrString::Int(2), text("100%"), 5), (2, 5)),
            ((text("101%"), text("1%"), 100), (101, 1)),
        ];
        for ((surge, unavailable, desired), expected) in table {
            assert_eq!(fenceposts(&surge, &unavailable, desired), expected, "{surge:?} {unavailable:?} {desired}");
        }
    }
}
