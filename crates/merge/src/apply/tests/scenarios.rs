//! Several managers, one after the other: what upstream's tests of merging say comes out.

use super::{VERSION, at, owners, stored};
use crate::apply::{Apply, Ignored, OneVersion, Resource, Update, apply, track};
use orrery_machinery::shape::{Shape, schema::custom_resource};
use serde_json::{Value, json};
use std::sync::LazyLock;

fn shape() -> &'static Shape {
    static SHAPE: LazyLock<Shape> = LazyLock::new(|| {
        let (text, number) = (|| json!({"type": "string"}), || json!({"type": "integer"}));
        let keyed = |item: Value| json!({"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]});
        let object = |properties: Value| json!({"type": "object", "properties": properties});
        let set = |item: Value| json!({"type": "array", "items": item, "x-kubernetes-list-type": "set"});
        let spec = object(json!({
            "unrelated": number(),
            "set": set(number()),
            "list": keyed(object(json!({"name": text(), "value1": number(), "value2": number()}))),
            "lists": keyed(object(json!({"name": text(), "value": set(text())}))),
            "struct": object(json!({"name": text(), "value": number()})),
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "atomic": {"type": "object", "properties": {"a": text(), "b": text()}, "x-kubernetes-map-type": "atomic"},
        }));
        custom_resource(&object(json!({"spec": spec})), false).unwrap()
    });
    &SHAPE
}

fn resource() -> Resource<'static> {
    Resource { api_version: VERSION, kind: "Widget", shape: shape(), ignored: &Ignored::Nothing, versions: &OneVersion }
}

