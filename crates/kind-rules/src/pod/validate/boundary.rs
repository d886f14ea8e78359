//! What a pod cannot have because it is a virtual machine of its own: it shares no namespace, port or directory with the
//! host that it runs on. What is privileged in it may do what it likes to that machine, so that is allowed.

use crate::fields::{elements, is_set};
use orrery_machinery::status::FieldError;
use serde_json::{Value, json};

/// Adds an error for each field that reaches for the host.
pub(super) fn check(spec: &Value, errors: &mut Vec<FieldError>) {
    let mut refuse = |field: String, instead: &str| {
        let why = format!("a pod is a virtual machine of its own and shares nothing with its host; {instead}");
        errors.push(FieldError::forbidden(field, &why));
    };
    for (field, instead) in [
        ("hostNetwork", "give it a Service or a load balancer to be reached"),
        ("hostPID", "processes of the host cannot be seen from it"),
        ("hostIPC", "containers of one pod share IPC already"),
    ] {
        if spec[field] == json!(true) {
            refuse(format!("spec.{field}"), instead);
        }
    }
    for (index, volume) in elements(&spec["volumes"]).enumerate() {
        if is_set(&volume["hostPath"]) {
            refuse(format!("spec.volumes[{index}].hostPath"), "use an emptyDir or a persistent volume");
        }
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (index, container) in elements(&spec[list]).enumerate() {
            let field = format!("spec.{list}[{index}]");
            for (number, port) in elements(&container["ports"]).enumerate() {
                if port["hostPort"].as_i64().is_some_and(|port| port != 0) {
                    refuse(format!("{field}.ports[{number}].hostPort"), "give it a Service to be reached");
                }
            }
        }
    }
}
