//! `apps/v1 ControllerRevision`.

use crate::{
    columns::{column, number},
    fields::{elements, is_set, text},
    rules,
};
use orrery_api::k8s::api::apps::v1::ControllerRevision;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    FixedResource { validate, columns: COLUMNS, ..crate::namespaced::<ControllerRevision>("controllerrevision") }
}

const COLUMNS: &[Column] = &[
    column("Controller", 0, "What the revision belongs to.", |object, _| controller(object).into()),
    column("Revision", 0, "The revision's number.", |object, _| number(&object["revision"])),
];

fn controller(object: &Value) -> String {
    let mut owners = elements(&object["metadata"]["ownerReferences"]);
    let Some(owner) = owners.find(|owner| owner["controller"] == Value::Bool(true)) else { return "<none>".to_owned() };
    let group = text(&owner["apiVersion"]).split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    format!("{}{group}/{}", text(&owner["kind"]).to_lowercase(), text(&owner["name"]))
}

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    if !is_set(&object["data"]) {
        errors.push(FieldError::required("data", "data is mandatory"));
    }
    rules::not_negative(&mut errors, "revision", &object["revision"]);
    if let Some(old) = old {
        rules::immutable(&mut errors, "data", &object["data"], &old["data"]);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    #[test]
    fn a_revision_keeps_its_data() {
        let object =
            json!({"metadata": {"name": "web-1", "namespace": "n"}, "data": {"spec": {"replicas": 1}}, "revision": 1});
        let rules = Rules::new(descriptor(), object);
        rules.fine(&[("/revision", json!(7))]);
        rules.one_error("/data", &json!(null), "data", "Required value: data is mandatory");
        rules.one_error("/revision", &json!(-1), "revision", "must be greater than or equal to 0");
        rules.change("/revision", &json!(2), None);
        rules.change("/data", &json!({}), Some(("data", "field is immutable")));
    }

    #[test]
    fn the_table_reads_as_upstreams() {
        assert_eq!(headings(descriptor()), ["Name", "Controller", "Revision", "Age"]);
        let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "controller": true});
        let object = json!({"metadata": {"name": "web-1", "ownerReferences": [owner]}, "revision": 3});
        assert_eq!(cells(descriptor(), &object)[1..3], [json!("statefulset.apps/web"), json!(3)]);
    }
}
