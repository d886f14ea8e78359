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

/// Warnings of one answer may have so many bytes together; clients refuse headers that are too long.
const WARNINGS_BYTES: usize = 4096;
/// More headers of a kind than this are more than many clients take.
const WARNINGS: usize = 50;
/// To so many bytes each is cut when together they are too long.
const WARNING_BYTES: usize = 256;

/// Adds `Warning: 299` headers, which kubectl shows. When they are too long together they are cut, and the last are left out,
/// as upstream does (`k8s.io/apiserver/pkg/endpoints/filters/warning.go`).
pub(crate) fn warn(response: &mut Response<ResponseBody>, warnings: &[String]) {
    let total: usize = warnings.iter().map(String::len).sum();
    let mut left = WARNINGS_BYTES;
    for warning in warnings.iter().take(WARNINGS) {
        let whole = |at: &usize| warning.is_char_boundary(*at);
        let most = if total > WARNINGS_BYTES { WARNING_BYTES.min(warning.len()) } else { warning.len() };
        let cut = (0..=most).rev().find(whole).unwrap_or(0);
        let Some(after) = left.checked_sub(cut) else { return };
        left = after;
        let quoted = warning[..cut].replace('\\', "\\\\").replace('"', "\\\"");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(warnings: &[String]) -> Vec<String> {
        let mut response = text(200, "");
        warn(&mut response, warnings);
        let values = response.headers().get_all(header::WARNING).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    #[test]
    fn warnings_are_quoted_and_bounded() {
        assert_eq!(warned(&["a \"b\"".to_owned()]), ["299 - \"a \\\"b\\\"\""]);
        assert_eq!(warned(&["x".repeat(4000)])[0].len(), 4000 + 8);
        // More headers than a response may have at all.
        let many = vec!["ü".repeat(1000); 40_000];
        let told = warned(&many);
        assert_eq!(told.len(), WARNINGS_BYTES / WARNING_BYTES);
        assert!(told.iter().all(|warning| warning.len() <= WARNING_BYTES + 8));
        assert_eq!(warned(&vec![String::new(); 3]).len(), 3);
        assert_eq!(warned(&vec!["x".to_owned(); 40_000]).len(), WARNINGS);
    }
}
