//! Unknown and duplicate fields.

use super::crd::{Definition, anything, served};
use crate::{
    ensure,
    harness::{Answer, Context, Form, Objects, Outcome, resource},
    registry::{Test, test},
    run, same,
};
use http::Method;
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] FieldValidation should detect unknown and duplicate fields of a typed object [Conformance]",
        run!(typed_unknown_and_duplicate),
    ),
    test(
        "[sig-api-machinery] FieldValidation should detect unknown metadata fields of a typed object [Conformance]",
        run!(typed_unknown_metadata),
    ),
    test(
        "[sig-api-machinery] FieldValidation should create/apply a valid CR for CRD with validation schema [Conformance]",
        run!(valid_custom),
    ),
    test(
        "[sig-api-machinery] FieldValidation should create/apply a CR with unknown fields for CRD with no validation schema [Conformance]",
        run!(without_schema),
    ),
    test(
        "[sig-api-machinery] FieldValidation should create/apply an invalid CR with extra properties for CRD with validation schema [Conformance]",
        run!(extra_properties),
    ),
    test(
        "[sig-api-machinery] FieldValidation should detect unknown metadata fields in both the root and embedded object of a CR [Conformance]",
        run!(unknown_metadata),
    ),
    test(
        "[sig-api-machinery] FieldValidation should detect duplicates in a CR when preserving unknown fields [Conformance]",
        run!(duplicates),
    ),
];

const STRICT: [(&str, &str); 2] = [("fieldManager", "conformance"), ("fieldValidation", "Strict")];

/// A deployment as text: JSON values have no duplicate fields.
fn deployment(metadata: &str, spec: &str) -> String {
    let labels = r#"{"app": "nginx"}"#;
    let container = r#"{"name": "nginx", "image": "registry.local/nginx:1"}"#;
    format!(
        r#"{{"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {{"name": "my-dep", {metadata} "labels": {labels}}},
            "spec": {{{spec} "selector": {{"matchLabels": {labels}}},
                "template": {{"metadata": {{"labels": {labels}}}, "spec": {{"containers": [{container}]}}}}}}}}"#
    )
}

async fn post_text(objects: &Objects, text: String, query: crate::harness::Query<'_>) -> Outcome<Answer> {
    objects.api().send(Method::POST, &objects.collection(query), Form::Json, text.into_bytes()).await
}

fn expect_words(answer: Answer, words: &[&str]) -> Outcome {
    ensure!(answer.status == 400, "answered {}, wanted 400: {}", answer.status, answer.message());
    let message = answer.refusal()?;
    for word in words {
        ensure!(message.contains(word), "the refusal does not say {word:?}: {message}");
    }
    Ok(())
}

