//! The server's own steps: a chain of functions for each kind of write, in order.

use crate::{object, registry::Context};
use orrery_auth::{
    node::{NodeWrite, restrict},
    rbac,
};
use orrery_machinery::{meta, status::ApiError};
use serde_json::{Value, json};

/// Namespaces that every cluster has, and keeps.
pub(crate) const LASTING_NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];
/// The label that every namespace carries with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A new object: changes first, then refusals.
pub(super) async fn create(context: &Context<'_>, new: &mut Value) -> Result<(), ApiError> {
    default_service_account(context, new);
    name_label(context, new);
    requester(context, new);
    check_writer(context, new, None).await
}

/// A changed object: changes first, then refusals.
pub(super) async fn update(context: &Context<'_>, old: &Value, new: &mut Value) -> Result<(), ApiError> {
    name_label(context, new);
    check_writer(context, new, Some(old)).await
}

/// A deletion.
pub(crate) fn delete(context: &Context<'_>) -> Result<(), ApiError> {
    if context.is_core("namespaces") && LASTING_NAMESPACES.contains(&context.name.as_str()) {
        return Err(ApiError::forbidden(context.target(&context.name), "this namespace may not be deleted"));
    }
    Ok(())
}

/// A certificate request says who made it; nobody can say so for another.
fn requester(context: &Context<'_>, request: &mut Value) {
    let Some((user, _)) = context.caller else { return };
    if context.resource.is("certificates.k8s.io", "certificatesigningrequests")
        && let Some(spec) = request["spec"].as_object_mut()
    {
        for field in ["username", "uid", "groups", "extra"] {
            spec.remove(field);
        }
        if let Value::Object(info) = orrery_auth::user::user_info(user) {
            spec.extend(info);
        }
    }
}

async fn check_writer(context: &Context<'_>, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let Some((user, authorizer)) = context.caller else { return Ok(()) };
    let resource = context.resource;
    let subresource = &context.subresource;
    restrict(user, &NodeWrite { group: &resource.group, resource: &resource.plural, subresource, new, old })?;
    if resource.group == rbac::GROUP {
        authorizer.check_grant(user, &resource.plural, new, old).await?;
    }
    Ok(())
}

fn default_service_account(context: &Context<'_>, pod: &mut Value) {
    if context.is_core("pods") && object::text(pod, "/spec/serviceAccountName").is_empty() && pod["spec"].is_object() {
        let deprecated = object::text(pod, "/spec/serviceAccount");
        let name = if deprecated.is_empty() { "default" } else { deprecated }.to_owned();
        pod["spec"]["serviceAccountName"] = json!(name);
        pod["spec"]["serviceAccount"] = json!(name);
    }
}

fn name_label(context: &Context<'_>, namespace: &mut Value) {
    if context.is_core("namespaces") && meta::label(namespace, NAME_LABEL) != Some(meta::name(namespace)) {
        let name = meta::name(namespace).to_owned();
        let labels = meta::metadata_mut(namespace).entry("labels").or_insert_with(|| json!({}));
        if labels.is_null() {
            *labels = json!({});
        }
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(NAME_LABEL.to_owned(), json!(name));
        }
    }
}
