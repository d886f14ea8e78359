//! Bodies of requests and responses.

use crate::config::Limits;
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use orrery_machinery::status::ApiError;

/// Any error.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of a response: bytes, or a stream that ends when its source does.
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;
/// The body of a request.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// An error of hyper as any error.
pub(crate) fn boxed(error: hyper::Error) -> BoxError {
    Box::new(error)
}

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is pulled from a stream.
pub(crate) fn stream(source: impl futures::Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> ResponseBody {
    use futures::TryStreamExt;
    StreamBody::new(source.map_ok(Frame::data)).boxed_unsync()
}

/// Reads a whole request body within the limits.
pub(crate) async fn read(body: RequestBody, limits: &Limits) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(limits.receive_timeout, collect(body, limits.body_bytes)).await {
        Err(_) => Err(ApiError::timeout("the request's body did not arrive in time")),
        Ok(result) => result,
    }
}

async fn collect(mut body: RequestBody, limit_bytes: usize) -> Result<Bytes, ApiError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ApiError::bad_request(format!("the request's body could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > limit_bytes {
            drop(whole);
            discard(body, limit_bytes).await;
            return Err(ApiError::too_large(limit_bytes));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Reads on for as much as a body may have. A client that is not read from while it sends does not see the answer.
async fn discard(mut body: RequestBody, limit_bytes: usize) {
    let mut left = limit_bytes;
    while let Some(Ok(frame)) = body.frame().await {
        let read = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(read) {
            Some(less) => left = less,
            None => return,
        }
    }
}
