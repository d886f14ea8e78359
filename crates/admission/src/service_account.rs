//! `ServiceAccount`: a pod acts as an account that exists.

use crate::forbidden;
use orrery_apiserver::{AdmissionRequest, Operation, Plugin, Review};
use orrery_machinery::status::ApiError;
use serde_json::Value;
use std::time::Duration;

/// The account that a controller makes in each namespace.
const DEFAULT: &str = "default";
/// How often that one is looked for in a namespace that is just being made.
const ATTEMPTS: usize = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// The plugin.
pub(crate) struct ServiceAccount;

#[async_trait::async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create && request.is("", "pods")
    }

    async fn change(&self, request: &AdmissionRequest<'_>, pod: &mut Value, _: &mut Review) -> Result<bool, ApiError> {
        let account = account(request, pod).await?;
        let secrets = &account["imagePullSecrets"];
        let has_own = pod["spec"]["imagePullSecrets"].as_array().is_some_and(|own| !own.is_empty());
        if !has_own && secrets.as_array().is_some_and(|secrets| !secrets.is_empty()) {
            pod["spec"]["imagePullSecrets"] = secrets.clone();
        }
        Ok(false)
    }
}

async fn account(request: &AdmissionRequest<'_>, pod: &Value) -> Result<Value, ApiError> {
    let name = pod["spec"]["serviceAccountName"].as_str().filter(|name| !name.is_empty()).unwrap_or(DEFAULT);
    let attempts = if name == DEFAULT { ATTEMPTS } else { 1 };
    for attempt in 0..attempts {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(account) = request.reader.get("", "serviceaccounts", request.namespace, name).await? {
            return Ok(account);
        }
    }
    let why =
        format!("error looking up service account {}/{name}: serviceaccount {name:?} not found", request.namespace);
    Err(forbidden(request, &why))
}
