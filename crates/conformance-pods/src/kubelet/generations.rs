//! The generation of a pod, and the one that its node has seen.

use crate::pods::{PATIENCE, Place};
use orrery_harness::{Context, Outcome, Test, run, same, test};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-node] Pods Extended (pod generation) Pod Generation custom-set generation on new pods and graceful delete [Conformance]",
        run!(deleted),
    ),
    test(
        "[sig-node] Pods Extended (pod generation) Pod Generation issue 500 podspec updates and verify generation and observedGeneration eventually converge [MinimumKubeletVersion:1.34] [Conformance]",
        run!(many),
    )
    .within(300),
    test(
        "[sig-node] Pods Extended (pod generation) Pod Generation pod generation should start at 1 and increment per update [MinimumKubeletVersion:1.34] [Conformance]",
        run!(counted),
    ),
];

async fn observed(place: &Place, generation: u64) -> Outcome {
    let seen = |pod: &Value| pod["status"]["observedGeneration"].as_u64() == Some(generation);
    place.pods.wait("it", &format!("generation {generation} is observed"), PATIENCE, seen).await.map(drop)
}

async fn counted(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let made = place.ready(&place.runs("it", "sleep 600")).await?;
    same!(made["metadata"]["generation"], 1, "the generation of a new pod");
    observed(&place, 1).await?;
    let toleration = json!({ "key": "custom", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 100 });
    let mut tolerations = made["spec"]["tolerations"].clone();
    tolerations.as_array_mut().into_iter().for_each(|list| list.push(toleration.clone()));
    for (patch, generation) in [
        (json!({ "spec": { "activeDeadlineSeconds": 3000 } }), 2),
        (json!({ "metadata": { "labels": { "a": "b" } } }), 2),
        (json!({ "spec": { "tolerations": tolerations } }), 3),
        (json!({ "spec": { "activeDeadlineSeconds": 2000 } }), 4),
    ] {
        let patched = place.pods.merge("it", &patch).await?;
        same!(patched["metadata"]["generation"], generation, "the generation after {patch}");
        observed(&place, generation).await?;
    }
    Ok(())
}

async fn deleted(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = place.runs("it", "trap '' TERM; sleep 600");
    pod["metadata"]["generation"] = 100.into();
    pod["spec"]["terminationGracePeriodSeconds"] = 20.into();
    let made = place.ready(&pod).await?;
    same!(made["metadata"]["generation"], 1, "the generation of a new pod");
    place.pods.delete("it").await?;
    let going = place.pods.get("it").await?;
    same!(going["metadata"]["generation"], 2, "the generation of a pod that is being deleted");
    observed(&place, 2).await
}

async fn many(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    place.ready(&place.runs("it", "sleep 600")).await?;
    for update in 0..499 {
        place.pods.merge("it", &json!({ "spec": { "activeDeadlineSeconds": 5000 - update } })).await?;
    }
    same!(place.pods.get("it").await?["metadata"]["generation"], 500, "the generation after 499 updates");
    observed(&place, 500).await
}
