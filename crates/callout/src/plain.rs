//! HTTP without TLS, for what is not a part of the system and does not speak it: pages of pods.

use crate::Body;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Sends one request, whose URI is a path, over a connection of its own, and gives the answer as soon as it begins. The
/// connection lives as long as the answer's body or upgrade.
///
/// # Errors
/// When there is no connection, or it ends before an answer.
pub async fn send_plain((host, port): (&str, u16), mut request: Request<Body>) -> Result<Response<Incoming>, String> {
    let tcp = TcpStream::connect((host, port)).await.map_err(|error| format!("dial tcp {host}:{port}: {error}"))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    // Its end is seen by whoever reads the body or the upgrade.
    tokio::spawn(connection.with_upgrades());
    let named = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    if let Ok(named) = HeaderValue::try_from(named) {
        request.headers_mut().insert(header::HOST, named);
    }
    sender.send_request(request).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Full};
    use hyper::service::service_fn;

    #[tokio::test]
    async fn a_page_comes_from_where_it_was_asked() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: Request<Incoming>| async move {
                let said = format!("{} at {}", request.uri(), request.headers()["host"].to_str().unwrap());
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(said))))
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        let empty = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
        let answer = send_plain(("127.0.0.1", port), Request::get("/a?b=c").body(empty).unwrap()).await.unwrap();
        let said = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(said, format!("/a?b=c at 127.0.0.1:{port}"));
    }
}
