//! Shapes from schemas.

use super::*;
use crate::shape::{Key, ListKind, PatchStrategy, View};
use serde_json::json;

fn at<'a>(shape: &'a Shape, path: &[&str]) -> View<'a> {
    path.iter().fold(shape.view(), |view, name| match *name {
        "[]" => view.element().expect("a list"),
        name => view.child(name).unwrap_or_else(|| panic!("no {name}")),
    })
}

#[test]
fn a_custom_resource_has_lists_and_maps_as_its_schema_says() {
    let schema = json!({"type": "object", "properties": {
        "metadata": {"type": "object"},
        "spec": {"type": "object", "properties": {
            "plain": {"type": "array", "items": {"type": "string"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
                "items": {"type": "object", "properties": {
                    "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"},
                }},
            },
            "colour": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "integer"}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        }},
    }});
    let shape = custom_resource(&schema, false).unwrap();
    let list = |name| at(&shape, &["spec", name]).atom().list.clone().unwrap().kind;
    assert_eq!(list("plain"), ListKind::Atomic);
    assert_eq!(list("set"), ListKind::Set);
    let keys =
        [Key { name: "port".into(), default: None }, Key { name: "protocol".into(), default: Some("TCP".into()) }];
    assert_eq!(list("map"), ListKind::Map(keys.into()));
    assert!(at(&shape, &["spec", "colour"]).atom().map.as_ref().unwrap().atomic);
    assert!(at(&shape, &["spec", "free", "x", "y"]).is_deduced());
    assert_eq!(at(&shape, &["spec", "port"]).atom().scalar, Some(Scalar::Untyped));
    assert!(at(&shape, &["spec", "template", "spec"]).is_deduced());
    assert_eq!(
        at(&shape, &["spec", "template", "metadata", "finalizers"]).atom().list.as_ref().unwrap().kind,
        ListKind::Set
    );
    assert!(at(&shape, &["spec"]).child("other").is_none());
    let owners = at(&shape, &["metadata", "ownerReferences"]).atom();
    assert_eq!(owners.list.as_ref().unwrap().kind, ListKind::Map([Key { name: "uid".into(), default: None }].into()));
}

#[test]
fn what_cannot_be_understood_is_named_with_its_place() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "a": {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}},
        "b": {"type": "shape"},
        "c": {"type": "array"},
        "d": {"type": "object", "x-kubernetes-map-type": "odd"},
    }}}});
    let problems = custom_resource(&schema, false).unwrap_err();
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 4, "{texts:?}");
    assert!(texts[0].starts_with("spec.a: is a list of type map without keys"), "{texts:?}");
    assert!(custom_resource(&json!({"type": "string"}), false).is_err());
}

#[test]
fn definitions_may_refer_to_themselves_and_be_overridden_where_they_are_used() {
    let definitions = json!({
        "Tree": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string"},
            "children": {
                "type": "array", "items": {"$ref": "#/definitions/Tree"},
                "x-kubernetes-patch-strategy": "merge,retainKeys", "x-kubernetes-patch-merge-key": "name",
            },
            "sealed": {"allOf": [{"$ref": "#/components/schemas/Tree"}], "default": {}, "x-kubernetes-map-type": "atomic"},
            "raw": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.runtime.RawExtension"},
        }},
    });
    let mut builder = Builder::new(definitions.as_object().unwrap()).from_structs();
    let root = builder.add("Tree");
    let shape = Shape::new(Arc::new(builder.finish().unwrap()), root);
    let map = shape.view().atom().map.as_ref().unwrap();
    assert!(
        map.field("name").unwrap().always && map.field("sealed").unwrap().always && !map.field("raw").unwrap().always
    );
    let patch = map.field("children").unwrap().patch.as_deref().unwrap();
    assert_eq!((patch.strategy, patch.retain_keys), (Some(PatchStrategy::Merge), true));
    // A list that merges is a map for apply, too; a required key that is missing is empty.
    let deep = at(&shape, &["children", "[]", "sealed", "children"]);
    assert_eq!(
        deep.atom().list.as_ref().unwrap().kind,
        ListKind::Map([Key { name: "name".into(), default: Some("".into()) }].into())
    );
    assert!(at(&shape, &["sealed"]).atom().map.as_ref().unwrap().atomic);
    assert!(!shape.view().atom().map.as_ref().unwrap().atomic);
    assert_eq!(at(&shape, &["raw"]).atom(), shape.table.get(Shapes::UNTYPED));
}
