//! Schemas of custom resources as the OpenAPI documents have them
//! (`apiextensions-apiserver/pkg/controller/openapi/builder`).
//!
//! * v3 is faithful: everything that the definition says is there, with the `x-kubernetes-*` extensions from which
//!   server-side apply learns how lists and maps are merged.
//! * v2 is what old clients can stand: no junctors, no `nullable`, nothing below what preserves unknown fields.
//!
//! In both, `apiVersion`, `kind` and `metadata` are filled in at the root and in embedded resources.

mod json;
mod v2;

use crate::structural::Structural;
use serde_json::{Map, Value, json};

/// Which document a schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Document {
    V2,
    V3,
}

impl Document {
    /// A reference to `name`, as this document writes it.
    fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }
}

/// The names of one version of a custom resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names<'a> {
    /// API group.
    pub group: &'a str,
    /// Version.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// The list's kind.
    pub list_kind: &'a str,
    /// The resource's name.
    pub plural: &'a str,
}

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const CONVENTIONS: &str = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";

impl Names<'_> {
    /// The name of the kind's schema in a document, such as `com.example.v1.Widget`.
    #[must_use]
    pub fn definition(&self) -> String {
        self.named(self.kind)
    }

    /// The name of the list's schema in a document.
    #[must_use]
    pub fn list_definition(&self) -> String {
        self.named(self.list_kind)
    }

    fn named(&self, kind: &str) -> String {
        let reversed: Vec<&str> = self.group.split('.').rev().collect();
        format!("{}.{}.{kind}", reversed.join("."), self.version)
    }

    fn gvk(&self, kind: &str) -> Value {
        json!([{"group": self.group, "version": self.version, "kind": kind}])
    }
}

/// The schema of the kind for an OpenAPI v3 document; any object when the definition has no schema.
#[must_use]
pub fn openapi_v3(schema: Option<&Structural>, names: &Names<'_>) -> Value {
    kind_schema(schema, names, Document::V3)
}

/// The schema of the kind for an OpenAPI v2 document; any object when the definition has no schema, or one that preserves
/// unknown fields at the root: a client would refuse them otherwise.
#[must_use]
pub fn openapi_v2(schema: Option<&Structural>, names: &Names<'_>) -> Value {
    kind_schema(schema.filter(|schema| !schema.extensions.preserve_unknown_fields), names, Document::V2)
}

/// The schema of the kind's list, for a v3 document.
#[must_use]
pub fn list_v3(names: &Names<'_>) -> Value {
    list_schema(names, Document::V3)
}

/// The schema of the kind's list, for a v2 document.
#[must_use]
pub fn list_v2(names: &Names<'_>) -> Value {
    list_schema(names, Document::V2)
}

fn kind_schema(schema: Option<&Structural>, names: &Names<'_>, document: Document) -> Value {
    let mut published = match schema {
        None => json!({"type": "object"}),
        Some(schema) => {
            let mut schema = schema.clone();
            unfold(&mut schema);
            if document == Document::V2 {
                v2::reduce(&mut schema);
            }
            let mut published = schema.to_json();
            embedded(&mut published, document);
            whole(&mut published, document, type_meta_descriptions());
            published
        }
    };
    published["x-kubernetes-group-version-kind"] = names.gvk(names.kind);
    published
}

/// Spells out the types of an int-or-string, for clients that don't know the extension.
fn unfold(schema: &mut Structural) {
    schema.each_on_spine(&mut |node| {
        let spelled = node.values.all_of.first().is_some_and(|first| is_spelled(&first.values.any_of));
        if !node.extensions.int_or_string || spelled || is_spelled(&node.values.any_of) {
            return;
        }
        let only = |kind: &str| Structural { kind: kind.into(), ..Structural::default() };
        let types = vec![only("integer"), only("string")];
        if node.values.any_of.is_empty() {
            node.values.any_of = types;
        } else {
            let mut clause = Structural::default();
            clause.values.any_of = types;
            node.values.all_of.insert(0, clause);
        }
    });
}

fn is_spelled(any_of: &[Structural]) -> bool {
    crate::structural::is_int_or_string(any_of)
}

/// Descriptions of `apiVersion` and `kind`, in this order.
type Descriptions = [String; 2];

fn type_meta_descriptions() -> Descriptions {
    [
        format!(
            "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized \
             schemas to the latest internal value, and may reject unrecognized values. More info: {CONVENTIONS}#resources"
        ),
        format!(
            "Kind is a string value representing the REST resource this object represents. Servers may infer this from the \
             endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: \
             {CONVENTIONS}#types-kinds"
        ),
    ]
}

fn embedded_descriptions() -> Descriptions {
    [
        format!(
            "apiVersion defines the versioned schema of this representation of an object. More info: {CONVENTIONS}#resources"
        ),
        format!(
            "kind is a string value representing the type of this object. In CamelCase. More info: {CONVENTIONS}#types-kinds"
        ),
    ]
}

/// Adds `apiVersion`, `kind` and `metadata` to a whole object's schema.
fn whole(schema: &mut Value, document: Document, descriptions: Descriptions) {
    let [version, kind] = descriptions;
    let properties = &mut schema["properties"];
    if !properties.is_object() {
        *properties = Value::Object(Map::new());
    }
    properties["apiVersion"] = json!({"type": "string", "description": version});
    properties["kind"] = json!({"type": "string", "description": kind});
    properties["metadata"] =
        reference(document, OBJECT_META, &format!("Standard object's metadata. More info: {CONVENTIONS}#metadata"));
}

