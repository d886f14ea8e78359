//! Server-side apply: a sequence of writes to one object by several managers.

use crate::{input::Source, patches::SHAPES};
use orrery_merge::apply::{Apply, Ignored, OneVersion, Resource, Update, Writer, apply, track};
use orrery_merge::fields::FieldSet;
use serde_json::{Value, json};

const MANAGERS: [&str; 4] = ["kubectl", "controller", "helm", "before-first-apply"];
const SUBRESOURCES: [&str; 2] = ["", "status"];
/// Most writes of one input.
const WRITES: usize = 6;

/// A letter for the kind, then for each write: one for what is done, one for the manager, one for the sub-resource, and an
/// object on the rest of the line.
pub(crate) fn run(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (api_version, kind, shape) = source.choose(&SHAPES);
    let resource = Resource { api_version, kind, shape, ignored: &Ignored::Nothing, versions: &OneVersion };
    let mut live: Option<Value> = None;
    for write in 0..WRITES {
        if source.is_empty() {
            break;
        }
        let does = *source.choose(&[Does::Apply, Does::Force, Does::Update]);
        let manager = *source.choose(&MANAGERS);
        let subresource = *source.choose(&SUBRESOURCES);
        let now = format!("2026-01-02T03:04:0{write}Z");
        let writer = Writer { manager, subresource, now: &now };
        let mut object = source.object();
        object["apiVersion"] = (*api_version).into();
        object["kind"] = (*kind).into();
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        object["metadata"]["name"] = "a".into();
        match does {
            Does::Update => {
                // What is stored is of its type: a configuration that says as much is taken.
                let mut config = object.clone();
                drop(config["metadata"].as_object_mut().and_then(|metadata| metadata.remove("managedFields")));
                let probe = Apply { live: None, config: &config, force: false, resource, writer };
                if apply(&probe).is_err() {
                    continue;
                }
                let update = Update { live: live.as_ref(), resource, writer };
                track(&update, &mut object);
                live = Some(object);
            }
            Does::Apply | Does::Force => {
                let force = does == Does::Force;
                if let Some(applied) = applied(live.as_ref(), &object, force, resource, writer) {
                    live = Some(applied);
                }
            }
        }
        check_owners(live.as_ref());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Apply,
    Force,
    Update,
}

/// What applying makes; none when it is refused.
fn applied(
    live: Option<&Value>,
    config: &Value,
    force: bool,
    resource: Resource<'_>,
    writer: Writer<'_>,
) -> Option<Value> {
    let once = match apply(&Apply { live, config, force, resource, writer }) {
        Ok(once) => once.object,
        Err(error) => {
            assert!(!(force && error.code == 409), "force takes what others own: {error}");
            return None;
        }
    };
    // A null asks for nothing where something was taken away, and for null where nothing is, which others may own.
    if !has_null(config) {
        let again = apply(&Apply { live: Some(&once), config, force, resource, writer });
        let again = again.expect("what was applied can be applied again");
        assert_eq!(again.object, once, "applying twice is applying once");
        assert!(!again.is_changed, "and says so");
    }
    Some(once)
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.iter().any(has_null),
        Value::Object(map) => map.values().any(has_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Every entry can be read, and says the same when it is written again.
fn check_owners(object: Option<&Value>) {
    let none = json!(null);
    let entries = object.map_or(&none, |object| &object["metadata"]["managedFields"]);
    for entry in entries.as_array().into_iter().flatten() {
        let set = FieldSet::from_v1(&entry["fieldsV1"]).expect("what the server writes can be read");
        assert_eq!(set.to_v1(), entry["fieldsV1"]);
        let text: Value = serde_json::from_str(&set.to_v1_text()).expect("its text is JSON");
        assert_eq!(text, entry["fieldsV1"]);
    }
}
