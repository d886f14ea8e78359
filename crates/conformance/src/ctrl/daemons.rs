//! DaemonSets and their revisions: one pod on every node that takes it.

use super::{
    replicas,
    workload::{OTHER_IMAGE, PATIENCE, condition, controller, is_ending, is_up, label, name_of, set},
};
use crate::{
    ensure,
    harness::{Context, During, Failure, Form, Objects, Outcome, resource, until},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) const TESTS: &[Test] = &[
    test("[sig-apps] Daemon set [Serial] should run and stop simple daemon [Conformance]", run!(simple)).serial(),
    test("[sig-apps] Daemon set [Serial] should run and stop complex daemon [Conformance]", run!(complex)).serial(),
    test("[sig-apps] Daemon set [Serial] should retry creating failed daemon pods [Conformance]", run!(retry_failed))
        .serial(),
    test(
        "[sig-apps] Daemon set [Serial] should update pod when spec was updated and update strategy is RollingUpdate [Conformance]",
        run!(rolling),
    )
    .serial(),
    test("[sig-apps] Daemon set [Serial] should rollback without unnecessary restarts [Conformance]", run!(rollback))
        .serial(),
    test("[sig-apps] Daemon set [Serial] should list and delete a collection of DaemonSets [Conformance]", run!(collection))
        .serial(),
    test("[sig-apps] Daemon set [Serial] should verify changes to a daemon set status [Conformance]", run!(status))
        .serial(),
    test(
        "[sig-apps] ControllerRevision [Serial] should manage the lifecycle of a ControllerRevision [Conformance]",
        run!(revisions),
    )
    .serial(),
];

/// A condition that nobody makes true: a template that waits for it is never ready.
const GATE: &str = "conformance.orrery.dev/never";
/// A label of nodes that only tests set.
const COLOUR: &str = "conformance.orrery.dev/colour";

struct Place {
    sets: Objects,
    pods: Objects,
    /// The nodes that take pods that tolerate nothing.
    nodes: BTreeSet<String>,
}

async fn place(context: &Context) -> Outcome<Place> {
    let namespace = context.namespace().await?;
    let takes = |node: &Value| {
        let taints = node["spec"]["taints"].as_array().into_iter().flatten();
        node["spec"]["unschedulable"] != true
            && condition(node, "Ready") == "True"
            && !taints.into_iter().any(|taint| taint["effect"] != "PreferNoSchedule")
    };
    let nodes = context.cluster(resource::nodes()).items(&[]).await?;
    let nodes: BTreeSet<_> = nodes.iter().filter(|node| takes(node)).map(|node| name_of(node).to_owned()).collect();
    ensure!(!nodes.is_empty(), "no node takes pods");
    Ok(Place {
        sets: context.objects(resource::daemon_sets(), &namespace),
        pods: context.objects(resource::pods(), &namespace),
        nodes,
    })
}

fn node_of(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or_default()
}

/// Waits until the pods with the label run on exactly these nodes, one on each, and returns them.
async fn on(pods: &Objects, nodes: &BTreeSet<String>) -> Outcome<Vec<Value>> {
    until(PATIENCE, || async {
        let found = pods.labelled("app=daemon").await?;
        let there: BTreeSet<_> = found.iter().map(|pod| node_of(pod).to_owned()).collect();
        Ok((found.len() == nodes.len() && there == *nodes && found.iter().all(is_up)).then_some(found))
    })
    .await
    .during(format!("waiting for one running pod on each of {nodes:?}"))
}

fn daemon() -> Value {
    set("daemon", None, &label("daemon").0)
}

async fn simple(context: &Context) -> Outcome {
    let Place { sets, pods, nodes } = place(context).await?;
    sets.create(&daemon()).await?;
    let all = on(&pods, &nodes).await?;
    let ready = |set: &Value| set["status"]["numberReady"] == nodes.len();
    sets.wait("daemon", "all its pods are ready", PATIENCE, ready).await?;
    let stopped = name_of(&all[0]);
    pods.delete(stopped).await?;
    pods.gone(stopped, PATIENCE).await?;
    on(&pods, &nodes).await.map(drop)
}

