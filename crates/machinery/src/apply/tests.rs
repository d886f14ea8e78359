//! The rules of ownership as upstream documents and tests them, and what must hold of any objects.

mod scenarios;

use super::*;
use crate::shape::schema::custom_resource;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Any JSON, with the names and values that mean something to the test's type among it.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        "[ab]".prop_map(Value::from)
    ];
    let name = prop_oneof![
        proptest::sample::select(vec![
            "metadata",
            "spec",
            "managedFields",
            "labels",
            "set",
            "ports",
            "port",
            "fieldsV1",
            "f:spec",
            "f:a",
            "v:1",
            ".",
            "k:{\"port\":1}",
            "operation",
            "manager",
            "apiVersion",
            "time",
        ])
        .prop_map(str::to_owned),
        "[ab]",
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const VERSION: &str = "test.io/v1";

fn shape() -> &'static Shape {
    static SHAPE: LazyLock<Shape> = LazyLock::new(|| {
        let text = || json!({"type": "string"});
        let port = json!({"type": "object", "properties": {"port": {"type": "integer"}, "name": text(), "x": text()}});
        let spec = json!({"type": "object", "properties": {
            "replicas": {"type": "integer"}, "text": text(),
            "labels": {"type": "object", "additionalProperties": text()},
            "list": {"type": "array", "items": text()},
            "set": {"type": "array", "items": text(), "x-kubernetes-list-type": "set"},
            "ports": {"type": "array", "items": port, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"]},
            "struct": {"type": "object", "properties": {"a": text(), "b": text()}},
        }});
        let status = json!({"type": "object", "properties": {"phase": text()}});
        custom_resource(&json!({"type": "object", "properties": {"spec": spec, "status": status}}), false).unwrap()
    });
    &SHAPE
}

fn resource() -> Resource<'static> {
    Resource { api_version: VERSION, kind: "Widget", shape: shape(), ignored: &Ignored::Nothing, versions: &OneVersion }
}

fn at(manager: &'static str, now: &'static str) -> Writer<'static> {
    Writer { manager, subresource: "", now }
}

const T1: &str = "2026-01-01T00:00:01Z";
const T2: &str = "2026-01-01T00:00:02Z";

fn widget(spec: &Value) -> Value {
    json!({"apiVersion": VERSION, "kind": "Widget", "metadata": {"name": "w", "namespace": "ns"}, "spec": spec})
}

fn applied_by(
    manager: &'static str,
    live: Option<&Value>,
    spec: &Value,
    force: bool,
) -> Result<Value, crate::status::ApiError> {
    let config = widget(spec);
    let request = Apply { live, config: &config, force, resource: resource(), writer: at(manager, T1) };
    apply(&request).map(|applied| stored(applied.object))
}

/// As the server keeps it: with a uid.
fn stored(mut object: Value) -> Value {
    object["metadata"]["uid"] = "u".into();
    object
}

fn updated_by(manager: &'static str, live: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut object = live.clone();
    change(&mut object);
    let problem = track(&Update { live: Some(live), resource: resource(), writer: at(manager, T2) }, &mut object);
    assert_eq!(problem, None);
    object
}

/// `manager operation[ subresource]: path path`, one line for each entry.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array();
    let show = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let set = FieldSet::from_v1(&entry["fieldsV1"]).unwrap();
        let subresource =
            if text("subresource").is_empty() { String::new() } else { format!(" {}", text("subresource")) };
        format!("{} {}{subresource}: {}", text("manager"), text("operation"), set.paths().join(" "))
    };
    entries.into_iter().flatten().map(show).collect()
}

#[test]
fn the_first_apply_makes_the_object_and_owns_what_it_mentions() {
    let config = widget(&json!({"replicas": 1, "set": ["a"]}));
    let request = Apply { live: None, config: &config, force: false, resource: resource(), writer: at("me", T1) };
    let Applied { object, is_changed } = apply(&request).unwrap();
    assert!(is_changed);
    assert_eq!(object["spec"], json!({"replicas": 1, "set": ["a"]}));
    let entry = json!({
        "manager": "me", "operation": "Apply", "apiVersion": VERSION, "time": T1, "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}, "f:set": {"v:\"a\"": {}}}},
    });
    assert_eq!(object["metadata"]["managedFields"], json!([entry]));
}

