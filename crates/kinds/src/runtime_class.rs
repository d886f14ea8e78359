//! `node.k8s.io/v1 RuntimeClass`.

use super::{columns::column, fields::text, pod, quantity, rules};
use orrery_api::k8s::api::node::v1::RuntimeClass;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        unconditional_update: false,
        validate,
        columns: COLUMNS,
        ..super::cluster_wide::<RuntimeClass>("runtimeclass")
    }
}

const COLUMNS: &[Column] = &[column("Handler", 0, "What runs the pods.", |class, _| text(&class["handler"]).into())];

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let handler = &object["handler"];
    super::fields::report(&mut errors, "handler", handler, &meta::dns_label_problems(text(handler)));
    for (name, amount) in object["overhead"]["podFixed"].as_object().into_iter().flatten() {
        let field = format!("overhead.podFixed[{name}]");
        quantity::container_resource_name(&mut errors, &field, name);
        quantity::check_of(&mut errors, &field, name, amount);
    }
    let scheduling = &object["scheduling"];
    rules::labels(&mut errors, "scheduling.nodeSelector", &scheduling["nodeSelector"]);
    pod::validate_tolerations(&scheduling["tolerations"], "scheduling.tolerations", &mut errors);
    if let Some(old) = old {
        rules::immutable(&mut errors, "handler", handler, &old["handler"]);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    #[test]
    fn a_class_names_a_handler_for_good() {
        let rules = Rules::new(descriptor(), json!({"metadata": {"name": "vm"}, "handler": "vm"}));
        rules.fine(&[("/overhead", json!({"podFixed": {"memory": "64Mi"}}))]);
        rules.one_error("/handler", &json!("A"), "handler", "a lowercase RFC 1123 label must");
        let odd = json!({"podFixed": {"memory": "much"}});
        rules.one_error("/overhead", &odd, "overhead.podFixed[memory]", "quantities must match");
        rules.change("/handler", &json!("other"), Some(("handler", "field is immutable")));
        assert_eq!(headings(descriptor()), ["Name", "Handler", "Age"]);
        assert_eq!(cells(descriptor(), &rules.filled())[1], "vm");
    }
}