async fn complex(context: &Context) -> Outcome {
    let Place { sets, pods, nodes } = place(context).await?;
    let node = nodes.first().cloned().unwrap_or_default();
    let all_nodes = context.cluster(resource::nodes());
    let outcome = selected(&sets, &pods, &all_nodes, &node).await;
    all_nodes.merge(&node, &json!({ "metadata": { "labels": { (COLOUR): null } } })).await?;
    outcome
}

async fn selected(sets: &Objects, pods: &Objects, nodes: &Objects, node: &str) -> Outcome {
    let (nowhere, there) = (BTreeSet::new(), BTreeSet::from([node.to_owned()]));
    let paint = |colour: &str| json!({ "metadata": { "labels": { (COLOUR): colour } } });
    let mut wanted = daemon();
    wanted["spec"]["template"]["spec"]["nodeSelector"] = json!({ (COLOUR): "blue" });
    sets.create(&wanted).await?;
    let seen = |set: &Value| set["status"]["observedGeneration"] == set["metadata"]["generation"];
    sets.wait("daemon", "it was looked at", PATIENCE, seen).await?;
    on(pods, &nowhere).await?;
    nodes.merge(node, &paint("blue")).await?;
    on(pods, &there).await?;
    nodes.merge(node, &paint("green")).await?;
    on(pods, &nowhere).await?;
    let strategy = json!({ "spec": { "updateStrategy": { "type": "RollingUpdate" },
        "template": { "spec": { "nodeSelector": { (COLOUR): "green" } } } } });
    sets.merge("daemon", &strategy).await?;
    on(pods, &there).await.map(drop)
}

async fn retry_failed(context: &Context) -> Outcome {
    let Place { sets, pods, nodes } = place(context).await?;
    sets.create(&daemon()).await?;
    let all = on(&pods, &nodes).await?;
    let failed = name_of(&all[0]);
    let patch = json!({ "status": { "phase": "Failed" } });
    pods.sub("status").patch(failed, Form::MergePatch, &patch, &[]).await?.expect(200)?;
    pods.gone(failed, PATIENCE).await?;
    on(&pods, &nodes).await.map(drop)
}

fn image(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]["image"]
}

async fn rolling(context: &Context) -> Outcome {
    let Place { sets, pods, nodes } = place(context).await?;
    let mut wanted = daemon();
    wanted["spec"]["updateStrategy"] = json!({ "type": "RollingUpdate" });
    sets.create(&wanted).await?;
    on(&pods, &nodes).await?;
    let patch =
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": OTHER_IMAGE }] } } } });
    sets.strategic("daemon", &patch).await?;
    until(PATIENCE, || async {
        let found = pods.labelled("app=daemon").await?;
        let running = found.iter().filter(|pod| is_up(pod)).count();
        ensure!(running + 1 >= nodes.len(), "more than one pod is down during the update: {running} run");
        Ok(found.iter().all(|pod| *image(pod) == OTHER_IMAGE).then_some(()))
    })
    .await
    .during("waiting for pods of the new template")?;
    on(&pods, &nodes).await.map(drop)
}

