//! `networking.k8s.io/v1 IngressClass`.

use crate::{
    columns::column,
    fields::{existing_map, is_set, set_default, text},
    rules,
};
use orrery_api::k8s::api::networking::v1::IngressClass;
use orrery_machinery::{
    descriptor::{Column, FixedResource},
    meta::{self, NameRule},
    status::FieldError,
};
use serde_json::Value;

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        counts_generation: true,
        default: |object| {
            let spec = object.as_object_mut().and_then(|object| existing_map(object, "spec"));
            if let Some(parameters) = spec.and_then(|spec| existing_map(spec, "parameters")) {
                set_default(parameters, "scope", "Cluster");
            }
        },
        validate,
        columns: COLUMNS,
        ..crate::cluster_wide::<IngressClass>("ingressclass")
    }
}

const COLUMNS: &[Column] = &[
    column("Controller", 0, "What serves ingresses of the class.", |class, _| {
        text(&class["spec"]["controller"]).into()
    }),
    column("Parameters", 0, "What holds more settings.", |class, _| {
        let parameters = &class["spec"]["parameters"];
        if !is_set(parameters) {
            return "<none>".into();
        }
        let group = match text(&parameters["apiGroup"]) {
            "" => String::new(),
            group => format!(".{group}"),
        };
        format!("{}{group}/{}", text(&parameters["kind"]), text(&parameters["name"])).into()
    }),
];

const CONTROLLER_LIMIT: usize = 250;

fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = meta::validate(object, old, false, NameRule::DnsSubdomain);
    let spec = &object["spec"];
    let controller = text(&spec["controller"]);
    if controller.len() > CONTROLLER_LIMIT {
        errors.push(FieldError::too_long("spec.controller", CONTROLLER_LIMIT));
    }
    rules::required_name(&mut errors, "spec.controller", &spec["controller"], rules::domain_path_problems);
    let parameters = &spec["parameters"];
    if is_set(parameters) {
        for name in ["kind", "name", "scope"] {
            rules::required(&mut errors, &format!("spec.parameters.{name}"), &parameters[name]);
        }
        let (namespace, at) = (&parameters["namespace"], "spec.parameters.namespace");
        match text(&parameters["scope"]) {
            "Namespace" if !is_set(namespace) => {
                errors.push(FieldError::required(at, "`parameters.scope` is set to 'Namespace'"));
            }
            "Cluster" if is_set(namespace) => {
                errors.push(FieldError::forbidden(at, "`parameters.scope` is set to 'Cluster'"));
            }
            "Namespace" | "Cluster" | "" => {}
            _ => {
                let scopes = ["Cluster", "Namespace"];
                errors.push(FieldError::not_supported("spec.parameters.scope", &parameters["scope"], &scopes));
            }
        }
    }
    if let Some(old) = old {
        rules::immutable(&mut errors, "spec.controller", &spec["controller"], &old["spec"]["controller"]);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rules, cells, headings};
    use serde_json::json;

    #[test]
    fn a_class_follows_upstreams_rules() {
        let spec =
            json!({"controller": "example.com/lb", "parameters": {"apiGroup": "x.io", "kind": "P", "name": "p"}});
        let rules = Rules::new(descriptor(), json!({"metadata": {"name": "c"}, "spec": spec}));
        assert_eq!(rules.filled()["spec"]["parameters"]["scope"], "Cluster");
        rules.fine(&[]);
        rules.one_error("/spec/controller", &json!("lb"), "spec.controller", "must be a domain-prefixed path");
        let why = "`parameters.scope` is set to 'Namespace'";
        rules.one_error("/spec/parameters/scope", &json!("Namespace"), "spec.parameters.namespace", why);
        rules.change("/spec/controller", &json!("a.b/c"), Some(("spec.controller", "field is immutable")));
        assert_eq!(headings(descriptor()), ["Name", "Controller", "Parameters", "Age"]);
        assert_eq!(json!(cells(descriptor(), &rules.filled())[1..3]), json!(["example.com/lb", "P.x.io/p"]));
    }
}
