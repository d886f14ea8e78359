//! The schemas of a document: each kind's own, its list, and what they refer to.

use crate::descriptor::{ResourceDescriptor, Storage};
use serde_json::{Map, Value, json};

/// Name of the schema of patches' bodies.
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
/// Name of the schema of deletions' answers.
pub(super) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
/// Name of the schema of deletions' bodies.
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
/// What custom resources' schemas refer to without having it.
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A reference to the schema `name`.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schemas that every document has.
pub(super) fn common() -> Map<String, Value> {
    let mut schemas = Map::new();
    let text = |description: &str| json!({"type": "string", "description": description});
    let patch = "Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.";
    schemas.insert(PATCH.into(), json!({"type": "object", "description": patch}));
    add_root::<orrery_api::k8s::apimachinery::pkg::apis::meta::v1::Status>(STATUS, &mut schemas);
    add_root::<orrery_api::k8s::apimachinery::pkg::apis::meta::v1::ListMeta>(LIST_META, &mut schemas);
    add_root::<orrery_api::k8s::apimachinery::pkg::apis::meta::v1::ObjectMeta>(OBJECT_META, &mut schemas);
    schemas.insert(
        DELETE_OPTIONS.into(),
        json!({
            "type": "object",
            "description": "DeleteOptions may be provided when deleting an API object.",
            "properties": {
                "apiVersion": text("Version of this representation of an object."),
                "kind": text("Kind of this representation of an object."),
                "dryRun": {
                    "type": "array", "items": {"type": "string"},
                    "description": "When present, modifications are not persisted. The only value is All.",
                },
                "gracePeriodSeconds": {
                    "type": "integer", "format": "int64",
                    "description": "Seconds before the object should be deleted. Zero means at once.",
                },
                "preconditions": {
                    "type": "object",
                    "description": "Must hold before a deletion is carried out. If not, the answer is 409 Conflict.",
                    "properties": {
                        "resourceVersion": text("The object must have this resourceVersion."),
                        "uid": text("The object must have this uid."),
                    },
                },
                "propagationPolicy": text("Whether and how dependents are deleted: Orphan, Background or Foreground."),
            },
        }),
    );
    schemas
}

fn add_root<T: schemars::JsonSchema>(name: &str, schemas: &mut Map<String, Value>) {
    insert_with_definitions(name, crate::descriptor::schema_of::<T>(), schemas);
}

/// Adds the schemas of a resource; the name of its kind's.
pub(super) fn add(descriptor: &ResourceDescriptor, schemas: &mut Map<String, Value>) -> String {
    let schema = descriptor.rules.schema();
    let name = match schema["title"].as_str() {
        Some(title) if title.contains('.') => title.to_owned(),
        _ => conventional_name(descriptor),
    };
    insert_with_definitions(&name, schema, schemas);
    let kind = json!([gvk(descriptor, "")]);
    if let Some(Value::Object(own)) = schemas.get_mut(&name) {
        own.insert("x-kubernetes-group-version-kind".into(), kind);
        name_type_fields(own);
    }
    if descriptor.storage != Storage::Review {
        schemas.insert(format!("{name}List"), list_schema(descriptor, &name));
    }
    name
}

/// Kinds that were made with kube's derive leave `apiVersion` and `kind` out of their schema.
fn name_type_fields(schema: &mut Map<String, Value>) {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        for field in ["apiVersion", "kind"] {
            properties.entry(field).or_insert_with(|| json!({"type": "string"}));
        }
    }
}

/// `x-kubernetes-group-version-kind` of a resource's kind, with something after its name (`List`).
pub(super) fn gvk(descriptor: &ResourceDescriptor, suffix: &str) -> Value {
    let kind = format!("{}{suffix}", descriptor.kind);
    json!({"group": descriptor.group, "version": descriptor.version, "kind": kind})
}

/// The group's labels from the back, the version and the kind: `io.example.v1.Widget`.
fn conventional_name(descriptor: &ResourceDescriptor) -> String {
    let group: Vec<&str> = descriptor.group.rsplit('.').filter(|label| !label.is_empty()).collect();
    let group = if group.is_empty() { "core".to_owned() } else { group.join(".") };
    format!("{group}.{}.{}", descriptor.version, descriptor.kind)
}

fn list_schema(descriptor: &ResourceDescriptor, name: &str) -> Value {
    json!({
        "type": "object",
        "description": format!("{0}List is a list of {0}.", descriptor.kind),
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": reference(LIST_META),
            "items": {"type": "array", "items": reference(name)},
        },
        "x-kubernetes-group-version-kind": [gvk(descriptor, "List")],
    })
}

/// Adds `schema` as `name`, and what it has under `$defs` or `components` beside it.
fn insert_with_definitions(name: &str, mut schema: Value, schemas: &mut Map<String, Value>) {
    let mut definitions = Map::new();
    if let Value::Object(root) = &mut schema {
        root.remove("$schema");
        root.remove("title");
        let nested = root.remove("components").and_then(|mut c| c.get_mut("schemas").map(Value::take));
        for found in [root.remove("$defs"), root.remove("definitions"), nested].into_iter().flatten() {
            if let Value::Object(map) = found {
                definitions.extend(map);
            }
        }
    }
    definitions.insert(name.to_owned(), schema);
    for (name, mut schema) in definitions {
        rewrite(&mut schema);
        schemas.entry(name).or_insert(schema);
    }
}

/// Points references at `components/schemas`. A reference that has something beside it is wrapped in `allOf`, because
/// OpenAPI 3.0 ignores what stands beside a reference.
fn rewrite(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(rewrite);
            let Some(Value::String(target)) = map.get("$ref") else { return };
            let name = target.rsplit('/').next().unwrap_or_default();
            let pointer = reference(name);
            if map.len() == 1 {
                *schema = pointer;
            } else {
                map.remove("$ref");
                map.insert("allOf".into(), json!([pointer]));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(rewrite),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