#[test]
fn what_is_no_longer_applied_goes_unless_somebody_else_owns_it() {
    let all = json!({"replicas": 1, "labels": {"a": "1", "b": "2"}, "ports": [{"port": 1, "x": "x"}, {"port": 2}], "struct": {"a": "1"}});
    let live = applied_by("me", None, &all, false).unwrap();
    // Another applies one label and an element of its own; a third one writes into an element.
    let live = applied_by("other", Some(&live), &json!({"labels": {"a": "1"}, "ports": [{"port": 3}]}), false).unwrap();
    let live = updated_by("third", &live, |object| object["spec"]["ports"][0]["name"] = "n".into());
    let object = applied_by("me", Some(&live), &json!({"text": "t"}), false).unwrap();
    // Port 1 goes with the name that the third one gave it: an element belongs to who applied it.
    let expected = json!({"text": "t", "labels": {"a": "1"}, "ports": [{"port": 3}]});
    assert_eq!(object["spec"], expected);
    assert_eq!(
        owners(&object),
        [r#"me Apply: .spec.text"#, r#"other Apply: .spec.labels.a .spec.ports[port=3] .spec.ports[port=3].port"#]
    );
}

#[test]
fn another_managers_field_with_another_value_is_a_conflict() {
    let live = applied_by("me", None, &json!({"replicas": 1, "text": "a"}), false).unwrap();
    let live = updated_by("kubectl-edit", &live, |object| object["spec"]["replicas"] = 5.into());
    assert_eq!(owners(&live), ["me Apply: .spec.text", "kubectl-edit Update: .spec.replicas"]);

    let error = applied_by("me", Some(&live), &json!({"replicas": 1, "text": "a"}), false).unwrap_err();
    assert_eq!((error.code, error.reason), (409, "Conflict"));
    let text = r#"Apply failed with 1 conflict: conflict with "kubectl-edit" using test.io/v1: .spec.replicas"#;
    assert_eq!(error.message, text);
    let cause = json!({
        "reason": "FieldManagerConflict", "message": r#"conflict with "kubectl-edit" using test.io/v1"#, "field": ".spec.replicas",
    });
    assert_eq!(error.details, Some(json!({"causes": [cause]})));

    let error = applied_by("you", Some(&live), &json!({"replicas": 1, "text": "b"}), false).unwrap_err();
    let text = "Apply failed with 2 conflicts: conflicts with \"kubectl-edit\" using test.io/v1:\n- .spec.replicas\nconflicts with \"me\":\n- .spec.text";
    assert_eq!(error.message, text);
    assert_eq!(error.details.unwrap()["causes"].as_array().unwrap().len(), 2);
}

#[test]
fn force_takes_the_field_and_the_same_value_shares_it() {
    let live = applied_by("a", None, &json!({"replicas": 1, "text": "t"}), false).unwrap();
    let forced = applied_by("b", Some(&live), &json!({"replicas": 2}), true).unwrap();
    assert_eq!(owners(&forced), ["a Apply: .spec.text", "b Apply: .spec.replicas"]);
    assert_eq!(forced["spec"]["replicas"], 2);
    let shared = applied_by("b", Some(&live), &json!({"replicas": 1}), false).unwrap();
    assert_eq!(owners(&shared), ["b Apply: .spec.replicas", "a Apply: .spec.replicas .spec.text"]);
    // When one of two lets go, the field stays for the other.
    let let_go = applied_by("a", Some(&shared), &json!({"text": "t"}), false).unwrap();
    assert_eq!(let_go["spec"], json!({"replicas": 1, "text": "t"}));
}

#[test]
fn applying_the_same_again_changes_nothing_and_keeps_the_time() {
    let spec = json!({"replicas": 1, "ports": [{"port": 1}], "labels": {"a": "1"}});
    let live = applied_by("me", None, &spec, false).unwrap();
    let config = widget(&spec);
    let request =
        Apply { live: Some(&live), config: &config, force: false, resource: resource(), writer: at("me", T2) };
    let again = apply(&request).unwrap();
    assert!(!again.is_changed);
    assert_eq!(again.object, live);
}

#[test]
fn what_was_there_before_the_first_apply_has_an_owner_of_its_own() {
    let live = stored(widget(&json!({"replicas": 1, "labels": {"a": "1"}})));
    let error = applied_by("me", Some(&live), &json!({"replicas": 2}), false).unwrap_err();
    let text = r#"Apply failed with 1 conflict: conflict with "before-first-apply" using test.io/v1: .spec.replicas"#;
    assert_eq!(error.message, text);
    let object = applied_by("me", Some(&live), &json!({"text": "t"}), false).unwrap();
    let expected =
        ["me Apply: .spec.text", "before-first-apply Update: .spec .spec.labels .spec.replicas .spec.labels.a"];
    assert_eq!(owners(&object), expected);
}

#[test]
fn a_configuration_must_be_of_its_kind_and_type_and_without_managed_fields() {
    let base = widget(&json!({}));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut config = base.clone();
        change(&mut config);
        let request = Apply { live: None, config: &config, force: false, resource: resource(), writer: at("me", T1) };
        let error = apply(&request).unwrap_err();
        (error.code, error.message)
    };
    let type_error =
        |text: &str| (400, format!("failed to create typed patch object (ns/w; test.io/v1, Kind=Widget): {text}"));
    assert_eq!(with(&|c| c["kind"] = "Gadget".into()), (400, "invalid object type: test.io/v1, Kind=Gadget".into()));
    assert_eq!(with(&|c| c["apiVersion"] = "v1".into()), (400, "invalid object type: /v1, Kind=Widget".into()));
    assert_eq!(
        with(&|c| c["metadata"]["managedFields"] = json!([])),
        (400, "metadata.managedFields must be nil".into())
    );
    assert_eq!(with(&|c| c["spec"]["x"] = 1.into()), type_error(".spec.x: field not declared in schema"));
    assert_eq!(
        with(&|c| c["spec"]["ports"] = json!([{"port": 1}, {"port": 1}])),
        type_error(".spec.ports: duplicate entries for key [port=1]")
    );
    let mut live = stored(widget(&json!({})));
    live["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    let error = applied_by("me", Some(&live), &json!({}), false).unwrap_err();
    assert_eq!((error.code, error.reason), (500, ""));
    assert_eq!(error.message, "failed to decode managed fields: operation must be `Apply` or `Update`");
}

#[test]
fn plain_writes_own_what_they_change() {
    let mut object = widget(&json!({"replicas": 1, "labels": {"a": "1"}}));
    track(&Update { live: None, resource: resource(), writer: at("creator", T1) }, &mut object);
    assert_eq!(owners(&object), ["creator Update: .spec .spec.labels .spec.replicas .spec.labels.a"]);
    let live = stored(object);
    let object = updated_by("editor", &live, |object| {
        object["spec"]["replicas"] = 2.into();
        object["spec"]["labels"] = json!({"b": "2"});
    });
    assert_eq!(owners(&object), ["creator Update: .spec .spec.labels", "editor Update: .spec.replicas .spec.labels.b"]);
    assert_eq!(object["metadata"]["managedFields"][0]["time"], T1);
    assert_eq!(object["metadata"]["managedFields"][1]["time"], T2);
    // No change: nothing moves, not even times.
    assert_eq!(updated_by("third", &object, |_| {}), object);
    // A client that knows nothing of managed fields loses none.
    let forgetful = updated_by("third", &object, |object| {
        object["metadata"].as_object_mut().unwrap().remove("managedFields");
    });
    assert_eq!(forgetful, object);
}

#[test]
fn owners_are_forgotten_on_request_and_tracked_again_by_the_next_apply() {
    let live = applied_by("me", None, &json!({"replicas": 1}), false).unwrap();
    for reset in [json!([]), json!([{}])] {
        let object = updated_by("you", &live, |object| object["metadata"]["managedFields"] = reset.clone());
        assert!(object["metadata"].get("managedFields").is_none(), "{reset}");
        let untracked = updated_by("you", &object, |object| object["spec"]["replicas"] = 3.into());
        assert_eq!(owners(&untracked), Vec::<String>::new());
        let again = applied_by("me", Some(&untracked), &json!({"replicas": 3}), false).unwrap();
        assert_eq!(owners(&again), ["me Apply: .spec.replicas", "before-first-apply Update: .spec .spec.replicas"]);
    }
}

#[test]
fn a_client_may_edit_the_entries_of_the_main_resource_only() {
    let live = applied_by("me", None, &json!({"replicas": 1, "text": "t"}), false).unwrap();
    let edit = |object: &mut Value| object["metadata"]["managedFields"][0]["manager"] = "renamed".into();
    assert_eq!(owners(&updated_by("you", &live, edit)), ["renamed Apply: .spec.replicas .spec.text"]);
    let mut object = live.clone();
    edit(&mut object);
    let writer = Writer { subresource: "status", ..at("you", T2) };
    track(&Update { live: Some(&live), resource: resource(), writer }, &mut object);
    assert_eq!(object, live);
    // What cannot be read is as if it had not been sent, and is said.
    let mut object = live.clone();
    object["metadata"]["managedFields"][0]["operation"] = "Invent".into();
    let problem = track(&Update { live: Some(&live), resource: resource(), writer: at("you", T2) }, &mut object);
    assert!(problem.unwrap().contains("operation must be"));
    assert_eq!(object, live);
}

#[test]
fn nobody_owns_what_a_path_cannot_write() {
    let ignored = Ignored::Fields(FieldSet::of(&[&["status"]]));
    let resource = Resource { ignored: &ignored, ..resource() };
    let config = json!({
        "apiVersion": VERSION, "kind": "Widget", "metadata": {"name": "w"}, "spec": {"replicas": 1}, "status": {"phase": "x"},
    });
    let request = Apply { live: None, config: &config, force: false, resource, writer: at("me", T1) };
    assert_eq!(owners(&apply(&request).unwrap().object), ["me Apply: .spec.replicas"]);
    let mut object = config.clone();
    track(&Update { live: None, resource, writer: at("me", T1) }, &mut object);
    assert_eq!(owners(&object), ["me Update: .spec .spec.replicas"]);
}

#[test]
fn each_subresource_has_an_entry_of_its_own() {
    let live = applied_by("me", None, &json!({"replicas": 1}), false).unwrap();
    let mut object = live.clone();
    object["status"] = json!({"phase": "Up"});
    let writer = Writer { subresource: "status", ..at("me", T2) };
    track(&Update { live: Some(&live), resource: resource(), writer }, &mut object);
    assert_eq!(owners(&object), ["me Apply: .spec.replicas", "me Update status: .status .status.phase"]);
}

#[test]
fn only_so_many_entries_of_updates_are_kept() {
    let names: Vec<&'static str> = (0..15).map(|n| &*String::leak(format!("m{n:02}"))).collect();
    let mut object = stored(applied_by("me", None, &json!({"text": "t"}), false).unwrap());
    for (n, name) in names.iter().enumerate() {
        let now: &'static str = String::leak(format!("2026-01-01T00:01:{n:02}Z"));
        let live = object.clone();
        object["spec"]["labels"][name] = "x".into();
        track(&Update { live: Some(&live), resource: resource(), writer: at(name, now) }, &mut object);
    }
    let owners = owners(&object);
    assert_eq!(owners.len(), 11, "{owners:?}");
    let ancient = "ancient-changes Update: .spec.labels .spec.labels.m00 .spec.labels.m01 .spec.labels.m02 .spec.labels.m03 .spec.labels.m04 .spec.labels.m05";
    assert_eq!(owners[1], ancient);
    assert_eq!(object["metadata"]["managedFields"][1]["time"], "2026-01-01T00:01:05Z");
}

#[test]
fn entries_of_versions_that_are_gone_are_dropped_and_others_are_converted() {
    struct Renamed;
    impl Versions for Renamed {
        /// `v2` calls `text` `words`.
        fn convert(&self, mut object: Value, _: &str, to: &str) -> Result<(Value, Shape), ConvertError> {
            let (from, into) = match to {
                "test.io/v2" => ("text", "words"),
                VERSION => ("words", "text"),
                other => return Err(ConvertError::NoSuchVersion(other.to_owned())),
            };
            let spec = object["spec"].as_object_mut().ok_or_else(|| ConvertError::Failed("no spec".into()))?;
            if let Some(value) = spec.remove(from) {
                spec.insert(into.to_owned(), value);
            }
            Ok((object, Shape::deduced()))
        }
    }
    let entry = |manager: &str, version: &str, field: &str| {
        json!({
            "manager": manager, "operation": "Apply", "apiVersion": version, "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {field: {}}},
        })
    };
    let mut live = stored(widget(&json!({"text": "a", "replicas": 1})));
    live["metadata"]["managedFields"] = json!([
        entry("two", "test.io/v2", "f:words"),
        entry("old", "test.io/v0", "f:replicas"),
        entry("two-b", "test.io/v2", "f:replicas")
    ]);
    let resource = Resource { versions: &Renamed, ..resource() };
    let config = widget(&json!({"text": "b"}));
    let request = Apply { live: Some(&live), config: &config, force: false, resource, writer: at("me", T1) };
    let error = apply(&request).unwrap_err();
    assert_eq!(error.message, r#"Apply failed with 1 conflict: conflict with "two": .spec.words"#);
    let forced = apply(&Apply { force: true, ..request }).unwrap().object;
    assert_eq!(owners(&forced), ["two-b Apply: .spec.replicas", "me Apply: .spec.text"]);
    // An applier that has moved to another version still takes away what it applied in the old one.
    let config = widget(&json!({"replicas": 1}));
    let moved = Apply { live: Some(&live), config: &config, writer: at("two", T1), ..request };
    assert_eq!(apply(&moved).unwrap().object["spec"], json!({"replicas": 1}));
}

#[test]
fn kubectl_takes_over_what_it_had_applied_on_the_clients_side() {
    const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let before = widget(&json!({"replicas": 1, "text": "a"}));
    let mut object = before.clone();
    object["metadata"]["annotations"] = json!({LAST: before.to_string()});
    let writer = Writer { manager: "kubectl-client-side-apply", ..at("", T1) };
    track(&Update { live: None, resource: resource(), writer }, &mut object);
    let live = stored(object);
    // Another manager: a conflict. kubectl: none, since the fields stand as it had applied them.
    let change = json!({"replicas": 2, "text": "a"});
    let text =
        r#"Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using test.io/v1: .spec.replicas"#;
    assert_eq!(applied_by("other", Some(&live), &change, false).unwrap_err().message, text);
    let object = applied_by("kubectl", Some(&live), &change, false).unwrap();
    assert_eq!(object["spec"]["replicas"], 2);
    let last: Value = serde_json::from_str(object["metadata"]["annotations"][LAST].as_str().unwrap()).unwrap();
    assert_eq!(last["spec"], change);
    // What somebody has changed since is a conflict for kubectl, too.
    let edited = updated_by("editor", &live, |object| object["spec"]["replicas"] = 7.into());
    let text = r#"Apply failed with 1 conflict: conflict with "editor" using test.io/v1: .spec.replicas"#;
    assert_eq!(applied_by("kubectl", Some(&edited), &change, false).unwrap_err().message, text);
}

#[test]
fn a_write_that_changes_nothing_else_keeps_the_times() {
    let live = applied_by("me", None, &json!({"replicas": 1}), false).unwrap();
    let with_time = |replicas: u8| {
        let mut object = live.clone();
        object["metadata"]["managedFields"][0]["time"] = T2.into();
        object["spec"]["replicas"] = replicas.into();
        object
    };
    let mut same = with_time(1);
    keep_times(&live, &mut same);
    assert_eq!(same, live);
    let mut other = with_time(2);
    keep_times(&live, &mut other);
    assert_eq!(other, with_time(2));
}

#[test]
fn managers_have_names_of_printable_characters() {
    assert_eq!(manager_of("kubectl/v1.36 (linux)"), "kubectl");
    assert_eq!(manager_of("a\u{7}b\u{a0}c/1"), "abc");
    assert_eq!(manager_of(&"ä".repeat(100)).len(), 128);
    assert_eq!(validate_manager("kubectl edit-é", "fieldManager"), []);
    let errors = validate_manager("a\nb", "fieldManager");
    assert_eq!(errors[0].message, r#"Invalid value: "a\nb": invalid character U+000A (at position 1)"#);
    assert_eq!(validate_manager(&"x".repeat(129), "fieldManager").len(), 1);
    assert_eq!(validate_patch_options(true, None, "")[0].message, "Required value: is required for apply patch");
    assert_eq!(validate_patch_options(false, Some(true), "").len(), 1);
    assert_eq!(validate_patch_options(true, Some(false), "me"), []);
    let bad = json!([{"operation": "Apply", "manager": "ok"}, {"operation": "X", "fieldsType": "FieldsV2"}]);
    assert_eq!(validate_managed_fields(&bad).len(), 2);
}

#[test]
fn who_scales_owns_the_replicas() {
    let path: &[&str] = &["spec", "replicas"];
    let mappings = [(VERSION, Some(path))];
    let live = applied_by("me", None, &json!({"replicas": 1, "text": "t"}), false).unwrap();
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    let scale = scale::to_scale(entries, &mappings).unwrap();
    assert_eq!(scale[0]["apiVersion"], "autoscaling/v1");
    let same = scale::to_object(entries, &scale, VERSION, &mappings).unwrap();
    assert_eq!(same, *entries);
    let taken = json!([{
        "manager": "scaler", "operation": "Update", "apiVersion": "autoscaling/v1", "subresource": "scale", "time": T2,
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}},
    }]);
    let after = scale::to_object(entries, taken.as_array().unwrap(), VERSION, &mappings).unwrap();
    let object = json!({"metadata": {"managedFields": after}});
    assert_eq!(owners(&object), ["me Apply: .spec.text", "scaler Update scale: .spec.replicas"]);
    assert_eq!(after[1]["apiVersion"], VERSION);
}

fn any_spec() -> impl Strategy<Value = Value> {
    let text = || "[a-c]";
    let ports = proptest::collection::btree_map(1..5u8, proptest::option::of(text()), 0..4);
    let ports = ports.prop_map(|ports| {
        let port = |(port, x): (u8, Option<String>)| x.map_or(json!({"port": port}), |x| json!({"port": port, "x": x}));
        Value::from_iter(ports.into_iter().map(port))
    });
    let field = prop_oneof![
        (0..3u8).prop_map(|n| ("replicas", json!(n))),
        text().prop_map(|t| ("text", json!(t))),
        proptest::collection::btree_map(text(), text(), 0..3).prop_map(|map| ("labels", json!(map))),
        proptest::collection::vec(text(), 0..3).prop_map(|list| ("list", json!(list))),
        proptest::collection::btree_set(text(), 0..3).prop_map(|set| ("set", json!(set))),
        proptest::option::of(text()).prop_map(|a| ("struct", a.map_or(json!({}), |a| json!({"a": a})))),
        ports.prop_map(|ports| ("ports", ports)),
    ];
    proptest::collection::vec(field, 0..6)
        .prop_map(|fields| Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

proptest! {
    #[test]
    fn applying_again_is_no_change(before in any_spec(), spec in any_spec()) {
        let live = applied_by("other", None, &before, false).unwrap();
        let once = applied_by("me", Some(&live), &spec, true).unwrap();
        let config = widget(&spec);
        let request = Apply { live: Some(&once), config: &config, force: false, resource: resource(), writer: at("me", T2) };
        let twice = apply(&request).unwrap();
        prop_assert!(!twice.is_changed);
        prop_assert_eq!(twice.object, once);
    }

    #[test]
    fn the_only_applier_has_just_what_it_applied_last(first in any_spec(), second in any_spec()) {
        let live = applied_by("me", None, &first, false).unwrap();
        let object = applied_by("me", Some(&live), &second, false).unwrap();
        let fresh = applied_by("me", None, &second, false).unwrap();
        // Who owned nothing is unknown at the next apply, and what there was is kept.
        prop_assume!(!owners(&live).is_empty());
        prop_assert_eq!(owners(&object), owners(&fresh));
        // An empty list is owned by nobody: it goes, and what holds nothing else goes with it.
        let without_empty_lists = |object: Value| {
            let mut spec = object["spec"].as_object().cloned().unwrap_or_default();
            spec.retain(|_, value| *value != json!([]));
            spec
        };
        prop_assert_eq!(without_empty_lists(object), without_empty_lists(fresh));
    }

    #[test]
    fn force_moves_ownership(first in any_spec(), second in any_spec()) {
        let live = applied_by("a", None, &first, false).unwrap();
        let object = applied_by("b", Some(&live), &second, true).unwrap();
        let fresh = applied_by("b", None, &second, false).unwrap();
        let of = |object: &Value| owners(object).into_iter().find(|line| line.starts_with("b "));
        prop_assert_eq!(of(&object), of(&fresh));
        // What was applied with force stands, and without force it would have stood or been a conflict.
        let (config, view) = (widget(&second), shape().view());
        let mut object = object;
        entries::take_entries(&mut object);
        let merged = crate::typed::merge::merge(&object, &config, view).unwrap();
        prop_assert!(crate::typed::compare::compare(&object, &merged, view).unwrap().is_same());
    }

    #[test]
    fn appliers_of_different_fields_commute(spec in any_spec()) {
        // Each owns something: who owns nothing is unknown at the next apply.
        let (mut left, mut right) = (json!({"replicas": 9}), json!({"text": "z"}));
        let others = spec.as_object().unwrap().iter().filter(|(name, _)| !["replicas", "text"].contains(&name.as_str()));
        for (n, (name, value)) in others.enumerate() {
            if n % 2 == 0 { left[name] = value.clone() } else { right[name] = value.clone() }
        }
        let both = |first: (&'static str, &Value), second: (&'static str, &Value)| {
            let live = applied_by(first.0, None, first.1, false).unwrap();
            applied_by(second.0, Some(&live), second.1, false).unwrap()
        };
        let (one, other) = (both(("a", &left), ("b", &right)), both(("b", &right), ("a", &left)));
        prop_assert_eq!(&one["spec"], &other["spec"]);
        let sorted = |object: &Value| {
            let mut owners = owners(object);
            owners.sort_unstable();
            owners
        };
        prop_assert_eq!(sorted(&one), sorted(&other));
    }

    #[test]
    fn a_write_leaves_each_field_that_it_sets_to_the_writer(before in any_spec(), after in any_spec()) {
        let live = applied_by("a", None, &before, false).unwrap();
        let object = updated_by("b", &live, |object| object["spec"] = after.clone());
        let (old, new) = (json!({"spec": live["spec"]}), json!({"spec": object["spec"]}));
        let change = crate::typed::compare::compare(&old, &new, shape().view()).unwrap();
        for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
            let set = FieldSet::from_v1(&entry["fieldsV1"]).unwrap();
            prop_assert!(!set.intersects(&change.removed));
            let touched = change.modified.clone().union(change.added.clone());
            if entry["manager"] == "b" {
                prop_assert_eq!(set, touched);
            } else {
                prop_assert!(!set.intersects(&touched));
            }
        }
    }

    #[test]
    fn the_short_way_leads_where_the_long_way_does(
        first in any_spec(), second in any_spec(), third in any_spec(), after in any_spec(), manager in "[abc]"
    ) {
        let live = applied_by("a", None, &first, false).unwrap();
        let live = applied_by("b", Some(&live), &second, true).unwrap();
        let live = updated_by("c", &live, |object| object["spec"] = third);
        let mut object = live.clone();
        object["spec"] = after;
        let source = entries::take_entries(&mut object).unwrap_or_default();
        let writer = Writer { manager: &manager, subresource: "", now: T2 };
        let update = Update { live: Some(&live), resource: resource(), writer };
        let ways = [true, false].map(|keep| tracking::by_entries(&update, &object, source.clone().into(), keep));
        prop_assert_eq!(&ways[0], &ways[1]);
    }

    #[test]
    fn nothing_makes_apply_or_tracking_panic(live in any_json(), config in any_json(), manager in "[ab]?") {
        let writer = Writer { manager: &manager, subresource: "", now: T1 };
        let mut typed = config.clone();
        if let Some(map) = typed.as_object_mut() {
            map.insert("apiVersion".into(), VERSION.into());
            map.insert("kind".into(), "Widget".into());
        }
        for config in [&config, &typed] {
            for shape in [shape(), &Shape::deduced()] {
                let resource = Resource { shape, ..resource() };
                for live in [None, Some(&live)] {
                    let _ = apply(&Apply { live, config, force: true, resource, writer });
                    let mut object = config.clone();
                    track(&Update { live, resource, writer }, &mut object);
                    let mut other = config.clone();
                    keep_times(&object, &mut other);
                }
            }
        }
    }
}
