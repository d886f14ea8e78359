//! Lists of conditions: one entry of each type, and times that move with the status.

/// A condition of a status, such as `DeploymentCondition`.
pub trait Condition {
    /// Its type.
    fn type_of(&self) -> &str;
    /// `True`, `False` or `Unknown`.
    fn status(&self) -> &str;
    /// Why, in one word.
    fn reason(&self) -> Option<&str>;
    /// Why, for people.
    fn message(&self) -> Option<&str>;
    /// Takes over when the status last changed from `before`.
    fn keep_transition_of(&mut self, before: &Self);
}

/// The condition of this type.
pub fn find_condition<'a, C: Condition>(list: &'a [C], type_: &str) -> Option<&'a C> {
    list.iter().find(|condition| condition.type_of() == type_)
}

/// Puts `new` in the place of the condition of its type. Its transition time stays when the status does. Whether
/// anything but times changed.
pub fn set_condition<C: Condition>(list: &mut Vec<C>, mut new: C) -> bool {
    let Some(old) = list.iter_mut().find(|condition| condition.type_of() == new.type_of()) else {
        list.push(new);
        return true;
    };
    if (old.status(), old.reason(), old.message()) == (new.status(), new.reason(), new.message()) {
        return false;
    }
    if old.status() == new.status() {
        new.keep_transition_of(old);
    }
    *old = new;
    true
}

macro_rules! condition {
    ($($kind:path),+ $(,)?) => {$(
        impl Condition for $kind {
            fn type_of(&self) -> &str {
                &self.type_
            }
            fn status(&self) -> &str {
                &self.status
            }
            fn reason(&self) -> Option<&str> {
                self.reason.as_deref()
            }
            fn message(&self) -> Option<&str> {
                self.message.as_deref()
            }
            fn keep_transition_of(&mut self, before: &Self) {
                self.last_transition_time = before.last_transition_time.clone();
            }
        }
    )+};
}

condition!(
    k8s_openapi::api::apps::v1::DaemonSetCondition,
    k8s_openapi::api::apps::v1::DeploymentCondition,
    k8s_openapi::api::apps::v1::ReplicaSetCondition,
    k8s_openapi::api::apps::v1::StatefulSetCondition,
    k8s_openapi::api::batch::v1::JobCondition,
    k8s_openapi::api::core::v1::NamespaceCondition,
    k8s_openapi::api::core::v1::NodeCondition,
    k8s_openapi::api::core::v1::PodCondition,
    k8s_openapi::api::core::v1::ReplicationControllerCondition,
);

impl Condition for k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition {
    fn type_of(&self) -> &str {
        &self.type_
    }
    fn status(&self) -> &str {
        &self.status
    }
    fn reason(&self) -> Option<&str> {
        Some(&self.reason)
    }
    fn message(&self) -> Option<&str> {
        Some(&self.message)
    }
    fn keep_transition_of(&mut self, before: &Self) {
        self.last_transition_time = before.last_transition_time.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::{api::apps::v1::DeploymentCondition, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    #[test]
    fn a_transition_time_moves_only_with_the_status() {
        let condition = |status: &str, reason: &str, second| DeploymentCondition {
            type_: "Available".into(),
            status: status.into(),
            reason: Some(reason.into()),
            last_transition_time: Some(Time(Timestamp::from_second(second).unwrap())),
            ..DeploymentCondition::default()
        };
        let mut list = Vec::new();
        assert!(set_condition(&mut list, condition("True", "a", 1)));
        assert!(!set_condition(&mut list, condition("True", "a", 2)));
        assert!(set_condition(&mut list, condition("True", "b", 3)));
        assert_eq!(list[0].last_transition_time, condition("", "", 1).last_transition_time);
        assert!(set_condition(&mut list, condition("False", "b", 4)));
        assert_eq!(find_condition(&list, "Available"), Some(&condition("False", "b", 4)));
    }
}
