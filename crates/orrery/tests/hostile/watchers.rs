//! Two hundred watchers that do not read, and one that does.

use crate::server::{LONG, MAPS, Server};
use http::Method;
use orrery_harness::Form;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

const SLOW: usize = 200;
const WRITERS: usize = 16;
const EACH: usize = 200;
const MIB: usize = 1024 * 1024;

fn object(name: &str, round: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"test": "watchers"}},
        "data": {"round": round.to_string(), "text": "x".repeat(4000)}})
}

async fn write(server: &Server, writer: usize) {
    let name = format!("w-{writer}");
    let made = server.send(Method::POST, MAPS, Form::Json, object(&name, 0).to_string().into_bytes()).await;
    made.expect(201).unwrap();
    for round in 1..EACH {
        let path = format!("{MAPS}/{name}");
        let changed = server.send(Method::PUT, &path, Form::Json, object(&name, round).to_string().into_bytes()).await;
        changed.expect(200).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_watchers_neither_slow_a_fast_one_nor_fill_memory() {
    let server = Server::start().await;
    // What they are given first is long, too.
    for number in 0..50 {
        let large = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("large-{number}")},
            "data": {"text": "x".repeat(100_000)}});
        server.api.post(MAPS, &large).await.unwrap().expect(201).unwrap();
    }
    let before = server.resident_bytes();
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut stream = server.connect(Some(2048)).await;
        stream.write_all(format!("GET {MAPS}?watch=1 HTTP/1.1\r\nhost: api\r\n\r\n").as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        slow.push(stream);
    }
    let path = format!("{MAPS}?watch=1&labelSelector=test%3Dwatchers");
    let response = server.api.open(Method::GET, &path, Form::Json, Vec::new()).await.unwrap();
    let reader = tokio::spawn(async move {
        let mut body = http_body_util::BodyDataStream::new(response.into_body());
        let (mut rest, mut seen) = (Vec::new(), 0);
        while seen < WRITERS * EACH {
            let frame = futures_next(&mut body).await.expect("the fast watch goes on").unwrap();
            rest.extend_from_slice(&frame);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).unwrap();
                assert!(matches!(event["type"].as_str(), Some("ADDED" | "MODIFIED")), "{event}");
                seen += 1;
            }
        }
    });
    let writers: Vec<_> = (0..WRITERS).map(|writer| write(&server, writer)).collect();
    tokio::time::timeout(3 * LONG, join_all(writers)).await.expect("writers are not slowed");
    tokio::time::timeout(LONG, reader).await.expect("every event comes").unwrap();
    let grown = server.resident_bytes().saturating_sub(before);
    // 5 MiB of objects at first and 12 MiB of events: each copied for every slow one, that were 3.5 GiB.
    assert!(grown < 256 * MIB, "{} MiB for {SLOW} slow watchers", grown / MIB);
    server.serves("slow watchers").await;
    drop(slow);
    server.control_plane.stop().await.unwrap();
}

async fn futures_next<S: futures::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    futures::StreamExt::next(stream).await
}

async fn join_all<F: Future>(all: Vec<F>) -> Vec<F::Output> {
    futures::future::join_all(all).await
}
