//! ReplicaSets and ReplicationControllers: as many pods as they say.

use super::workload::{
    IMAGE, OTHER_IMAGE, PATIENCE, all_up, controller, counted, find_condition, label, name_of, pod,
    replication_controller, set,
};
use crate::{
    ensure,
    harness::{Context, During, Form, Objects, Outcome, Resource, resource, until},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-apps] ReplicaSet should adopt matching pods on creation and release no longer matching pods [Conformance]",
        run!(set_adopts_and_releases),
    ),
    test("[sig-apps] ReplicaSet Replace and Patch tests [Conformance]", run!(replace_and_patch)),
    test("[sig-apps] ReplicaSet Replicaset should have a working scale subresource [Conformance]", run!(set_scale)),
    test(
        "[sig-apps] ReplicaSet should list and delete a collection of ReplicaSets [Conformance]",
        run!(set_collection),
    ),
    test("[sig-apps] ReplicaSet should validate Replicaset Status endpoints [Conformance]", run!(set_status)),
    test(
        "[sig-apps] ReplicationController should adopt matching pods on creation [Conformance]",
        run!(controller_adopts),
    ),
    test(
        "[sig-apps] ReplicationController should release no longer matching pods [Conformance]",
        run!(controller_releases),
    ),
    test(
        "[sig-apps] ReplicationController should get and update a ReplicationController scale [Conformance]",
        run!(controller_scale),
    ),
    test(
        "[sig-apps] ReplicationController should surface a failure condition on a common issue like exceeded quota [Conformance]",
        run!(failure_condition),
    ),
    test(
        "[sig-apps] ReplicationController should test the lifecycle of a ReplicationController [Conformance]",
        run!(lifecycle),
    ),
];

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// A pod that was there before belongs to the controller then.
async fn adopts(context: &Context, kind: Resource, owner: &Value) -> Outcome<Objects> {
    let namespace = context.namespace().await?;
    let pods = context.objects(resource::pods(), &namespace);
    pods.create(&pod("orphan", &label("adopt").0)).await?;
    let owners = context.objects(kind, &namespace);
    let owner = owners.create(owner).await?;
    let adopted = |pod: &Value| controller(pod) == uid(&owner);
    pods.wait("orphan", "the pod is adopted", PATIENCE, adopted).await?;
    let full = |owner: &Value| owner["status"]["replicas"] == 1;
    owners.wait(name_of(&owner), "it has one pod", PATIENCE, full).await?;
    same!(pods.labelled("app=adopt").await?.len(), 1, "how many pods there are");
    Ok(pods)
}

/// A pod that no longer matches belongs to nobody, and another takes its place.
async fn releases(pods: &Objects, selector: &str) -> Outcome {
    let all = all_up(pods, selector, 1).await?;
    let name = name_of(&all[0]);
    pods.merge(name, &json!({ "metadata": { "labels": { "app": "released" } } })).await?;
    let nobodys = |pod: &Value| controller(pod).is_empty();
    pods.wait(name, "the pod is released", PATIENCE, nobodys).await?;
    let others = counted(pods, selector, 1).await?;
    ensure!(name_of(&others[0]) != name, "the released pod {name} is still selected");
    Ok(())
}

async fn set_adopts_and_releases(context: &Context) -> Outcome {
    let pods = adopts(context, resource::replica_sets(), &set("adopt", Some(1), &label("adopt").0)).await?;
    releases(&pods, "app=adopt").await
}

async fn controller_adopts(context: &Context) -> Outcome {
    let owner = replication_controller("adopt", 1, &label("adopt").0);
    adopts(context, resource::replication_controllers(), &owner).await.map(drop)
}

async fn controller_releases(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let controllers = context.objects(resource::replication_controllers(), &namespace);
    controllers.create(&replication_controller("release", 1, &label("release").0)).await?;
    releases(&context.objects(resource::pods(), &namespace), "app=release").await
}

