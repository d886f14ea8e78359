//! `v1 PodTemplate`.

use crate::{
    columns::{column, container_fields, labels_text},
    pod,
};
use orrery_api::k8s::api::core::v1::PodTemplate;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
    table,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        counts_generation: true,
        default: |object| {
            if let Some(object) = object.as_object_mut() {
                pod::fill_in_template(object);
            }
        },
        validate,
        columns: COLUMNS,
        ..crate::namespaced::<PodTemplate>("podtemplate")
    }
}

/// In full: there is no age.
const COLUMNS: &[Column] = &[
    table::NAME,
    column("Containers", 0, "Names of each container in the template.", |object, _| {
        container_fields(&object["template"]["spec"], "name").into()
    }),
    column("Images", 0, "Images of each container in the template.", |object, _| {
        container_fields(&object["template"]["spec"], "image").into()
    }),
    column("Pod Labels", 0, "The labels of pods made from the template.", |object, _| {
        labels_text(&object["template"]["metadata"]["labels"])
    }),
];

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, true, NameRule::DnsSubdomain);
    pod::validate_template(&object["template"], "template", &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    #[test]
    fn a_template_is_filled_in_checked_and_shown() {
        let rules = Rules::new(
            descriptor(),
            json!({
                "metadata": {"name": "t", "namespace": "n"},
                "template": {
                    "metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]},
                },
            }),
        );
        rules.fine(&[]);
        let field = "template.spec.containers[0].image";
        rules.one_error("/template/spec/containers/0/image", &json!(""), field, "Required value");
        assert_eq!(headings(descriptor()), ["Name", "Containers", "Images", "Pod Labels"]);
        assert_eq!(json!(cells(descriptor(), &rules.filled())), json!(["t", "c", "x:1", "app=x"]));
    }
}
