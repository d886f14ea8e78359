//! What is published of custom resources: OpenAPI of both versions, and kubectl by it.

use super::crd::{Definition, SERVED, anything, served};
use crate::{
    ensure,
    harness::{Context, Failure, Form, Kubectl, Outcome, expect_within, resource, until},
    registry::{Test, test},
    run, same,
};
use regex::Regex;
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD with validation schema [Conformance]",
        run!(with_schema),
    ),
    test(
        "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD without validation schema [Conformance]",
        run!(unknown_fields, anything(), r#""a": {"b": [{"c": "d"}]}"#, "(?s)DESCRIPTION:.*<empty>"),
    ),
    test(
        "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD preserving unknown fields at the schema root [Conformance]",
        run!(unknown_fields, preserving_root(), r#""a": {"b": [{"c": "d"}]}"#, "(?s)KIND:.*E2e-test-crd"),
    ),
    test(
        "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD preserving unknown fields in an embedded object [Conformance]",
        run!(
            unknown_fields,
            preserving_nested(),
            r#""spec": {"a": null, "b": [{"c": "d"}]}"#,
            "(?s)DESCRIPTION:.*preserve-unknown-properties in nested field"
        ),
    ),
    test(
        "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of different groups [Conformance]",
        run!(different_groups),
    ),
    test(
        "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of same group but different versions [Conformance]",
        run!(different_versions),
    ),
    test(
        "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of same group and version but different kinds [Conformance]",
        run!(different_kinds),
    ),
    test(
        "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] updates the published spec when one version gets renamed [Conformance]",
        run!(renamed_version),
    ),
    test(
        "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] removes definition from spec when one version gets changed to not be served [Conformance]",
        run!(version_not_served),
    ),
];

/// A schema with objects, lists and texts, some required.
fn foo() -> Value {
    let text = |words: &str| json!({"type": "string", "description": words});
    let bar = json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": text("Name of Bar."),
            "age": text("Age of Bar."),
            "feeling": {"type": "string", "enum": ["Great", "Down"]},
            "bazs": {"type": "array", "description": "List of Bazs.", "items": {"type": "string"}},
        },
    });
    json!({"type": "object", "description": "Foo CRD for Testing", "properties": {
        "spec": {"type": "object", "description": "Specification of Foo", "properties": {
            "bars": {"type": "array", "description": "List of Bars and their specs.", "items": bar},
        }},
        "status": {"type": "object", "description": "Status of Foo", "properties": {
            "bars": {"type": "array", "description": "List of Bars and their statuses.", "items": {"type": "object"}},
        }},
    }})
}

/// Another schema.
fn waldo() -> Value {
    json!({"type": "object", "description": "Waldo CRD for Testing", "properties": {
        "spec": {"type": "object", "description": "Specification of Waldo", "properties": {
            "dummy": {"type": "object", "description": "Dummy property."},
        }},
    }})
}

fn preserving_root() -> Value {
    json!({"type": "object", "description": "preserve-unknown-properties at root for Testing",
    "x-kubernetes-preserve-unknown-fields": true, "properties": {
        "spec": {"type": "object", "description": "Specification of Waldo",
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"dummy": {"type": "object", "description": "Dummy property."}}},
    }})
}

fn preserving_nested() -> Value {
    json!({"type": "object", "description": "preserve-unknown-properties in nested field for Testing", "properties": {
        "spec": {"type": "object", "description": "Specification of Waldo",
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"dummy": {"type": "object", "description": "Dummy property."}}},
    }})
}

/// The name of a version's definition: the group's parts are turned round.
fn definition_name(definition: &Definition, version: &str) -> String {
    let mut parts: Vec<&str> = definition.group.split('.').collect();
    parts.reverse();
    format!("{}.{version}.{}", parts.join("."), definition.kind)
}

/// What is published of a version: in OpenAPI v2 and in OpenAPI v3; none where it is not.
async fn published(context: &Context, definition: &Definition, version: &str) -> Outcome<[Option<Value>; 2]> {
    let name = definition_name(definition, version);
    let two = context.api.get("/openapi/v2").await?.expect(200)?;
    let two = two["definitions"].get(&name).cloned();
    let index = context.api.get("/openapi/v3").await?.expect(200)?;
    let path = format!("apis/{}/{version}", definition.group);
    let three = match index["paths"][path.as_str()]["serverRelativeURL"].as_str() {
        Some(url) => {
            let document = context.api.get(url).await?;
            if document.status == 404 {
                None
            } else {
                document.expect(200)?["components"]["schemas"].get(&name).cloned()
            }
        }
        None => None,
    };
    Ok([two, three])
}

