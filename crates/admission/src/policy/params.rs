//! A binding's parameters.

use super::kinds;
use crate::matching::text;
use orrery_apiserver::AdmissionRequest;
use orrery_machinery::{selector::LabelSelector, status::ApiError};
use serde_json::Value;

/// `paramKind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParamKind {
    /// Such as `v1`.
    pub(super) api_version: String,
    /// Such as `ConfigMap`.
    pub(super) kind: String,
}

impl ParamKind {
    /// None when there is none.
    pub(super) fn read(kind: &Value) -> Option<Self> {
        let read = || Self { api_version: text(kind, "apiVersion").into(), kind: text(kind, "kind").into() };
        kind.is_object().then(read)
    }
}

/// The objects with each of which a policy is evaluated: once without any when it takes none, and not at all when there are
/// none and that is fine. The inner error is one of the configuration.
pub(super) async fn collect(
    kind: Option<&ParamKind>,
    reference: &Value,
    request: &AdmissionRequest<'_>,
) -> Result<Result<Vec<Option<Value>>, String>, ApiError> {
    let Some(kind) = kind.filter(|_| reference.is_object()) else { return Ok(Ok(vec![None])) };
    let Some(place) = kinds::find(request.reader, kind).await? else {
        let ParamKind { api_version, kind } = kind;
        return Ok(Err(format!("paramKind kind `{api_version}, Kind={kind}` not known")));
    };
    // A namespace counts as lying in itself.
    let own = if request.resource.is("", "namespaces") { request.name } else { request.namespace };
    let namespace = match (place.namespaced, text(reference, "namespace")) {
        (true, "") if own.is_empty() => {
            let why = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
            return Ok(Err(why.to_owned()));
        }
        (true, "") => own,
        (true, named) => named,
        (false, "") => "",
        (false, _) => {
            let why = "paramRef.namespace must not be provided for a cluster-scoped `paramKind`";
            return Ok(Err(why.to_owned()));
        }
    };
    let mut found: Vec<Value> = match text(reference, "name") {
        "" => {
            let selector = LabelSelector::from_object(&reference["selector"]);
            let all = request.reader.list(&place.group, &place.plural, namespace).await?;
            all.into_iter().filter(|object| selector.matches(object)).collect()
        }
        name => request.reader.get(&place.group, &place.plural, namespace, name).await?.into_iter().collect(),
    };
    if found.is_empty() && reference["parameterNotFoundAction"] == "Deny" {
        return Ok(Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned()));
    }
    for object in &mut found {
        place.read(object)?;
    }
    Ok(Ok(found.into_iter().map(Some).collect()))
}
