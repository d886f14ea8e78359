//! Custom resource definitions: making one, and what the definition itself has to do.

use crate::{
    ensure,
    harness::{
        Context, EVENT_TIMEOUT, Failure, Form, Objects, Outcome, Resource, condition, expect_within, resource, until,
    },
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition creating/deleting custom resource definition objects works [Conformance]",
        run!(create_and_delete),
    ),
    test(
        "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition listing custom resource definition objects works [Conformance]",
        run!(list),
    ),
    test(
        "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition getting/updating/patching custom resource definition status sub-resource works [Conformance]",
        run!(status),
    ),
    test(
        "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] custom resource defaulting for requests and from storage works [Conformance]",
        run!(defaulting),
    ),
    test(
        "[sig-api-machinery] CustomResourceDefinition Watch [Privileged:ClusterAdmin] CustomResourceDefinition Watch watch on custom resource definition objects [Conformance]",
        run!(watch),
    ),
];

/// How long a definition may take to be served, or to vanish.
pub(super) const SERVED: Duration = Duration::from_secs(30);

/// A definition with a group of its own.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) group: String,
    pub(super) plural: String,
    pub(super) kind: String,
    pub(super) namespaced: bool,
    /// Items of `spec.versions`.
    pub(super) versions: Vec<Value>,
    /// `spec.conversion`, when it is not none.
    pub(super) conversion: Option<Value>,
    pub(super) labels: Value,
}

/// A version of a definition that is served with a schema.
pub(super) fn served(name: &str, storage: bool, schema: &Value) -> Value {
    json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}})
}

/// A schema that lets everything pass.
pub(super) fn anything() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

impl Definition {
    /// A definition with versions, whose objects live in namespaces.
    pub(super) fn new(context: &Context, versions: Vec<Value>) -> Self {
        let word = context.name("crd").replace('-', "");
        Self {
            group: format!("{word}.example.com"),
            plural: format!("e2e-test-{word}s"),
            kind: format!("E2e-test-{word}"),
            namespaced: true,
            versions,
            conversion: None,
            labels: json!({}),
        }
    }

    /// A definition of version `v1` that lets everything pass.
    pub(super) fn simple(context: &Context) -> Self {
        Self::new(context, vec![served("v1", true, &anything())])
    }

    /// The definition's name.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// The definition as an object.
    pub(super) fn object(&self) -> Value {
        let singular = self.plural.trim_end_matches('s');
        let mut object = json!({
            "metadata": {"name": self.name(), "labels": self.labels},
            "spec": {
                "group": self.group,
                "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
                "names": {
                    "plural": self.plural, "singular": singular,
                    "kind": self.kind, "listKind": format!("{}List", self.kind),
                },
                "versions": self.versions,
            },
        });
        if let Some(conversion) = &self.conversion {
            object["spec"]["conversion"] = conversion.clone();
        }
        object
    }

    /// The resource at one of its versions.
    pub(super) fn resource(&self, version: &str) -> Resource {
        let api_version = format!("{}/{version}", self.group);
        Resource { namespaced: self.namespaced, ..Resource::namespaced(&api_version, &self.plural, &self.kind) }
    }

    /// Creates the definition and waits until all its versions are served.
    pub(super) async fn create(&self, context: &Context) -> Outcome<Value> {
        let definitions = context.cluster(resource::resource_definitions());
        context.remove_later(&resource::resource_definitions(), &self.name());
        definitions.create(&self.object()).await?;
        let established = definitions
            .wait(&self.name(), "the definition was not established", SERVED, |definition| {
                condition(definition, "Established") == Some("True")
            })
            .await?;
        for version in self.versions.iter().filter(|version| version["served"] == true) {
            let name = version["name"].as_str().unwrap_or_default();
            self.wait_served(context, name).await?;
        }
        Ok(established)
    }

    /// Waits until a version is served.
    pub(super) async fn wait_served(&self, context: &Context, version: &str) -> Outcome {
        let objects = context.cluster(self.resource(version));
        let path = objects.collection(&[]);
        let there = until(SERVED, || async { Ok(context.api.get(&path).await?.is_success().then_some(())) });
        there.await.map_err(|failure| failure.during(format!("{path} is not served")))
    }

