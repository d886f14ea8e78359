//! gzip for long answers, as the client's `Accept-Encoding` allows it. Fast rather than small, and only from the length on from
//! which it pays (`k8s.io/apiserver/pkg/endpoints/handlers/responsewriters`).

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body as _, Frame};
use http_body_util::{BodyDataStream, BodyExt, StreamBody, combinators::UnsyncBoxBody};
use std::io::Write;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Shorter answers go out as they are.
const LEAST_BYTES: u64 = 128 * 1024;

/// Whether the client takes gzip.
#[must_use]
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut codings = values.flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = parameters.split('=').nth(1).is_some_and(|weight| weight.trim().parse() == Ok(0.0_f32));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// The first level of zlib-rs that counts how often bytes come: half as long as the level below it, and no slower.
const LEVEL: Compression = Compression::new(2);

/// Compresses an answer that is long, or whose length is not known yet.
#[must_use]
pub fn gzip(response: Response<Body>) -> Response<Body> {
    let short = response.body().size_hint().exact().is_some_and(|length| length < LEAST_BYTES);
    if short || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let state = Some((body.into_data_stream(), GzEncoder::new(Vec::new(), LEVEL)));
    let stream = futures::stream::unfold(state, |state| async move {
        let (source, encoder) = state?;
        match next(source, encoder).await {
            Ok((bytes, rest)) => Some((Ok(bytes), rest)),
            Err(error) => Some((Err(error), None)),
        }
    });
    let frames = futures::StreamExt::map(stream, |bytes: Result<Bytes, BoxError>| bytes.map(Frame::data));
    Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
}

type Rest = (BodyDataStream<Body>, GzEncoder<Vec<u8>>);

/// Reads until there is something to send. Gives what is left, unless that was the last.
async fn next(
    mut source: BodyDataStream<Body>,
    mut encoder: GzEncoder<Vec<u8>>,
) -> Result<(Bytes, Option<Rest>), BoxError> {
    use futures::StreamExt;
    while let Some(chunk) = source.next().await {
        encoder.write_all(&chunk?)?;
        let ready = std::mem::take(encoder.get_mut());
        if !ready.is_empty() {
            return Ok((ready.into(), Some((source, encoder))));
        }
    }
    Ok((encoder.finish()?.into(), None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use std::io::Read;

    fn full(text: &str) -> Response<Body> {
        Response::new(Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}).boxed_unsync())
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for (header, expected) in [("gzip", true), ("br, GZIP;q=0.5", true), ("gzip;q=0", false), ("identity", false)] {
            let headers = [(header::ACCEPT_ENCODING, header.parse().unwrap())].into_iter().collect();
            assert_eq!(is_wanted(&headers), expected, "{header}");
        }
        assert!(!is_wanted(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn long_answers_are_compressed_and_short_ones_are_not() {
        let text: String = (0..60_000).map(|n| n.to_string()).collect();
        let long = gzip(full(&text));
        assert_eq!(long.headers()["content-encoding"], "gzip");
        let bytes = long.into_body().collect().await.unwrap().to_bytes();
        assert!(bytes.len() < text.len() / 2);
        let mut read = String::new();
        flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
        assert!(gzip(full("short")).headers().is_empty());
    }
}
