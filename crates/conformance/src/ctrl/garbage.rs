//! The garbage collector: dependents in the background, in the foreground, and orphans.

use super::workload::{
    PATIENCE, all_up, controller, counted, deletion, is_ending, label, name_of, pod, replication_controller, set, stays,
};
use crate::{
    ensure,
    harness::{Context, During, Objects, Outcome, resource, until},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] Garbage collector should delete pods created by rc when not orphaning [Conformance]",
        run!(background),
    ),
    test(
        "[sig-api-machinery] Garbage collector should delete RS created by deployment when not orphaning [Conformance]",
        run!(deployment_background),
    ),
    test(
        "[sig-api-machinery] Garbage collector should orphan RS created by deployment when deleteOptions.PropagationPolicy is Orphan [Conformance]",
        run!(deployment_orphan),
    ),
    test(
        "[sig-api-machinery] Garbage collector should not be blocked by dependency circle [Conformance]",
        run!(circle),
    ),
    test(
        "[sig-api-machinery] Garbage collector should orphan pods created by rc if delete options say so [Serial] [Conformance]",
        run!(orphan),
    )
    .serial()
    .within(400),
    test(
        "[sig-api-machinery] Garbage collector should keep the rc around until all its pods are deleted if the deleteOptions says so [Serial] [Conformance]",
        run!(foreground),
    )
    .serial()
    .within(400),
    test(
        "[sig-api-machinery] Garbage collector should not delete dependents that have both valid owner and owner that's waiting for dependents to be deleted [Serial] [Conformance]",
        run!(two_owners),
    )
    .serial()
    .within(400),
];

/// How long a whole wave of deletions may take.
const WAVE: Duration = Duration::from_secs(180);

/// How many pods the nodes take at once: as many as there is room for, between 10 and 100.
async fn room(context: &Context) -> Outcome<u32> {
    let nodes = context.cluster(resource::nodes()).items(&[]).await?;
    let pods = |node: &Value| node["status"]["allocatable"]["pods"].as_str().and_then(|pods| pods.parse::<u32>().ok());
    let places: u32 = nodes.iter().filter_map(pods).sum();
    let taken = context.cluster(resource::pods()).items(&[]).await?.len();
    Ok(places.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX)).clamp(10, 100))
}

/// A ReplicationController whose pods have all been made.
async fn filled(context: &Context, namespace: &str, name: &str, replicas: u32) -> Outcome<Value> {
    let controllers = context.objects(resource::replication_controllers(), namespace);
    controllers.create(&replication_controller(name, replicas, &label(name).0)).await?;
    let full = |object: &Value| object["status"]["replicas"] == replicas;
    controllers.wait(name, "all pods are made", WAVE, full).await
}

async fn nothing_left(objects: &Objects) -> Outcome {
    let none = || async { Ok(objects.items(&[]).await?.is_empty().then_some(())) };
    until(WAVE, none).await.during(format!("waiting until no {} are left", objects.resource().plural))
}

async fn background(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let controllers = context.objects(resource::replication_controllers(), &namespace);
    let pods = context.objects(resource::pods(), &namespace);
    let made = controllers.create(&replication_controller("gone", 2, &label("gone").0)).await?;
    // Not before its pods are complete: what is made while it goes has to go as well.
    until(PATIENCE, || async { Ok((!pods.items(&[]).await?.is_empty()).then_some(())) }).await?;
    controllers.delete_with("gone", &deletion("Background", &made)).await?.success()?;
    controllers.gone("gone", PATIENCE).await?;
    nothing_left(&pods).await
}

async fn deployment_background(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let deployments = context.objects(resource::deployments(), &namespace);
    let sets = context.objects(resource::replica_sets(), &namespace);
    let made = deployments.create(&set("web", Some(2), &label("web").0)).await?;
    counted(&sets, "app=web", 1).await?;
    deployments.delete_with("web", &deletion("Background", &made)).await?.success()?;
    nothing_left(&deployments).await?;
    nothing_left(&sets).await?;
    nothing_left(&context.objects(resource::pods(), &namespace)).await
}

async fn deployment_orphan(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let deployments = context.objects(resource::deployments(), &namespace);
    let sets = context.objects(resource::replica_sets(), &namespace);
    let pods = context.objects(resource::pods(), &namespace);
    let made = deployments.create(&set("web", Some(2), &label("web").0)).await?;
    all_up(&pods, "app=web", 2).await?;
    deployments.delete_with("web", &deletion("Orphan", &made)).await?.success()?;
    deployments.gone("web", PATIENCE).await?;
    stays("the ReplicaSet and its two pods", || async {
        Ok(sets.items(&[]).await?.len() == 1 && pods.items(&[]).await?.len() == 2)
    })
    .await?;
    for set in sets.items(&[]).await? {
        same!(controller(&set), "", "the controller of the orphaned ReplicaSet {}", name_of(&set));
        ensure!(!is_ending(&set), "the orphaned ReplicaSet is being deleted");
    }
    Ok(())
}

