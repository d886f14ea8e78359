//! Config maps and secrets.

use crate::{
    ensure,
    harness::{Context, EVENT_TIMEOUT, Objects, Outcome, Resource, expect_newer, names, resource},
    registry::{Test, test},
    run, same,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-node] ConfigMap should fail to create ConfigMap with empty key [Conformance]",
        run!(config_map_empty_key),
    ),
    test("[sig-node] ConfigMap should run through a ConfigMap lifecycle [Conformance]", run!(config_map_lifecycle)),
    test(
        "[sig-node] ConfigMap should update ConfigMap successfully [NodeConformance] [Conformance]",
        run!(config_map_update),
    ),
    test(
        "[sig-storage] ConfigMap should be immutable if `immutable` field is set [Conformance]",
        run!(immutable, resource::config_maps()),
    ),
    test(
        "[sig-node] Secrets should fail to create secret due to empty secret key [Conformance]",
        run!(secret_empty_key),
    ),
    test("[sig-node] Secrets should patch a secret [Conformance]", run!(secret_patch)),
    test(
        "[sig-storage] Secrets should be immutable if `immutable` field is set [Conformance]",
        run!(immutable, resource::secrets()),
    ),
];

async fn config_map_empty_key(context: &Context) -> Outcome {
    let maps = context.objects(resource::config_maps(), &context.namespace().await?);
    let object = json!({"metadata": {"name": "empty-key"}, "data": {"": "value-1"}});
    maps.post(&object, &[]).await?.refused(422, "Invalid")?;
    maps.read("empty-key").await?.refused(404, "NotFound").map(drop)
}

async fn secret_empty_key(context: &Context) -> Outcome {
    let secrets = context.objects(resource::secrets(), &context.namespace().await?);
    let object = json!({"metadata": {"name": "empty-key"}, "data": {"": BASE64_STANDARD.encode("value-1")}});
    secrets.post(&object, &[]).await?.refused(422, "Invalid")?;
    secrets.read("empty-key").await?.refused(404, "NotFound").map(drop)
}

async fn config_map_lifecycle(context: &Context) -> Outcome {
    let maps = context.objects(resource::config_maps(), &context.namespace().await?);
    let everywhere = context.cluster(resource::config_maps());
    let set = context.name("set");
    let selector = format!("set={set}");
    let mut watch = maps.watch(&[("labelSelector", &selector)]).await?;
    let object = json!({
        "metadata": {"name": "test-configmap", "labels": {"set": set}},
        "data": {"valueName": "value"},
    });
    maps.create(&object).await?;
    watch.expect("ADDED", "test-configmap").await?;
    let patch = json!({"metadata": {"labels": {"test-configmap": "patched"}}, "data": {"valueName": "value1"}});
    maps.strategic("test-configmap", &patch).await?;
    watch.expect("MODIFIED", "test-configmap").await?;
    let got = maps.get("test-configmap").await?;
    same!(got["data"]["valueName"], "value1", "data after the patch");
    same!(got["metadata"]["labels"]["test-configmap"], "patched", "the label after the patch");
    let listed = everywhere.labelled(&selector).await?;
    same!(names(&listed), ["test-configmap"], "config maps with the label in all namespaces");
    same!(listed[0]["data"]["valueName"], "value1", "data in the list");
    same!(listed[0]["metadata"]["labels"]["test-configmap"], "patched", "the label in the list");
    maps.delete_labelled(&selector).await?;
    watch.find("the end of the config map", EVENT_TIMEOUT, |event| event.kind == "DELETED").await?;
    same!(maps.labelled(&selector).await?.len(), 0, "config maps after the collection was deleted");
    Ok(())
}

async fn config_map_update(context: &Context) -> Outcome {
    let maps = context.objects(resource::config_maps(), &context.namespace().await?);
    let object = json!({"metadata": {"name": "configmap-test"}, "data": {"data": "value"}});
    let created = maps.create(&object).await?;
    let mut changed = created.clone();
    changed["data"] = json!({"data": "value", "more": "value-2"});
    let updated = maps.replace(&changed).await?;
    expect_newer(&updated, &created, "the updated config map")?;
    same!(maps.get("configmap-test").await?["data"], changed["data"], "data after the update");
    Ok(())
}

fn payload(resource: &Resource, value: &str) -> Value {
    let value = if resource.kind == "Secret" { BASE64_STANDARD.encode(value) } else { value.to_owned() };
    json!({"data-1": value})
}

async fn immutable(context: &Context, resource: Resource) -> Outcome {
    let objects = context.objects(resource.clone(), &context.namespace().await?);
    let object = json!({"metadata": {"name": "immutable"}, "data": payload(&resource, "value-1")});
    let mut current = objects.create(&object).await?;
    current["data"] = payload(&resource, "value-2");
    current = objects.replace(&current).await.map_err(|failure| failure.during("an update of the data"))?;
    current["immutable"] = true.into();
    current = objects.replace(&current).await.map_err(|failure| failure.during("making it immutable"))?;
    refuse_changes(&objects, &resource, &current).await?;
    current["metadata"]["labels"]["added"] = "label".into();
    let labelled = objects.replace(&current).await.map_err(|failure| failure.during("an update of the labels"))?;
    same!(labelled["metadata"]["labels"]["added"], "label", "the label");
    same!(objects.get("immutable").await?["data"], payload(&resource, "value-2"), "the data in the end");
    objects.delete("immutable").await?;
    objects.read("immutable").await?.refused(404, "NotFound").map(drop)
}

async fn refuse_changes(objects: &Objects, resource: &Resource, current: &Value) -> Outcome {
    let mut other = current.clone();
    other["data"] = payload(resource, "value-3");
    let refused = objects.put(&other).await?.refused(422, "Invalid");
    refused.map_err(|failure| failure.during("an update of the data of what is immutable"))?;
    for value in [Value::Null, Value::Bool(false)] {
        let mut mutable = current.clone();
        mutable["immutable"] = value;
        let refused = objects.put(&mutable).await?.refused(422, "Invalid");
        refused.map_err(|failure| failure.during("making it mutable again"))?;
    }
    Ok(())
}

async fn secret_patch(context: &Context) -> Outcome {
    let secrets = context.objects(resource::secrets(), &context.namespace().await?);
    let everywhere = context.cluster(resource::secrets());
    let set = context.name("set");
    let selector = format!("set={set}");
    same!(everywhere.labelled(&selector).await?.len(), 0, "secrets with the label at first");
    let object = json!({
        "metadata": {"name": "test-secret", "labels": {"set": set}},
        "type": "Opaque",
        "data": {"key": BASE64_STANDARD.encode("value")},
    });
    secrets.create(&object).await?;
    let listed = everywhere.labelled(&selector).await?;
    same!(names(&listed), ["test-secret"], "secrets with the label in all namespaces");
    let value = BASE64_STANDARD.encode("value1");
    let patch = json!({"metadata": {"labels": {"test-secret": "patched"}}, "data": {"key": value}});
    secrets.strategic("test-secret", &patch).await?;
    let got = secrets.get("test-secret").await?;
    same!(got["data"]["key"], value.as_str(), "data after the patch");
    same!(got["metadata"]["labels"]["test-secret"], "patched", "the label after the patch");
    let listed = everywhere.labelled(&selector).await?;
    ensure!(listed.len() == 1 && listed[0]["data"]["key"] == value.as_str(), "the list shows another secret");
    secrets.delete_labelled(&selector).await?;
    same!(everywhere.labelled(&selector).await?.len(), 0, "secrets with the label after they were deleted");
    Ok(())
}
