//! Makes the table of the built-in kinds' shapes out of OpenAPI documents of upstream's API server.
//!
//! From the document of version 2 (`/openapi/v2`) come all kinds, their fields, and the extensions that say how lists and maps
//! merge. It leaves out defaults; those come from documents of version 3 (`/openapi/v3/..`), as far as there are any, and from
//! two rules that upstream's generator follows: a field is required where it is always written, and is then empty, 0 or false
//! where nobody has set it; and what is a structure by value has the default `{}`, which `metadata`, `spec` and `status` of
//! all kinds are.

use clap::Args;
use orrery_machinery::shape::{
    AtomId,
    schema::Builder,
    text::{Kind, write},
};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Where the documents are.
#[derive(Args)]
pub(crate) struct Options {
    /// The OpenAPI document of version 2.
    #[arg(long)]
    swagger: PathBuf,
    /// A directory of OpenAPI documents of version 3; more than one may be given.
    #[arg(long)]
    openapi_v3: Vec<PathBuf>,
    /// Where to write the table, if not to the crate that carries it.
    #[arg(long)]
    output: Option<PathBuf>,
}

const HEADER: &str = "\
# Which lists and maps of the built-in kinds merge how. Made by `cargo xtask shapes` from upstream's OpenAPI documents, with
# structure and facts only; change the generator, not this file. How to read it: orrery_machinery::shape::text.
";

/// Defaults of keys that no document has: definition, field, default. Upstream's types have them by `+default`, and the
/// share of a device is left out where a device is not shared.
const KEY_DEFAULTS: [(&str, &str, &str); 4] = [
    ("io.k8s.api.core.v1.LocalObjectReference", "name", ""),
    ("io.k8s.api.resource.v1.AllocatedDeviceStatus", "shareID", ""),
    ("io.k8s.api.resource.v1beta1.AllocatedDeviceStatus", "shareID", ""),
    ("io.k8s.api.resource.v1beta2.AllocatedDeviceStatus", "shareID", ""),
];

/// Structures by value that no document tells from pointers: definition and field, from upstream's types.
const BY_VALUE: [(&str, &str); 12] = [
    ("io.k8s.api.events.v1.Event", "deprecatedSource"),
    ("io.k8s.api.networking.v1.IngressStatus", "loadBalancer"),
    ("io.k8s.api.resource.v1.AllocationResult", "devices"),
    ("io.k8s.api.resource.v1.ResourceClaimSpec", "devices"),
    ("io.k8s.api.resource.v1.ResourceClaimTemplateSpec", "metadata"),
    ("io.k8s.api.resource.v1beta1.AllocationResult", "devices"),
    ("io.k8s.api.resource.v1beta1.ResourceClaimSpec", "devices"),
    ("io.k8s.api.resource.v1beta1.ResourceClaimTemplateSpec", "metadata"),
    ("io.k8s.api.resource.v1beta2.AllocationResult", "devices"),
    ("io.k8s.api.resource.v1beta2.ResourceClaimSpec", "devices"),
    ("io.k8s.api.resource.v1beta2.ResourceClaimTemplateSpec", "metadata"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionStatus", "acceptedNames"),
];

pub(crate) fn run(root: &Path, options: &Options) -> ExitCode {
    let output = options.output.clone().unwrap_or_else(|| root.join("crates/shapes/src/shapes.txt"));
    match make(options).and_then(|text| fs::write(&output, &text).map(|()| text.len()).map_err(|e| e.to_string())) {
        Ok(bytes) => {
            println!("{}: {bytes} bytes", output.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("cannot make the table of shapes: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(options: &Options) -> Result<String, String> {
    let mut swagger = read(&options.swagger)?;
    let mut later = Vec::new();
    for directory in &options.openapi_v3 {
        let entries = fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        for entry in entries.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "json")) {
            later.push(read(&entry.path())?);
        }
    }
    let definitions = swagger["definitions"].as_object_mut().ok_or("the document has no definitions")?;
    for document in &later {
        take_defaults(definitions, &document["components"]["schemas"]);
    }
    add_rules(definitions);
    table(definitions)
}

fn read(path: &Path) -> Result<Value, String> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Gives the properties of `definitions` the defaults that they have in `schemas`.
fn take_defaults(definitions: &mut Map<String, Value>, schemas: &Value) {
    for (name, definition) in definitions {
        for (field, property) in definition["properties"].as_object_mut().into_iter().flatten() {
            let default = &schemas[name]["properties"][field]["default"];
            if let (false, Some(property)) = (default.is_null(), property.as_object_mut()) {
                property.entry("default").or_insert_with(|| default.clone());
            }
        }
    }
}

fn add_rules(definitions: &mut Map<String, Value>) {
    for definition in definitions.values_mut().filter(|d| d.get("x-kubernetes-group-version-kind").is_some()) {
        for part in ["metadata", "spec", "status"] {
            let property = definition.get_mut("properties").and_then(|properties| properties.get_mut(part));
            if let Some(property) = property.and_then(Value::as_object_mut).filter(|p| p.contains_key("$ref")) {
                property.insert("default".to_owned(), json!({}));
            }
        }
    }
    let by_value = BY_VALUE.iter().map(|(definition, field)| (*definition, *field, json!({})));
    let keys = KEY_DEFAULTS.iter().map(|(definition, field, default)| (*definition, *field, json!(default)));
    for (definition, field, default) in by_value.chain(keys) {
        let properties = definitions.get_mut(definition).and_then(|definition| definition.get_mut("properties"));
        let property = properties.and_then(|properties| properties.get_mut(field)).and_then(Value::as_object_mut);
        if let Some(property) = property {
            property.entry("default").or_insert(default);
        }
    }
}

/// The table of all definitions that have a group, version and kind, with what they refer to.
fn table(definitions: &Map<String, Value>) -> Result<String, String> {
    let mut builder = Builder::new(definitions).from_structs();
    let mut kinds = Vec::new();
    for (name, definition) in definitions {
        for gvk in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let text = |field: &str| &*String::leak(gvk[field].as_str().unwrap_or_default().to_owned());
            let atom = builder.add(name);
            kinds.push(Kind { group: text("group"), version: text("version"), kind: text("kind"), atom });
        }
    }
    let names = builder.names();
    let shapes = builder.finish().map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        problems.join("\n")
    })?;
    let is_kind = |id: &AtomId| kinds.iter().any(|kind| kind.atom == *id);
    let is_object = |id: &AtomId| shapes.get(*id).map.as_ref().is_some_and(|map| map.is_object());
    let mut short: BTreeMap<&str, AtomId> = BTreeMap::new();
    for (name, id) in names.iter().filter(|(_, id)| is_object(id) || is_kind(id)) {
        if short.insert(short_name(name), *id).is_some() {
            return Err(format!("two definitions are called {}", short_name(name)));
        }
    }
    Ok(format!("{HEADER}{}", write(&shapes, &short, &kinds)))
}

