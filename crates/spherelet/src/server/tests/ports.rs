//! Port-forwarding in the three ways that clients have.

use super::spdy::{Client, data, until_end};
use super::{next, port};
use crate::host::fake::CLOSED_PORT;
use futures::{SinkExt, StreamExt};
use std::collections::BTreeMap;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

/// A pair of streams for each of two connections, one of them to a closed port, and what is sent on the other.
fn two_connections() -> Vec<u8> {
    let closed = CLOSED_PORT.to_string();
    let mut client = Client::new();
    let mut frames = Vec::new();
    for (error, id, port) in [(1, "0", "80"), (5, "1", &closed)] {
        for (stream, kind) in [(error, "error"), (error + 2, "data")] {
            frames.extend(client.open(stream, &[("streamType", kind), ("port", port), ("requestID", id)]));
        }
    }
    frames.extend(data(3, b"get /", false));
    frames.extend(data(3, b"", true));
    frames
}

const REFUSED: &str = "error forwarding port 81 to pod demo/hello: ";

/// What was said on both connections, whose streams have ended.
fn check(said: &BTreeMap<u32, String>) {
    assert_eq!((said[&3].as_str(), said[&1].as_str(), said[&7].as_str()), ("GET /", "", ""));
    assert!(said[&5].starts_with(REFUSED) && said[&5].contains("Connection refused"), "{said:?}");
}

#[tokio::test]
async fn spdy_pairs_a_stream_for_data_with_one_for_failures() {
    let port = port().await;
    let mut connection = port.spdy("/portForward/demo/hello", "portforward.k8s.io").await;
    connection.write_all(&two_connections()).await.unwrap();
    check(&until_end(&mut connection, &[1, 3, 5, 7]).await);
}

#[tokio::test]
async fn a_websocket_carries_the_same_as_a_tunnel() {
    let port = port().await;
    let mut socket = port.websocket("/portForward/demo/hello", "SPDY/3.1+portforward.k8s.io").await;
    // Messages are cut anywhere: they are the bytes of one stream.
    for piece in two_connections().chunks(7) {
        socket.send(Message::binary(piece.to_vec())).await.unwrap();
    }
    let bytes = socket.map(|message| message.map(Message::into_data).map_err(std::io::Error::other));
    let mut connection = tokio_util::io::StreamReader::new(bytes);
    check(&until_end(&mut connection, &[1, 3, 5, 7]).await);
}

#[tokio::test]
async fn a_websocket_of_channels_has_two_for_each_port_and_begins_them_with_its_number() {
    let port = port().await;
    let mut socket = port.websocket("/portForward/demo/hello?ports=80,81", "v4.channel.k8s.io").await;
    for (channel, number) in [(0, 80_u16), (1, 80), (2, 81), (3, 81)] {
        let number = String::from_utf8(number.to_le_bytes().to_vec()).unwrap();
        assert_eq!(next(&mut socket).await, (channel, number));
    }
    let (channel, text) = next(&mut socket).await;
    assert!(channel == 3 && text.starts_with(REFUSED), "{channel} {text}");
    socket.send(Message::binary(b"\0get /".to_vec())).await.unwrap();
    assert_eq!(next(&mut socket).await, (0, "GET /".into()));
}

#[tokio::test]
async fn what_cannot_be_forwarded_is_refused_before_http_is_left() {
    let port = port().await;
    for (path, status) in [
        ("/portForward/demo/none", "404"),
        ("/portForward/demo/hello", "400"),
        ("/portForward/demo/hello?port=x", "400"),
    ] {
        let answer = port.get(path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
}