async fn circle(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let pods = context.objects(resource::pods(), &namespace);
    let mut made = Vec::new();
    for name in ["pod1", "pod2", "pod3"] {
        made.push(pods.create(&pod(name, &label("circle").0)).await?);
    }
    for (index, owner) in [(0, 2), (1, 0), (2, 1)] {
        let (name, owner): (&str, &Value) = (name_of(&made[index]), &made[owner]);
        let reference = json!({ "apiVersion": "v1", "kind": "Pod", "name": name_of(owner),
            "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true });
        let patched = pods.strategic(name, &json!({ "metadata": { "ownerReferences": [reference] } })).await?;
        same!(controller(&patched), owner["metadata"]["uid"].as_str().unwrap_or_default(), "the owner of {name}");
    }
    pods.delete_with("pod1", &deletion("Foreground", &made[0])).await?.success()?;
    nothing_left(&pods).await
}

async fn orphan(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let replicas = room(context).await?;
    let made = filled(context, &namespace, "orphans", replicas).await?;
    let controllers = context.objects(resource::replication_controllers(), &namespace);
    controllers.delete_with("orphans", &deletion("Orphan", &made)).await?.success()?;
    controllers.gone("orphans", WAVE).await?;
    let pods = context.objects(resource::pods(), &namespace);
    stays("the pods without their controller", || async { Ok(pods.items(&[]).await?.len() == replicas as usize) })
        .await?;
    for pod in pods.items(&[]).await? {
        same!(pod["metadata"]["ownerReferences"], Value::Null, "the owners of {}", name_of(&pod));
        ensure!(!is_ending(&pod), "the orphan {} is being deleted", name_of(&pod));
    }
    Ok(())
}

async fn foreground(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let made = filled(context, &namespace, "last", room(context).await?).await?;
    let controllers = context.objects(resource::replication_controllers(), &namespace);
    let pods = context.objects(resource::pods(), &namespace);
    let answer = controllers.delete_with("last", &deletion("Foreground", &made)).await?.success()?;
    if answer["kind"] == "ReplicationController" {
        let finalizers = answer["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        ensure!(finalizers.contains(&json!("foregroundDeletion")), "the deleted controller has {finalizers:?}");
    }
    until(WAVE, || async {
        // In this order: pods that are read before their controller is gone are no proof.
        let answer = controllers.read("last").await?;
        ensure!(answer.status == 404 || is_ending(&answer.body), "the controller is there and not being deleted");
        let left = pods.items(&[]).await?.len();
        ensure!(answer.status != 404 || left == 0, "the controller is gone before {left} of its pods");
        Ok((answer.status == 404).then_some(()))
    })
    .await
}

async fn two_owners(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let controllers = context.objects(resource::replication_controllers(), &namespace);
    let pods = context.objects(resource::pods(), &namespace);
    let going = filled(context, &namespace, "going", room(context).await?).await?;
    let staying = controllers.create(&replication_controller("staying", 0, &label("staying").0)).await?;
    let all = pods.labelled("app=going").await?;
    let (half, others) = all.split_at(all.len() / 2);
    let owner = json!({ "apiVersion": "v1", "kind": "ReplicationController", "name": "staying",
        "uid": staying["metadata"]["uid"] });
    for pod in half {
        pods.strategic(name_of(pod), &json!({ "metadata": { "ownerReferences": [owner] } })).await?;
    }
    controllers.delete_with("going", &deletion("Foreground", &going)).await?.success()?;
    controllers.gone("going", WAVE).await?;
    for pod in others {
        same!(pods.read(name_of(pod)).await?.status, 404, "the pod {} that had one owner", name_of(pod));
    }
    stays("the pods with a second owner", || async {
        let left = pods.items(&[]).await?;
        Ok(left.len() == half.len() && !left.iter().any(is_ending))
    })
    .await?;
    for pod in half {
        let pod = pods.get(name_of(pod)).await?;
        let owners: Vec<_> = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten().collect();
        same!(owners.len(), 1, "how many owners {} has", name_of(&pod));
        same!(owners[0]["uid"], staying["metadata"]["uid"], "the owner of {}", name_of(&pod));
    }
    Ok(())
}