/// The last three parts of a definition's name: `apps.v1.Deployment`.
fn short_name(name: &str) -> &str {
    let start = name.rmatch_indices('.').nth(2).map_or(0, |(at, _)| at + 1);
    &name[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_a_table() {
        let mut document = json!({
            "io.k8s.api.a.v1.Thing": {
                "type": "object",
                "x-kubernetes-group-version-kind": [{"group": "a", "version": "v1", "kind": "Thing"}],
                "properties": {
                    "kind": {"type": "string"},
                    "spec": {"$ref": "#/definitions/io.k8s.api.a.v1.ThingSpec"},
                },
            },
            "io.k8s.api.a.v1.ThingSpec": {"type": "object", "required": ["parts"], "properties": {
                "parts": {
                    "type": "array", "items": {"$ref": "#/definitions/io.k8s.api.a.v1.Part"},
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "protocol"],
                    "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name",
                },
            }},
            "io.k8s.api.a.v1.Part": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"}, "protocol": {"type": "string"},
            }},
        });
        let later = json!({"io.k8s.api.a.v1.Part": {"properties": {"protocol": {"default": "TCP"}}}});
        let definitions = document.as_object_mut().unwrap();
        take_defaults(definitions, &later);
        add_rules(definitions);
        let expected = "\
def a.v1.Part
 name+ s
 protocol+ s
def a.v1.Thing
 kind s
 spec+ @a.v1.ThingSpec
def a.v1.ThingSpec
 parts+ [@a.v1.Part]{name=\"\",protocol=\"TCP\"} ~merge(name)
kind a/v1 Thing a.v1.Thing
";
        assert_eq!(table(definitions).unwrap(), format!("{HEADER}{expected}"));
    }

    #[test]
    fn definitions_have_short_names() {
        assert_eq!(short_name("io.k8s.api.core.v1.Pod"), "core.v1.Pod");
        assert_eq!(short_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"), "meta.v1.ObjectMeta");
        assert_eq!(short_name("Thing"), "Thing");
    }
}
