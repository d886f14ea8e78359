//! Responses.

use super::body::{ResponseBody, full};
use ::http::{HeaderValue, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use orrery_machinery::status::ApiError;
use serde_json::Value;

/// A JSON document.
pub(crate) fn json(status: u16, value: &Value) -> Response<ResponseBody> {
    let bytes = serde_json::to_vec(value).expect("a JSON value can be written");
    typed(status, "application/json", bytes)
}

/// Text for people.
pub(crate) fn text(status: u16, text: impl Into<String>) -> Response<ResponseBody> {
    typed(status, "text/plain; charset=utf-8", text.into().into_bytes())
}

/// Bytes of a media type.
pub(crate) fn typed(status: u16, media: &'static str, bytes: Vec<u8>) -> Response<ResponseBody> {
    with_body(status, media, full(bytes))
}

/// A body of a media type.
pub(crate) fn with_body(status: u16, media: &'static str, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// An error as `meta/v1 Status`.
pub(crate) fn error(error: &ApiError) -> Response<ResponseBody> {
    let mut response = json(error.code, &error.to_status());
    let retry = error.details.as_ref().and_then(|details| details["retryAfterSeconds"].as_u64());
    if let Some(seconds) = retry {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Adds `Warning: 299` headers, which kubectl shows.
pub(crate) fn warn(response: &mut Response<ResponseBody>, warnings: &[String]) {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// The same answer in protobuf, if it is one JSON object of a kind that has a form there; else as it is.
pub(crate) async fn in_protobuf(response: Response<ResponseBody>) -> Response<ResponseBody> {
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !is_json || response.body().size_hint().exact().is_none() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        // A body in memory has no errors.
        Err(_) => return Response::from_parts(parts, full(Vec::new())),
    };
    match orrery_protobuf::encode(&bytes) {
        Ok(encoded) => {
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(orrery_protobuf::MEDIA_TYPE));
            Response::from_parts(parts, full(encoded))
        }
        Err(error) => {
            tracing::debug!(%error, "an answer is sent as JSON, not as protobuf");
            Response::from_parts(parts, full(bytes))
        }
    }
}
