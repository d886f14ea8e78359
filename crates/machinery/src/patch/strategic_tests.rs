//! The rules of strategic merge patch, one table row each.

use super::*;
use serde_json::json;

const KEYS: &[MergeKey] = &[
    MergeKey { path: "items", key: Some("name") },
    MergeKey { path: "items.ports", key: Some("port") },
    MergeKey { path: "scalars", key: None },
];

fn patched(object: &Value, patch: &Value) -> Value {
    apply(object, patch, KEYS).unwrap_or_else(|e| panic!("{object} with {patch}: {e}"))
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
            json!({"m": {"$retainKeys": ["a"], "a": {"$patch": "replace", "b": 1}}, "l": [{"$patch": "replace"}, {"x": 1}]}),
            json!({"m": {"a": {"b": 1}}, "l": [{"x": 1}]}),
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
        (json!({"m": {"$retainKeys": ["b"], "a": 2}}), "doesn't match retainKeys"),
        (json!({"$setElementOrder/items": "a"}), "invalid patch format of setElementOrder"),
        (
            json!({"$setElementOrder/items": [{"name": "b"}], "items": [{"name": "a"}]}),
            "doesn't match $setElementOrder",
        ),
        (json!({"$setElementOrder/m": []}), "is no list"),
    ];
    for (patch, expected) in table {
        let error = apply(&object, &patch, KEYS).expect_err(&patch.to_string()).to_string();
        assert!(error.contains(expected), "{patch}: {error}");
    }
}
