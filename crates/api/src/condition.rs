//! Conditions, as the Kubernetes API conventions define them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Sets `condition` in `conditions`: its transition time moves only when the status changes. Returns whether anything
/// changed, so that a controller writes only then.
pub fn set_condition(conditions: &mut Vec<Condition>, mut condition: Condition) -> bool {
    let Some(present) = conditions.iter_mut().find(|present| present.type_ == condition.type_) else {
        conditions.push(condition);
        return true;
    };
    if present.status == condition.status {
        condition.last_transition_time = present.last_transition_time.clone();
    }
    if *present == condition {
        return false;
    }
    *present = condition;
    true
}

/// A condition of type `type_` that became `status` at `now`. `reason` is one CamelCase word; `message` is for people
/// and says what to do when the status is a bad one.
#[must_use]
pub fn condition(type_: &str, status: bool, reason: &str, message: &str, now: Time) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: now,
        observed_generation: None,
    }
}

/// Whether the condition `type_` is present and `True`.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        assert!(set_condition(&mut conditions, condition("Ready", true, "Up", "", at(1))));
        assert!(!set_condition(&mut conditions, condition("Ready", true, "Up", "", at(2))));
        assert!(set_condition(&mut conditions, condition("Ready", true, "Up", "said again", at(3))));
        assert_eq!(conditions[0].last_transition_time, at(1));
        assert!(set_condition(&mut conditions, condition("Ready", false, "Down", "", at(4))));
        assert_eq!(conditions[0].last_transition_time, at(4));
        assert!(!is_true(&conditions, "Ready"));
    }
}
