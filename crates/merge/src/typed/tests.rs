//! The walks, one table row for each rule.

use super::{
    compare::compare, extract::field_set, merge::merge, reconcile::reconcile, remove::remove, validate::validate,
};
use crate::fields::FieldSet;
use orrery_machinery::shape::{Shape, schema::custom_resource};
use serde_json::{Value, json};

/// A type with one field of each structure.
fn shape() -> Shape {
    let text = || json!({"type": "string"});
    let port = json!({"type": "object", "properties": {
        "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": text(), "x": {"type": "integer"},
        "deep": {"type": "object", "properties": {"a": text(), "b": text()}},
    }});
    let spec = json!({"type": "object", "properties": {
        "number": {"type": "integer"}, "text": text(), "truth": {"type": "boolean"},
        "labels": {"type": "object", "additionalProperties": text()},
        "colour": {"type": "object", "additionalProperties": text(), "x-kubernetes-map-type": "atomic"},
        "list": {"type": "array", "items": text()},
        "set": {"type": "array", "items": text(), "x-kubernetes-list-type": "set"},
        "ports": {
            "type": "array", "items": port, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
        },
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "struct": {"type": "object", "properties": {"a": text(), "b": text()}},
    }});
    custom_resource(&json!({"type": "object", "properties": {"spec": spec, "status": {"type": "object"}}}), false)
        .unwrap()
}

fn spec(value: &Value) -> Value {
    json!({"spec": value})
}