async fn replace_and_patch(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let sets = context.objects(resource::replica_sets(), &namespace);
    let pods = context.objects(resource::pods(), &namespace);
    sets.create(&set("rs", Some(1), &label("rs").0)).await?;
    all_up(&pods, "app=rs", 1).await?;
    sets.update("rs", |set| set["spec"]["replicas"] = json!(2)).await?;
    all_up(&pods, "app=rs", 2).await?;
    let ready = |set: &Value| set["status"]["readyReplicas"] == 2;
    sets.wait("rs", "two are ready", PATIENCE, ready).await?;
    let patch = json!({
        "metadata": { "labels": { "patched": "yes" } },
        "spec": { "replicas": 3, "template": { "spec": { "terminationGracePeriodSeconds": 2,
            "containers": [{ "name": "c", "image": OTHER_IMAGE }] } } },
    });
    let patched = sets.strategic("rs", &patch).await?;
    same!(patched["metadata"]["labels"]["patched"], "yes", "the patched label");
    let read = sets.get("rs").await?;
    same!(read["spec"]["replicas"], 3, "the patched replicas");
    same!(read["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 2, "the patched grace period");
    same!(read["spec"]["template"]["spec"]["containers"][0]["image"], OTHER_IMAGE, "the patched image");
    all_up(&pods, "app=rs", 3).await.map(drop)
}

/// The scale of an object is read, replaced and patched, and the controller follows.
pub(super) async fn scale(context: &Context, kind: Resource, owner: &Value, patch: bool) -> Outcome {
    let namespace = context.namespace().await?;
    let owners = context.objects(kind, &namespace);
    let pods = context.objects(resource::pods(), &namespace);
    let name = name_of(owner);
    let selector = format!("app={name}");
    owners.create(owner).await?;
    all_up(&pods, &selector, 1).await?;
    let scales = owners.sub("scale");
    let read = scales.get(name).await?;
    same!(read["kind"], "Scale", "the kind of the scale");
    same!(read["apiVersion"], "autoscaling/v1", "the version of the scale");
    same!(read["spec"]["replicas"], 1, "the replicas of the scale");
    let replaced = scales.update(name, |scale| scale["spec"]["replicas"] = json!(2)).await?;
    same!(replaced["spec"]["replicas"], 2, "the replicas of the replaced scale");
    same!(owners.get(name).await?["spec"]["replicas"], 2, "the replicas after the scale was replaced");
    all_up(&pods, &selector, 2).await?;
    let followed = |scale: &Value| scale["status"]["replicas"] == 2;
    scales.wait(name, "the scale shows two pods", PATIENCE, followed).await?;
    if patch {
        let patch = json!({ "spec": { "replicas": 4 } });
        scales.patch(name, Form::MergePatch, &patch, &[]).await?.expect(200)?;
        same!(owners.get(name).await?["spec"]["replicas"], 4, "the replicas after the scale was patched");
        all_up(&pods, &selector, 4).await?;
    }
    Ok(())
}

async fn set_scale(context: &Context) -> Outcome {
    scale(context, resource::replica_sets(), &set("scaled", Some(1), &label("scaled").0), true).await
}

async fn controller_scale(context: &Context) -> Outcome {
    let owner = replication_controller("scaled", 1, &label("scaled").0);
    scale(context, resource::replication_controllers(), &owner, false).await
}

async fn set_collection(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let value = context.name("collection");
    let (labels, selector) = label(&value);
    let sets = context.objects(resource::replica_sets(), &namespace);
    sets.create(&set("rs", Some(3), &labels)).await?;
    all_up(&context.objects(resource::pods(), &namespace), &selector, 3).await?;
    let everywhere = context.cluster(resource::replica_sets()).labelled(&selector).await?;
    same!(everywhere.len(), 1, "how many ReplicaSets of all namespaces have the label");
    sets.delete_labelled(&selector).await?;
    counted(&sets, &selector, 0).await.map(drop)
}

/// The status of an object is read, replaced and patched; what is written there stays. `kind` is the object's.
pub(super) async fn status(owners: &Objects, name: &str) -> Outcome {
    let statuses = owners.sub("status");
    let read = statuses.get(name).await?;
    same!(read["metadata"]["name"], name, "the name of what is read at /status");
    let added =
        |kind: &str| json!({ "type": kind, "status": "True", "reason": "Conformance", "message": "set from a test" });
    let has = |object: &Value, kind: &str| find_condition(object, kind)["reason"] == "Conformance";
    let updated = statuses
        .update(name, |object| {
            let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.push(added("StatusUpdate"));
            object["status"]["conditions"] = json!(conditions);
        })
        .await?;
    ensure!(has(&updated, "StatusUpdate"), "the updated status is {}", updated["status"]);
    owners.wait(name, "the updated condition is there", PATIENCE, |object| has(object, "StatusUpdate")).await?;
    let patch = json!({ "status": { "conditions": [added("StatusPatched")] } });
    let patched = statuses.patch(name, Form::MergePatch, &patch, &[]).await?.expect(200)?;
    ensure!(has(&patched, "StatusPatched"), "the patched status is {}", patched["status"]);
    owners.wait(name, "the patched condition is there", PATIENCE, |object| has(object, "StatusPatched")).await.map(drop)
}

async fn set_status(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let sets = context.objects(resource::replica_sets(), &namespace);
    sets.create(&set("rs", Some(1), &label("rs").0)).await?;
    all_up(&context.objects(resource::pods(), &namespace), "app=rs", 1).await?;
    status(&sets, "rs").await
}

async fn failure_condition(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let quotas = context.objects(resource::resource_quotas(), &namespace);
    quotas.create(&json!({ "metadata": { "name": "two" }, "spec": { "hard": { "pods": "2" } } })).await?;
    let limited = |quota: &Value| quota["status"]["hard"]["pods"] == "2";
    quotas.wait("two", "the quota is in force", PATIENCE, limited).await?;
    let controllers = context.objects(resource::replication_controllers(), &namespace);
    controllers.create(&replication_controller("much", 3, &label("much").0)).await?;
    let fails = |object: &Value| find_condition(object, "ReplicaFailure")["status"] == "True";
    controllers.wait("much", "the failure is shown", PATIENCE, fails).await?;
    controllers.update("much", |object| object["spec"]["replicas"] = json!(2)).await?;
    let healed = |object: &Value| find_condition(object, "ReplicaFailure").is_null();
    controllers.wait("much", "the failure is no longer shown", PATIENCE, healed).await.map(drop)
}

async fn lifecycle(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let (labels, selector) = label(&context.name("life"));
    let controllers = context.objects(resource::replication_controllers(), &namespace);
    let mut watch = controllers.watch(&[("labelSelector", &selector)]).await?;
    controllers.create(&replication_controller("rc", 1, &labels)).await?;
    watch.expect("ADDED", "rc").await?;
    let ready = |count: u32| move |object: &Value| object["status"]["readyReplicas"] == count;
    controllers.wait("rc", "its pod is ready", PATIENCE, ready(1)).await?;
    let patched = controllers.strategic("rc", &json!({ "metadata": { "labels": { "patched": "yes" } } })).await?;
    same!(patched["metadata"]["labels"]["patched"], "yes", "the patched label");
    let wrong = json!({ "status": { "readyReplicas": 0, "availableReplicas": 0 } });
    let patched = controllers.sub("status").patch("rc", Form::MergePatch, &wrong, &[]).await?.expect(200)?;
    same!(patched["status"]["readyReplicas"].as_i64().unwrap_or(0), 0, "the patched status");
    controllers.wait("rc", "the status is put right", PATIENCE, ready(1)).await?;
    same!(controllers.sub("status").get("rc").await?["metadata"]["name"], "rc", "the name at /status");
    let scale = json!({ "spec": { "replicas": 2 } });
    controllers.sub("scale").patch("rc", Form::MergePatch, &scale, &[]).await?.expect(200)?;
    controllers.wait("rc", "two are ready", PATIENCE, ready(2)).await?;
    let everywhere = context.cluster(resource::replication_controllers()).labelled(&selector).await?;
    same!(everywhere.len(), 1, "how many ReplicationControllers of all namespaces have the label");
    controllers
        .update("rc", |object| object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(IMAGE))
        .await?;
    controllers.delete_labelled(&selector).await?;
    controllers.gone("rc", PATIENCE).await?;
    watch.find("its deletion", PATIENCE, |event| event.kind == "DELETED").await?;
    until(PATIENCE, || async { Ok(controllers.labelled(&selector).await?.is_empty().then_some(())) })
        .await
        .during("the controller is gone from lists")
}
