//! SPDY as a client speaks it, and exec over it.

use super::{Port, port};
use flate2::{Compress, Compression, FlushCompress};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Makes a client's frames. Its header blocks are compressed without the dictionary, which is allowed.
pub(super) struct Client(Compress);

impl Client {
    pub(super) fn new() -> Self {
        Self(Compress::new(Compression::default(), true))
    }

    /// Opens a stream.
    pub(super) fn open(&mut self, stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
        let text = |text: &str| [&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
        let mut plain = u32::try_from(headers.len()).unwrap().to_be_bytes().to_vec();
        for (name, value) in headers {
            plain.extend([text(name), text(value)].concat());
        }
        let mut block = Vec::with_capacity(1024);
        self.0.compress_vec(&plain, &mut block, FlushCompress::Sync).unwrap();
        let body = [&stream.to_be_bytes()[..], &[0; 6], &block].concat();
        [&[0x80, 3, 0, 1, 0, 0, 0, u8::try_from(body.len()).unwrap()], &body[..]].concat()
    }
}

/// Bytes on a stream.
pub(super) fn data(stream: u32, bytes: &[u8], finished: bool) -> Vec<u8> {
    let head = [u8::from(finished), 0, 0, u8::try_from(bytes.len()).unwrap()];
    [&stream.to_be_bytes()[..], &head, bytes].concat()
}

/// Everything that comes on the streams until the server has ended those of `awaited`.
pub(super) async fn until_end(connection: &mut (impl AsyncRead + Unpin), awaited: &[u32]) -> BTreeMap<u32, String> {
    let mut streams = BTreeMap::<u32, String>::new();
    let mut open = awaited.to_vec();
    while !open.is_empty() {
        let (stream, text, finished) = next_data(connection).await;
        streams.entry(stream).or_default().push_str(&text);
        open.retain(|awaited| !(finished && *awaited == stream));
    }
    streams
}

/// The next data on any stream, and whether they are the stream's last.
async fn next_data(connection: &mut (impl AsyncRead + Unpin)) -> (u32, String, bool) {
    loop {
        let mut head = [0; 8];
        connection.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[5], head[6], head[7]]);
        let mut body = vec![0; length as usize];
        connection.read_exact(&mut body).await.unwrap();
        if head[0] & 0x80 != 0 {
            continue;
        }
        let stream = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        return (stream, String::from_utf8(body).unwrap(), head[4] == 1);
    }
}

impl Port {
    /// A connection that has left HTTP for SPDY.
    pub(super) async fn spdy(&self, path: &str, protocol: &str) -> TlsStream<TcpStream> {
        let mut stream = self.connect(&self.clients).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
            X-Stream-Protocol-Version: {protocol}\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101") && head.contains(&format!("version: {protocol}\r\n")), "{head}");
        stream
    }
}

#[tokio::test]
async fn exec_over_spdy_has_a_stream_for_each_direction_and_tells_the_end_on_another() {
    let port = port().await;
    let mut connection =
        port.spdy("/exec/demo/hello/main?command=cat&input=1&output=1&error=1", "v4.channel.k8s.io").await;
    let mut client = Client::new();
    for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
        connection.write_all(&client.open(stream, &[("streamType", kind)])).await.unwrap();
    }
    connection.write_all(&data(3, b"hello", false)).await.unwrap();
    connection.write_all(&data(3, b" you", true)).await.unwrap();
    let mut said = until_end(&mut connection, &[1, 5, 7]).await;
    let status: Value = serde_json::from_str(&said.remove(&1).unwrap()).unwrap();
    assert_eq!(status["details"]["causes"][0]["message"], json!("3"));
    assert_eq!(said, BTreeMap::from([(5, "HELLO YOU".to_owned()), (7, "cat".to_owned())]));
}

#[tokio::test]
async fn a_terminal_has_one_stream_of_output_and_one_for_its_size() {
    let port = port().await;
    let mut connection = port.spdy("/attach/demo/hello/main?input=1&output=1&tty=1", "v4.channel.k8s.io").await;
    let mut client = Client::new();
    for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "resize")] {
        connection.write_all(&client.open(stream, &[("streamType", kind)])).await.unwrap();
    }
    connection.write_all(&data(7, b"{\"Width\":80,\"Height\":24}\n", true)).await.unwrap();
    assert_eq!(next_data(&mut connection).await, (5, "{\"rows\":24,\"columns\":80}".to_owned(), false));
    connection.write_all(&data(3, b"", true)).await.unwrap();
    assert_eq!(until_end(&mut connection, &[1, 5]).await[&5], "");
}
