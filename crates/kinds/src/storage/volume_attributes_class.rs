//! `storage.k8s.io/v1 VolumeAttributesClass`.

use super::storage_class::{parameters, provisioner};
use crate::{columns::column, fields::text, rules};
use orrery_api::k8s::api::storage::v1::VolumeAttributesClass;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["vac"],
        validate,
        columns: COLUMNS,
        ..crate::cluster_wide::<VolumeAttributesClass>("volumeattributesclass")
    }
}

const COLUMNS: &[Column] =
    &[column("DriverName", 0, "The driver that the class is of.", |class, _| text(&class["driverName"]).into())];

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    provisioner(&mut errors, "driverName", &object["driverName"]);
    parameters(&object["parameters"], false, &mut errors);
    if let Some(old) = old {
        rules::immutable_fields(&mut errors, object, old, &["driverName", "parameters"]);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    #[test]
    fn a_class_names_its_driver_and_stays_as_it_is() {
        let object = json!({"metadata": {"name": "fast"}, "driverName": "d.x.io", "parameters": {"iops": "500"}});
        let rules = Rules::new(descriptor(), object);
        rules.fine(&[]);
        rules.one_error("/driverName", &json!(""), "driverName", "Required value");
        rules.one_error("/parameters", &json!(null), "parameters", "must contain at least one key/value pair");
        rules.change("/parameters/iops", &json!("9"), Some(("parameters", "field is immutable")));
        assert_eq!(headings(descriptor()), ["Name", "DriverName", "Age"]);
        assert_eq!(cells(descriptor(), &rules.filled())[1], "d.x.io");
    }
}