#[test]
fn an_object_mentions_its_leaves_and_the_elements_on_the_way() {
    let table: [(Value, &[&str]); 12] = [
        (json!({"number": 1, "text": "a"}), &[".spec.number", ".spec.text"]),
        (json!({"labels": {"a": "x"}}), &[".spec.labels.a"]),
        (json!({"labels": {}}), &[".spec.labels"]),
        (json!({"labels": null}), &[".spec.labels"]),
        (json!({"colour": {"r": "1"}}), &[".spec.colour"]),
        (json!({"list": ["a", "b"]}), &[".spec.list"]),
        (json!({"set": ["b", "a"]}), &[r#".spec.set[="a"]"#, r#".spec.set[="b"]"#]),
        // An empty list that is no leaf is not owned, as upstream.
        (json!({"set": []}), &[]),
        (
            json!({"ports": [{"port": 80, "name": "web"}]}),
            &[
                r#".spec.ports[port=80,protocol="TCP"]"#,
                r#".spec.ports[port=80,protocol="TCP"].name"#,
                r#".spec.ports[port=80,protocol="TCP"].port"#,
            ],
        ),
        // Of elements with the same keys only the element itself.
        (
            json!({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}),
            &[r#".spec.ports[port=80,protocol="TCP"]"#],
        ),
        (json!({"free": {"a": {"b": [1]}}}), &[".spec.free.a", ".spec.free.a.b"]),
        (json!({"struct": {}}), &[".spec.struct"]),
    ];
    let shape = shape();
    for (value, expected) in table {
        let object = spec(&value);
        assert_eq!(field_set(&object, shape.view()).unwrap().paths(), expected, "{value}");
    }
}

#[test]
fn objects_are_compared_field_by_field() {
    // old, new, added, modified, removed
    type Paths = &'static [&'static str];
    let table: [(Value, Value, Paths, Paths, Paths); 11] = [
        (json!({"number": 1}), json!({"number": 1.0}), &[], &[], &[]),
        (json!({"number": 1}), json!({"number": 2}), &[], &[".spec.number"], &[]),
        (json!({}), json!({"number": 2}), &[".spec.number"], &[], &[]),
        (json!({"number": 1}), json!({}), &[], &[], &[".spec.number"]),
        (json!({}), json!({"labels": {"a": "x"}}), &[".spec.labels", ".spec.labels.a"], &[], &[]),
        (
            json!({"labels": {"a": "x", "b": "y"}}),
            json!({"labels": {"a": "z"}}),
            &[],
            &[".spec.labels.a"],
            &[".spec.labels.b"],
        ),
        (json!({"colour": {"r": "1"}}), json!({"colour": {"r": "2"}}), &[], &[".spec.colour"], &[]),
        (json!({"set": ["a", "b"]}), json!({"set": ["b", "c"]}), &[r#".spec.set[="c"]"#], &[], &[r#".spec.set[="a"]"#]),
        // The order of a set does not count.
        (json!({"set": ["a", "b"]}), json!({"set": ["b", "a"]}), &[], &[], &[]),
        (
            json!({"ports": [{"port": 80, "x": 1}]}),
            json!({"ports": [{"port": 80, "protocol": "TCP", "x": 2}]}),
            &[r#".spec.ports[port=80,protocol="TCP"].protocol"#],
            &[r#".spec.ports[port=80,protocol="TCP"].x"#],
            &[],
        ),
        // A value that changes its kind counts as both.
        (json!({"free": {"a": 1}}), json!({"free": {"a": {"b": 1}}}), &[".spec.free.a.b"], &[".spec.free.a"], &[]),
    ];
    let shape = shape();
    for (old, new, added, modified, removed) in table {
        let (before, after) = (spec(&old), spec(&new));
        let found = compare(&before, &after, shape.view()).unwrap();
        let found = [found.added.paths(), found.modified.paths(), found.removed.paths()];
        assert_eq!(found, [added, modified, removed], "{old} {new}");
    }
}

#[test]
fn a_configuration_is_merged_into_an_object() {
    let table = [
        (json!({"number": 1, "text": "a"}), json!({"number": 2}), json!({"number": 2, "text": "a"})),
        (json!({"labels": {"a": "x"}}), json!({"labels": {"b": "y"}}), json!({"labels": {"a": "x", "b": "y"}})),
        (json!({"colour": {"r": "1"}}), json!({"colour": {"g": "2"}}), json!({"colour": {"g": "2"}})),
        (json!({"list": ["a"]}), json!({"list": ["b"]}), json!({"list": ["b"]})),
        (json!({"set": ["a", "b"]}), json!({"set": ["c", "a"]}), json!({"set": ["c", "a", "b"]})),
        (json!({"set": ["a", "b", "c"]}), json!({"set": ["c", "a"]}), json!({"set": ["b", "c", "a"]})),
        (json!({"set": ["a", "b", "c"]}), json!({"set": []}), json!({"set": ["a", "b", "c"]})),
        (json!({"set": ["a", "x", "a"]}), json!({"set": ["a"]}), json!({"set": ["a", "x"]})),
        (
            json!({"ports": [{"port": 1}, {"port": 2, "x": 1}]}),
            json!({"ports": [{"port": 2, "x": 2}, {"port": 3}]}),
            json!({"ports": [{"port": 1}, {"port": 2, "x": 2}, {"port": 3}]}),
        ),
        (json!({"free": {"a": 1}}), json!({"free": {"a": {"b": 1}}}), json!({"free": {"a": {"b": 1}}})),
        (json!({"struct": {"a": "1"}}), json!({"struct": null}), json!({"struct": {"a": "1"}})),
        (json!({"text": "a"}), json!({"text": null}), json!({"text": null})),
    ];
    let shape = shape();
    for (live, config, expected) in table {
        let merged = merge(&spec(&live), &spec(&config), shape.view()).unwrap();
        assert_eq!(merged, spec(&expected), "{live} {config}");
    }
    let error = merge(&spec(&json!({})), &spec(&json!({"set": ["a", "a"]})), shape.view()).unwrap_err();
    assert!(error.to_string().contains(r#"duplicate entries for key [="a"]"#), "{error}");
}

#[test]
fn merging_leaves_managed_fields_out_and_unknown_fields_alone() {
    let live = json!({"metadata": {"name": "x", "managedFields": [{"manager": "m"}]}, "surprise": {"a": [1]}});
    let merged = merge(&live, &json!({"metadata": {"labels": {"a": "b"}}}), shape().view()).unwrap();
    assert_eq!(merged, json!({"metadata": {"name": "x", "labels": {"a": "b"}}, "surprise": {"a": [1]}}));
}

#[test]
fn fields_are_removed_with_all_that_is_below_them() {
    let object = spec(&json!({
        "number": 1, "labels": {"a": "x", "b": "y"}, "set": ["a", "b"], "ports": [{"port": 1, "x": 1}, {"port": 2, "x": 2}],
    }));
    let gone = json!({"f:spec": {
        "f:number": {}, "f:labels": {"f:a": {}}, "f:set": {r#"v:"a""#: {}},
        "f:ports": {r#"k:{"port":1,"protocol":"TCP"}"#: {}, r#"k:{"port":2,"protocol":"TCP"}"#: {"f:x": {}}},
    }});
    let left = remove(&object, &FieldSet::from_v1(&gone).unwrap(), shape().view());
    assert_eq!(left, spec(&json!({"labels": {"b": "y"}, "set": ["b"], "ports": [{"port": 2}]})));
    let all = FieldSet::of(&[&["spec"]]);
    assert_eq!(remove(&object, &all, shape().view()), json!({}));
}

#[test]
fn a_configuration_that_is_not_of_its_type_is_refused_in_upstreams_words() {
    let table = [
        (json!({"other": 1}), ".spec.other: field not declared in schema"),
        (json!({"number": "1"}), ".spec.number: expected numeric (int or float), got string"),
        (json!({"text": 1}), ".spec.text: expected string, got &value.valueUnstructured{Value:1}"),
        (json!({"truth": "yes"}), ".spec.truth: expected boolean, got &{yes}"),
        (json!({"labels": ["a"]}), ".spec.labels: expected map, got &{[a]}"),
        (json!({"set": {"a": 1}}), ".spec.set: expected list, got &{map[a:1]}"),
        (json!({"set": ["a", "a"]}), r#".spec.set: duplicate entries for key [="a"]"#),
        (
            json!({"set": [null]}),
            ".spec.set: element 0: associative list without keys has an element that's an explicit null",
        ),
        (
            json!({"ports": [{"port": 1}, {"port": 1, "protocol": "TCP"}]}),
            r#".spec.ports: duplicate entries for key [port=1,protocol="TCP"]"#,
        ),
        (
            json!({"ports": [{"x": 1}]}),
            r#".spec.ports: element 0: associative list with keys has an element that omits key field "port" (and doesn't have default value)"#,
        ),
        (
            json!({"ports": [{"port": 1, "x": "a"}], "truth": 1}),
            "errors:\n  .spec.ports[port=1,protocol=\"TCP\"].x: expected numeric (int or float), got string\n  .spec.truth: expected boolean, got &{1}",
        ),
        (json!({"list": ["a", 1]}), ".spec.list[1]: expected string, got &value.valueUnstructured{Value:1}"),
    ];
    for (value, expected) in table {
        assert_eq!(validate(&spec(&value), shape().view()).unwrap_err().to_string(), expected, "{value}");
    }
    for fine in [json!({"labels": null, "set": null, "number": null}), json!({"free": {"x": [{"y": 1}]}})] {
        assert_eq!(validate(&spec(&fine), shape().view()), Ok(()), "{fine}");
    }
}

#[test]
fn what_has_become_one_value_is_owned_as_one() {
    let granular = json!({"f:spec": {
        "f:colour": {"f:r": {}}, "f:list": {r#"k:{"a":1}"#: {}}, "f:labels": {"f:a": {}}, "f:free": {"f:x": {"f:y": {}}},
    }});
    let set = FieldSet::from_v1(&granular).unwrap();
    let reconciled = reconcile(&set, shape().view()).unwrap();
    assert_eq!(reconciled.paths(), [".spec.colour", ".spec.list", ".spec.free.x.y", ".spec.labels.a"]);
    assert_eq!(reconcile(&reconciled, shape().view()), None);
}

#[test]
fn nesting_is_bounded() {
    let mut deep = json!(1);
    for _ in 0..super::DEPTH_LIMIT + 10 {
        deep = json!({"a": deep});
    }
    let object = spec(&json!({"free": deep}));
    let shape = shape();
    assert!(validate(&object, shape.view()).unwrap_err().to_string().contains("nested deeper than"));
    assert!(field_set(&object, shape.view()).is_err());
    assert!(compare(&object, &spec(&json!({})), shape.view()).is_err());
    assert!(merge(&object, &json!({}), shape.view()).is_err());
}
