//! Resource quotas, limit ranges, priority classes.

use crate::{
    ensure,
    harness::{Context, EVENT_TIMEOUT, Outcome, expect_within, names, resource},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] ResourceQuota should be able to update and delete ResourceQuota. [Conformance]",
        run!(quota_update),
    ),
    test(
        "[sig-api-machinery] ResourceQuota should manage the lifecycle of a ResourceQuota [Conformance]",
        run!(quota_lifecycle),
    ),
    test(
        "[sig-scheduling] LimitRange should create a LimitRange with defaults and ensure pod has those defaults applied. [Conformance]",
        run!(limit_defaults),
    ),
    test(
        "[sig-scheduling] LimitRange should list, patch and delete a LimitRange by collection [Conformance]",
        run!(limit_collection),
    ),
    test(
        "[sig-scheduling] SchedulerPreemption [Serial] PriorityClass endpoints verify PriorityClass endpoints can be operated with different HTTP methods [Conformance]",
        run!(priority_classes),
    ),
];

async fn quota_update(context: &Context) -> Outcome {
    let quotas = context.objects(resource::resource_quotas(), &context.namespace().await?);
    let hard = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory});
    let created =
        quotas.create(&json!({"metadata": {"name": "test-quota"}, "spec": {"hard": hard("1", "500Mi")}})).await?;
    same!(created["spec"]["hard"], hard("1", "500Mi"), "the limits when they are created");
    same!(quotas.get("test-quota").await?["spec"]["hard"], hard("1", "500Mi"), "the limits when they are read");
    quotas.update("test-quota", |quota| quota["spec"]["hard"] = hard("2", "1Gi")).await?;
    same!(quotas.get("test-quota").await?["spec"]["hard"], hard("2", "1Gi"), "the limits after the update");
    quotas.delete("test-quota").await?;
    quotas.read("test-quota").await?.refused(404, "NotFound").map(drop)
}

async fn quota_lifecycle(context: &Context) -> Outcome {
    let quotas = context.objects(resource::resource_quotas(), &context.namespace().await?);
    let name = context.name("e2e-quota");
    let selector = format!("{name}=true");
    let hard = json!({"cpu": "1", "memory": "500Mi"});
    quotas.create(&json!({"metadata": {"name": name, "labels": {&name: "true"}}, "spec": {"hard": hard}})).await?;
    same!(quotas.get(&name).await?["spec"]["hard"], hard, "the limits when they are read");
    let everywhere = context.cluster(resource::resource_quotas()).labelled(&selector).await?;
    same!(names(&everywhere), [name.as_str()], "quotas with the label in all namespaces");
    let patch = json!({"metadata": {"labels": {&name: "patched"}}, "spec": {"hard": {"memory": "750Mi"}}});
    let patched = quotas.strategic(&name, &patch).await?;
    expect_within(&patched, &patch, "the patched quota")?;
    same!(patched["spec"]["hard"]["cpu"], "1", "the limit that the patch does not name");
    quotas.delete_labelled(&format!("{name}=patched")).await?;
    quotas.gone(&name, Duration::from_secs(30)).await
}

/// The limits of upstream's test: minimum, maximum, default and default request of containers.
fn limit_range(name: &str, minimum_memory: &str) -> Value {
    let amounts =
        |cpu: &str, memory: &str, disk: &str| json!({"cpu": cpu, "memory": memory, "ephemeral-storage": disk});
    json!({"metadata": {"name": name}, "spec": {"limits": [{
        "type": "Container",
        "min": amounts("50m", minimum_memory, "100Gi"),
        "max": amounts("500m", "500Mi", "500Gi"),
        "default": amounts("500m", "500Mi", "500Gi"),
        "defaultRequest": amounts("100m", "200Mi", "200Gi"),
        "maxLimitRequestRatio": {},
    }]}})
}

fn pod(name: &str, resources: &Value) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"schedulerName": "nobody", "containers": [
            {"name": "pause", "image": "registry.local/pause:1", "resources": resources},
        ]},
    })
}

async fn limit_defaults(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let ranges = context.objects(resource::limit_ranges(), &namespace);
    let pods = context.objects(resource::pods(), &namespace);
    let mut watch = ranges.watch(&[]).await?;
    let range = limit_range("limit-range", "100Mi");
    ranges.create(&range).await?;
    watch.expect("ADDED", "limit-range").await?;
    expect_within(
        &ranges.get("limit-range").await?["spec"]["limits"][0]["default"],
        &range["spec"]["limits"][0]["default"],
        "the default limits",
    )?;
    let limits = &range["spec"]["limits"][0];
    pods.create(&pod("pod-no-resources", &json!({}))).await?;
    let got = pods.get("pod-no-resources").await?;
    let found = &got["spec"]["containers"][0]["resources"];
    same!(found["requests"], limits["defaultRequest"], "the requests of a pod without resources");
    same!(found["limits"], limits["default"], "the limits of a pod without resources");
    let partial = json!({
        "requests": {"memory": "150Mi", "ephemeral-storage": "150Gi"},
        "limits": {"cpu": "300m"},
    });
    pods.create(&pod("pod-partial-resources", &partial)).await?;
    let got = pods.get("pod-partial-resources").await?;
    let found = &got["spec"]["containers"][0]["resources"];
    // A limit without a request is the request too, before any default applies.
    let wanted = json!({"cpu": "300m", "memory": "150Mi", "ephemeral-storage": "150Gi"});
    same!(found["requests"], wanted, "the requests of a pod that names some");
    let wanted = json!({"cpu": "300m", "memory": "500Mi", "ephemeral-storage": "500Gi"});
    same!(found["limits"], wanted, "the limits of a pod that names some");
    limits_hold(context, &namespace).await
}

