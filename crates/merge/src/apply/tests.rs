//! The rules of ownership as upstream documents and tests them, and what must hold of any objects.

mod properties;
mod scenarios;

pub(crate) use properties::any_json;

use super::*;
use orrery_machinery::shape::schema::custom_resource;
use serde_json::{Value, json};

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
) -> Result<Value, orrery_machinery::status::ApiError> {
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
fn large_objects_take_no_longer_than_sorting_them() {
    let ports = |from: u32, to: u32, x: &str| Value::from_iter((from..to).map(|port| json!({"port": port, "x": x})));
    let labels = |from: u32, to: u32, value: &str| {
        Value::from_iter((from..to).map(|n| (format!("{:08}", n.reverse_bits() >> 8), Value::from(value))))
    };
    let live = applied_by("me", None, &json!({"ports": ports(0, 1000, "a"), "labels": labels(0, 4_000, "a")}), false);
    let after = json!({"ports": ports(500, 1500, "b"), "labels": labels(2_000, 6_000, "b")});
    let object = updated_by("you", &live.unwrap(), |object| object["spec"] = after.clone());
    let again = applied_by("me", Some(&object), &after, true).unwrap();
    assert_eq!(again["spec"], after);
}
