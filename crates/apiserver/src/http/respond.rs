//! Responses.

use super::body::{ResponseBody, full};
use ::http::{HeaderValue, Response, StatusCode, header};
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
