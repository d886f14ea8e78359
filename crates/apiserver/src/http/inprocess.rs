//! A client within the process.

use super::body::{BoxError, ResponseBody};
use super::dispatch::{self, Caller};
use crate::{auth::User, server::ApiServer};
use ::http::{HeaderValue, Request, Response, header};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

/// The API server as a service for clients in the same process, such as `kube::Client::new(service, "default")`.
///
/// Requests go the same way as those from outside, authorization and limits included. The user is fixed here and no header
/// can change it. Upgraded connections (exec, attach) are refused.
#[derive(Clone)]
pub struct InProcess {
    server: Arc<ApiServer>,
    user: User,
}

impl InProcess {
    pub(crate) fn new(server: Arc<ApiServer>, user: User) -> Self {
        Self { server, user }
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").field("user", &self.user).finish_non_exhaustive()
    }
}

impl<B> tower::Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = Arc::clone(&self.server);
        let caller = Caller { user: Some(self.user.clone()), typed: true, peer: None, upgrades: false };
        let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        // What it calls itself owns the fields that it writes: `system:kube-scheduler` is `kube-scheduler`.
        let program = self.user.name().rsplit(':').next().unwrap_or_default();
        if let Ok(program) = HeaderValue::from_str(program) {
            request.headers_mut().entry(header::USER_AGENT).or_insert(program);
        }
        Box::pin(async move { Ok(dispatch::handle(server, caller, request).await) })
    }
}
