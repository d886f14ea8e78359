//! `DefaultStorageClass`: a claim that names no class gets the default one.

use orrery_apiserver::{AdmissionRequest, Operation, Plugin, Review};
use orrery_machinery::{meta, status::ApiError};
use serde_json::{Value, json};
use std::cmp::Reverse;

const MARK: &str = "storageclass.kubernetes.io/is-default-class";

/// The plugin.
pub(crate) struct DefaultStorageClass;

#[async_trait::async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create && request.is("", "persistentvolumeclaims")
    }

    async fn change(
        &self,
        request: &AdmissionRequest<'_>,
        claim: &mut Value,
        _: &mut Review,
    ) -> Result<bool, ApiError> {
        // An empty name is a choice: no class.
        if claim["spec"]["storageClassName"].is_string() {
            return Ok(false);
        }
        let classes = request.reader.list("storage.k8s.io", "storageclasses", "").await?;
        let marked = classes.iter().filter(|class| meta::annotation(class, MARK) == Some("true"));
        // The newest, and of several that are as new the first by name.
        let Some(class) = marked.max_by_key(|class| (meta::creation_timestamp(class), Reverse(meta::name(class))))
        else {
            return Ok(false);
        };
        claim["spec"]["storageClassName"] = json!(meta::name(class));
        Ok(true)
    }
}