async fn typed_unknown_and_duplicate(context: &Context) -> Outcome {
    let deployments = context.objects(resource::deployments(), &context.namespace().await?);
    let text = deployment("", r#""unknownField": "foo", "replicas": 2, "replicas": 3,"#);
    let words = r#"strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas""#;
    expect_words(post_text(&deployments, text.clone(), &STRICT).await?, &[words])?;
    deployments.read("my-dep").await?.refused(404, "NotFound")?;
    // Warn lets it pass and says the same in warnings; the last of two values counts.
    let answer = post_text(&deployments, text, &[("fieldValidation", "Warn"), ("dryRun", "All")]).await?;
    let warnings = answer.warnings().join("\n");
    for word in [r#"unknown field "spec.unknownField""#, r#"duplicate field "spec.replicas""#] {
        ensure!(warnings.contains(word), "the warnings do not say {word}: {warnings:?}");
    }
    same!(answer.expect(201)?["spec"]["replicas"], 3, "the replicas of a field given twice");
    Ok(())
}

async fn typed_unknown_metadata(context: &Context) -> Outcome {
    let deployments = context.objects(resource::deployments(), &context.namespace().await?);
    let text = deployment(r#""unknownMeta": "foo","#, "");
    let words = r#"strict decoding error: unknown field "metadata.unknownMeta""#;
    expect_words(post_text(&deployments, text, &STRICT).await?, &[words])
}

/// The fields of `spec` that the custom resources of these tests have.
fn fields() -> Value {
    let integer = json!({"type": "integer", "format": "int32"});
    let string = json!({"type": "string"});
    json!({
        "foo": string,
        "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
            "items": {
                "type": "object",
                "required": ["containerPort", "protocol"],
                "properties": {
                    "containerPort": integer, "hostPort": integer,
                    "hostIP": string, "name": string, "protocol": string,
                },
            },
        },
    })
}

fn schema(spec: &Value) -> Value {
    json!({"type": "object", "properties": {"spec": spec}})
}

/// A definition of cluster-wide objects, and the objects.
async fn custom(context: &Context, schema: &Value) -> Outcome<Objects> {
    let mut definition = Definition::new(context, vec![served("v1beta1", false, schema), served("v1", true, schema)]);
    definition.namespaced = false;
    definition.create(context).await?;
    Ok(context.cluster(definition.resource("v1")))
}

/// An object as YAML, with a few more lines of metadata, of the root and of the spec. It has a finalizer, as upstream's.
fn yaml(objects: &Objects, metadata: &str, root: &str, spec: &str) -> String {
    let resource = objects.resource();
    format!(
        "apiVersion: {}\nkind: {}\nmetadata:\n  name: mytest\n{metadata}  finalizers:\n  - example.com/test-finalizer\n{root}spec:\n{spec}  cronSpec: \"* * * * */5\"\n  ports:\n  - name: x\n    containerPort: 80\n    protocol: TCP\n",
        resource.api_version(),
        resource.kind,
    )
}

async fn apply(objects: &Objects, text: String) -> Outcome<Answer> {
    let path = objects.path("mytest", &STRICT);
    let answer = objects.api().send(Method::PATCH, &path, Form::Apply, text.into_bytes()).await?;
    if answer.is_success() {
        // Without this the definition could not be removed.
        objects.merge("mytest", &json!({"metadata": {"finalizers": null}})).await?;
    }
    Ok(answer)
}

async fn valid_custom(context: &Context) -> Outcome {
    let objects = custom(context, &schema(&json!({"type": "object", "properties": fields()}))).await?;
    let answer = apply(&objects, yaml(&objects, "", "", "  foo: foo1\n")).await?;
    let applied = answer.expect(201)?;
    same!(applied["spec"]["foo"], "foo1", "foo of the applied object");
    let managers = applied["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = managers.iter().any(|entry| entry["manager"] == "conformance" && entry["operation"] == "Apply");
    ensure!(own, "managedFields do not name the applier: {managers:?}");
    Ok(())
}

async fn without_schema(context: &Context) -> Outcome {
    let objects = custom(context, &anything()).await?;
    let answer = apply(&objects, yaml(&objects, "", "", "  unknown: uk1\n")).await?;
    same!(answer.expect(201)?["spec"]["unknown"], "uk1", "the unknown field of the applied object");
    Ok(())
}

async fn extra_properties(context: &Context) -> Outcome {
    let objects = custom(context, &schema(&json!({"type": "object", "properties": fields()}))).await?;
    let answer = apply(&objects, yaml(&objects, "", "unknownField: unknown\n", "  foo: foo1\n")).await?;
    let message = answer.refusal()?;
    ensure!(message.contains(".unknownField: field not declared in schema"), "the refusal says: {message}");
    objects.read("mytest").await?.refused(404, "NotFound").map(drop)
}

async fn unknown_metadata(context: &Context) -> Outcome {
    let mut properties = fields();
    properties["template"] = json!({
        "type": "object",
        "x-kubernetes-embedded-resource": true,
        "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": {"type": "object"},
        },
    });
    let spec = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": properties});
    let objects = custom(context, &schema(&spec)).await?;
    let embedded = "  template:\n    apiVersion: foo/v1\n    kind: Sub\n    metadata:\n      unknownSubMeta: unknown\n      name: subobject\n      namespace: other\n";
    // Whether an embedded object is looked at by its schema or by the decoder, and in whose words it is refused, is left to
    // the server.
    let of_root = [".metadata.unknownMeta: field not declared in schema"];
    let of_embedded = [
        ".spec.template.metadata.unknownSubMeta: field not declared in schema",
        r#"unknown field "spec.template.metadata.unknownSubMeta""#,
    ];
    let cases =
        [("  unknownMeta: unknown\n", "  foo: foo1\n", of_root.as_slice()), ("", embedded, of_embedded.as_slice())];
    for (metadata, spec, accepted) in cases {
        let message = apply(&objects, yaml(&objects, metadata, "", spec)).await?.refusal()?;
        let says = accepted.iter().any(|words| message.contains(words));
        ensure!(says, "the refusal says none of {accepted:?}: {message}");
    }
    objects.read("mytest").await?.refused(404, "NotFound").map(drop)
}

async fn duplicates(context: &Context) -> Outcome {
    let spec = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": fields()});
    let objects = custom(context, &schema(&spec)).await?;
    let text = yaml(&objects, "", "", "  unknown: uk1\n  foo: foo1\n  foo: foo2\n");
    let line = text.lines().position(|line| line.contains("foo2")).map_or(0, |index| index + 1);
    let answer = apply(&objects, text).await?;
    expect_words(answer, &[&format!("line {line}: key \"foo\" already set in map")])?;
    objects.read("mytest").await?.refused(404, "NotFound").map(drop)
}
