//! gRPC servers of a pod: the one call of the health checking protocol, `grpc.health.v1.Health/Check`.

use super::connect;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use orrery_lifecycle::probe::Outcome;
use std::time::Duration;

/// The longest answer that is read, in bytes; a right one has two or three.
const MOST_ANSWER: usize = 4096;
/// `ServingStatus` by number.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// Asks whether `service` is being served.
pub(super) async fn probe(host: &str, port: u16, service: &str, timeout: Duration) -> Outcome {
    let asked = tokio::time::timeout(timeout, ask(host, port, service, timeout)).await;
    match asked {
        Ok(Ok(1)) => Outcome::Success,
        Ok(Ok(status)) => {
            let text = usize::try_from(status).ok().and_then(|status| STATUSES.get(status)).unwrap_or(&"UNKNOWN");
            Outcome::Failure(format!("service unhealthy (responded with {text:?})"))
        }
        Ok(Err(error)) => Outcome::Failure(format!("error: health rpc probe failed: {error}")),
        Err(_) => {
            let at = format!("{host}:{port}");
            Outcome::Failure(format!("timeout: failed to connect service {at:?} within {}s", timeout.as_secs()))
        }
    }
}

async fn ask(host: &str, port: u16, service: &str, timeout: Duration) -> Result<u64, String> {
    let stream = connect(host, port, timeout).await?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let request = Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "kube-probe/1.36")
        .body(Full::new(question(service)?))
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let head = response.headers().clone();
        let body = Limited::new(response.into_body(), MOST_ANSWER).collect().await.map_err(|e| e.to_string())?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        // An answer without a message has its status at its head.
        let field = |name: &str| trailers.get(name).or_else(|| head.get(name)).and_then(|value| value.to_str().ok());
        match field("grpc-status") {
            Some("0") => answer(&body.to_bytes()).ok_or_else(|| "the answer is malformed".to_owned()),
            Some("12") => Err("this server does not implement the grpc health protocol".to_owned()),
            Some(code) => Err(format!("rpc error: code = {code} desc = {}", field("grpc-message").unwrap_or_default())),
            None => Err("the answer has no status".to_owned()),
        }
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // What came before its end is still to be read.
        _ = connection => exchange.await,
    }
}

/// `HealthCheckRequest { string service = 1 }` behind gRPC's five bytes.
fn question(service: &str) -> Result<Bytes, String> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).map_err(|_| "the service's name is too long".to_owned())?;
    Ok([&[0][..], &length.to_be_bytes(), &message].concat().into())
}

/// The status in a `HealthCheckResponse { ServingStatus status = 1 }`; one that is left out is 0.
fn answer(bytes: &[u8]) -> Option<u64> {
    let (head, message) = bytes.split_first_chunk::<5>()?;
    let [compressed, length @ ..] = *head;
    if compressed != 0 || u32::from_be_bytes(length) as usize != message.len() {
        return None;
    }
    match message.split_first() {
        None => Some(0),
        Some((0x08, value)) => {
            let mut status = 0u64;
            for (place, byte) in value.iter().enumerate().take(9) {
                status |= u64::from(byte & 0x7f) << (7 * place);
                if byte & 0x80 == 0 {
                    return Some(status);
                }
            }
            None
        }
        Some(_) => None,
    }
}

fn varint(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push(u8::try_from(value & 0x7f).expect("seven bits are a byte") | 0x80);
        value >>= 7;
    }
    into.push(u8::try_from(value).expect("less than 128"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, Response};
    use http_body_util::StreamBody;
    use hyper::{body::Frame, service::service_fn};
    use std::convert::Infallible;
    use tokio::net::TcpListener;

    /// A health service that serves `good` and the server as a whole, not `bad`, and nothing else.
    async fn server() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    let asked = request.into_body().collect().await.unwrap().to_bytes();
                    let status: Option<u8> = match &asked[5..] {
                        b"" | b"\x0a\x04good" => Some(1),
                        b"\x0a\x03bad" => Some(2),
                        _ => None,
                    };
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static(if status.is_some() { "0" } else { "5" }));
                    trailers.insert("grpc-message", HeaderValue::from_static("no such service"));
                    let message = status.map(|status| Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status])));
                    let frames = message.into_iter().chain([Frame::trailers(trailers)]).map(Ok::<_, Infallible>);
                    let body = StreamBody::new(futures::stream::iter(frames.collect::<Vec<_>>()));
                    Ok::<_, Infallible>(Response::new(body))
                });
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        port
    }

    #[tokio::test]
    async fn a_service_is_well_when_its_server_says_serving() {
        let port = server().await;
        let ask = |service: &'static str| probe("127.0.0.1", port, service, Duration::from_secs(20));
        assert_eq!(ask("").await, Outcome::Success);
        assert_eq!(ask("good").await, Outcome::Success);
        let unhealthy = "service unhealthy (responded with \"NOT_SERVING\")";
        assert_eq!(ask("bad").await, Outcome::Failure(unhealthy.into()));
        let unknown = "error: health rpc probe failed: rpc error: code = 5 desc = no such service";
        assert_eq!(ask("none").await, Outcome::Failure(unknown.into()));
    }

    #[test]
    fn questions_and_answers_are_as_protobuf_has_them() {
        assert_eq!(question("").unwrap()[..], [0; 5]);
        let long = question(&"x".repeat(300)).unwrap();
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
        for (bytes, expected) in [
            (&[0, 0, 0, 0, 0][..], Some(0)),
            (&[0, 0, 0, 0, 2, 8, 1], Some(1)),
            (&[0, 0, 0, 0, 3, 8, 0xac, 2], Some(300)),
            (&[0, 0, 0, 0, 3, 8, 1], None),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 2, 9, 1], None),
            (&[0, 0, 0], None),
        ] {
            assert_eq!(answer(bytes), expected, "{bytes:?}");
        }
    }
}
