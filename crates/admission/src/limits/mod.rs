//! `LimitRanger`: fills in requests and limits of containers, and holds containers, pods and claims within a namespace's
//! `LimitRange`s.
//!
//! * `defaults`: what is filled in. `bounds`: what is refused.

mod bounds;
mod defaults;

use crate::forbidden;
use orrery_apiserver::{AdmissionRequest, Operation, Plugin, Review};
use orrery_machinery::status::ApiError;
use serde_json::Value;

/// The plugin.
pub(crate) struct LimitRanger;

#[async_trait::async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        match request.operation {
            Operation::Create => request.is("", "pods") || request.is("", "persistentvolumeclaims"),
            // The resources of a pod change by way of `resize` only.
            Operation::Update => {
                request.is("", "persistentvolumeclaims")
                    || (request.resource.is("", "pods") && request.subresource == "resize")
            }
            Operation::Delete | Operation::Connect => false,
        }
    }

    async fn change(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        _: &mut Review,
    ) -> Result<bool, ApiError> {
        if request.operation != Operation::Create || !request.is("", "pods") {
            return Ok(false);
        }
        let ranges = request.reader.list("", "limitranges", request.namespace).await?;
        Ok(defaults::fill_in(object, &ranges))
    }

    async fn check(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        _: &mut Review,
    ) -> Result<(), ApiError> {
        let Some(object) = object else { return Ok(()) };
        let ranges = request.reader.list("", "limitranges", request.namespace).await?;
        let problems = if request.resource.plural == "pods" {
            bounds::of_pod(object, &ranges)
        } else {
            bounds::of_claim(object, &ranges)
        };
        match problems.as_slice() {
            [] => Ok(()),
            [only] => Err(forbidden(request, only)),
            several => Err(forbidden(request, &format!("[{}]", several.join(", ")))),
        }
    }
}

/// The limits of one type in all of a namespace's ranges.
fn items<'a>(ranges: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = ranges.iter().flat_map(|range| range["spec"]["limits"].as_array().into_iter().flatten());
    all.filter(move |item| item["type"] == kind)
}
