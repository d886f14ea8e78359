//! `pods/binding`: gives a pod its node.

use crate::{
    http::{ResponseBody, body, dispatch::ResourceRequest, respond},
    object,
    registry::{Context, WriteOptions, parse_body, store_error},
    server::ApiServer,
};
use ::http::Response;
use orrery_machinery::{
    descriptor::ResourceDescriptor,
    meta,
    status::{ApiError, FieldError},
};
use orrery_store::{Compare, Txn, TxnOutcome};
use serde_json::{Value, json};
use std::sync::Arc;

/// How often a binding that meets another write of the pod is planned anew.
const ATTEMPTS: usize = 8;

/// Binds a pod to the node that the body names, in one transaction with its condition `PodScheduled`.
pub(super) async fn bind(
    server: &Arc<ApiServer>,
    resource: &Arc<ResourceDescriptor>,
    request: ResourceRequest,
) -> Result<Response<ResponseBody>, ApiError> {
    let options = WriteOptions::parse(&request.query, &request.parts.headers)?;
    let bytes = body::read(request.body, &server.limits).await?;
    let binding = parse_body(&request.parts.headers, &bytes)?;
    let context = Context {
        caller: Some((&request.user, &server.authorizer)),
        resource,
        namespace: request.path.namespace,
        name: request.path.name,
        subresource: request.path.subresource,
        options,
    };
    check(&context, &binding)?;
    for _ in 0..ATTEMPTS {
        let entry = server.registry.entry(&context, &context.name).await?;
        let pod = bound(&context, &context.decode(&entry)?, &binding, &object::now_text())?;
        if context.options.dry_run {
            return Ok(success());
        }
        let txn = Txn {
            compare: vec![Compare::ModRevision(entry.key.clone(), entry.mod_revision)],
            ops: vec![server.registry.put(&context, entry.key, &pod).await?],
        };
        if let TxnOutcome::Committed(_) = server.registry.store.txn(txn).await.map_err(store_error)? {
            return Ok(success());
        }
    }
    Err(ApiError::conflict(context.target(&context.name), "the pod keeps changing; please try again"))
}

fn success() -> Response<ResponseBody> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    respond::json(201, &status)
}

fn check(context: &Context<'_>, binding: &Value) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    let kind = object::text(binding, "/target/kind");
    if !matches!(kind, "" | "Node") {
        errors.push(FieldError::not_supported("target.kind", &kind.into(), &["Node", "<empty>"]));
    }
    if object::text(binding, "/target/name").is_empty() {
        errors.push(FieldError::required("target.name", ""));
    }
    let name = meta::name(binding);
    if !name.is_empty() && name != context.name {
        let why = format!("the name of the object ({name}) does not match the name on the URL ({})", context.name);
        return Err(ApiError::bad_request(why));
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("Binding", context.target(name), &errors)) }
}

/// The pod, bound.
fn bound(context: &Context<'_>, pod: &Value, binding: &Value, now: &str) -> Result<Value, ApiError> {
    let name = &context.name;
    let conflict = |why: &str| Err(ApiError::conflict(context.target(name), why));
    let present = object::text(pod, "/spec/nodeName");
    if !present.is_empty() {
        return conflict(&format!("pod {name} is already assigned to node {present:?}"));
    }
    if meta::is_deleting(pod) {
        return conflict(&format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if !object::list(pod, "/spec/schedulingGates").is_empty() {
        return conflict(&format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let uid = meta::uid(binding);
    if !uid.is_empty() && uid != meta::uid(pod) {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", meta::uid(pod));
        return conflict(&why);
    }
    let mut pod = pod.clone();
    pod["spec"]["nodeName"] = binding["target"]["name"].clone();
    if let Some(added) = binding["metadata"]["annotations"].as_object() {
        let annotations = meta::metadata_mut(&mut pod).entry("annotations").or_insert_with(|| json!({}));
        for (key, value) in added {
            annotations[key] = value.clone();
        }
    }
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    let mut conditions = object::list(&pod, "/status/conditions").to_vec();
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions.push(scheduled);
    pod["status"]["conditions"] = conditions.into();
    Ok(pod)
}
