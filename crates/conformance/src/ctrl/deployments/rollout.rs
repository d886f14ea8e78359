//! From one template to the next.

use super::{complete, is_complete, revision, sets_of};
use crate::{
    ctrl::workload::{OTHER_IMAGE, PATIENCE, all_up, controller, counted, label, name_of, set},
    ensure,
    harness::{Context, Objects, Outcome, resource, until},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::time::Instant;

pub(crate) const TESTS: &[Test] = &[
    test(
        "[sig-apps] Deployment RollingUpdateDeployment should delete old pods and create new ones [Conformance]",
        run!(rolling),
    ),
    test(
        "[sig-apps] Deployment RecreateDeployment should delete old pods and create new ones [Conformance]",
        run!(recreate),
    ),
    test("[sig-apps] Deployment deployment should delete old replica sets [Conformance]", run!(history)),
    test("[sig-apps] Deployment deployment should support rollover [Conformance]", run!(rollover)),
    test("[sig-apps] Deployment deployment should support proportional scaling [Conformance]", run!(proportional)),
];

/// A template that never becomes ready: its pods wait for a gate that nobody opens.
const GATE: &str = "conformance.orrery.dev/never";

fn image(deployment: &mut Value, image: &str) {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
}

struct Place {
    deployments: Objects,
    sets: Objects,
    pods: Objects,
}

async fn place(context: &Context) -> Outcome<Place> {
    let namespace = context.namespace().await?;
    Ok(Place {
        deployments: context.objects(resource::deployments(), &namespace),
        sets: context.objects(resource::replica_sets(), &namespace),
        pods: context.objects(resource::pods(), &namespace),
    })
}

async fn rolling(context: &Context) -> Outcome {
    let Place { deployments, sets, pods } = place(context).await?;
    // A ReplicaSet that was there before: the Deployment takes it over as its first revision.
    let mut old = set("old", Some(1), &label("rolling").0);
    old["metadata"]["annotations"] = json!({ super::REVISION: "3546343826724305832" });
    let old = sets.create(&old).await?;
    all_up(&pods, "app=rolling", 1).await?;
    let mut wanted = set("rolling", Some(1), &label("rolling").0);
    image(&mut wanted, OTHER_IMAGE);
    let made = deployments.create(&wanted).await?;
    let done = complete(&deployments, "rolling").await?;
    same!(revision(&done), "3546343826724305833", "the revision, which goes on from the adopted ReplicaSet's");
    let own = sets_of(&sets, &made).await?;
    same!(own.len(), 2, "how many ReplicaSets it has");
    let old = sets.get(name_of(&old)).await?;
    same!(controller(&old), made["metadata"]["uid"].as_str().unwrap_or_default(), "who owns the old ReplicaSet");
    same!(old["spec"]["replicas"], 0, "the replicas of the old ReplicaSet");
    let up = all_up(&pods, "app=rolling", 1).await?;
    same!(up[0]["spec"]["containers"][0]["image"], OTHER_IMAGE, "the image of the pod");
    Ok(())
}

async fn recreate(context: &Context) -> Outcome {
    let Place { deployments, pods, .. } = place(context).await?;
    let mut wanted = set("recreate", Some(1), &label("recreate").0);
    wanted["spec"]["strategy"] = json!({ "type": "Recreate" });
    deployments.create(&wanted).await?;
    complete(&deployments, "recreate").await?;
    deployments.update("recreate", |object| image(object, OTHER_IMAGE)).await?;
    let end = Instant::now() + PATIENCE;
    loop {
        let done = is_complete(&deployments.get("recreate").await?);
        let mut running: BTreeMap<String, usize> = BTreeMap::new();
        for pod in pods.labelled("app=recreate").await?.iter().filter(|pod| pod["status"]["phase"] == "Running") {
            let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
            *running.entry(image.to_owned()).or_default() += 1;
        }
        ensure!(running.len() <= 1, "pods of both templates run at once: {running:?}");
        if done && running.contains_key(OTHER_IMAGE) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "the rollout is not complete; running: {running:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn history(context: &Context) -> Outcome {
    let Place { deployments, sets, pods } = place(context).await?;
    sets.create(&set("old", Some(1), &label("history").0)).await?;
    all_up(&pods, "app=history", 1).await?;
    let mut wanted = set("history", Some(1), &label("history").0);
    wanted["spec"]["revisionHistoryLimit"] = json!(0);
    image(&mut wanted, OTHER_IMAGE);
    let made = deployments.create(&wanted).await?;
    until(PATIENCE, || async {
        let own = sets_of(&sets, &made).await?;
        Ok((own.len() == 1 && name_of(&own[0]) != "old").then_some(()))
    })
    .await?;
    same!(sets.read("old").await?.status, 404, "the answer for the old ReplicaSet");
    complete(&deployments, "history").await.map(drop)
}

async fn rollover(context: &Context) -> Outcome {
    let Place { deployments, sets, pods } = place(context).await?;
    sets.create(&set("first", Some(1), &label("rollover").0)).await?;
    all_up(&pods, "app=rollover", 1).await?;
    let mut wanted = set("rollover", Some(1), &label("rollover").0);
    wanted["spec"]["strategy"] =
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } });
    wanted["spec"]["template"]["spec"]["readinessGates"] = json!([{ "conditionType": GATE }]);
    let made = deployments.create(&wanted).await?;
    // The second template is never ready, so its rollout is still under way when the third comes.
    until(PATIENCE, || async { Ok((sets_of(&sets, &made).await?.len() == 2).then_some(())) }).await?;
    let surged = |object: &Value| object["status"]["updatedReplicas"] == 1;
    deployments.wait("rollover", "the second template has a pod", PATIENCE, surged).await?;
    ensure!(!is_complete(&deployments.get("rollover").await?), "a template that is never ready is complete");
    deployments
        .update("rollover", |object| {
            image(object, OTHER_IMAGE);
            object["spec"]["template"]["spec"]["readinessGates"] = Value::Null;
        })
        .await?;
    complete(&deployments, "rollover").await?;
    let own = sets_of(&sets, &made).await?;
    same!(own.len(), 3, "how many ReplicaSets it has");
    let replicas: Vec<_> = own.iter().map(|set| set["spec"]["replicas"].as_u64().unwrap_or_default()).collect();
    same!(replicas, [0, 0, 1], "the replicas of its ReplicaSets, the oldest first");
    let left = all_up(&pods, "app=rollover", 1).await?;
    same!(left[0]["spec"]["containers"][0]["image"], OTHER_IMAGE, "the image of the pod");
    Ok(())
}

