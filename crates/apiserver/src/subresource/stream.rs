//! `pods/log`: a container's log, streamed from its kubelet.

use super::{container, kubelet};
use crate::{
    http::{
        ResponseBody,
        body::{self, boxed},
        dispatch::ResourceRequest,
        query::Query,
        respond,
    },
    server::ApiServer,
};
use ::http::{Request, Response};
use http_body_util::BodyExt;
use orrery_machinery::{
    descriptor::ResourceDescriptor,
    status::{ApiError, FieldError, Target},
};
use std::sync::Arc;

/// Parameters that go on to the kubelet as they are.
const BOOLEAN: &[&str] = &["follow", "previous", "timestamps"];
const NUMBERS: &[&str] = &["limitBytes", "sinceSeconds", "tailLines"];

/// Streams a container's log.
pub(super) async fn logs(
    server: &Arc<ApiServer>,
    resource: &ResourceDescriptor,
    request: ResourceRequest,
) -> Result<Response<ResponseBody>, ApiError> {
    let kubelets = kubelet::required(server.kubelets.as_ref())?;
    // The body is not `Sync`: it may not be held across the waits below.
    let ResourceRequest { path, query: asked, .. } = request;
    let (namespace, pod) = (&path.namespace, &path.name);
    let query = log_query(&asked, pod, resource)?;
    let place = container::find(&server.registry, namespace, pod, asked.get("container")).await?;
    let mut uri = format!("/containerLogs/{namespace}/{pod}/{}", place.container);
    if !query.is_empty() {
        uri = format!("{uri}?{query}");
    }
    let forward = Request::get(uri).body(body::full("")).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let response = kubelets.send(&place, forward).await?;
    if !response.status().is_success() {
        return Err(kubelet::refusal(response).await);
    }
    let stopping = server.stopping.clone();
    let source = response.into_body().map_err(boxed).into_data_stream();
    // A log that is followed ends with the server's own end.
    let stream = futures::StreamExt::take_until(source, stopping.cancelled_owned());
    Ok(respond::with_body(200, "text/plain", body::stream(stream)))
}

fn log_query(query: &Query, pod: &str, resource: &ResourceDescriptor) -> Result<String, ApiError> {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for name in BOOLEAN {
        if query.flag(name)? {
            out.append_pair(name, "true");
        }
    }
    let mut errors = Vec::new();
    for name in NUMBERS {
        if let Some(number) = query.number::<i64>(name)? {
            let least = i64::from(*name != "tailLines");
            if number < least {
                let why = format!("must be greater than or equal to {least}");
                errors.push(FieldError::invalid(*name, &number.into(), &why));
            }
            out.append_pair(name, &number.to_string());
        }
    }
    let since = query.get("sinceTime");
    if !since.is_empty() {
        if since.parse::<jiff::Timestamp>().is_err() {
            errors.push(FieldError::invalid("sinceTime", &since.into(), "must be an RFC 3339 time"));
        }
        if !query.get("sinceSeconds").is_empty() {
            errors.push(FieldError::forbidden(
                "sinceSeconds",
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            ));
        }
        out.append_pair("sinceTime", since);
    }
    if errors.is_empty() {
        Ok(out.finish())
    } else {
        let target = Target { group: "", resource: &resource.plural, name: pod };
        Err(ApiError::invalid("PodLogOptions", target, &errors))
    }
}
