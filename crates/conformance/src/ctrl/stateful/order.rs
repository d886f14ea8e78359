//! The order in which pods come and go, and what an unhealthy one holds up.

use super::{all_up, gate, gated, ordinal, place, turn};
use crate::{
    ctrl::workload::{PATIENCE, is_ending, stays},
    ensure,
    harness::{Context, During, Objects, Outcome, until},
    registry::{Test, test},
    run,
};
use serde_json::{Value, json};

pub(crate) const TESTS: &[Test] = &[
    test(
        "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Scaling should happen in predictable order and halt if any stateful pod is unhealthy [Slow] [Conformance]",
        run!(ordered),
    )
    .within(400),
    test(
        "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Burst scaling should run to completion even with unhealthy pods [Slow] [Conformance]",
        run!(burst),
    )
    .within(300),
];

/// The ordinals of the pods that are there, the smallest first.
async fn ordinals(pods: &Objects) -> Outcome<Vec<usize>> {
    let mut found: Vec<usize> = pods.labelled("app=ss").await?.iter().map(ordinal).collect();
    found.sort_unstable();
    Ok(found)
}

async fn there(pods: &Objects, wanted: &[usize]) -> Outcome {
    until(PATIENCE, || async { Ok((ordinals(pods).await? == wanted).then_some(())) })
        .await
        .during(format!("waiting for the pods {wanted:?}"))
}

async fn halts(pods: &Objects, wanted: &[usize]) -> Outcome {
    stays(&format!("the pods {wanted:?}, while one is not healthy"), || async { Ok(ordinals(pods).await? == wanted) })
        .await
}

fn replicas(count: u32) -> Value {
    json!({ "spec": { "replicas": count } })
}

async fn ordered(context: &Context) -> Outcome {
    let place = place(context).await?;
    let (sets, pods) = (&place.sets, &place.pods);
    sets.create(&gated(1)).await?;
    there(pods, &[0]).await?;
    gate(pods, "ss-0", true).await?;
    all_up(pods, 1).await?;
    gate(pods, "ss-0", false).await?;
    sets.merge("ss", &replicas(3)).await?;
    halts(pods, &[0]).await?;
    // Up: each waits for the one before it.
    for (name, next) in [("ss-0", vec![0, 1]), ("ss-1", vec![0, 1, 2])] {
        gate(pods, name, true).await?;
        there(pods, &next).await?;
    }
    gate(pods, "ss-2", true).await?;
    all_up(pods, 3).await?;
    // Down: not while they are unhealthy, then the last first.
    for name in ["ss-0", "ss-1", "ss-2"] {
        gate(pods, name, false).await?;
    }
    let mut watch = pods.watch(&[("labelSelector", "app=ss")]).await?;
    sets.merge("ss", &replicas(0)).await?;
    stays("all three pods, while they are not healthy", || async {
        let all = pods.labelled("app=ss").await?;
        Ok(all.len() == 3 && !all.iter().any(is_ending))
    })
    .await?;
    for name in ["ss-2", "ss-1", "ss-0"] {
        // Each may go as soon as its gate is open, so that nothing more can be seen of it but its deletion.
        turn(pods, name, true).await?.success()?;
    }
    for wanted in [2, 1, 0] {
        let event = watch.find("the next deletion", PATIENCE, |event| event.kind == "DELETED").await?;
        ensure!(ordinal(&event.object) == wanted, "{} is deleted, wanted ss-{wanted}", event.name());
    }
    there(pods, &[]).await
}

async fn burst(context: &Context) -> Outcome {
    let place = place(context).await?;
    let (sets, pods) = (&place.sets, &place.pods);
    let mut wanted = gated(1);
    wanted["spec"]["podManagementPolicy"] = json!("Parallel");
    sets.create(&wanted).await?;
    there(pods, &[0]).await?;
    gate(pods, "ss-0", true).await?;
    gate(pods, "ss-0", false).await?;
    // None is ready, and all of them come nevertheless.
    sets.merge("ss", &replicas(3)).await?;
    there(pods, &[0, 1, 2]).await?;
    for name in ["ss-0", "ss-1", "ss-2"] {
        gate(pods, name, true).await?;
    }
    all_up(pods, 3).await?;
    gate(pods, "ss-1", false).await?;
    sets.merge("ss", &replicas(0)).await?;
    there(pods, &[]).await
}
