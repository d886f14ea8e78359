//! `serviceaccounts/token`: a token for an account, by the kind `TokenRequest` of `authentication.k8s.io/v1`.

use crate::{
    admission::Reader,
    auth::Attributes,
    http::{ResponseBody, body, dispatch::ResourceRequest, respond},
    object,
    registry::{Context, WriteOptions, check_object, parse_body},
    server::ApiServer,
};
use ::http::Response;
use orrery_auth::{
    node::restrict_token,
    token::{Issued, TokenSpec, validate_spec},
};
use orrery_machinery::{
    descriptor::ResourceDescriptor,
    meta,
    status::{ApiError, Target},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// What a kubelet has to be allowed for an audience that its pod does not ask for.
const AUDIENCE_VERB: &str = "request-serviceaccounts-token-audience";

/// Issues a token.
pub(super) async fn create(
    server: &Arc<ApiServer>,
    resource: &Arc<ResourceDescriptor>,
    request: ResourceRequest,
) -> Result<Response<ResponseBody>, ApiError> {
    let tokens = server.tokens.as_ref().ok_or_else(ApiError::no_such_path)?;
    let options = WriteOptions::parse(&request.query, &request.parts.headers)?;
    let bytes = body::read(request.body, &server.limits).await?;
    let asked = parse_body(&request.parts.headers, &bytes)?;
    let context = Context {
        caller: Some((&request.user, &server.authorizer)),
        resource,
        namespace: request.path.namespace,
        name: request.path.name,
        subresource: request.path.subresource,
        options,
    };
    check(&context, &asked)?;
    let spec = TokenSpec::of(&asked);
    let errors = validate_spec(&spec);
    if !errors.is_empty() {
        let target = Target { group: "authentication.k8s.io", resource: "tokenrequests", name: "" };
        return Err(ApiError::invalid("TokenRequest", target, &errors));
    }
    let account = server.registry.get(&context).await?;
    check_node(server, &context, &spec).await?;
    let issued = tokens.issue(&account, &spec, object::now_seconds()).await?;
    request.trail.annotate("authentication.kubernetes.io/issued-credential-id", format!("JTI={}", issued.claims.jti));
    let mut response = respond::json(201, &answer(&context, asked, &issued));
    respond::warn(&mut response, issued.warning.as_slice());
    Ok(response)
}

fn check(context: &Context<'_>, asked: &Value) -> Result<(), ApiError> {
    check_object(asked, "TokenRequest")?;
    let name = meta::name(asked);
    if !name.is_empty() && name != context.name {
        let why = format!("must match the service account name: metadata.name is {name:?}");
        return Err(ApiError::bad_request(why));
    }
    let namespace = meta::namespace(asked);
    if !namespace.is_empty() && namespace != context.namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::bad_request(why));
    }
    Ok(())
}

/// Kubelets ask for tokens of their own pods only.
async fn check_node(server: &ApiServer, context: &Context<'_>, spec: &TokenSpec) -> Result<(), ApiError> {
    let Some((user, authorizer)) = context.caller else { return Ok(()) };
    let Some(node) = user.node_name() else { return Ok(()) };
    let pod = match &spec.bound {
        Some((kind, _, name, _)) if kind == "Pod" => {
            let reader = Reader::new(Arc::clone(&server.registry.store));
            reader.get("", "pods", &context.namespace, name).await?
        }
        _ => None,
    };
    let refuse = |why: &str| ApiError::forbidden(context.target(&context.name), why);
    let audiences = restrict_token(node, spec, pod.as_ref()).map_err(|why| refuse(&why))?;
    for audience in audiences {
        let asked = Attributes::resource(user.clone(), AUDIENCE_VERB, "", &audience, &context.namespace, &context.name);
        if authorizer.authorize(&asked).await.is_err() {
            return Err(refuse(&format!("audience {audience:?} not found in pod spec volume")));
        }
    }
    Ok(())
}

fn answer(context: &Context<'_>, mut asked: Value, issued: &Issued) -> Value {
    object::set_field(&mut asked, "apiVersion", Some(json!("authentication.k8s.io/v1")));
    object::set_field(&mut asked, "kind", Some(json!("TokenRequest")));
    object::set_meta(&mut asked, "name", Some(json!(context.name)));
    object::set_meta(&mut asked, "namespace", Some(json!(context.namespace)));
    object::set_meta(&mut asked, "creationTimestamp", Some(json!(object::time_text(issued.claims.iat))));
    if !asked["spec"].is_object() {
        asked["spec"] = json!({});
    }
    asked["spec"]["audiences"] = json!(issued.spec.audiences);
    asked["spec"]["expirationSeconds"] = json!(issued.spec.expiration_seconds);
    let until = issued.claims.iat + issued.spec.expiration_seconds;
    asked["status"] = json!({"token": issued.token, "expirationTimestamp": object::time_text(until)});
    asked
}
