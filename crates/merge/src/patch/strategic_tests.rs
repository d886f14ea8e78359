//! The rules of strategic merge patch, one table row each.

use super::*;
use crate::patch::keys::{MergeKey, shape_of};
use serde_json::json;

const KEYS: &[MergeKey] = &[
    MergeKey { path: "items", key: Some("name") },
    MergeKey { path: "items.ports", key: Some("port") },
    MergeKey { path: "scalars", key: None },
];

fn patched(object: &Value, patch: &Value) -> Value {
    apply(object, patch, Some(shape_of(KEYS).view())).unwrap_or_else(|e| panic!("{object} with {patch}: {e}"))
}

#[test]
fn maps_merge_and_lists_merge_by_their_keys() {
    let table = [
        ("values are set and nulls delete", json!({"a": 1, "b": 2}), json!({"a": 3, "b": null}), json!({"a": 3})),
        ("a null for nothing leaves nothing", json!({}), json!({"a": null, "m": {"x": null}}), json!({"m": {}})),
        ("maps merge", json!({"m": {"a": 1}}), json!({"m": {"b": 2}}), json!({"m": {"a": 1, "b": 2}})),
        ("lists without a key are replaced", json!({"l": [{"name": "a"}]}), json!({"l": []}), json!({"l": []})),
        (
            "an element with the key merges, another is appended",
            json!({"items": [{"name": "a", "v": 1}, {"name": "b", "v": 2}]}),
            json!({"items": [{"name": "b", "w": 3}, {"name": "c", "n": null}]}),
            json!({"items": [{"name": "a", "v": 1}, {"name": "b", "v": 2, "w": 3}, {"name": "c"}]}),
        ),
        (
            "keys reach through lists",
            json!({"items": [{"name": "a", "ports": [{"port": 1, "p": "x"}]}]}),
            json!({"items": [{"name": "a", "ports": [{"port": 2}, {"port": 1, "p": "y"}]}]}),
            json!({"items": [{"name": "a", "ports": [{"port": 2}, {"port": 1, "p": "y"}]}]}),
        ),
        (
            "scalars become a set",
            json!({"scalars": ["a", "b"]}),
            json!({"scalars": ["b", "c"]}),
            json!({"scalars": ["a", "b", "c"]}),
        ),
        ("another type replaces", json!({"m": {"a": 1}}), json!({"m": 5}), json!({"m": 5})),
    ];
    for (rule, object, patch, expected) in table {
        assert_eq!(patched(&object, &patch), expected, "{rule}");
    }
}

#[test]
fn directives_delete_replace_retain_and_order() {
    let items = || json!({"items": [{"name": "a", "v": 1}, {"name": "b"}, {"name": "c"}]});
    let table = [
        (
            "$patch: replace on a map",
            json!({"m": {"a": 1}}),
            json!({"m": {"$patch": "replace", "b": 2}}),
            json!({"m": {"b": 2}}),
        ),
        ("$patch: delete on a map", json!({"m": {"a": 1}}), json!({"m": {"$patch": "delete"}}), json!({"m": {}})),
        (
            "$patch: delete on an element",
            items(),
            json!({"items": [{"name": "b", "$patch": "delete"}, {"name": "zz", "$patch": "delete"}]}),
            json!({"items": [{"name": "a", "v": 1}, {"name": "c"}]}),
        ),
        (
            "$patch: replace in a list",
            items(),
            json!({"items": [{"$patch": "replace"}, {"name": "x"}]}),
            json!({"items": [{"name": "x"}]}),
        ),
        (
            "$patch: replace alone empties the list",
            items(),
            json!({"items": [{"$patch": "replace"}]}),
            json!({"items": []}),
        ),
        (
            "$deleteFromPrimitiveList",
            json!({"scalars": ["a", "b", "c"]}),
            json!({"$deleteFromPrimitiveList/scalars": ["b"], "scalars": ["d"]}),
            // What the patch adds stands first unless it says otherwise, as upstream.
            json!({"scalars": ["d", "a", "c"]}),
        ),
        (
            "$retainKeys",
            json!({"m": {"a": 1, "b": 2, "c": 3}}),
            json!({"m": {"$retainKeys": ["a", "d"], "d": 4}}),
            json!({"m": {"a": 1, "d": 4}}),
        ),
        (
            "$setElementOrder of maps",
            items(),
            json!({"$setElementOrder/items": [{"name": "c"}, {"name": "x"}, {"name": "a"}], "items": [{"name": "x"}]}),
            json!({"items": [{"name": "b"}, {"name": "c"}, {"name": "x"}, {"name": "a", "v": 1}]}),
        ),
        (
            "$setElementOrder without a change",
            items(),
            json!({"$setElementOrder/items": [{"name": "b"}, {"name": "a"}, {"name": "c"}]}),
            json!({"items": [{"name": "b"}, {"name": "a", "v": 1}, {"name": "c"}]}),
        ),
        (
            "$setElementOrder with a deletion",
            items(),
            json!({"$setElementOrder/items": [{"name": "c"}, {"name": "a"}], "items": [{"name": "b", "$patch": "delete"}]}),
            json!({"items": [{"name": "c"}, {"name": "a", "v": 1}]}),
        ),
        (
            "$setElementOrder of scalars",
            json!({"scalars": ["a", "b"]}),
            json!({"$setElementOrder/scalars": ["c", "b", "a"], "scalars": ["c"]}),
            json!({"scalars": ["c", "b", "a"]}),
        ),
        ("$setElementOrder of nothing", json!({}), json!({"$setElementOrder/items": []}), json!({})),
        (
            "directives do not stay where there was nothing",
            json!({}),
            json!({"m": {"$retainKeys": ["b"], "a": {"$patch": "replace", "b": 1}, "b": {"c": null}}, "l": [{"$patch": "replace"}, {"x": 1}]}),
            // A map with `$patch` has nothing to act on, so that it is nothing.
            json!({"m": {"b": {}}, "l": [{"x": 1}]}),
        ),
    ];
    for (rule, object, patch, expected) in table {
        assert_eq!(patched(&object, &patch), expected, "{rule}");
    }
}

