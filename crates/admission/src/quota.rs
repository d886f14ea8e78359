//! `ResourceQuota`: charges new objects to their namespace's quotas.
//!
//! The quotas' new use is written in the transaction that stores the object. Of two objects that compete for the last of a
//! quota one is judged again, and refused.

use crate::forbidden;
use orrery_apiserver::{AdmissionRequest, Operation, Plugin, Review};
use orrery_machinery::status::ApiError;
use orrery_quota::{Refusal, charge};
use serde_json::Value;

/// The plugin.
pub(crate) struct ResourceQuota;

#[async_trait::async_trait]
impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        let writes = match request.operation {
            Operation::Create => true,
            // What can grow.
            Operation::Update => ["services", "persistentvolumeclaims", "pods"].contains(&&*request.resource.plural),
            Operation::Delete | Operation::Connect => false,
        };
        writes
            && !request.namespace.is_empty()
            && (request.subresource.is_empty() || request.subresource == "resize")
            // Events come and go by themselves.
            && request.resource.plural != "events"
    }

    async fn check(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        review: &mut Review,
    ) -> Result<(), ApiError> {
        let Some(object) = object else { return Ok(()) };
        let resource = (&*request.resource.group, &*request.resource.plural);
        for mut quota in request.reader.list("", "resourcequotas", request.namespace).await? {
            match charge(&quota, resource, object, request.old) {
                Ok(None) => {}
                Ok(Some(used)) => {
                    quota["status"]["used"] = used.write();
                    review.also.push(quota);
                }
                Err(refusal @ (Refusal::Unspecified(_) | Refusal::Exceeded(_))) => {
                    return Err(forbidden(request, &refusal.to_string()));
                }
            }
        }
        Ok(())
    }
}