/// Too small and too large is refused; after an update the new minimum holds; after the deletion nothing does.
async fn limits_hold(context: &Context, namespace: &str) -> Outcome {
    let ranges = context.objects(resource::limit_ranges(), namespace);
    let pods = context.objects(resource::pods(), namespace);
    let small = json!({"requests": {"cpu": "10m", "memory": "50Mi", "ephemeral-storage": "50Gi"}});
    let large = json!({"limits": {"cpu": "600m", "memory": "600Mi", "ephemeral-storage": "600Gi"}});
    for (what, resources) in [("below the minimum", &small), ("above the maximum", &large)] {
        let refused = pods.post(&pod("pod-refused", resources), &[]).await?.refused(403, "Forbidden");
        refused.map_err(|failure| failure.during(format!("a pod {what}")))?;
    }
    let updated = ranges
        .update("limit-range", |range| range["spec"]["limits"][0]["min"] = json!({"cpu": "9m", "memory": "49Mi"}));
    same!(updated.await?["spec"]["limits"][0]["min"]["memory"], "49Mi", "the minimum after the update");
    let allowed = json!({"requests": {"cpu": "10m", "memory": "50Mi"}});
    let created =
        crate::harness::retry(Duration::from_secs(30), || async { pods.create(&pod("pod-small", &allowed)).await });
    created.await.map_err(|failure| failure.during("a pod above the lowered minimum"))?;
    ranges.delete("limit-range").await?;
    ranges.gone("limit-range", Duration::from_secs(30)).await?;
    crate::harness::retry(Duration::from_secs(30), || async { pods.create(&pod("pod-large", &large)).await })
        .await
        .map_err(|failure| failure.during("a large pod without a limit range"))
        .map(drop)
}

async fn limit_collection(context: &Context) -> Outcome {
    let (one, two) = (context.namespace().await?, context.namespace().await?);
    let name = context.name("e2e-limitrange");
    let selector = format!("e2e-limitrange={name}");
    for namespace in [&one, &two] {
        let mut range = limit_range(&name, "100Mi");
        range["metadata"]["labels"] = json!({"e2e-limitrange": name});
        context.objects(resource::limit_ranges(), namespace).create(&range).await?;
    }
    let everywhere = context.cluster(resource::limit_ranges());
    same!(everywhere.labelled(&selector).await?.len(), 2, "limit ranges in all namespaces");
    let ranges = context.objects(resource::limit_ranges(), &one);
    let patch = json!({"metadata": {"labels": {&name: "patched"}}, "spec": {"limits": [
        {"type": "Container", "min": {"cpu": "40m"}},
    ]}});
    let patched = ranges.strategic(&name, &patch).await?;
    same!(patched["metadata"]["labels"][&name], "patched", "the label of the patched range");
    same!(patched["spec"]["limits"][0]["min"]["cpu"], "40m", "the minimum of the patched range");
    ranges.delete_labelled(&format!("{selector},{name}=patched")).await?;
    ranges.gone(&name, Duration::from_secs(30)).await?;
    let left = everywhere.labelled(&selector).await?;
    same!(left.len(), 1, "limit ranges after one collection was deleted");
    same!(left[0]["metadata"]["namespace"], two.as_str(), "the namespace of the range that is left");
    Ok(())
}

async fn priority_classes(context: &Context) -> Outcome {
    let classes = context.cluster(resource::priority_classes());
    let set = context.name("set");
    let selector = format!("set={set}");
    context.remove_path_later(classes.collection(&[("labelSelector", &selector)]));
    let mut made = Vec::new();
    for value in [1, 2] {
        let name = context.name("class");
        let object = json!({"metadata": {"name": name, "labels": {"set": set}}, "value": value});
        made.push(classes.create(&object).await?);
    }
    same!(classes.labelled(&selector).await?.len(), 2, "priority classes with the label");
    ensure!(!classes.items(&[]).await?.is_empty(), "the list of all priority classes is empty");
    for class in &made {
        let name = class["metadata"]["name"].as_str().unwrap_or_default();
        let value = class["value"].as_i64().unwrap_or_default();
        let patched = classes.merge(name, &json!({"description": "patched"})).await?;
        same!(patched["description"], "patched", "the description of a patched class");
        let patch = json!({"value": value * 10});
        classes.patch(name, crate::harness::Form::MergePatch, &patch, &[]).await?.refused(422, "Invalid")?;
        let updated = classes.update(name, |class| class["description"] = "updated".into()).await?;
        same!(updated["description"], "updated", "the description of an updated class");
        let mut other = updated;
        other["value"] = (value * 10).into();
        classes.put(&other).await?.refused(422, "Invalid")?;
        same!(classes.get(name).await?["value"], value, "the value in the end");
    }
    let mut watch = classes.watch(&[("labelSelector", &selector)]).await?;
    classes.delete_labelled(&selector).await?;
    watch.find("the end of a class", EVENT_TIMEOUT, |event| event.kind == "DELETED").await?;
    same!(classes.labelled(&selector).await?.len(), 0, "priority classes after the collection was deleted");
    Ok(())
}
