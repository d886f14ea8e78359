//! Other API servers behind this one: who they are and how they are asked is told by the layer above ([`Aggregator`]).
//!
//! Who calls, and whether they may, is settled here; then the request goes on as it is, with the caller's name.

use crate::{
    admission::Reader,
    auth::User,
    http::{
        ResponseBody,
        body::{BoxError, RequestBody},
    },
    server::ApiServer,
    subresource::upgrade,
};
use ::http::{Request, Response, StatusCode, request::Parts};
use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use orrery_machinery::{
    discovery::{OtherVersion, Registered},
    status::ApiError,
};
use std::sync::Arc;

/// Knows other API servers.
#[async_trait::async_trait]
pub trait Aggregator: Send + Sync + 'static {
    /// What is registered at this moment.
    fn registered(&self) -> Arc<Registered>;

    /// Has the other server answer a request of `user`, whose proof is no longer in the headers. With `upgrades`, the
    /// request asks to upgrade the connection, and the answer's can be.
    ///
    /// # Errors
    /// 503 when the other server cannot be asked.
    async fn ask(
        &self,
        reader: &Reader,
        other: &OtherVersion,
        user: &User,
        request: Request<RequestBody>,
        upgrades: bool,
    ) -> Result<Response<ResponseBody>, ApiError>;
}

impl ApiServer {
    /// What is registered at this moment.
    pub(crate) fn registered(&self) -> Arc<Registered> {
        self.aggregator.as_ref().map(|aggregator| aggregator.registered()).unwrap_or_default()
    }
}

/// Sends a request on to the server that answers for the group's version, if that is another one. Else gives it back.
pub(crate) async fn forward(
    server: &Arc<ApiServer>,
    (group, version): (&str, &str),
    user: &User,
    (mut parts, body): (Parts, RequestBody),
) -> Result<Result<Response<ResponseBody>, ApiError>, (Parts, RequestBody)> {
    let Some(aggregator) = &server.aggregator else { return Err((parts, body)) };
    let registered = aggregator.registered();
    let Some(other) = registered.other(group, version) else { return Err((parts, body)) };
    let client = upgrade::on_upgrade(&mut parts).filter(|_| parts.headers.contains_key(::http::header::UPGRADE));
    let request = Request::from_parts(parts, body);
    let answered = aggregator.ask(&server.registry.reader, other, user, request, client.is_some()).await;
    Ok(answered.map(|response| passed_on(server, client, response)))
}

/// Another server's answer as this one's; an upgraded connection is relayed.
pub(crate) fn passed_on<B>(
    server: &Arc<ApiServer>,
    client: Option<OnUpgrade>,
    mut response: Response<B>,
) -> Response<ResponseBody>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        orrery_callout::without_connection(response.headers_mut());
    } else if let Some(client) = client {
        let upstream = hyper::upgrade::on(&mut response);
        tokio::spawn(upgrade::run(Arc::clone(server), client, upstream));
    }
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// The group and version that a path is about, when it is about one as a whole: its discovery or its OpenAPI document.
pub(crate) fn version_of(path: &str) -> Option<(&str, &str)> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["apis", group, version] | ["openapi", "v3", "apis", group, version] => Some((group, version)),
        _ => None,
    }
}
