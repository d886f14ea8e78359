//! What a greeting asks for. Pure.

use crate::greeting::{Greeting, Status};
use k8s_openapi::{
    api::core::v1::ConfigMap,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{Resource, ResourceExt, api::ObjectMeta};

/// The config map of a greeting: called as it is, owned by it.
pub(crate) fn config_map(greeting: &Greeting) -> ConfigMap {
    let lines = vec![greeting.spec.text.as_str(); greeting.spec.times.max(1)];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(greeting.name_any()),
            namespace: greeting.namespace(),
            owner_references: greeting.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some([("greeting".to_owned(), lines.join("\n"))].into()),
        ..ConfigMap::default()
    }
}

/// The status of a greeting whose config map is there, at the time `now`.
pub(crate) fn status(greeting: &Greeting, now: Time) -> Status {
    let generation = greeting.metadata.generation;
    let before = greeting.status.conditions.iter().find(|condition| condition.type_ == "Ready");
    let ready = Condition {
        type_: "Ready".to_owned(),
        status: "True".to_owned(),
        reason: "Written".to_owned(),
        message: format!("config map {:?} says it", greeting.name_any()),
        observed_generation: generation,
        // It tells when the state changed, not when somebody looked.
        last_transition_time: before.map_or(now, |before| before.last_transition_time.clone()),
    };
    Status { observed_generation: generation, conditions: vec![ready] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_said_as_often_as_it_asks_for_in_a_config_map_of_its_own() {
        let mut greeting = Greeting::default();
        greeting.metadata.name = Some("a".to_owned());
        greeting.metadata.uid = Some("1".to_owned());
        greeting.spec.text = "hello".to_owned();
        greeting.spec.times = 2;
        let map = config_map(&greeting);
        assert_eq!(map.data.unwrap()["greeting"], "hello\nhello");
        let owner = &map.metadata.owner_references.unwrap()[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("Greeting", "1", Some(true)));
    }
}