/// What a manager does.
enum Step {
    Apply(&'static str, Value),
    Force(&'static str, Value),
    /// A refused apply, with the paths that it is about.
    Conflict(&'static str, Value, &'static [&'static str]),
    Update(&'static str, Value),
}

use Step::{Apply as A, Conflict as C, Force as F, Update as U};

fn widget(spec: &Value) -> Value {
    json!({"apiVersion": VERSION, "kind": "Widget", "metadata": {"name": "w"}, "spec": spec})
}

fn run(name: &str, steps: Vec<Step>) -> Value {
    let mut live: Option<Value> = None;
    for step in steps {
        let now = "2026-01-01T00:00:00Z";
        let merged = |manager, spec: &Value, force| {
            let config = widget(spec);
            apply(&Apply {
                live: live.as_ref(),
                config: &config,
                force,
                resource: resource(),
                writer: at(manager, now),
            })
        };
        live = match step {
            A(manager, spec) => Some(merged(manager, &spec, false).unwrap_or_else(|e| panic!("{name}: {e}")).object),
            F(manager, spec) => Some(merged(manager, &spec, true).unwrap_or_else(|e| panic!("{name}: {e}")).object),
            C(manager, spec, paths) => {
                let error = merged(manager, &spec, false).expect_err(name);
                let causes = error.details.unwrap()["causes"].as_array().unwrap().clone();
                let fields: Vec<&str> = causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect();
                assert_eq!(fields, paths, "{name}");
                continue;
            }
            U(manager, spec) => {
                let mut object = live.as_ref().map_or_else(|| widget(&json!({})), Value::clone);
                object["spec"] = spec;
                let update = Update { live: live.as_ref(), resource: resource(), writer: at(manager, now) };
                assert_eq!(track(&update, &mut object), None, "{name}");
                Some(object)
            }
        }
        .map(stored);
    }
    live.expect("a scenario has steps")
}

fn check(table: Vec<(&str, Vec<Step>, Value, &[&str])>) {
    for (name, steps, spec, expected) in table {
        let object = run(name, steps);
        assert_eq!(object["spec"], spec, "{name}");
        // Who owns `.spec` alone is the first updater; it does not matter here.
        let owners: Vec<String> = owners(&object).into_iter().map(|line| line.replace(" .spec ", " ")).collect();
        assert_eq!(owners, expected, "{name}");
    }
}

#[test]
fn scalars_that_stand_more_than_once_are_owned_together() {
    check(vec![
        (
            "set: once",
            vec![U("one", json!({"set": [1, 1, 3]}))],
            json!({"set": [1, 1, 3]}),
            &["one Update: .spec.set .spec.set[=1] .spec.set[=3]"],
        ),
        (
            "set: one more",
            vec![U("one", json!({"set": [1, 3]})), U("two", json!({"set": [1, 1, 3]}))],
            json!({"set": [1, 1, 3]}),
            &["one Update: .spec.set .spec.set[=3]", "two Update: .spec.set[=1]"],
        ),
        (
            "set: one less",
            vec![U("one", json!({"set": [1, 1, 3]})), U("two", json!({"set": [1, 3]}))],
            json!({"set": [1, 3]}),
            &["one Update: .spec.set .spec.set[=3]", "two Update: .spec.set[=1]"],
        ),
        (
            "set: merged",
            vec![
                U("one", json!({"set": [1, 1, 3]})),
                C("two", json!({"set": [1]}), &[".spec.set[=1]"]),
                F("two", json!({"set": [1]})),
            ],
            json!({"set": [1, 3]}),
            &["two Apply: .spec.set[=1]", "one Update: .spec.set .spec.set[=3]"],
        ),
        (
            "set: others are left alone",
            vec![U("one", json!({"set": [1, 1, 3]})), A("two", json!({"set": [5]}))],
            json!({"set": [1, 1, 3, 5]}),
            &["two Apply: .spec.set[=5]", "one Update: .spec.set .spec.set[=1] .spec.set[=3]"],
        ),
    ]);
}

#[test]
fn elements_that_stand_more_than_once_are_owned_together() {
    let list = |items: Value| json!({"list": items});
    let two = || json!([{"name": "a", "value1": 1}, {"name": "a", "value1": 2}, {"name": "b", "value1": 3}]);
    let b = r#".spec.list[name="b"] .spec.list[name="b"].name .spec.list[name="b"].value1"#;
    let all = format!(r#"one Update: .spec.list .spec.list[name="a"] {b}"#);
    let rest = format!("one Update: .spec.list {b}");
    let (a_only, forced) = (
        r#"two Update: .spec.list[name="a"]"#,
        r#"two Apply: .spec.list[name="a"] .spec.list[name="a"].name .spec.list[name="a"].value1"#,
    );
    check(vec![
        ("list: once", vec![U("one", list(two()))], list(two()), &[&all]),
        (
            "list: a change of one of two is a change of both",
            vec![
                U("one", list(two())),
                U(
                    "two",
                    list(json!([{"name": "a", "value1": 1}, {"name": "a", "value1": 9}, {"name": "b", "value1": 3}])),
                ),
            ],
            list(json!([{"name": "a", "value1": 1}, {"name": "a", "value1": 9}, {"name": "b", "value1": 3}])),
            &[&rest, a_only],
        ),
        (
            "list: applied over",
            vec![
                U("one", list(two())),
                C("two", list(json!([{"name": "a", "value1": 2}])), &[r#".spec.list[name="a"]"#]),
                F("two", list(json!([{"name": "a", "value1": 2}]))),
            ],
            list(json!([{"name": "a", "value1": 2}, {"name": "b", "value1": 3}])),
            &[forced, &rest],
        ),
        (
            "list: what an updater doubled stays when the applier lets it go",
            vec![
                A("one", list(json!([{"name": "a", "value1": 1}, {"name": "b", "value1": 3}]))),
                U("two", list(two())),
                A("one", list(json!([{"name": "b", "value1": 3}]))),
            ],
            list(two()),
            &[&format!("one Apply: {b}"), a_only],
        ),
    ]);
}

#[test]
fn what_one_applier_lets_go_stays_as_far_as_others_own_it() {
    let lists = |items: Value| json!({"lists": items});
    let a = r#"one Apply: .spec.lists[name="a"] .spec.lists[name="a"].name"#;
    let d = r#"two Apply: .spec.lists[name="b"] .spec.lists[name="b"].name .spec.lists[name="b"].value[="d"]"#;
    let first = || lists(json!([{"name": "a"}, {"name": "b", "value": ["c"]}]));
    let other = || lists(json!([{"name": "b", "value": ["d"]}]));
    check(vec![
        (
            "an element that another applies, too",
            vec![A("one", first()), A("two", other()), A("one", lists(json!([{"name": "a"}])))],
            lists(json!([{"name": "a"}, {"name": "b", "value": ["d"]}])),
            &[a, d],
        ),
        (
            "an element that another applies, with what an updater put into it",
            vec![
                A("one", first()),
                A("two", other()),
                U("three", lists(json!([{"name": "a"}, {"name": "b", "value": ["c", "d", "e"]}]))),
                A("one", lists(json!([{"name": "a"}]))),
            ],
            lists(json!([{"name": "a"}, {"name": "b", "value": ["d", "e"]}])),
            &[a, d, r#"three Update: .spec.lists[name="b"].value[="e"]"#],
        ),
        (
            "an element that nobody else applies goes with what an updater put into it",
            vec![
                A("one", first()),
                U("three", lists(json!([{"name": "a"}, {"name": "b", "value": ["c", "e"]}]))),
                A("one", lists(json!([{"name": "a"}]))),
            ],
            lists(json!([{"name": "a"}])),
            &[a],
        ),
        (
            "a structure stays for the field that an updater owns",
            vec![
                A("one", json!({"struct": {"name": "a"}, "unrelated": 1})),
                U("two", json!({"struct": {"name": "a", "value": 1}, "unrelated": 1})),
                A("one", json!({"unrelated": 1})),
            ],
            json!({"struct": {"value": 1}, "unrelated": 1}),
            &["one Apply: .spec.unrelated", "two Update: .spec.struct.value"],
        ),
        (
            "a field that an updater has taken over stays",
            vec![
                A("one", json!({"struct": {"name": "a"}, "unrelated": 1})),
                U("two", json!({"struct": {"name": "b", "value": 1}, "unrelated": 1})),
                A("one", json!({"unrelated": 1})),
            ],
            json!({"struct": {"name": "b", "value": 1}, "unrelated": 1}),
            &["one Apply: .spec.unrelated", "two Update: .spec.struct.name .spec.struct.value"],
        ),
        (
            "what an updater had set first stays",
            vec![
                U("two", json!({"struct": {"name": "a", "value": 1}})),
                A("one", json!({"struct": {"name": "a", "value": 1}})),
                A("one", json!({"struct": {"name": "a"}})),
            ],
            json!({"struct": {"name": "a", "value": 1}}),
            &["one Apply: .spec.struct.name", "two Update: .spec.struct .spec.struct.name .spec.struct.value"],
        ),
        (
            "one value is let go as one",
            vec![A("one", json!({"atomic": {"a": "1", "b": "2"}})), A("one", json!({"atomic": {"a": "1"}}))],
            json!({"atomic": {"a": "1"}}),
            &["one Apply: .spec.atomic"],
        ),
    ]);
}

#[test]
fn maps_within_maps_of_unknown_fields_go_as_far_as_nobody_owns_them() {
    // apply-one and apply-two share a and c.d; two controllers write deeper into both, in turns.
    let free = |value: Value| json!({"free": value});
    let steps = vec![
        A("apply-one", free(json!({"a": {"b": null}, "c": {"d": null}}))),
        A("apply-two", free(json!({"a": null, "c": {"d": null}}))),
        U("one", free(json!({"a": {"b": {"c": null}}, "c": {"d": {"e": null}}}))),
        U("two", free(json!({"a": {"b": {"c": {"d": null}}}, "c": {"d": {"e": {"f": null}}}}))),
        U("one", free(json!({"a": {"b": {"c": {"d": {"e": null}}}}, "c": {"d": {"e": {"f": {"g": null}}}}}))),
        A("apply-one", json!({"free": null})),
    ];
    let object = run("recursive", steps);
    assert_eq!(object["spec"]["free"]["c"], json!({"d": {"e": {"f": {"g": null}}}}));
    // Upstream leaves null here, which is nothing.
    assert!(matches!(&object["spec"]["free"]["a"], Value::Object(map) if map.is_empty()));
    // Who has only ever applied what was there has no time, and stands first.
    let expected = [
        "apply-two Apply: .spec.free.a .spec.free.c .spec.free.c.d",
        "apply-one Apply: .spec.free",
        "one Update: .spec.free.c.d.e .spec.free.c.d.e.f.g",
        "two Update: .spec.free.c.d.e.f",
    ];
    assert_eq!(owners(&object), expected);
}

#[test]
fn lists_keep_the_appliers_order() {
    let set = |items: Value| json!({"set": items});
    check(vec![
        (
            "another order is another order",
            vec![A("one", set(json!([1, 2, 3, 4]))), A("one", set(json!([1, 4, 3, 2])))],
            set(json!([1, 4, 3, 2])),
            &["one Apply: .spec.set[=1] .spec.set[=2] .spec.set[=3] .spec.set[=4]"],
        ),
        (
            "what others have put between stays there",
            vec![
                A("one", set(json!([1, 3]))),
                U("two", set(json!([1, 2, 3, 4]))),
                A("one", set(json!([1, 10, 3, 30]))),
            ],
            set(json!([1, 2, 10, 3, 4, 30])),
            &[
                "one Apply: .spec.set[=1] .spec.set[=3] .spec.set[=10] .spec.set[=30]",
                "two Update: .spec.set[=2] .spec.set[=4]",
            ],
        ),
        (
            "an update of the order owns nothing",
            vec![A("one", set(json!([1, 2]))), U("two", set(json!([2, 1]))), A("one", set(json!([1, 2])))],
            set(json!([1, 2])),
            &["one Apply: .spec.set[=1] .spec.set[=2]"],
        ),
    ]);
}
