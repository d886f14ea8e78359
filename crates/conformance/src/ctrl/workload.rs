//! The objects that the tests of this class make, and waiting for what controllers make of them.

use crate::{
    ensure,
    harness::{During, Objects, Outcome, until},
};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a controller, a scheduler and a kubelet together may take for something.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);
/// How long something that must not happen is waited for.
pub(super) const MUST_NOT: Duration = Duration::from_secs(10);

/// An image with a shell.
pub(super) const IMAGE: &str = "busybox:1.36";
/// Another such image, so that a template is another one.
pub(super) const OTHER_IMAGE: &str = "busybox:1.37";

/// A container that runs until it is stopped.
pub(super) fn idle() -> Value {
    json!({ "name": "c", "image": IMAGE, "command": ["sleep", "3600"] })
}

/// A container that runs a script of the shell.
pub(super) fn runs(script: &str) -> Value {
    json!({ "name": "c", "image": IMAGE, "command": ["/bin/sh", "-c", script] })
}

/// The template of pods with these labels and this container; they end fast.
pub(super) fn template(labels: &Value, container: &Value) -> Value {
    json!({
        "metadata": { "labels": labels },
        "spec": { "terminationGracePeriodSeconds": 1, "containers": [container] },
    })
}

/// A pod that runs until it is stopped.
pub(super) fn pod(name: &str, labels: &Value) -> Value {
    let mut pod = template(labels, &idle());
    pod["metadata"]["name"] = name.into();
    pod
}

/// A ReplicationController of idle pods.
pub(super) fn replication_controller(name: &str, replicas: u32, labels: &Value) -> Value {
    json!({
        "metadata": { "name": name, "labels": labels },
        "spec": { "replicas": replicas, "selector": labels, "template": template(labels, &idle()) },
    })
}

/// A ReplicaSet, DaemonSet, StatefulSet (with the service `name`) or Deployment of idle pods; `replicas` none where the
/// kind has none.
pub(super) fn set(name: &str, replicas: Option<u32>, labels: &Value) -> Value {
    let mut set = json!({
        "metadata": { "name": name, "labels": labels },
        "spec": { "selector": { "matchLabels": labels }, "template": template(labels, &idle()) },
    });
    if let Some(replicas) = replicas {
        set["spec"]["replicas"] = replicas.into();
    }
    set
}

/// The labels that no other object has, as an object and as a selector.
pub(super) fn label(value: &str) -> (Value, String) {
    (json!({ "app": value }), format!("app={value}"))
}

/// An object's name.
pub(super) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Whether an object is being deleted.
pub(super) fn is_ending(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// The status of a condition: `True`, `False`, `Unknown`, or empty when it is not there.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    find_condition(object, kind)["status"].as_str().unwrap_or_default()
}

/// A condition; null when it is not there.
pub(super) fn find_condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

/// The UID of an object's controller; empty when it has none.
pub(super) fn controller(object: &Value) -> &str {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let controller = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
    controller.and_then(|owner| owner["uid"].as_str()).unwrap_or_default()
}

/// Whether a pod runs, is ready and not being deleted.
pub(super) fn is_up(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running" && condition(pod, "Ready") == "True" && !is_ending(pod)
}

/// Waits until as many pods as said match the selector, all of them up, and returns them.
pub(super) async fn all_up(pods: &Objects, selector: &str, count: usize) -> Outcome<Vec<Value>> {
    until(PATIENCE, || async {
        let found = pods.labelled(selector).await?;
        Ok((found.len() == count && found.iter().all(is_up)).then_some(found))
    })
    .await
    .during(format!("waiting for {count} running pods with {selector}"))
}

/// Waits until as many objects as said match the selector, and returns them.
pub(super) async fn counted(objects: &Objects, selector: &str, count: usize) -> Outcome<Vec<Value>> {
    until(PATIENCE, || async {
        let found = objects.labelled(selector).await?;
        Ok((found.len() == count).then_some(found))
    })
    .await
    .during(format!("waiting for {count} {} with {selector}", objects.resource().plural))
}

/// Sees for a while that something stays so.
pub(super) async fn stays<F>(what: &str, mut look: impl FnMut() -> F) -> Outcome
where
    F: Future<Output = Outcome<bool>>,
{
    let end = tokio::time::Instant::now() + MUST_NOT;
    while tokio::time::Instant::now() < end {
        ensure!(look().await?, "{what} did not stay so");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// `DeleteOptions` of a propagation for the object itself and no other of its name.
pub(super) fn deletion(propagation: &str, object: &Value) -> Value {
    json!({ "propagationPolicy": propagation, "preconditions": { "uid": object["metadata"]["uid"] } })
}
