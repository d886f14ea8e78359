//! Fields of the pod as files, on their own and projected.

use crate::pods::{PATIENCE, Place};
use orrery_harness::{Context, During, Outcome, Test, ensure, run, same, test, until};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-storage] Downward API volume should provide container's cpu limit [NodeConformance] [Conformance]",
        run!(resource, false, "limits.cpu", "2"),
    ),
    test(
        "[sig-storage] Downward API volume should provide container's cpu request [NodeConformance] [Conformance]",
        run!(resource, false, "requests.cpu", "1"),
    ),
    test(
        "[sig-storage] Downward API volume should provide container's memory limit [NodeConformance] [Conformance]",
        run!(resource, false, "limits.memory", "67108864"),
    ),
    test(
        "[sig-storage] Downward API volume should provide container's memory request [NodeConformance] [Conformance]",
        run!(resource, false, "requests.memory", "33554432"),
    ),
    test(
        "[sig-storage] Downward API volume should provide node allocatable (cpu) as default cpu limit if the limit is not set [NodeConformance] [Conformance]",
        run!(unlimited, false, "limits.cpu"),
    ),
    test(
        "[sig-storage] Downward API volume should provide node allocatable (memory) as default memory limit if the limit is not set [NodeConformance] [Conformance]",
        run!(unlimited, false, "limits.memory"),
    ),
    test(
        "[sig-storage] Downward API volume should provide podname only [NodeConformance] [Conformance]",
        run!(name, false),
    ),
    test(
        "[sig-storage] Downward API volume should set DefaultMode on files [LinuxOnly] [NodeConformance] [Conformance]",
        run!(mode, false, false),
    ),
    test(
        "[sig-storage] Downward API volume should set mode on item file [LinuxOnly] [NodeConformance] [Conformance]",
        run!(mode, false, true),
    ),
    test(
        "[sig-storage] Downward API volume should update annotations on modification [NodeConformance] [Conformance]",
        run!(updated, false, "annotations"),
    ),
    test(
        "[sig-storage] Downward API volume should update labels on modification [NodeConformance] [Conformance]",
        run!(updated, false, "labels"),
    ),
    test(
        "[sig-storage] Projected downwardAPI should provide container's cpu limit [NodeConformance] [Conformance]",
        run!(resource, true, "limits.cpu", "2"),
    ),
    test(
        "[sig-storage] Projected downwardAPI should provide container's cpu request [NodeConformance] [Conformance]",
        run!(resource, true, "requests.cpu", "1"),
    ),
    test(
        "[sig-storage] Projected downwardAPI should provide container's memory limit [NodeConformance] [Conformance]",
        run!(resource, true, "limits.memory", "67108864"),
    ),
    test(
        "[sig-storage] Projected downwardAPI should provide container's memory request [NodeConformance] [Conformance]",
        run!(resource, true, "requests.memory", "33554432"),
    ),
    test(
        "[sig-storage] Projected downwardAPI should provide node allocatable (cpu) as default cpu limit if the limit is not set [NodeConformance] [Conformance]",
        run!(unlimited, true, "limits.cpu"),
    ),
    test(
        "[sig-storage] Projected downwardAPI should provide node allocatable (memory) as default memory limit if the limit is not set [NodeConformance] [Conformance]",
        run!(unlimited, true, "limits.memory"),
    ),
    test(
        "[sig-storage] Projected downwardAPI should provide podname only [NodeConformance] [Conformance]",
        run!(name, true),
    ),
    test(
        "[sig-storage] Projected downwardAPI should set DefaultMode on files [LinuxOnly] [NodeConformance] [Conformance]",
        run!(mode, true, false),
    ),
    test(
        "[sig-storage] Projected downwardAPI should set mode on item file [LinuxOnly] [NodeConformance] [Conformance]",
        run!(mode, true, true),
    ),
    test(
        "[sig-storage] Projected downwardAPI should update annotations on modification [NodeConformance] [Conformance]",
        run!(updated, true, "annotations"),
    ),
    test(
        "[sig-storage] Projected downwardAPI should update labels on modification [NodeConformance] [Conformance]",
        run!(updated, true, "labels"),
    ),
];

/// A pod whose container runs `text` with one item of its own fields below `/etc/podinfo`.
fn pod(place: &Place, text: &str, projected: bool, item: &Value, mode: Option<u32>) -> Value {
    let mut pod = place.runs("looker", text);
    let mut source = json!({ "items": [item] });
    let mut volume = if projected {
        json!({ "projected": { "sources": [{ "downwardAPI": source }], "defaultMode": mode } })
    } else {
        source["defaultMode"] = json!(mode);
        json!({ "downwardAPI": source })
    };
    volume["name"] = "podinfo".into();
    pod["spec"]["volumes"] = json!([volume]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "podinfo", "mountPath": "/etc/podinfo" }]);
    pod
}

fn resource_item(what: &str) -> Value {
    json!({ "path": "it", "resourceFieldRef": { "containerName": "c", "resource": what } })
}

async fn resource(context: &Context, projected: bool, what: &str, expected: &str) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = pod(&place, "cat /etc/podinfo/it", projected, &resource_item(what), None);
    pod["spec"]["containers"][0]["resources"] =
        json!({ "requests": { "cpu": "250m", "memory": "32Mi" }, "limits": { "cpu": "1250m", "memory": "64Mi" } });
    same!(place.said(&pod).await?, expected, "what the container saw");
    Ok(())
}

async fn unlimited(context: &Context, projected: bool, what: &str) -> Outcome {
    let place = Place::new(context).await?;
    let said = place.said(&pod(&place, "cat /etc/podinfo/it", projected, &resource_item(what), None)).await?;
    ensure!(said.parse::<u64>().is_ok_and(|amount| amount > 0), "the container saw {said:?}");
    Ok(())
}

fn name_item() -> Value {
    json!({ "path": "podname", "fieldRef": { "fieldPath": "metadata.name" } })
}

async fn name(context: &Context, projected: bool) -> Outcome {
    let place = Place::new(context).await?;
    let said = place.said(&pod(&place, "cat /etc/podinfo/podname", projected, &name_item(), None)).await?;
    same!(said, "looker", "what the container saw");
    Ok(())
}

async fn mode(context: &Context, projected: bool, of_item: bool) -> Outcome {
    let place = Place::new(context).await?;
    let mut item = name_item();
    if of_item {
        item["mode"] = 0o400.into();
    }
    let default = (!of_item).then_some(0o400);
    let said = place.said(&pod(&place, "stat -L -c %a /etc/podinfo/podname", projected, &item, default)).await?;
    same!(said.trim_end(), "400", "the mode of the file");
    Ok(())
}

async fn updated(context: &Context, projected: bool, what: &str) -> Outcome {
    let place = Place::new(context).await?;
    let item = json!({ "path": "it", "fieldRef": { "fieldPath": format!("metadata.{what}") } });
    let text = "while true; do cat /etc/podinfo/it; echo; sleep 1; done";
    let mut pod = pod(&place, text, projected, &item, None);
    pod["metadata"][what]["builder"] = "bar".into();
    place.ready(&pod).await?;
    let says = |line: &'static str| {
        let place = &place;
        async move {
            let look = || async { Ok(place.log("looker", "c").await?.contains(line).then_some(())) };
            until(PATIENCE, look).await.during(format!("waiting for {line} in the log"))
        }
    };
    says("builder=\"bar\"").await?;
    place.pods.merge("looker", &json!({ "metadata": { what: { "builder": "foo" } } })).await?;
    says("builder=\"foo\"").await
}