/// A reference with a description: v3 has no siblings of `$ref`, so it stands in `allOf` there.
fn reference(document: Document, name: &str, description: &str) -> Value {
    let to = document.reference(name);
    match document {
        Document::V2 => json!({"$ref": to, "description": description}),
        Document::V3 => json!({"allOf": [{"$ref": to}], "default": {}, "description": description}),
    }
}

fn embedded(schema: &mut Value, document: Document) {
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            embedded(&mut schema[part], document);
        }
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|property| embedded(property, document));
    }
    let preserves = schema["x-kubernetes-preserve-unknown-fields"] == true;
    // In v2 a client that sees some properties refuses all others.
    if schema["x-kubernetes-embedded-resource"] != true || (preserves && document == Document::V2) {
        return;
    }
    whole(schema, document, embedded_descriptions());
    let mut required = schema["required"].as_array().cloned().unwrap_or_default();
    for name in ["kind", "apiVersion"] {
        if !required.contains(&name.into()) {
            required.push(name.into());
        }
    }
    schema["required"] = required.into();
}

fn list_schema(names: &Names<'_>, document: Document) -> Value {
    let items = format!("List of {}. More info: {CONVENTIONS}", names.plural);
    let mut schema = json!({
        "type": "object",
        "description": format!("{} is a list of {}", names.list_kind, names.kind),
        "required": ["items"],
        "properties": {
            "items": {"type": "array", "description": items, "items": {"$ref": document.reference(&names.definition())}},
        },
        "x-kubernetes-group-version-kind": names.gvk(names.list_kind),
    });
    whole(&mut schema, document, type_meta_descriptions());
    let description = format!("Standard list metadata. More info: {CONVENTIONS}#types-kinds");
    schema["properties"]["metadata"] = reference(document, LIST_META, &description);
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'_> =
        Names { group: "example.com", version: "v1", kind: "Widget", list_kind: "WidgetList", plural: "widgets" };

    fn published() -> (Value, Value) {
        let schema = Structural::read(&json!({"type": "object", "required": ["spec"], "properties": {
            "spec": {"type": "object", "properties": {
                "port": {"x-kubernetes-int-or-string": true},
                "maybe": {"type": "object", "nullable": true, "properties": {"a": {"type": "string"}}},
                "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"a": {"type": "string"}}},
                "list": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]},
                "inner": {"type": "object", "x-kubernetes-embedded-resource": true,
                    "properties": {"spec": {"type": "object"}}},
                "n": {"type": "integer", "minimum": 1, "default": 2, "oneOf": [{"minimum": 3}],
                    "x-kubernetes-validations": [{"rule": "self > 0"}]},
            }, "required": ["maybe", "n"]},
        }}))
        .unwrap();
        (openapi_v3(Some(&schema), &NAMES), openapi_v2(Some(&schema), &NAMES))
    }

    #[test]
    fn v3_says_all_that_the_definition_says() {
        let (v3, _) = published();
        let spec = &v3["properties"]["spec"];
        assert_eq!(spec["properties"]["port"]["anyOf"], json!([{"type": "integer"}, {"type": "string"}]));
        assert_eq!(spec["properties"]["maybe"]["nullable"], true);
        assert_eq!(spec["properties"]["list"]["x-kubernetes-list-map-keys"], json!(["k"]));
        assert_eq!(spec["properties"]["n"]["x-kubernetes-validations"], json!([{"rule": "self > 0"}]));
        assert_eq!(spec["properties"]["n"]["oneOf"], json!([{"minimum": 3}]));
        assert_eq!(spec["properties"]["inner"]["required"], json!(["kind", "apiVersion"]));
        let metadata = &v3["properties"]["metadata"]["allOf"][0]["$ref"];
        assert_eq!(metadata, "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        assert_eq!(v3["x-kubernetes-group-version-kind"][0]["kind"], "Widget");
    }

    #[test]
    fn v2_leaves_out_what_old_clients_can_not_stand() {
        let (_, v2) = published();
        let spec = &v2["properties"]["spec"]["properties"];
        assert_eq!(spec["port"], json!({"x-kubernetes-int-or-string": true}));
        assert_eq!(spec["maybe"], json!({}));
        assert_eq!(spec["any"], json!({"x-kubernetes-preserve-unknown-fields": true}));
        assert!(spec["n"]["oneOf"].is_null());
        assert_eq!(v2["properties"]["spec"]["required"], json!(["n"]));
        assert_eq!(
            v2["properties"]["metadata"]["$ref"],
            "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
        );
        let mut root = Structural { kind: "object".into(), ..Structural::default() };
        root.extensions.preserve_unknown_fields = true;
        assert!(openapi_v2(Some(&root), &NAMES)["properties"].is_null());
    }

    #[test]
    fn a_list_refers_to_its_kind() {
        let list = list_v3(&NAMES);
        assert_eq!(list["properties"]["items"]["items"]["$ref"], "#/components/schemas/com.example.v1.Widget");
        assert_eq!(NAMES.list_definition(), "com.example.v1.WidgetList");
        assert_eq!(list_v2(&NAMES)["properties"]["items"]["items"]["$ref"], "#/definitions/com.example.v1.Widget");
    }
}
