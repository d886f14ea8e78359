//! The parts of a pod that are changed by themselves: the containers that are added to look at a running pod, and the
//! resources of its containers.

use crate::{
    fields::{elements, is_set, place, text},
    pod::qos,
    quantity,
};
use orrery_machinery::{meta, status::FieldError};
use serde_json::{Value, json};

/// The pod with the ephemeral containers, the labels and the annotations that were sent.
pub(super) fn ephemeral_containers(old: &Value, sent: &Value) -> Value {
    let mut kept = with_metadata(old, sent);
    if let Some(spec) = place(&mut kept, &["spec"]).and_then(Value::as_object_mut) {
        match &sent["spec"]["ephemeralContainers"] {
            Value::Null => drop(spec.remove("ephemeralContainers")),
            containers => drop(spec.insert("ephemeralContainers".to_owned(), containers.clone())),
        }
    }
    kept
}

/// The pod with the resources that were sent for the containers that it has.
pub(super) fn resize(old: &Value, sent: &Value) -> Value {
    let mut kept = with_metadata(old, sent);
    for list in ["containers", "initContainers"] {
        for container in place(&mut kept, &["spec", list]).and_then(Value::as_array_mut).into_iter().flatten() {
            let same = elements(&sent["spec"][list]).find(|sent| sent["name"] == container["name"]);
            let (Some(same), Some(fields)) = (same, container.as_object_mut()) else { continue };
            for field in ["resources", "resizePolicy"] {
                match same.get(field) {
                    Some(value) => drop(fields.insert(field.to_owned(), value.clone())),
                    None => drop(fields.remove(field)),
                }
            }
        }
    }
    kept
}

fn with_metadata(old: &Value, sent: &Value) -> Value {
    let mut kept = old.clone();
    if let Some(metadata) = sent["metadata"].as_object() {
        *meta::metadata_mut(&mut kept) = metadata.clone();
    }
    kept
}

/// Ephemeral containers are added; none goes or changes.
pub(super) fn check_ephemeral_containers(pod: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.ephemeralContainers";
    for before in elements(&old["spec"]["ephemeralContainers"]) {
        let name = text(&before["name"]);
        match elements(&pod["spec"]["ephemeralContainers"]).find(|now| now["name"] == before["name"]) {
            None => {
                let why = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.push(FieldError::forbidden(FIELD, &why));
            }
            Some(now) if now != before => {
                let why = format!("existing ephemeral containers {name:?} may not be changed");
                errors.push(FieldError::forbidden(FIELD, &crate::difference::describe(&why, before, now)));
            }
            Some(_) => {}
        }
    }
}

/// A new size keeps the class of service, and is about processors and memory.
pub(super) fn check_resize(pod: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if qos::class(pod) != text(&old["status"]["qosClass"]) && !text(&old["status"]["qosClass"]).is_empty() {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid("spec", &json!(qos::class(pod)), why));
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in elements(&pod["spec"][list]).enumerate() {
            let before = &old["spec"][list][index];
            if container["resources"] == before["resources"] {
                continue;
            }
            let field = format!("spec.{list}[{index}].resources");
            if list == "initContainers" && container["restartPolicy"] != "Always" {
                let why = "resources for non-sidecar init containers are immutable";
                errors.push(FieldError::forbidden(field, why));
                continue;
            }
            resources(&container["resources"], &before["resources"], &field, errors);
        }
    }
}

fn resources(now: &Value, before: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (list, words) in [("limits", "resource limits"), ("requests", "resource requests")] {
        let field = format!("{field}.{list}");
        for (name, amount) in before[list].as_object().into_iter().flatten() {
            let same = quantity::milli(amount) == quantity::milli(&now[list][name]);
            match (name.as_str(), is_set(&now[list][name])) {
                ("cpu" | "memory", false) => {
                    errors
                        .push(FieldError::forbidden(format!("{field}[{name}]"), &format!("{words} cannot be removed")));
                }
                ("cpu" | "memory", true) => {}
                (_, _) if !same => {
                    let why = "only cpu and memory resources are mutable";
                    errors.push(FieldError::forbidden(format!("{field}[{name}]"), why));
                }
                (_, _) => {}
            }
        }
        let added = now[list].as_object().into_iter().flatten().map(|(name, _)| name);
        for name in
            added.filter(|name| !is_set(&before[list][name.as_str()]) && !matches!(name.as_str(), "cpu" | "memory"))
        {
            let why = "only cpu and memory resources are mutable";
            errors.push(FieldError::forbidden(format!("{field}[{name}]"), why));
        }
    }
    if now["claims"] != before["claims"] {
        errors.push(FieldError::forbidden(format!("{field}.claims"), "only cpu and memory resources are mutable"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({
            "metadata": {"name": "a", "labels": {"x": "1"}}, "status": {"qosClass": "Burstable"},
            "spec": {
                "containers": [{"name": "c", "image": "x", "resources": {"requests": {"cpu": "1"}}}],
                "ephemeralContainers": [{"name": "debug", "image": "y"}],
            },
        })
    }

    #[test]
    fn only_ephemeral_containers_are_taken_and_they_only_grow() {
        let mut sent = pod();
        sent["spec"]["containers"][0]["image"] = "other".into();
        sent["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "y"}, {"name": "more", "image": "z"}]);
        let new = ephemeral_containers(&pod(), &sent);
        assert_eq!(new["spec"]["containers"], pod()["spec"]["containers"]);
        let errors = |new: &Value| {
            let mut errors = Vec::new();
            check_ephemeral_containers(new, &pod(), &mut errors);
            errors
        };
        assert_eq!(errors(&new), []);
        let mut gone = pod();
        gone["spec"]["ephemeralContainers"] = json!([]);
        assert!(errors(&gone)[0].message.contains("\"debug\" may not be removed"));
        let mut changed = pod();
        changed["spec"]["ephemeralContainers"][0]["image"] = "z".into();
        assert!(errors(&changed)[0].message.contains("may not be changed\n- image: \"y\"\n+ image: \"z\""));
    }

    #[test]
    fn only_resources_are_taken_and_the_class_stays() {
        let with = |resources: Value| {
            let mut sent = pod();
            sent["spec"]["containers"][0]["image"] = "other".into();
            sent["spec"]["containers"][0]["resources"] = resources;
            let new = resize(&pod(), &sent);
            assert_eq!(new["spec"]["containers"][0]["image"], "x");
            let mut errors = Vec::new();
            check_resize(&new, &pod(), &mut errors);
            errors.into_iter().map(|error| error.field).collect::<Vec<_>>()
        };
        assert_eq!(with(json!({"requests": {"cpu": "2"}})), [""; 0]);
        assert_eq!(
            with(json!({"requests": {"cpu": "1", "ephemeral-storage": "1Gi"}})),
            ["spec.containers[0].resources.requests[ephemeral-storage]"]
        );
        assert_eq!(with(json!({})), ["spec", "spec.containers[0].resources.requests[cpu]"]);
    }
}
