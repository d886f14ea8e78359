//! A pod from its making to its end.

use crate::pods::{PATIENCE, Place, is_ready};
use orrery_harness::{Context, Event, Outcome, Test, ensure, expect_within, resource, run, same, test};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-node] Pods should allow activeDeadlineSeconds to be updated [NodeConformance] [Conformance]",
        run!(deadline),
    ),
    test("[sig-node] Pods should be submitted and removed [NodeConformance] [Conformance]", run!(removed)),
    test("[sig-node] Pods should be updated [NodeConformance] [Conformance]", run!(updated)),
    test("[sig-node] Pods should delete a collection of pods [Conformance]", run!(collection)),
    test("[sig-node] Pods should get a host IP [NodeConformance] [Conformance]", run!(host_ip)),
    test("[sig-node] Pods should patch a pod status [Conformance]", run!(status_patched)),
    test("[sig-node] Pods should run through the lifecycle of Pods and PodStatus [Conformance]", run!(lifecycle)),
    test(
        "[sig-node] RuntimeClass should schedule a Pod requesting a RuntimeClass and initialize its Overhead [NodeConformance] [Conformance]",
        run!(runtime_class, true),
    ),
    test(
        "[sig-node] RuntimeClass should schedule a Pod requesting a RuntimeClass without PodOverhead [NodeConformance] [Conformance]",
        run!(runtime_class, false),
    ),
    test(
        "[sig-node] Kubelet when scheduling an agnhost Pod with hostAliases should write entries to /etc/hosts [NodeConformance] [Conformance]",
        run!(aliases),
    ),
];

async fn deadline(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    place.ready(&place.runs("old", "sleep 600")).await?;
    place.pods.merge("old", &json!({ "spec": { "activeDeadlineSeconds": 5 } })).await?;
    let ended = place.ended("old").await?;
    same!(ended["status"]["reason"], "DeadlineExceeded", "the reason");
    Ok(())
}

async fn removed(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let mut watch = place.pods.watch(&[("labelSelector", "name=short")]).await?;
    place.ready(&place.runs("short", "sleep 600")).await?;
    same!(place.pods.labelled("name=short").await?.len(), 1, "pods with the label");
    place.pods.delete("short").await?;
    let going = |event: &Event| event.object["metadata"]["deletionTimestamp"].is_string();
    watch.find("that it is being deleted", PATIENCE, going).await?;
    watch.find("its end", PATIENCE, |event| event.kind == "DELETED").await?;
    same!(place.pods.labelled("name=short").await?.len(), 0, "pods with the label after its end");
    Ok(())
}

async fn updated(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    place.ready(&place.runs("it", "sleep 600")).await?;
    place.pods.update("it", |pod| pod["metadata"]["labels"]["time"] = "changed".into()).await?;
    let found = place.pods.labelled("time=changed").await?;
    same!(found.len(), 1, "pods with the new label");
    ensure!(is_ready(&found[0]), "the pod is no longer ready after a change of its labels");
    Ok(())
}

async fn collection(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    for number in 1..=3 {
        let mut pod = place.runs(&format!("test-pod-{number}"), "sleep 600");
        pod["metadata"]["labels"]["type"] = "Testing".into();
        place.pods.create(&pod).await?;
    }
    same!(place.pods.labelled("type=Testing").await?.len(), 3, "pods with the label");
    place.pods.delete_labelled("type=Testing").await?;
    for number in 1..=3 {
        place.pods.gone(&format!("test-pod-{number}"), PATIENCE).await?;
    }
    Ok(())
}

async fn host_ip(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let pod = place.ready(&place.runs("it", "sleep 600")).await?;
    let address = pod["status"]["hostIP"].as_str().unwrap_or_default();
    ensure!(address.parse::<std::net::IpAddr>().is_ok(), "the host's address is {address:?}");
    Ok(())
}

async fn status_patched(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    place.ready(&place.runs("it", "sleep 600")).await?;
    let patch = json!({ "status": { "message": "Patched by e2e test", "reason": "E2E" } });
    let patched = place.pods.sub("status").merge("it", &patch).await?;
    expect_within(&patched, &patch, "the patched status")
}

async fn lifecycle(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = place.runs("it", "sleep 600");
    pod["metadata"]["labels"]["test-pod-static"] = "true".into();
    place.ready(&pod).await?;
    let patch =
        json!({ "metadata": { "labels": { "test-pod": "patched" } }, "spec": { "terminationGracePeriodSeconds": 5 } });
    place.pods.strategic("it", &patch).await?;
    let found = place.pods.labelled("test-pod-static=true").await?;
    same!(found.len(), 1, "pods with the static label");
    same!(found[0]["metadata"]["labels"]["test-pod"], "patched", "the patched label");
    let statuses = place.pods.sub("status");
    let replaced = statuses
        .update("it", |pod| {
            for condition in pod["status"]["conditions"].as_array_mut().into_iter().flatten() {
                if condition["type"] == "Ready" {
                    condition["status"] = "False".into();
                }
            }
        })
        .await?;
    same!(orrery_harness::condition(&replaced, "Ready"), Some("False"), "condition Ready in the answer");
    // Its node says how it really is.
    place.pods.wait("it", "it is ready again", PATIENCE, is_ready).await?;
    place.remove("it").await
}

async fn runtime_class(context: &Context, overhead: bool) -> Outcome {
    let place = Place::new(context).await?;
    let classes = context.cluster(resource::runtime_classes());
    let name = context.name("class");
    context.remove_later(&resource::runtime_classes(), &name);
    let mut class = json!({ "metadata": { "name": name }, "handler": "none-that-is-there" });
    if overhead {
        class["overhead"] = json!({ "podFixed": { "cpu": "10m", "memory": "1Mi" } });
    }
    classes.create(&class).await?;
    let mut pod = place.runs("it", "sleep 600");
    pod["spec"]["runtimeClassName"] = name.into();
    let made = place.pods.create(&pod).await?;
    let expected = if overhead { json!({ "cpu": "10m", "memory": "1Mi" }) } else { Value::Null };
    same!(made["spec"]["overhead"], expected, "the pod's overhead");
    let scheduled = |pod: &Value| orrery_harness::condition(pod, "PodScheduled") == Some("True");
    place.pods.wait("it", "it is scheduled", PATIENCE, scheduled).await.map(drop)
}

async fn aliases(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = place.runs("it", "cat /etc/hosts");
    pod["spec"]["hostAliases"] = json!([{ "ip": "123.45.67.89", "hostnames": ["foo", "bar"] }]);
    let said = place.said(&pod).await?;
    let line = said.lines().find(|line| line.starts_with("123.45.67.89")).unwrap_or_default();
    same!(line.split_whitespace().collect::<Vec<_>>(), ["123.45.67.89", "foo", "bar"], "the line of the alias");
    Ok(())
}