/// Waits until a version is published with a schema, in both documents.
async fn expect_published(context: &Context, definition: &Definition, version: &str, schema: &Value) -> Outcome {
    let there = until(SERVED, || async {
        let [two, three] = published(context, definition, version).await?;
        Ok(two.zip(three))
    });
    let (two, three) = there.await.map_err(|failure| {
        failure.during(format!("{} is not published in both documents", definition_name(definition, version)))
    })?;
    let kind = json!([{"group": definition.group, "version": version, "kind": definition.kind}]);
    for (document, found) in [("v2", &two), ("v3", &three)] {
        let what = format!("{} in OpenAPI {document}", definition_name(definition, version));
        expect_within(&found["x-kubernetes-group-version-kind"], &kind, &what)?;
        if document == "v2" && schema["x-kubernetes-preserve-unknown-fields"] == true {
            // Swagger can't say "and more": a kind that takes everything has no properties there, or old clients would
            // refuse what they don't know.
            same!(found.get("properties"), None, "the properties of {what}");
            continue;
        }
        same!(found["description"], schema["description"], "the description of {what}");
        for standard in ["apiVersion", "kind", "metadata"] {
            ensure!(found["properties"][standard].is_object(), "{what} has no {standard}: {found:.300}");
        }
        let Some(properties) = schema["properties"].as_object() else { continue };
        for (name, property) in properties {
            same!(found["properties"][name]["description"], property["description"], "{name} of {what}");
        }
    }
    // The newer form keeps the schema as it is; the older one may lose what Swagger can't say.
    if !schema["properties"].is_object() {
        return Ok(());
    }
    expect_within(&three["properties"], &schema["properties"], "the properties in OpenAPI v3")
}

/// Waits until a version is not published any more.
async fn expect_unpublished(context: &Context, definition: &Definition, version: &str) -> Outcome {
    let gone = until(SERVED, || async {
        let found = published(context, definition, version).await?;
        Ok(found.iter().all(Option::is_none).then_some(()))
    });
    gone.await.map_err(|failure| failure.during(format!("{} is still published", definition_name(definition, version))))
}

async fn different_groups(context: &Context) -> Outcome {
    let one = Definition::new(context, vec![served("v1", true, &foo())]);
    let two = Definition::new(context, vec![served("v1beta1", true, &waldo())]);
    one.create(context).await?;
    two.create(context).await?;
    expect_published(context, &two, "v1beta1", &waldo()).await?;
    expect_published(context, &one, "v1", &foo()).await?;
    one.remove(context).await?;
    expect_unpublished(context, &one, "v1").await
}

async fn different_versions(context: &Context) -> Outcome {
    let both = Definition::new(context, vec![served("v2", false, &foo()), served("v3", true, &waldo())]);
    both.create(context).await?;
    expect_published(context, &both, "v3", &waldo()).await?;
    expect_published(context, &both, "v2", &foo()).await?;
    let mut other = Definition::new(context, vec![served("v4", true, &foo())]);
    other.group.clone_from(&both.group);
    other.create(context).await?;
    expect_published(context, &other, "v4", &foo()).await?;
    expect_published(context, &both, "v3", &waldo()).await
}

async fn different_kinds(context: &Context) -> Outcome {
    let one = Definition::new(context, vec![served("v6", true, &foo())]);
    let mut two = Definition::new(context, vec![served("v6", true, &waldo())]);
    two.group.clone_from(&one.group);
    one.create(context).await?;
    two.create(context).await?;
    expect_published(context, &two, "v6", &waldo()).await?;
    expect_published(context, &one, "v6", &foo()).await
}

async fn renamed_version(context: &Context) -> Outcome {
    let definition = Definition::new(context, vec![served("v2", true, &foo()), served("v3", false, &foo())]);
    definition.create(context).await?;
    expect_published(context, &definition, "v2", &foo()).await?;
    expect_published(context, &definition, "v3", &foo()).await?;
    let patch = json!([
        {"op": "test", "path": "/spec/versions/1/name", "value": "v3"},
        {"op": "replace", "path": "/spec/versions/1/name", "value": "v4"},
    ]);
    let definitions = context.cluster(resource::resource_definitions());
    definitions.patch(&definition.name(), Form::JsonPatch, &patch, &[]).await?.expect(200)?;
    expect_published(context, &definition, "v4", &foo()).await?;
    expect_unpublished(context, &definition, "v3").await?;
    expect_published(context, &definition, "v2", &foo()).await
}

