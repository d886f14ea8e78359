//! `events.k8s.io/v1 Event`: the events of the core group under the names that the newer group has for their fields.

use super::{
    event,
    fields::{as_text, one_of, text},
    rules,
};
use orrery_api::k8s::api::events::v1::Event;
use orrery_machinery::{
    descriptor::{Column, FixedResource, OtherForm, SelectableField, StoredAs, Text},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    let core = event::descriptor();
    FixedResource {
        short_names: &["ev"],
        storage: core.storage,
        create_on_update: true,
        stored_as: Some(&STORED),
        validate,
        columns: &COLUMNS,
        selectable_fields: SELECTABLE,
        ..super::namespaced::<Event>("event")
    }
}

static STORED: OtherForm = OtherForm {
    stored: StoredAs {
        group: Text::Borrowed(""),
        version: Text::Borrowed("v1"),
        kind: Text::Borrowed("Event"),
        plural: Text::Borrowed("events"),
    },
    on_read: |event| rename(event, |(here, stored)| (stored, here)),
    on_write: |event| rename(event, |(here, stored)| (here, stored)),
};

/// The fields' names here and in the core group.
const NAMES: [(&str, &str); 8] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingInstance", "reportingInstance"),
];

fn rename(event: &mut Value, way: fn((&'static str, &'static str)) -> (&'static str, &'static str)) {
    let Some(fields) = event.as_object_mut() else { return };
    for (from, to) in NAMES.map(way) {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

/// The event as the core group has it.
fn stored(event: &Value) -> Value {
    let mut event = event.clone();
    (STORED.on_write)(&mut event);
    event
}

/// The core group's columns, of the event as it is there.
macro_rules! columns_of_core {
    ($($index:literal),*) => {
        [$(Column { cell: |event, now| (event::COLUMNS[$index].cell)(&stored(event), now), ..event::COLUMNS[$index] }),*]
    };
}

const COLUMNS: [Column; 10] = columns_of_core![0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

macro_rules! regarding {
    ($($field:literal),*) => {
        &[
            $(SelectableField {
                path: concat!("regarding.", $field),
                value: |event| as_text(&event["regarding"][$field]),
            },)*
            SelectableField { path: "reason", value: |event| as_text(&event["reason"]) },
            SelectableField { path: "reportingController", value: |event| as_text(&event["reportingController"]) },
            SelectableField { path: "type", value: |event| as_text(&event["type"]) },
        ]
    };
}

const SELECTABLE: &[SelectableField] =
    regarding!["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];

const NOTE_LIMIT: usize = 1024;

fn validate(event: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(event, old, true, NameRule::DnsSubdomain);
    event::namespace_fits(&stored(event), &mut errors);
    let Some(old) = old else {
        new(event, &mut errors);
        return errors;
    };
    // An event that the core group's clients wrote has none of what is asked for here.
    if text(&old["eventTime"]).is_empty() {
        return errors;
    }
    for (here, path) in [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("type", "type"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
        ("eventTime", "eventTime"),
    ] {
        rules::immutable(&mut errors, path, &event[here], &old[here]);
    }
    errors
}

fn new(event: &Value, errors: &mut Vec<FieldError>) {
    rules::required(errors, "eventTime", &event["eventTime"]);
    let controller = &event["reportingController"];
    rules::required_name(errors, "reportingController", controller, meta::qualified_name_problems);
    for field in ["reportingInstance", "action", "reason"] {
        let value = &event[field];
        if rules::required(errors, field, value) && text(value).len() > 128 {
            errors.push(FieldError::invalid(field, &"".into(), "can have at most 128 characters"));
        }
    }
    if text(&event["note"]).len() > NOTE_LIMIT {
        errors.push(FieldError::invalid("message", &"".into(), "can have at most 1024 characters"));
    }
    if rules::required(errors, "type", &event["type"]) {
        one_of(errors, "type", &event["type"], &["Normal", "Warning"]);
    }
    let series = &event["series"];
    if series.is_object() {
        rules::required(errors, "series.lastObservedTime", &series["lastObservedTime"]);
        if series["count"].as_i64().unwrap_or_default() < 2 {
            errors.push(FieldError::invalid("series.count", &"".into(), "should be at least 2"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    fn event() -> Value {
        json!({
            "metadata": {"name": "a.1", "namespace": "n"}, "eventTime": "1970-01-01T00:05:00.000000Z",
            "regarding": {"kind": "Pod", "name": "a", "namespace": "n"}, "note": "done", "type": "Normal",
            "reason": "Pulled", "action": "Pulling", "reportingController": "x.io/c", "reportingInstance": "c-1",
        })
    }

    #[test]
    fn an_event_is_stored_under_the_core_groups_names_and_comes_back_as_it_was() {
        let stored = stored(&event());
        assert_eq!((&stored["message"], &stored["involvedObject"]["name"]), (&json!("done"), &json!("a")));
        assert_eq!((&stored["reportingComponent"], stored.get("note")), (&json!("x.io/c"), None));
        let mut back = stored;
        (STORED.on_read)(&mut back);
        assert_eq!(back, event());
    }

    #[test]
    fn an_event_follows_upstreams_rules() {
        let rules = Rules::new(descriptor(), event());
        rules.fine(&[]);
        for (field, value, text) in [
            ("eventTime", json!(null), "Required value"),
            ("reportingController", json!(""), "Required value"),
            ("action", json!("a".repeat(129)), "can have at most 128 characters"),
            ("type", json!("Odd"), "supported values: \"Normal\", \"Warning\""),
        ] {
            rules.one_error(&format!("/{field}"), &value, field, text);
        }
        let series = json!({"count": 2, "lastObservedTime": "1970-01-01T00:06:00.000000Z"});
        rules.change("/series", &series, None);
        rules.change("/note", &json!("other"), Some(("message", "field is immutable")));
    }

    #[test]
    fn the_table_is_the_core_groups() {
        assert_eq!(headings(descriptor()), headings(event::descriptor()));
        let cells = cells(descriptor(), &event());
        assert_eq!(json!(cells[..4]), json!(["5m", "Normal", "Pulled", "pod/a"]));
        assert_eq!((&cells[6], &cells[9]), (&json!("done"), &json!("a.1")));
    }
}