#[test]
fn malformed_patches_are_refused_with_their_reason() {
    let object = json!({"items": [{"name": "a"}], "scalars": ["a"], "m": {"a": 1}});
    let table = [
        (json!({"m": {"$patch": "merge"}}), "unknown patch type"),
        (json!({"items": [{"$patch": "shred", "name": "a"}]}), "unknown patch type"),
        (json!({"items": [{"v": 1}]}), "does not contain declared merge key: name"),
        (json!({"items": [{"$patch": "delete"}]}), "does not contain declared merge key: name"),
        (json!({"items": [{"$patch": "merge", "name": "a"}]}), "merging lists"),
        (json!({"$deleteFromPrimitiveList/scalars": "a"}), "invalid patch format of primitive list"),
        (json!({"m": {"$retainKeys": "a"}}), "invalid patch format of retainKeys"),
        (json!({"m": {"$retainKeys": ["b"], "a": 2}}), "invalid patch format of retainKeys"),
        (json!({"$deleteFromPrimitiveListscalars": []}), "invalid patch format of primitive list"),
        (json!({"$setElementOrder": []}), "invalid patch format of setElementOrder"),
        (json!({"scalars": [["a"]]}), "lists of lists"),
        (json!({"scalars": ["a", 1]}), "not identical"),
        (json!({"items": [{"name": "a"}, "b"]}), "not identical"),
        (json!({"$setElementOrder/items": "a"}), "invalid patch format of setElementOrder"),
        (
            json!({"$setElementOrder/items": [{"name": "b"}], "items": [{"name": "a"}]}),
            "doesn't match $setElementOrder",
        ),
        (json!({"$setElementOrder/m": []}), "is no list"),
    ];
    for (patch, expected) in table {
        let error = apply(&object, &patch, Some(shape_of(KEYS).view())).expect_err(&patch.to_string()).to_string();
        assert!(error.contains(expected), "{patch}: {error}");
    }
}

/// A list of maps that merges without a key, a map that is replaced, and lists of lists.
fn widget() -> orrery_machinery::shape::Shape {
    let strategy =
        |strategy: &str| json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-patch-strategy": strategy});
    let schema = json!({"type": "object", "properties": {
        "selector": {"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-patch-strategy": "replace"},
        "keyless": strategy("merge"),
        "volumes": {
            "type": "array", "x-kubernetes-patch-strategy": "merge,retainKeys", "x-kubernetes-patch-merge-key": "name",
            "items": {"type": "object", "properties": {
                "name": {"type": "string"},
                "items": {
                    "type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "key",
                    "items": {"type": "object", "properties": {"key": {"type": "string"}}},
                },
            }},
        },
    }});
    orrery_machinery::shape::schema::custom_resource(&schema, false).unwrap()
}