/// The replicas of the ReplicaSets, the oldest first.
async fn shares(sets: &Objects, deployment: &Value) -> Outcome<Vec<u64>> {
    let own = sets_of(sets, deployment).await?;
    Ok(own.iter().map(|set| set["spec"]["replicas"].as_u64().unwrap_or_default()).collect())
}

async fn proportional(context: &Context) -> Outcome {
    let Place { deployments, sets, pods } = place(context).await?;
    let mut wanted = set("proportional", Some(10), &label("proportional").0);
    wanted["spec"]["strategy"] =
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 3, "maxUnavailable": 2 } });
    let made = deployments.create(&wanted).await?;
    complete(&deployments, "proportional").await?;
    deployments
        .update("proportional", |object| {
            object["spec"]["template"]["spec"]["readinessGates"] = json!([{ "conditionType": GATE }]);
        })
        .await?;
    // Ten and three more at most, two fewer available at least: eight old ones, five new ones that are not ready.
    until(PATIENCE, || async { Ok((shares(&sets, &made).await? == [8, 5]).then_some(())) }).await?;
    counted(&pods, "app=proportional", 13).await?;
    // The status follows the pods. It has to have come this far before the scaling, which goes by what is there.
    let settled = |object: &Value| object["status"]["availableReplicas"] == 8 && object["status"]["replicas"] == 13;
    deployments.wait("proportional", "eight of thirteen are available in the middle", PATIENCE, settled).await?;
    deployments.merge("proportional", &json!({ "spec": { "replicas": 30 } })).await?;
    // Twenty more, and the surge of three: 33 in the proportion of 8 to 5.
    until(PATIENCE, || async { Ok((shares(&sets, &made).await? == [20, 13]).then_some(())) }).await?;
    counted(&pods, "app=proportional", 33).await?;
    Ok(())
}
