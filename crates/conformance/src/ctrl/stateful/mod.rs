//! StatefulSets: pods with names that stay, in order.

mod life;
mod order;
mod updates;

pub(super) use life::TESTS as LIFE;
pub(super) use order::TESTS as ORDER;
pub(super) use updates::TESTS as UPDATES;

use super::workload::{PATIENCE, condition, is_ending, is_up, label, set};
use crate::harness::{Answer, Context, During, Form, Objects, Outcome, resource, until};
use serde_json::{Value, json};

/// A condition of pods that tests make true and false: whether they are ready.
const GATE: &str = "conformance.orrery.dev/open";
/// The label with the revision of a pod.
const REVISION: &str = "controller-revision-hash";

struct Place {
    sets: Objects,
    pods: Objects,
}

/// A namespace with the service of the set `ss`.
async fn place(context: &Context) -> Outcome<Place> {
    let namespace = context.namespace().await?;
    let service = json!({ "metadata": { "name": "ss" },
        "spec": { "clusterIP": "None", "selector": label("ss").0, "ports": [{ "port": 80, "name": "http" }] } });
    context.objects(resource::services(), &namespace).create(&service).await?;
    Ok(Place {
        sets: context.objects(resource::stateful_sets(), &namespace),
        pods: context.objects(resource::pods(), &namespace),
    })
}

/// The set `ss`.
fn stateful(replicas: u32) -> Value {
    let mut set = set("ss", Some(replicas), &label("ss").0);
    set["spec"]["serviceName"] = json!("ss");
    set
}

/// The same, whose pods are ready once their gate is open.
fn gated(replicas: u32) -> Value {
    let mut set = stateful(replicas);
    set["spec"]["template"]["spec"]["readinessGates"] = json!([{ "conditionType": GATE }]);
    set
}

/// Opens or closes the gate of a pod.
async fn turn(pods: &Objects, name: &str, open: bool) -> Outcome<Answer> {
    let patch =
        json!({ "status": { "conditions": [{ "type": GATE, "status": if open { "True" } else { "False" } }] } });
    pods.sub("status").patch(name, Form::StrategicPatch, &patch, &[]).await
}

/// Opens or closes the gate of a running pod, and waits until its readiness follows.
async fn gate(pods: &Objects, name: &str, open: bool) -> Outcome {
    let word = if open { "True" } else { "False" };
    let running = |pod: &Value| pod["status"]["phase"] == "Running";
    pods.wait(name, "it runs", PATIENCE, running).await?;
    turn(pods, name, open).await?.expect(200)?;
    let follows = |pod: &Value| condition(pod, "Ready") == word;
    pods.wait(name, &format!("its readiness is {word}"), PATIENCE, follows).await.map(drop)
}

/// Waits until exactly the pods `ss-0` to `ss-(count - 1)` are up, and returns them in their order.
async fn all_up(pods: &Objects, count: usize) -> Outcome<Vec<Value>> {
    let found = super::workload::all_up(pods, "app=ss", count).await?;
    let mut found: Vec<Value> = found;
    found.sort_by_key(ordinal);
    let ordinals: Vec<_> = found.iter().map(ordinal).collect();
    crate::same!(ordinals, (0..count).collect::<Vec<_>>(), "the ordinals of the pods");
    Ok(found)
}

fn ordinal(pod: &Value) -> usize {
    let name = super::workload::name_of(pod);
    name.rsplit('-').next().and_then(|ordinal| ordinal.parse().ok()).unwrap_or(usize::MAX)
}

fn revision(pod: &Value) -> &str {
    pod["metadata"]["labels"][REVISION].as_str().unwrap_or_default()
}

/// Waits until every pod of the set is of the revision that the set is to have, and up; the set as it is then.
async fn updated(place: &Place, count: usize) -> Outcome<Value> {
    until(PATIENCE, || async {
        let set = place.sets.get("ss").await?;
        let wanted = set["status"]["updateRevision"].as_str().unwrap_or_default().to_owned();
        let seen = set["status"]["observedGeneration"] == set["metadata"]["generation"];
        let pods = place.pods.labelled("app=ss").await?;
        let all =
            pods.len() == count && pods.iter().all(|pod| is_up(pod) && revision(pod) == wanted && !is_ending(pod));
        Ok((seen && all && set["status"]["currentRevision"] == wanted.as_str()).then_some(set))
    })
    .await
    .during("waiting for the update of all pods")
}