#[test]
fn the_type_says_how_a_field_merges() {
    let table = [
        (
            "a map is replaced",
            json!({"selector": {"a": "1"}}),
            json!({"selector": {"b": "2"}}),
            json!({"selector": {"b": "2"}}),
        ),
        (
            "the keys of an element that is told apart by its name are retained",
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            json!({"volumes": [{"$retainKeys": ["name", "configMap"], "name": "v", "configMap": {"name": "c"}}]}),
            json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]}),
        ),
        (
            "lists within lists merge",
            json!({"volumes": [{"name": "v", "items": [{"key": "a", "path": "x"}]}]}),
            json!({"volumes": [{"name": "v", "items": [{"key": "b"}, {"key": "a", "mode": 1}]}]}),
            json!({"volumes": [{"name": "v", "items": [{"key": "b"}, {"key": "a", "path": "x", "mode": 1}]}]}),
        ),
        (
            "two elements of the patch with one key become one",
            json!({"volumes": []}),
            json!({"volumes": [{"name": "v", "a": 1}, {"name": "v", "b": 2}]}),
            json!({"volumes": [{"name": "v", "a": 1, "b": 2}]}),
        ),
        (
            "a null in something new is nothing",
            json!({}),
            json!({"volumes": [{"name": "v", "x": null}], "selector": {"a": null}}),
            json!({"volumes": [{"name": "v"}], "selector": {}}),
        ),
    ];
    let shape = widget();
    for (rule, object, patch, expected) in table {
        let patched = apply(&object, &patch, Some(shape.view()));
        assert_eq!(patched.unwrap_or_else(|e| panic!("{rule}: {e}")), expected, "{rule}");
    }
    let error = apply(&json!({"keyless": [{}]}), &json!({"keyless": [{"a": 1}]}), Some(shape.view())).unwrap_err();
    assert_eq!(error, PatchError::NoKeyForMaps);
}

#[test]
fn of_elements_with_the_same_merge_key_the_first_is_meant_and_all_are_deleted() {
    let two = json!({"items": [{"name": "a", "p": "TCP"}, {"name": "a", "p": "UDP"}, {"name": "b"}]});
    let merged = patched(&two, &json!({"items": [{"name": "a", "x": 1}]}));
    assert_eq!(merged, json!({"items": [{"name": "a", "p": "TCP", "x": 1}, {"name": "a", "p": "UDP"}, {"name": "b"}]}));
    let deleted = patched(&two, &json!({"items": [{"$patch": "delete", "name": "a"}]}));
    assert_eq!(deleted, json!({"items": [{"name": "b"}]}));
}

#[test]
fn long_lists_take_no_longer_than_sorting_them() {
    let names = |from: usize, to: usize| Value::from_iter((from..to).map(|n| json!({"name": n})));
    let scalars = |from: usize, to: usize| Value::from_iter(from..to);
    let object = json!({"items": names(0, 4_000), "scalars": scalars(0, 10_000)});
    let patch = json!({
        "items": names(2_000, 6_000), "scalars": scalars(5_000, 15_000), "$deleteFromPrimitiveList/scalars": scalars(0, 1000),
    });
    let result = patched(&object, &patch);
    assert_eq!(result["items"].as_array().unwrap().len(), 6_000);
    assert_eq!(result["scalars"].as_array().unwrap().len(), 14_000);
}

#[test]
fn nesting_is_bounded() {
    let mut deep = json!({});
    for _ in 0..400 {
        deep = json!({"a": deep});
    }
    assert_eq!(apply(&deep, &deep, None).unwrap_err(), PatchError::TooDeep);
}

proptest::proptest! {
    #[test]
    fn no_patch_makes_it_panic(object in crate::apply::tests::any_json(), patch in crate::apply::tests::any_json()) {
        let object = json!({"items": object, "scalars": object, "m": object});
        let patch = json!({
            "items": patch, "scalars": patch, "m": patch, "$setElementOrder/items": patch, "$retainKeys": patch,
            "$deleteFromPrimitiveList/scalars": patch,
        });
        for directives in 0..8u8 {
            let mut patch = patch.clone();
            let map = patch.as_object_mut().unwrap();
            for (bit, directive) in [SET_ORDER, RETAIN_KEYS, DELETE_FROM].iter().enumerate() {
                map.retain(|key, _| directives & (1 << bit) == 0 || !key.starts_with(directive));
            }
            let _ = apply(&object, &patch, Some(shape_of(KEYS).view()));
        }
    }
}