    /// Deletes the definition and waits until it is gone.
    pub(super) async fn remove(&self, context: &Context) -> Outcome {
        let definitions = context.cluster(resource::resource_definitions());
        definitions.delete(&self.name()).await?;
        definitions.gone(&self.name(), SERVED).await
    }
}

async fn create_and_delete(context: &Context) -> Outcome {
    let definition = Definition::simple(context);
    let created = definition.create(context).await?;
    for kind in ["NamesAccepted", "Established"] {
        same!(condition(&created, kind), Some("True"), "the condition {kind}");
    }
    same!(created["status"]["storedVersions"], json!(["v1"]), "the stored versions");
    same!(created["status"]["acceptedNames"]["kind"], definition.kind.as_str(), "the accepted kind");
    let objects = context.objects(definition.resource("v1"), &context.namespace().await?);
    objects.create(&json!({"metadata": {"name": "one"}, "spec": {"a": 1}})).await?;
    definition.remove(context).await?;
    let path = objects.collection(&[]);
    until(SERVED, || async { Ok((context.api.get(&path).await?.status == 404).then_some(())) })
        .await
        .map_err(|failure| failure.during("the resource is still served after the definition is gone"))
}

async fn list(context: &Context) -> Outcome {
    let definitions = context.cluster(resource::resource_definitions());
    let set = context.name("set");
    let selector = format!("e2e-list-test={set}");
    let mut wanted = Vec::new();
    for _ in 0..10 {
        let mut definition = Definition::simple(context);
        definition.labels = json!({"e2e-list-test": set});
        definition.create(context).await?;
        wanted.push(definition.name());
    }
    let other = Definition::simple(context);
    other.create(context).await?;
    let found = definitions.labelled(&selector).await?;
    let mut found: Vec<String> = crate::harness::names(&found).iter().map(|name| (*name).to_owned()).collect();
    found.sort();
    wanted.sort();
    same!(found, wanted, "definitions with the label");
    definitions.delete_labelled(&selector).await?;
    until(SERVED, || async { Ok(definitions.labelled(&selector).await?.is_empty().then_some(())) }).await?;
    definitions.get(&other.name()).await.map(drop).map_err(|failure| failure.during("the definition without the label"))
}