async fn version_not_served(context: &Context) -> Outcome {
    let definition = Definition::new(context, vec![served("v5", true, &foo()), served("v6alpha1", false, &foo())]);
    definition.create(context).await?;
    expect_published(context, &definition, "v5", &foo()).await?;
    expect_published(context, &definition, "v6alpha1", &foo()).await?;
    let definitions = context.cluster(resource::resource_definitions());
    definitions.update(&definition.name(), |object| object["spec"]["versions"][1]["served"] = false.into()).await?;
    expect_unpublished(context, &definition, "v6alpha1").await?;
    expect_published(context, &definition, "v5", &foo()).await
}

/// A custom resource as text, for kubectl.
fn custom(definition: &Definition, body: &str) -> String {
    let (kind, group) = (&definition.kind, &definition.group);
    format!(r#"{{"kind": "{kind}", "apiVersion": "{group}/v1", "metadata": {{"name": "test-cr"}}, {body}}}"#)
}

/// `kubectl create`, `delete`, `apply` and `delete` accept an object.
async fn accept(kubectl: &Kubectl, definition: &Definition, text: &str) -> Outcome {
    for verb in ["create", "apply"] {
        kubectl.run_with(&[verb, "-f", "-"], text).await?.success()?;
        kubectl.ok(&["delete", &definition.plural, "test-cr"]).await?;
    }
    Ok(())
}

/// `kubectl explain` says what the pattern asks for, in the end.
async fn explain(kubectl: &Kubectl, path: &str, pattern: &str) -> Outcome {
    let regex = Regex::new(pattern).map_err(Failure::wrong)?;
    crate::harness::retry(SERVED, || async {
        let said = kubectl.ok(&["explain", path]).await?;
        ensure!(regex.is_match(&said), "kubectl explain {path} does not match {pattern:?}: {said}");
        Ok(())
    })
    .await
}

async fn setup(context: &Context, schema: &Value) -> Outcome<(Definition, Kubectl)> {
    let definition = Definition::new(context, vec![served("v1", true, schema)]);
    let kubectl = Kubectl::new(context, Some(&context.namespace().await?))?;
    definition.create(context).await?;
    expect_published(context, &definition, "v1", schema).await?;
    Ok((definition, kubectl))
}

async fn unknown_fields(context: &Context, schema: Value, body: &str, pattern: &str) -> Outcome {
    let (definition, kubectl) = setup(context, &schema).await?;
    accept(&kubectl, &definition, &custom(&definition, body)).await?;
    explain(&kubectl, &definition.plural, pattern).await
}

async fn with_schema(context: &Context) -> Outcome {
    let (definition, kubectl) = setup(context, &foo()).await?;
    accept(&kubectl, &definition, &custom(&definition, r#""spec": {"bars": [{"name": "test-bar"}]}"#)).await?;
    let refused = [
        (
            r#""spec": {"bars": [{"name": "test-bar", "feeling": "NonExistentValue"}]}"#,
            "Unsupported value: \"NonExistentValue\"",
        ),
        (r#""spec": {"foo": true}"#, "unknown field \"spec.foo\""),
        (r#""spec": {"bars": [{"age": "10"}]}"#, "spec.bars[0].name: Required value"),
    ];
    for (body, words) in refused {
        for verb in ["create", "apply"] {
            let said = kubectl.run_with(&[verb, "-f", "-"], &custom(&definition, body)).await?.failure()?;
            ensure!(said.contains(words), "kubectl {verb} of {body} does not say {words:?}: {said}");
        }
    }
    let plural = &definition.plural;
    let explained = [
        (
            "",
            "(?s)DESCRIPTION:.*Foo CRD for Testing.*FIELDS:.*apiVersion.*<string>.*APIVersion defines.*spec.*<Object>.*Specification of Foo",
        ),
        (
            ".metadata",
            "(?s)DESCRIPTION:.*Standard object's metadata.*FIELDS:.*creationTimestamp.*<string>.*CreationTimestamp is a timestamp",
        ),
        (".spec", r"(?s)DESCRIPTION:.*Specification of Foo.*FIELDS:.*bars.*<\[\]Object>.*List of Bars and their specs"),
        (
            ".spec.bars",
            r"(?s)(FIELD|RESOURCE):.*bars.*<\[\]Object>.*DESCRIPTION:.*List of Bars and their specs.*FIELDS:.*bazs.*<\[\]string>.*List of Bazs.*name.*<string>.*Name of Bar",
        ),
    ];
    for (path, pattern) in explained {
        explain(&kubectl, &format!("{plural}{path}"), pattern).await?;
    }
    let said = kubectl.run(&["explain", &format!("{plural}.spec.bars2")]).await?.failure()?;
    ensure!(
        said.contains("field \"bars2\" does not exist"),
        "kubectl explain of a field that is not there says: {said}"
    );
    Ok(())
}
