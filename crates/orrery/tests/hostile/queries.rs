//! Paths, parameters and headers.

use crate::server::{LONG, MAPS, Server};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "api").body(Full::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_parameters_are_refused_in_words() {
    let server = Server::start().await;
    let many: String = (0..2000).map(|n| format!("k{n}%3Dv{n},")).collect::<String>() + "z%3Dz";
    let set = format!("k%20in%20({}z)", "v,".repeat(10_000));
    let token = |text: &str| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    };
    let table = [
        (format!("labelSelector={many}"), &[200][..]),
        (format!("labelSelector={set}"), &[200]),
        (format!("labelSelector={}", "(".repeat(30_000)), &[400]),
        (format!("labelSelector={}", "!".repeat(30_000)), &[400]),
        (format!("fieldSelector={}", "metadata.name%3Da,".repeat(2000)), &[200]),
        (format!("fieldSelector=metadata{}%3Da", ".a".repeat(10_000)), &[400]),
        ("fieldSelector=%3D%3D%3D".to_owned(), &[400]),
        ("limit=18446744073709551615".to_owned(), &[200]),
        ("limit=18446744073709551616".to_owned(), &[400]),
        ("limit=9223372036854775807&continue=".to_owned(), &[200]),
        ("limit=-1".to_owned(), &[200, 400]),
        ("limit=1e9".to_owned(), &[400]),
        ("continue=x".to_owned(), &[400, 410]),
        (format!("continue={}", token(r#"{"at":1,"after":"/registry/secrets/"}"#)), &[400]),
        (format!("continue={}", token(r#"{"at":18446744073709551615,"after":""}"#)), &[400, 410]),
        (format!("continue={}", "A".repeat(50_000)), &[400]),
        ("resourceVersion=99999999999999999999".to_owned(), &[400, 422]),
        ("resourceVersion=18446744073709551615".to_owned(), &[400, 504]),
        ("watch=1&resourceVersion=18446744073709551615".to_owned(), &[200, 400, 504]),
        ("watch=1&timeoutSeconds=-1".to_owned(), &[400]),
        ("watch=yes".to_owned(), &[400, 200]),
        ("labelSelector=%ff%fe".to_owned(), &[400]),
        ("labelSelector=a%00b".to_owned(), &[400]),
    ];
    for (query, good) in table {
        let shown = &query[..query.len().min(80)];
        let answered = tokio::time::timeout(LONG, server.raw(get(&format!("{MAPS}?{query}")))).await;
        let (status, body) = answered.unwrap_or_else(|_| panic!("{shown}: no answer")).unwrap();
        assert!(good.contains(&status), "{shown}: {status}: {body}");
    }
    for path in
        ["/%00", "/%ff/%fe", "/api/v1/namespaces/%00/configmaps/a", "/api/v1/namespaces/default/configmaps/a%00b"]
    {
        let (status, body) = server.raw(get(path)).await.unwrap();
        assert!(matches!(status, 400 | 404), "{path}: {status}: {body}");
    }
    let deep = format!("/api/v1/{}", "a/".repeat(20_000));
    assert_eq!(server.raw(get(&deep)).await.unwrap().0, 404);
    server.serves("odd parameters").await;
    server.control_plane.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_headers_is_cut() {
    let server = Server::start().await;
    let many: String = (0..500).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x-long: {}\r\n", "y".repeat(512 * 1024));
    let endless = "x-a: y\r\n".repeat(1_000_000);
    for headers in [many, long, endless] {
        let mut stream = server.connect(None).await;
        let head = format!("GET /version HTTP/1.1\r\nhost: api\r\n{headers}");
        // It may be cut before all is sent.
        let all = async { stream.write_all(head.as_bytes()).await.is_ok() && stream.write_all(b"\r\n").await.is_ok() };
        tokio::time::timeout(LONG, all).await.unwrap();
        let mut answer = vec![0; 64];
        let read = tokio::time::timeout(LONG, stream.read(&mut answer)).await.unwrap().unwrap_or(0);
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        server.serves("a flood of headers").await;
    }
    server.control_plane.stop().await.unwrap();
}
