//! `v1 Event`, kept for an hour.

use super::columns::column;
use super::fields::{selectable, text};
use orrery_api::k8s::api::core::v1::Event;
use orrery_machinery::{
    descriptor::{Column, FixedResource, SelectableField, Storage},
    meta::{self, NameRule},
    status::FieldError,
    table,
};
use serde_json::Value;

/// How long an event is kept after its last write.
const KEPT_SECONDS: u64 = 3600;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["ev"],
        storage: Storage::StoredFor { seconds: KEPT_SECONDS },
        create_on_update: true,
        validate,
        columns: COLUMNS,
        selectable_fields: SELECTABLE,
        ..super::namespaced::<Event>("event")
    }
}

const SELECTABLE: &[SelectableField] = &[
    selectable!("involvedObject.kind", ["involvedObject"]["kind"]),
    selectable!("involvedObject.namespace", ["involvedObject"]["namespace"]),
    selectable!("involvedObject.name", ["involvedObject"]["name"]),
    selectable!("involvedObject.uid", ["involvedObject"]["uid"]),
    selectable!("involvedObject.apiVersion", ["involvedObject"]["apiVersion"]),
    selectable!("involvedObject.resourceVersion", ["involvedObject"]["resourceVersion"]),
    selectable!("involvedObject.fieldPath", ["involvedObject"]["fieldPath"]),
    selectable!("reason", ["reason"]),
    selectable!("reportingComponent", ["reportingComponent"]),
    SelectableField { path: "source", value: |event| component(event).to_owned() },
    selectable!("type", ["type"]),
];

/// In full: an event's name says nothing, so it stands last.
pub(super) const COLUMNS: &[Column] = &[
    column("Last Seen", 0, "Time when this event was last observed", |event, now| last_seen(event, now).into()),
    column("Type", 0, "Type of this event (Normal, Warning)", |event, _| text(&event["type"]).into()),
    column("Reason", 0, "A short, machine understandable reason", |event, _| text(&event["reason"]).into()),
    column("Object", 0, "The object that this event is about", |event, _| object(event).into()),
    column("Subobject", 1, "The part of the object that this event is about", |event, _| {
        text(&event["involvedObject"]["fieldPath"]).into()
    }),
    column("Source", 1, "The component reporting this event", |event, _| source(event).into()),
    column("Message", 0, "A human-readable description", |event, _| text(&event["message"]).trim().into()),
    column("First Seen", 1, "Time when this event was first observed", |event, now| first_seen(event, now).into()),
    column("Count", 1, "The number of times this event has occurred", |event, _| count(event).into()),
    Column { priority: 1, ..table::NAME },
];

fn first_seen(event: &Value, now: i64) -> String {
    match text(&event["firstTimestamp"]) {
        "" => table::age(text(&event["eventTime"]), now),
        first => table::age(first, now),
    }
}

fn last_seen(event: &Value, now: i64) -> String {
    match (text(&event["series"]["lastObservedTime"]), text(&event["lastTimestamp"])) {
        ("", "") => first_seen(event, now),
        ("", last) => table::age(last, now),
        (observed, _) => table::age(observed, now),
    }
}

fn count(event: &Value) -> i64 {
    event["series"]["count"].as_i64().or_else(|| event["count"].as_i64().filter(|c| *c > 0)).unwrap_or(1)
}

fn object(event: &Value) -> String {
    let involved = &event["involvedObject"];
    let kind = text(&involved["kind"]).to_lowercase();
    match text(&involved["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn component(event: &Value) -> &str {
    match text(&event["source"]["component"]) {
        "" => text(&event["reportingComponent"]),
        component => component,
    }
}

fn source(event: &Value) -> String {
    let host = match text(&event["source"]["host"]) {
        "" => text(&event["reportingInstance"]),
        host => host,
    };
    let parts = [component(event), host];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn validate(event: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(event, old, true, NameRule::DnsSubdomain);
    namespace_fits(event, &mut errors);
    errors
}

/// Adds an error when an event does not live with the object that it is about.
pub(super) fn namespace_fits(event: &Value, errors: &mut Vec<FieldError>) {
    let involved = &event["involvedObject"]["namespace"];
    let namespace = meta::namespace(event);
    // Events about objects without a namespace live in the namespace `default`.
    let fits = if text(involved).is_empty() {
        matches!(namespace, "default" | "kube-system")
    } else {
        text(involved) == namespace
    };
    if !fits {
        errors.push(FieldError::invalid("involvedObject.namespace", involved, "does not match event.namespace"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> Value {
        json!({
            "metadata": {"name": "a.1", "namespace": "demo"},
            "involvedObject": {"kind": "Pod", "name": "a", "namespace": "demo", "fieldPath": "spec.containers{c}"},
            "type": "Normal", "reason": "Pulled", "message": " done\n", "count": 3,
            "source": {"component": "spherelet", "host": "host-1"},
            "firstTimestamp": "1970-01-01T00:00:00Z", "lastTimestamp": "1970-01-01T00:01:00Z",
        })
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        let cells =
            |event: &Value| table::row(&descriptor().into(), event, table::IncludeObject::None, 70)["cells"].clone();
        let expected = json!([
            "10s",
            "Normal",
            "Pulled",
            "pod/a",
            "spec.containers{c}",
            "spherelet, host-1",
            "done",
            "70s",
            3,
            "a.1",
        ]);
        assert_eq!(cells(&event()), expected);
        let mut series = event();
        series["series"] = json!({"count": 9, "lastObservedTime": "1970-01-01T00:01:05.000000Z"});
        assert_eq!((&cells(&series)[0], &cells(&series)[8]), (&json!("5s"), &json!(9)));
        let bare = json!({"metadata": {"name": "b"}, "eventTime": "1970-01-01T00:01:00.000000Z", "involvedObject": {}});
        assert_eq!((&cells(&bare)[0], &cells(&bare)[8]), (&json!("10s"), &json!(1)));
    }

    #[test]
    fn an_event_lives_with_the_object_it_is_about() {
        let table = [("demo", "demo", true), ("demo", "other", false), ("", "default", true), ("", "demo", false)];
        for (involved, namespace, fine) in table {
            let mut event = event();
            event["involvedObject"]["namespace"] = involved.into();
            event["metadata"]["namespace"] = namespace.into();
            assert_eq!(validate(&event, None).is_empty(), fine, "{involved} in {namespace}");
        }
    }
}
