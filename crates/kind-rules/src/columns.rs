//! Columns of tables, and the cells that several kinds share.

use crate::fields::{elements, size, text};
use orrery_machinery::{
    descriptor::Column,
    meta,
    selector::{LabelSelector, validate_label_selector},
    table,
};
use serde_json::{Map, Value};

/// How a cell is made of an object and the present time.
pub type CellOf = fn(&Value, i64) -> Value;

/// A column of texts.
pub const fn column(name: &'static str, priority: i32, description: &'static str, cell: CellOf) -> Column {
    Column { name, kind: "string", priority, description, cell }
}

/// A column of whole numbers, shown always.
pub const fn integer(name: &'static str, description: &'static str, cell: CellOf) -> Column {
    Column { kind: "integer", ..column(name, 0, description, cell) }
}

/// When an object was made, where upstream does not say how long ago that is.
pub const CREATED_AT: Column = Column {
    kind: "date",
    ..column("Created At", 0, "The time when the object was created.", |object, _| {
        meta::creation_timestamp(object).into()
    })
};

/// The three columns that `-o wide` shows of what makes pods; `$spec` is where the pod's spec is, `$selector` the selector.
#[macro_export]
macro_rules! wide_template_columns {
    ($([$spec:literal])+; $selector:expr) => {
        [
            $crate::columns::column("Containers", 1, "Names of each container in the template.", |object, _| {
                $crate::columns::container_fields(&object$([$spec])+, "name").into()
            }),
            $crate::columns::column("Images", 1, "Images of each container in the template.", |object, _| {
                $crate::columns::container_fields(&object$([$spec])+, "image").into()
            }),
            $crate::columns::column("Selector", 1, "What picks the pods.", $selector),
        ]
    };
}
pub use crate::wide_template_columns;

/// A field of each container of a pod's spec, joined by commas.
pub fn container_fields(spec: &Value, field: &str) -> String {
    elements(&spec["containers"]).map(|container| text(&container[field])).collect::<Vec<_>>().join(",")
}

/// A number, 0 when it is unset.
pub fn number(value: &Value) -> Value {
    value.as_i64().unwrap_or_default().into()
}

/// A number or text such as `25%`; `placeholder` when it is unset.
pub fn number_or_text(value: &Value, placeholder: &str) -> Value {
    match value {
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => number.to_string().into(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => placeholder.into(),
    }
}

/// A flag as text; `<unset>` when it is unset.
pub fn flag_text(value: &Value) -> Value {
    match value.as_bool() {
        Some(true) => "True".into(),
        Some(false) => "False".into(),
        None => "<unset>".into(),
    }
}

/// How long ago a time was; `placeholder` when it is unset.
pub fn age_or(value: &Value, now: i64, placeholder: &str) -> Value {
    match text(value) {
        "" => placeholder.into(),
        time => table::age(time, now).into(),
    }
}

/// Labels as `a=b,c=d`; `<none>` for none (`k8s.io/apimachinery/pkg/labels.FormatLabels`).
pub fn labels_text(labels: &Value) -> Value {
    let pairs = |map: &Map<String, Value>| {
        let mut pairs: Vec<_> = map.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
        pairs.sort_unstable();
        pairs.join(",")
    };
    match labels.as_object().map(pairs) {
        Some(text) if !text.is_empty() => text.into(),
        Some(_) | None => "<none>".into(),
    }
}

/// A selector object as text; `<none>` for none (`meta/v1.FormatLabelSelector`).
pub fn selector_text(selector: &Value) -> Value {
    if size(&selector["matchLabels"]) + size(&selector["matchExpressions"]) == 0 {
        return "<none>".into();
    }
    if !validate_label_selector(selector, "").is_empty() {
        return "<error>".into();
    }
    let mut requirements = LabelSelector::from_object(selector).requirements().to_vec();
    requirements.sort_by(|a, b| a.key.cmp(&b.key));
    LabelSelector::new(requirements).to_string().into()
}

/// The addresses of a load balancer, sorted; cut to 16 characters (`-o wide` shows them whole in upstream's client of old,
/// but a server does not know who asks).
pub fn load_balancer_text(status: &Value) -> String {
    let address = |ingress: &Value| match text(&ingress["ip"]) {
        "" => text(&ingress["hostname"]).to_owned(),
        ip => ip.to_owned(),
    };
    let mut all: Vec<String> = elements(&status["loadBalancer"]["ingress"]).map(address).collect();
    all.retain(|address| !address.is_empty());
    all.sort_unstable();
    all.dedup();
    let joined = all.join(",");
    match joined.char_indices().nth(13) {
        Some((cut, _)) if joined.len() > 16 => format!("{}...", &joined[..cut]),
        Some(_) | None => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_and_labels_read_as_upstream_writes_them() {
        let table = [
            (json!(null), "<none>"),
            (json!({}), "<none>"),
            (json!({"matchLabels": {"b": "2", "a": "1"}}), "a=1,b=2"),
            (
                json!({"matchLabels": {"c": "1"}, "matchExpressions": [
                    {"key": "a", "operator": "NotIn", "values": ["y", "x"]}, {"key": "d", "operator": "DoesNotExist"},
                ]}),
                "a notin (x,y),c=1,!d",
            ),
            (json!({"matchExpressions": [{"key": "a", "operator": "Near"}]}), "<error>"),
        ];
        for (selector, expected) in table {
            assert_eq!(selector_text(&selector), expected, "{selector}");
        }
        assert_eq!(labels_text(&json!({"b": "2", "a": "1"})), "a=1,b=2");
        assert_eq!(labels_text(&json!({})), "<none>");
    }

    #[test]
    fn addresses_of_a_load_balancer_are_cut() {
        let of = |ips: &[&str]| {
            let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
            load_balancer_text(&json!({"loadBalancer": {"ingress": ingress}}))
        };
        assert_eq!(of(&["10.0.0.2"]), "10.0.0.2");
        assert_eq!(of(&["10.0.0.2", "10.0.0.1"]), "10.0.0.1,10.0...");
        assert_eq!(of(&[]), "");
    }
}
