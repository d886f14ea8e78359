//! From one template to the next, and back.

use super::{Place, all_up, place, revision, stateful, updated};
use crate::{
    ctrl::workload::{IMAGE, OTHER_IMAGE, PATIENCE, is_up, name_of},
    ensure,
    harness::{Context, During, Outcome, resource, until},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(crate) const TESTS: &[Test] = &[
    test(
        "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should perform rolling updates and roll backs of template modifications [Conformance]",
        run!(rolling),
    )
    .within(300),
    test(
        "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should perform canary updates and phased rolling updates of template modifications [Conformance]",
        run!(canary),
    )
    .within(300),
];

fn image(name: &str) -> Value {
    json!({ "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": name }] } } } })
}

fn partition(at: u32) -> Value {
    json!({ "spec": { "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": at } } } })
}

fn text<'a>(set: &'a Value, field: &str) -> &'a str {
    set["status"][field].as_str().unwrap_or_default()
}

async fn rolling(context: &Context) -> Outcome {
    let place = place(context).await?;
    place.sets.create(&stateful(3)).await?;
    all_up(&place.pods, 3).await?;
    let first = updated(&place, 3).await?;
    let first_revision = text(&first, "currentRevision").to_owned();
    same!(text(&first, "updateRevision"), first_revision, "the revisions before an update");
    let mut watch = place.pods.watch(&[("labelSelector", "app=ss")]).await?;
    place.sets.strategic("ss", &image(OTHER_IMAGE)).await?;
    // The last pod first.
    for wanted in ["ss-2", "ss-1", "ss-0"] {
        let event = watch.find("the next deletion", PATIENCE, |event| event.kind == "DELETED").await?;
        same!(event.name(), wanted, "the pod that is replaced next");
    }
    let second = updated(&place, 3).await?;
    ensure!(text(&second, "updateRevision") != first_revision, "another template has the same revision");
    for pod in all_up(&place.pods, 3).await? {
        same!(pod["spec"]["containers"][0]["image"], OTHER_IMAGE, "the image of {}", name_of(&pod));
    }
    place.sets.strategic("ss", &image(IMAGE)).await?;
    let third = updated(&place, 3).await?;
    same!(text(&third, "updateRevision"), first_revision, "the revision after the rollback");
    let namespace = third["metadata"]["namespace"].as_str().unwrap_or_default();
    let revisions = context.objects(resource::controller_revisions(), namespace).labelled("app=ss").await?;
    same!(revisions.len(), 2, "how many revisions there are: a rollback makes none");
    Ok(())
}

/// Waits until the pods from `at` on are of the update's revision and the others of the current one, all up.
async fn divided(place: &Place, current: &str, update: &str, at: usize) -> Outcome {
    until(PATIENCE, || async {
        let mut pods = place.pods.labelled("app=ss").await?;
        pods.sort_by_key(super::ordinal);
        let right =
            |(index, pod): (usize, &Value)| is_up(pod) && revision(pod) == if index < at { current } else { update };
        Ok((pods.len() == 3 && pods.iter().enumerate().all(right)).then_some(()))
    })
    .await
    .during(format!("waiting for the update of the pods from ss-{at} on"))
}

async fn canary(context: &Context) -> Outcome {
    let place = place(context).await?;
    let mut wanted = stateful(3);
    wanted["spec"]["updateStrategy"] = partition(3)["spec"]["updateStrategy"].clone();
    place.sets.create(&wanted).await?;
    all_up(&place.pods, 3).await?;
    let current = text(&updated(&place, 3).await?, "currentRevision").to_owned();
    place.sets.strategic("ss", &image(OTHER_IMAGE)).await?;
    let known = |set: &Value| !text(set, "updateRevision").is_empty() && text(set, "updateRevision") != current;
    let set = place.sets.wait("ss", "the update has a revision", PATIENCE, known).await?;
    let update = text(&set, "updateRevision").to_owned();
    // All of them lie before the partition.
    divided(&place, &current, &update, 3).await?;
    place.sets.merge("ss", &partition(2)).await?;
    divided(&place, &current, &update, 2).await?;
    // Pods that are lost in the middle of it come back on the side of the partition where they were.
    for name in ["ss-0", "ss-2"] {
        let before = place.pods.get(name).await?["metadata"]["uid"].clone();
        place.pods.delete(name).await?;
        until(PATIENCE, || async {
            let answer = place.pods.read(name).await?;
            Ok((answer.is_success() && answer.body["metadata"]["uid"] != before).then_some(()))
        })
        .await
        .during(format!("waiting for another {name}"))?;
    }
    divided(&place, &current, &update, 2).await?;
    for at in [1, 0] {
        place.sets.merge("ss", &partition(at)).await?;
        divided(&place, &current, &update, at as usize).await?;
    }
    let done = updated(&place, 3).await?;
    same!(text(&done, "currentRevision"), update, "the current revision after the last phase");
    Ok(())
}
