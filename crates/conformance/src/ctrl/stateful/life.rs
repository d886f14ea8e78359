//! A StatefulSet's scale, status and collection, and what becomes of its failed pods.

use super::{all_up, place, stateful};
use crate::{
    ctrl::{
        replicas,
        workload::{PATIENCE, is_up, label, name_of, set},
    },
    harness::{Context, During, Form, Outcome, resource, until},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(crate) const TESTS: &[Test] = &[
    test(
        "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should have a working scale subresource [Conformance]",
        run!(scale),
    ),
    test(
        "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should list, patch and delete a collection of StatefulSets [Conformance]",
        run!(collection),
    ),
    test(
        "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should validate Statefulset Status endpoints [Conformance]",
        run!(status),
    ),
    test(
        "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Should recreate evicted statefulset [Conformance]",
        run!(recreated),
    ),
];

async fn scale(context: &Context) -> Outcome {
    let mut owner = set("scaled", Some(1), &label("scaled").0);
    owner["spec"]["serviceName"] = json!("scaled");
    replicas::scale(context, resource::stateful_sets(), &owner, true).await
}

async fn collection(context: &Context) -> Outcome {
    let place = place(context).await?;
    let value = context.name("stateful");
    let mut wanted = stateful(1);
    wanted["metadata"]["labels"]["collection"] = json!(value);
    place.sets.create(&wanted).await?;
    all_up(&place.pods, 1).await?;
    let patch = json!({ "metadata": { "labels": { "stage": "patched" } },
        "spec": { "replicas": 2, "template": { "spec": { "terminationGracePeriodSeconds": 2 } } } });
    let patched = place.sets.strategic("ss", &patch).await?;
    same!(patched["metadata"]["labels"]["stage"], "patched", "the patched label");
    same!(patched["spec"]["replicas"], 2, "the patched replicas");
    let ready = |set: &Value| set["status"]["readyReplicas"] == 2 && set["status"]["updatedReplicas"] == 2;
    place.sets.wait("ss", "two pods of the patched template are ready", PATIENCE, ready).await?;
    let selector = format!("collection={value}");
    same!(context.cluster(resource::stateful_sets()).labelled(&selector).await?.len(), 1, "how many sets there are");
    place.sets.delete_labelled(&selector).await?;
    place.sets.gone("ss", PATIENCE).await
}

async fn status(context: &Context) -> Outcome {
    let place = place(context).await?;
    place.sets.create(&stateful(1)).await?;
    all_up(&place.pods, 1).await?;
    replicas::status(&place.sets, "ss").await
}

async fn recreated(context: &Context) -> Outcome {
    let place = place(context).await?;
    place.sets.create(&stateful(1)).await?;
    let first = all_up(&place.pods, 1).await?.remove(0);
    let patch = json!({ "status": { "phase": "Failed", "reason": "Evicted" } });
    place.pods.sub("status").patch(name_of(&first), Form::MergePatch, &patch, &[]).await?.expect(200)?;
    until(PATIENCE, || async {
        let answer = place.pods.read("ss-0").await?;
        let other = answer.body["metadata"]["uid"] != first["metadata"]["uid"];
        Ok((answer.is_success() && other && is_up(&answer.body)).then_some(()))
    })
    .await
    .during("waiting for another pod in place of the failed one")
}