async fn rollback(context: &Context) -> Outcome {
    let Place { sets, pods, nodes } = place(context).await?;
    if nodes.len() < 2 {
        return Err(Failure::skipped("needs two nodes that take pods"));
    }
    sets.create(&daemon()).await?;
    let before: BTreeSet<String> = on(&pods, &nodes).await?.iter().map(|pod| name_of(pod).to_owned()).collect();
    let first = sets.get("daemon").await?["spec"]["template"].clone();
    sets.update("daemon", |set| {
        set["spec"]["template"]["spec"]["readinessGates"] = json!([{ "conditionType": GATE }]);
    })
    .await?;
    // The new template is never ready: the update stops at the first pod.
    let kept = until(PATIENCE, || async {
        let found = pods.labelled("app=daemon").await?;
        let new = found.iter().any(|pod| pod["spec"]["readinessGates"].is_array());
        let old = found.iter().filter(|pod| before.contains(name_of(pod)) && !is_ending(pod));
        let old: BTreeSet<String> = old.map(|pod| name_of(pod).to_owned()).collect();
        Ok((new && found.len() == nodes.len()).then_some(old))
    })
    .await
    .during("waiting for the first pod of the new template")?;
    ensure!(!kept.is_empty(), "the update did not stop at pods that are never ready");
    sets.update("daemon", |set| set["spec"]["template"] = first.clone()).await?;
    let after: BTreeSet<String> = on(&pods, &nodes).await?.iter().map(|pod| name_of(pod).to_owned()).collect();
    ensure!(kept.is_subset(&after), "pods of the template were restarted by the rollback: {kept:?}, now {after:?}");
    Ok(())
}

async fn collection(context: &Context) -> Outcome {
    let Place { sets, pods, nodes } = place(context).await?;
    let value = context.name("daemons");
    let mut wanted = daemon();
    wanted["metadata"]["labels"]["collection"] = json!(value);
    sets.create(&wanted).await?;
    on(&pods, &nodes).await?;
    let selector = format!("collection={value}");
    same!(
        context.cluster(resource::daemon_sets()).labelled(&selector).await?.len(),
        1,
        "how many DaemonSets there are"
    );
    sets.delete_labelled(&selector).await?;
    sets.gone("daemon", PATIENCE).await
}

async fn status(context: &Context) -> Outcome {
    let Place { sets, pods, nodes } = place(context).await?;
    sets.create(&daemon()).await?;
    on(&pods, &nodes).await?;
    replicas::status(&sets, "daemon").await
}

/// Waits until so many revisions of the set have the label, and returns them, the oldest first.
async fn revisions_of(revisions: &Objects, selector: &str, count: usize) -> Outcome<Vec<Value>> {
    until(PATIENCE, || async {
        let mut found = revisions.labelled(selector).await?;
        found.sort_by_key(|revision| revision["revision"].as_i64());
        Ok((found.len() == count).then_some(found))
    })
    .await
    .during(format!("waiting for {count} revisions with {selector}"))
}

async fn revisions(context: &Context) -> Outcome {
    let Place { sets, pods, nodes } = place(context).await?;
    let namespace = sets.create(&daemon()).await?;
    let uid = namespace["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let namespace = namespace["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    on(&pods, &nodes).await?;
    let revisions = context.objects(resource::controller_revisions(), &namespace);
    let first = revisions_of(&revisions, "app=daemon", 1).await?.remove(0);
    same!(controller(&first), uid, "who owns the first revision");
    let name = name_of(&first).to_owned();
    let patched = revisions.strategic(&name, &json!({ "metadata": { "labels": { "stage": "patched" } } })).await?;
    same!(patched["metadata"]["labels"]["stage"], "patched", "the patched label");
    let added = json!({
        "metadata": { "name": format!("{name}-added"), "labels": first["metadata"]["labels"],
            "ownerReferences": first["metadata"]["ownerReferences"] },
        "data": first["data"], "revision": first["revision"].as_i64().unwrap_or_default() + 1,
    });
    revisions.create(&added).await?;
    revisions_of(&revisions, "app=daemon", 2).await?;
    revisions.delete(&name).await?;
    let left = revisions_of(&revisions, "app=daemon", 1).await?;
    let updated = revisions
        .update(name_of(&left[0]), |revision| revision["metadata"]["labels"]["stage"] = json!("updated"))
        .await?;
    same!(updated["metadata"]["labels"]["stage"], "updated", "the updated label");
    sets.update("daemon", |set| set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(2)).await?;
    revisions_of(&revisions, "app=daemon", 2).await?;
    revisions.delete_labelled("stage=updated").await?;
    let last = revisions_of(&revisions, "app=daemon", 1).await?.remove(0);
    same!(last["revision"], 3, "the number of the last revision");
    Ok(())
}
