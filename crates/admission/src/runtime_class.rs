//! `RuntimeClass`: declares the overhead of a pod's runtime class, and where it runs.

use crate::forbidden;
use orrery_apiserver::{AdmissionRequest, Operation, Plugin, Review};
use orrery_machinery::status::ApiError;
use serde_json::{Value, json};

/// The plugin.
pub(crate) struct RuntimeClass;

#[async_trait::async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create && request.is("", "pods")
    }

    async fn change(&self, request: &AdmissionRequest<'_>, pod: &mut Value, _: &mut Review) -> Result<bool, ApiError> {
        let Some(class) = class(request, pod).await? else { return Ok(false) };
        let overhead = &class["overhead"]["podFixed"];
        if overhead.is_object() {
            if is_set(&pod["spec"]["overhead"]) && pod["spec"]["overhead"] != *overhead {
                let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
                return Err(forbidden(request, why));
            }
            pod["spec"]["overhead"] = overhead.clone();
        }
        let scheduling = &class["scheduling"];
        for (label, value) in scheduling["nodeSelector"].as_object().into_iter().flatten() {
            let present = &pod["spec"]["nodeSelector"][label];
            if present.is_string() && present != value {
                let why = format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{label}] = {value}; pod.spec.nodeSelector[{label}] = \
                     {present}"
                );
                return Err(forbidden(request, &why));
            }
            pod["spec"]["nodeSelector"][label] = value.clone();
        }
        let mut tolerations = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
        for toleration in scheduling["tolerations"].as_array().into_iter().flatten() {
            if !tolerations.contains(toleration) {
                tolerations.push(toleration.clone());
            }
        }
        if !tolerations.is_empty() {
            pod["spec"]["tolerations"] = json!(tolerations);
        }
        Ok(true)
    }

    async fn check(&self, request: &AdmissionRequest<'_>, pod: Option<&Value>, _: &mut Review) -> Result<(), ApiError> {
        let Some(pod) = pod else { return Ok(()) };
        let declared = class(request, pod).await?.is_some_and(|class| class["overhead"]["podFixed"].is_object());
        if is_set(&pod["spec"]["overhead"]) && !declared {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(forbidden(request, why));
        }
        Ok(())
    }
}

fn is_set(map: &Value) -> bool {
    map.as_object().is_some_and(|map| !map.is_empty())
}

async fn class(request: &AdmissionRequest<'_>, pod: &Value) -> Result<Option<Value>, ApiError> {
    let Some(name) = pod["spec"]["runtimeClassName"].as_str() else { return Ok(None) };
    match request.reader.get("node.k8s.io", "runtimeclasses", "", name).await? {
        Some(class) => Ok(Some(class)),
        None => Err(forbidden(request, &format!("pod rejected: RuntimeClass {name:?} not found"))),
    }
}
