//! Webhooks and custom resources.

use super::{
    Kind, Stage,
    denying::expect_denied,
    handlers::{DISALLOWED, KEY, UNWANTED},
    rule,
};
use crate::{
    api::crd::{Definition, SERVED, anything, served},
    harness::{Context, Form, Objects, Outcome, resource, retry},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny custom resource creation, update and deletion [Conformance]",
        run!(deny),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate custom resource [Conformance]",
        run!(mutate),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate custom resource with pruning [Conformance]",
        run!(pruning),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate custom resource with different stored version [Conformance]",
        run!(stored_version),
    ),
];

/// The rule for objects of a definition.
fn of(definition: &Definition, operations: &[&str]) -> Value {
    rule(operations, &definition.group, &["*"], &[&definition.plural])
}

fn object(name: &str, data: &Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

async fn deny(context: &Context) -> Outcome {
    let stage = Stage::new(context).await?;
    let definition = Definition::simple(context);
    definition.create(context).await?;
    let hook = stage.hook("/deny-unwanted", &of(&definition, &["CREATE", "UPDATE", "DELETE"]));
    stage.register(Kind::Validating, vec![hook]).await?;
    let objects = context.objects(definition.resource("v1"), &stage.namespace);
    let during = |what: &'static str| move |failure: crate::harness::Failure| failure.during(what);
    let created = objects.post(&object("cr-1", &json!({KEY: DISALLOWED})), &[]).await?;
    expect_denied(&created, UNWANTED).map_err(during("a creation"))?;
    objects.create(&object("cr-2", &json!({KEY: "fine"}))).await?;
    let patch = json!({"data": {KEY: DISALLOWED}});
    let patched = objects.patch("cr-2", Form::MergePatch, &patch, &[]).await?;
    expect_denied(&patched, UNWANTED).map_err(during("an update"))?;
    deletion(&stage, &definition, &objects).await
}

/// What was made before the hook can't be deleted while it is in force.
async fn deletion(stage: &Stage, definition: &Definition, objects: &Objects) -> Outcome {
    let configurations = stage.configurations(Kind::Validating);
    let all = configurations.items(&[]).await?;
    let own = all.iter().find(|known| known["webhooks"][0]["rules"][0]["apiGroups"][0] == definition.group.as_str());
    let name = own.and_then(|own| own["metadata"]["name"].as_str()).unwrap_or_default();
    stage.set_operations(Kind::Validating, name, &["DELETE"], false).await?;
    retry(SERVED, || async { objects.merge("cr-2", &json!({"data": {KEY: DISALLOWED}})).await.map(drop) })
        .await
        .map_err(|failure| failure.during("an update that the hook is not asked about any more"))?;
    let deleted = objects.delete_with("cr-2", &Value::Null).await?;
    expect_denied(&deleted, UNWANTED).map_err(|failure| failure.during("a deletion"))?;
    let collection = objects.delete_all(&[]).await?;
    expect_denied(&collection, UNWANTED).map_err(|failure| failure.during("the deletion of the collection"))?;
    objects.merge("cr-2", &json!({"data": {KEY: "fine"}})).await?;
    objects.delete("cr-2").await.map(drop).map_err(|failure| failure.during("the deletion of what is fine again"))
}

/// Registers both stages for the objects of a definition.
async fn register_stages(stage: &Stage, definition: &Definition, operations: &[&str]) -> Outcome {
    let rule = of(definition, operations);
    let hooks = vec![stage.hook("/stage-1", &rule), stage.hook("/stage-2", &rule)];
    stage.register(Kind::Mutating, hooks).await.map(drop)
}

async fn mutate(context: &Context) -> Outcome {
    let stage = Stage::new(context).await?;
    let definition = Definition::simple(context);
    definition.create(context).await?;
    register_stages(&stage, &definition, &["CREATE"]).await?;
    let objects = context.objects(definition.resource("v1"), &stage.namespace);
    let created = objects.create(&object("cr-instance-1", &json!({"mutation-start": "yes"}))).await?;
    let wanted = json!({"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"});
    same!(created["data"], wanted, "data of the custom resource");
    Ok(())
}

async fn pruning(context: &Context) -> Outcome {
    let stage = Stage::new(context).await?;
    let data = json!({"type": "object", "properties": {
        "mutation-start": {"type": "string"}, "mutation-stage-1": {"type": "string"},
    }});
    let schema = json!({"type": "object", "properties": {"data": data}});
    let definition = Definition::new(context, vec![served("v1", true, &schema)]);
    definition.create(context).await?;
    register_stages(&stage, &definition, &["CREATE"]).await?;
    let objects = context.objects(definition.resource("v1"), &stage.namespace);
    let created = objects.create(&object("cr-instance-1", &json!({"mutation-start": "yes"}))).await?;
    let wanted = json!({"mutation-start": "yes", "mutation-stage-1": "yes"});
    same!(created["data"], wanted, "data of the custom resource, pruned");
    same!(objects.get("cr-instance-1").await?["data"], wanted, "data when it is read");
    Ok(())
}

async fn stored_version(context: &Context) -> Outcome {
    let stage = Stage::new(context).await?;
    let versions = vec![served("v1", true, &anything()), served("v2", false, &anything())];
    let definition = Definition::new(context, versions);
    definition.create(context).await?;
    register_stages(&stage, &definition, &["CREATE", "UPDATE"]).await?;
    let first = context.objects(definition.resource("v1"), &stage.namespace);
    first.create(&object("cr-instance-1", &json!({"mutation-start": "yes"}))).await?;
    let definitions = context.cluster(resource::resource_definitions());
    let change = |object: &mut Value| {
        object["spec"]["versions"][0]["storage"] = false.into();
        object["spec"]["versions"][1]["storage"] = true.into();
    };
    definitions.update(&definition.name(), change).await?;
    let stored = |object: &Value| object["status"]["storedVersions"] == json!(["v1", "v2"]);
    definitions.wait(&definition.name(), "v2 is not among the stored versions", SERVED, stored).await?;
    let second = context.objects(definition.resource("v2"), &stage.namespace);
    let patch = json!({"dummy": "test", "data": {"mutation-stage-2": null}});
    let patched = retry(SERVED, || async { second.merge("cr-instance-1", &patch).await }).await?;
    same!(patched["dummy"], "test", "the new field of the patched object");
    same!(patched["data"]["mutation-stage-2"], "yes", "what the hook adds again");
    same!(first.get("cr-instance-1").await?["dummy"], "test", "the new field at version 1");
    Ok(())
}
