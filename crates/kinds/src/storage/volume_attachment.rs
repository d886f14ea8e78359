//! `storage.k8s.io/v1 VolumeAttachment`.

use crate::{
    columns::column,
    fields::{is_set, map_at, set_default, text, text_or},
    rules,
};
use orrery_api::k8s::api::storage::v1::VolumeAttachment;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        has_status: true,
        unconditional_update: false,
        default: |object| {
            // The type has it without a default, so that it is always there.
            if let Some(status) = object.as_object_mut().and_then(|object| map_at(object, "status")) {
                set_default(status, "attached", false);
            }
        },
        validate,
        validate_part: Some(|part, object, old| match part {
            "status" => meta::validate(object, Some(old), false, NameRule::DnsSubdomain),
            _ => validate(object, Some(old)),
        }),
        columns: COLUMNS,
        ..crate::cluster_wide::<VolumeAttachment>("volumeattachment")
    }
}

const COLUMNS: &[Column] = &[
    column("Attacher", 0, "The driver that attaches the volume.", |object, _| text(&object["spec"]["attacher"]).into()),
    column("PV", 0, "The volume.", |object, _| text_or(&object["spec"]["source"]["persistentVolumeName"], "")),
    column("Node", 0, "The node.", |object, _| text(&object["spec"]["nodeName"]).into()),
    Column {
        kind: "boolean",
        ..column("Attached", 0, "Whether it is done.", |object, _| {
            object["status"]["attached"].as_bool().unwrap_or_default().into()
        })
    },
];

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    rules::required_name(&mut errors, "spec.attacher", &spec["attacher"], super::driver_name_problems);
    let source = &spec["source"];
    match (is_set(&source["persistentVolumeName"]), is_set(&source["inlineVolumeSpec"])) {
        (true, true) => {
            let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            errors.push(FieldError::forbidden("spec.source", why));
        }
        (false, false) => {
            errors.push(FieldError::required(
                "spec.source",
                "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            ));
        }
        (true, false) => {
            let (field, name) = ("spec.source.persistentVolumeName", &source["persistentVolumeName"]);
            rules::required_name(&mut errors, field, name, meta::dns_subdomain_problems);
        }
        (false, true) => {}
    }
    rules::required_name(&mut errors, "spec.nodeName", &spec["nodeName"], meta::dns_subdomain_problems);
    if let Some(old) = old {
        rules::immutable(&mut errors, "spec", spec, &old["spec"]);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    #[test]
    fn an_attachment_names_driver_volume_and_node_for_good() {
        let spec = json!({"attacher": "d.x.io", "nodeName": "node-1", "source": {"persistentVolumeName": "pv-1"}});
        let rules = Rules::new(descriptor(), json!({"metadata": {"name": "a"}, "spec": spec}));
        rules.fine(&[]);
        rules.one_error("/spec/attacher", &json!(""), "spec.attacher", "Required value");
        rules.one_error("/spec/source", &json!({}), "spec.source", "must specify exactly one of");
        rules.one_error("/spec/nodeName", &json!("A"), "spec.nodeName", "a lowercase RFC 1123 subdomain must");
        rules.change("/spec/nodeName", &json!("node-2"), Some(("spec", "field is immutable")));
        assert_eq!(headings(descriptor()), ["Name", "Attacher", "PV", "Node", "Attached", "Age"]);
        assert_eq!(json!(cells(descriptor(), &rules.filled())[1..5]), json!(["d.x.io", "pv-1", "node-1", false]));
    }
}
