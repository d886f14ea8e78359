//! A Deployment from its creation to its deletion, its scale and its status.

use super::complete;
use crate::{
    ctrl::{
        replicas,
        workload::{OTHER_IMAGE, PATIENCE, all_up, label, name_of, set},
    },
    ensure,
    harness::{Context, Form, Outcome, resource},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(crate) const TESTS: &[Test] = &[
    test("[sig-apps] Deployment should run the lifecycle of a Deployment [Conformance]", run!(life)),
    test("[sig-apps] Deployment Deployment should have a working scale subresource [Conformance]", run!(scale)),
    test("[sig-apps] Deployment should validate Deployment Status endpoints [Conformance]", run!(status)),
];

async fn scale(context: &Context) -> Outcome {
    replicas::scale(context, resource::deployments(), &set("scaled", Some(1), &label("scaled").0), true).await
}

async fn status(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let deployments = context.objects(resource::deployments(), &namespace);
    deployments.create(&set("web", Some(1), &label("web").0)).await?;
    complete(&deployments, "web").await?;
    replicas::status(&deployments, "web").await
}

async fn life(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let (labels, selector) = label(&context.name("life"));
    let deployments = context.objects(resource::deployments(), &namespace);
    let mut watch = deployments.watch(&[("labelSelector", &selector)]).await?;
    deployments.create(&set("web", Some(2), &labels)).await?;
    watch.expect("ADDED", "web").await?;
    watch.find("two ready replicas", PATIENCE, |event| event.object["status"]["readyReplicas"] == 2).await?;
    let patch = json!({
        "metadata": { "labels": { "stage": "patched" } },
        "spec": { "replicas": 1, "template": { "spec": { "terminationGracePeriodSeconds": 2,
            "containers": [{ "name": "c", "image": OTHER_IMAGE }] } } },
    });
    deployments.strategic("web", &patch).await?;
    let patched = complete(&deployments, "web").await?;
    same!(patched["metadata"]["labels"]["stage"], "patched", "the patched label");
    let template = &patched["spec"]["template"]["spec"];
    same!(template["containers"][0]["image"], OTHER_IMAGE, "the patched image");
    same!(template["containers"][0]["command"][0], "sleep", "the command that was not patched");
    same!(template["terminationGracePeriodSeconds"], 2, "the patched grace period");
    same!(patched["status"]["readyReplicas"], 1, "how many are ready after the patch");
    let everywhere = context.cluster(resource::deployments()).labelled(&selector).await?;
    same!(everywhere.iter().map(name_of).collect::<Vec<_>>(), ["web"], "the Deployments of all namespaces");
    deployments
        .update("web", |object| {
            object["metadata"]["labels"]["stage"] = json!("updated");
            object["spec"]["replicas"] = json!(2);
        })
        .await?;
    complete(&deployments, "web").await?;
    let read = deployments.sub("status").get("web").await?;
    same!(read["status"]["readyReplicas"], 2, "how many are ready by /status");
    let patch = json!({ "metadata": { "labels": { "stage": "patched-status" } }, 
        "status": { "readyReplicas": 0, "availableReplicas": 0, "unavailableReplicas": 2 } });
    let patched = deployments.sub("status").patch("web", Form::StrategicPatch, &patch, &[]).await?.expect(200)?;
    same!(patched["status"]["readyReplicas"].as_i64().unwrap_or(0), 0, "the patched status");
    let healed = |object: &Value| object["status"]["readyReplicas"] == 2;
    deployments.wait("web", "the status is put right", PATIENCE, healed).await?;
    all_up(&context.objects(resource::pods(), &namespace), &selector, 2).await?;
    let deleted = deployments.delete_labelled(&selector).await?;
    ensure!(!deleted.is_null(), "the deletion was answered with nothing");
    watch.find("its deletion", PATIENCE, |event| event.kind == "DELETED").await?;
    deployments.gone("web", PATIENCE).await
}
