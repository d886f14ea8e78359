//! `admission.k8s.io/v1 AdmissionRequest`, as webhooks get it and as expressions see it as `request`.

use crate::matching::{Form, text};
use orrery_apiserver::{AdmissionRequest, Operation};
use orrery_machinery::status::ApiError;
use serde_json::{Value, json};

/// The request without its `uid` and its objects, for somebody who knows the resource as `form`. `object` is the new object
/// or the options of a connection.
pub(crate) fn describe(request: &AdmissionRequest<'_>, object: Option<&Value>, form: Form<'_>) -> Value {
    let resource = request.resource;
    let requested = requested_kind(request, object);
    let is_served = form.group == resource.group && form.version == resource.version;
    // A part that is of another kind than the whole has one form only.
    let converted = !is_served && requested["kind"] == *resource.kind;
    let kind = if converted {
        json!({"group": form.group, "version": form.version, "kind": form.kind})
    } else {
        requested.clone()
    };
    let plural =
        |group: &str, version: &str, resource: &str| json!({"group": group, "version": version, "resource": resource});
    let mut described = json!({
        "kind": kind,
        "resource": plural(form.group, form.version, form.plural),
        "requestKind": requested,
        "requestResource": plural(&resource.group, &resource.version, &resource.plural),
        "operation": request.operation.as_str(),
        "userInfo": user_info(request),
        "dryRun": request.dry_run,
        "options": options(request),
    });
    // For a namespace, its own name stands for the one in which it lies.
    let namespace = if resource.is("", "namespaces") { request.name } else { request.namespace };
    for (field, value) in [
        ("subResource", request.subresource),
        ("requestSubResource", request.subresource),
        ("name", request.name),
        ("namespace", namespace),
    ] {
        if !value.is_empty() {
            described[field] = value.into();
        }
    }
    described
}

fn user_info(request: &AdmissionRequest<'_>) -> Value {
    let user = request.user;
    let mut info = json!({"username": user.name(), "groups": user.groups()});
    if !user.uid().is_empty() {
        info["uid"] = user.uid().into();
    }
    if !user.extra().is_empty() {
        info["extra"] = json!(user.extra());
    }
    info
}

/// The kind of what is sent, which for a part may be another than the resource's.
fn requested_kind(request: &AdmissionRequest<'_>, object: Option<&Value>) -> Value {
    let sent = object.or(request.old).filter(|sent| !text(sent, "kind").is_empty());
    let Some(sent) = sent else {
        let resource = request.resource;
        return json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    };
    let version = text(sent, "apiVersion");
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    json!({"group": group, "version": version, "kind": sent["kind"]})
}

fn options(request: &AdmissionRequest<'_>) -> Value {
    let kind = match request.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut options = json!({"apiVersion": "meta.k8s.io/v1", "kind": kind});
    if request.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    options
}

/// An object of the request in another form of its resource.
pub(crate) fn convert(request: &AdmissionRequest<'_>, object: &Value, form: Form<'_>) -> Result<Value, ApiError> {
    let resource = request.resource;
    let mut object = object.clone();
    let is_served = form.group == resource.group && form.version == resource.version;
    if !is_served && object["kind"] == *resource.kind {
        resource.rules.on_write(&mut object)?;
        object["apiVersion"] = orrery_machinery::discovery::group_version(form.group, form.version).into();
        object["kind"] = form.kind.into();
    }
    Ok(object)
}

/// What somebody who knows the resource as `form` made of an object of the request, in the requested form, checked against
/// its type and with defaults.
pub(crate) fn convert_back(
    request: &AdmissionRequest<'_>,
    mut object: Value,
    form: Form<'_>,
) -> Result<Value, ApiError> {
    let resource = request.resource;
    let is_served = form.group == resource.group && form.version == resource.version;
    if !is_served {
        resource.rules.on_read(&mut object)?;
    }
    resource.rules.decode(&mut object).map_err(|error| {
        ApiError::internal(format!("admission made of {} {:?} what is none: {error}", resource.kind, request.name))
    })?;
    resource.rules.default(&mut object);
    Ok(object)
}