async fn status(context: &Context) -> Outcome {
    let definition = Definition::simple(context);
    definition.create(context).await?;
    let definitions = context.cluster(resource::resource_definitions());
    let statuses = definitions.sub("status");
    let name = definition.name();
    let got = statuses.get(&name).await?;
    same!(got["kind"], "CustomResourceDefinition", "the kind of the status");
    same!(condition(&got, "Established"), Some("True"), "the condition Established of the status");
    let own = json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set by a test",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let updated = statuses.update(&name, |object| {
        if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
            conditions.push(own.clone());
        }
    });
    same!(condition(&updated.await?, "StatusUpdate"), Some("True"), "the condition in the answer of the update");
    same!(condition(&definitions.get(&name).await?, "StatusUpdate"), Some("True"), "the condition after the update");
    let patch = json!({"status": {"conditions": [
        {"type": "StatusPatched", "status": "True", "reason": "E2E", "message": "Set by a test",
            "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]}});
    let patched = statuses.patch(&name, Form::MergePatch, &patch, &[]).await?.expect(200)?;
    same!(condition(&patched, "StatusPatched"), Some("True"), "the condition in the answer of the patch");
    same!(patched["spec"]["group"], definition.group.as_str(), "the group after the patch of the status");
    same!(condition(&definitions.get(&name).await?, "StatusPatched"), Some("True"), "the condition after the patch");
    Ok(())
}

async fn watch(context: &Context) -> Outcome {
    let definition = Definition::simple(context);
    definition.create(context).await?;
    let objects = context.objects(definition.resource("v1"), &context.namespace().await?);
    let (one, two) = ("watch-one", "watch-two");
    let mut first = objects.watch(&[("fieldSelector", &format!("metadata.name={one}"))]).await?;
    let mut second = objects.watch(&[("fieldSelector", &format!("metadata.name={two}"))]).await?;
    objects.create(&json!({"metadata": {"name": one}})).await?;
    first.expect("ADDED", one).await?;
    objects.create(&json!({"metadata": {"name": two}})).await?;
    second.expect("ADDED", two).await?;
    for (name, watch) in [(one, &mut first), (two, &mut second)] {
        objects.merge(name, &json!({"spec": {"num": {"num1": 1}}})).await?;
        let event = watch.expect("MODIFIED", name).await?;
        same!(event.object["spec"]["num"]["num1"], 1, "the object of the event MODIFIED");
    }
    for (name, watch) in [(one, &mut first), (two, &mut second)] {
        objects.delete(name).await?;
        watch.find("the deletion", EVENT_TIMEOUT, |event| event.kind == "DELETED" && event.name() == name).await?;
    }
    definition_events(context).await
}

/// The events of a definition itself.
async fn definition_events(context: &Context) -> Outcome {
    let definition = Definition::simple(context);
    let definitions = context.cluster(resource::resource_definitions());
    let name = definition.name();
    let mut watch = definitions.watch(&[("fieldSelector", &format!("metadata.name={name}"))]).await?;
    definition.create(context).await?;
    watch.expect("ADDED", &name).await?;
    definitions.merge(&name, &json!({"metadata": {"annotations": {"modified": "true"}}})).await?;
    let modified = |event: &crate::harness::Event| event.object["metadata"]["annotations"]["modified"] == "true";
    same!(watch.find("the change", EVENT_TIMEOUT, modified).await?.kind, "MODIFIED", "the event of the change");
    definition.remove(context).await?;
    watch.find("the deletion", EVENT_TIMEOUT, |event| event.kind == "DELETED").await.map(drop)
}

fn with_defaults(fields: &[(&str, Option<&str>)]) -> Value {
    let mut schema = json!({"type": "object", "properties": {}});
    for (name, default) in fields {
        schema["properties"][name] = json!({"type": "string"});
        if let Some(default) = default {
            schema["properties"][name]["default"] = (*default).into();
        }
    }
    schema
}

async fn set_schema(definitions: &Objects, name: &str, schema: &Value) -> Outcome {
    let change = |object: &mut Value| object["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema.clone();
    definitions.update(name, change).await.map(drop)
}

/// Reads an object until it has the fields.
async fn read_until(objects: &Objects, name: &str, wanted: &Value) -> Outcome {
    let read =
        objects.wait(name, "the defaults did not come", SERVED, |object| expect_within(object, wanted, "").is_ok());
    read.await.map(drop).map_err(|failure| failure.during(format!("{wanted}")))
}

async fn defaulting(context: &Context) -> Outcome {
    let definition = Definition::new(context, vec![served("v1", true, &with_defaults(&[("a", None), ("b", None)]))]);
    definition.create(context).await?;
    let definitions = context.cluster(resource::resource_definitions());
    let objects = context.objects(definition.resource("v1"), &context.namespace().await?);
    let created = objects.create(&json!({"metadata": {"name": "first"}})).await?;
    ensure!(created.get("a").is_none(), "a field without default was filled: {created}");
    set_schema(&definitions, &definition.name(), &with_defaults(&[("a", Some("A")), ("b", None)])).await?;
    read_until(&objects, "first", &json!({"a": "A"})).await?;
    let created = objects.create(&json!({"metadata": {"name": "second"}})).await?;
    same!(created["a"], "A", "the default in the answer of a create");
    ensure!(created.get("b").is_none(), "a field without default was filled: {created}");
    // What was stored with the default keeps it; what was only read with it does not.
    set_schema(&definitions, &definition.name(), &with_defaults(&[("a", None), ("b", Some("B"))])).await?;
    read_until(&objects, "second", &json!({"a": "A", "b": "B"})).await?;
    read_until(&objects, "first", &json!({"b": "B"})).await?;
    let first = objects.get("first").await?;
    if first.get("a").is_some() {
        return Err(Failure::wrong(format!("a default that was never stored is still read: {first}")));
    }
    Ok(())
}
