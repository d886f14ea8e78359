//! The port as a client sees it: mutual TLS, logs, WebSockets, SPDY.

mod ports;
mod spdy;

use super::{Served, serve, tls};
use crate::{host::fake::FakeShim, pods::Directory, pods::Known, stats::Stats};
use futures::{SinkExt, StreamExt};
use orrery_identity::{Authority, Profile, Usage};
use orrery_lifecycle::{
    pod::PodView,
    probe::{Outcome, ProbeKind},
};
use orrery_wire::shim::{ContainerStatus, MachinePhase, MachineStatus};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use tokio_util::sync::CancellationToken;

struct Port {
    address: SocketAddr,
    directory: tempfile::TempDir,
    clients: Authority,
    serving_ca: String,
    shim: Arc<FakeShim>,
    facts: watch::Sender<Known>,
    _ends: tokio_util::sync::DropGuard,
}

fn profile(usage: Usage, name: &str) -> Profile {
    Profile {
        common_name: name.into(),
        organization: None,
        alternative_names: if usage == Usage::Server { vec!["127.0.0.1".into()] } else { vec![] },
        usage,
        lifetime: Duration::from_secs(600),
    }
}

fn known(directory: &std::path::Path, socket: &std::path::Path) -> Known {
    let pod = json!({
        "metadata": { "name": "hello", "namespace": "demo", "uid": "0f8fad5b-d9cb-469f-a165-70867728950e" },
        "spec": { "containers": [{ "name": "main", "stdin": true }] },
    });
    let pod = PodView::project(&serde_json::from_value(pod).unwrap()).unwrap();
    let container = ContainerStatus {
        name: "main".into(),
        attempt: 1,
        boot: 1,
        started_at: 1,
        exit: None,
        log_file: "main/1.log".into(),
    };
    let status = MachineStatus {
        sequence: 1,
        phase: MachinePhase::Running,
        boot: 1,
        booted_at: 1,
        qemu_pid: None,
        last_end: None,
        containers: vec![container],
    };
    Known {
        shim_socket: Some(socket.into()),
        log_directory: Some(directory.into()),
        status: Some(status),
        containers: Arc::new(pod.containers),
        ..Known::default()
    }
}

async fn port() -> Port {
    let directory = tempfile::tempdir().unwrap();
    let serving = Authority::load_or_create(directory.path(), "serving").unwrap();
    let clients = Authority::load_or_create(directory.path(), "clients").unwrap();
    let own = serving.issue(&profile(Usage::Server, "host-1")).unwrap();
    let config = tls(&own, clients.certificate_pem()).unwrap();
    let socket = directory.path().join("shim.sock");
    let (shim, _) = FakeShim::start(&socket);
    let (facts_in, facts) = watch::channel(known(directory.path(), &socket));
    let pods = Directory::default();
    pods.insert_for_test("demo", "hello", facts);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ends = CancellationToken::new();
    let stats = Stats::new(pods.clone(), directory.path().to_owned());
    let served = Served { directory: pods, stats, node: "host-1".into() };
    tokio::spawn(serve(Arc::new(listener), config, served, ends.clone()));
    let serving_ca = serving.certificate_pem().to_owned();
    Port { address, directory, clients, serving_ca, shim, facts: facts_in, _ends: ends.drop_guard() }
}

impl Port {
    async fn connect(&self, authority: &Authority) -> std::io::Result<TlsStream<TcpStream>> {
        let credentials = authority.issue(&profile(Usage::Client, "kube-apiserver")).unwrap();
        let config = orrery_identity::tls::client(&self.serving_ca, Some(&credentials), &["http/1.1"]).unwrap();
        let socket = TcpStream::connect(self.address).await?;
        TlsConnector::from(config).connect(ServerName::try_from("127.0.0.1").unwrap(), socket).await
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = self.connect(&self.clients).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The end of TLS is not always announced.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn websocket(&self, path: &str, protocol: &str) -> WebSocketStream<TlsStream<TcpStream>> {
        let mut request = format!("ws://127.0.0.1{path}").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
        let stream = self.connect(&self.clients).await.unwrap();
        let (socket, response) = client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], protocol);
        socket
    }
}

async fn next(socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> (u8, String) {
    let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() else { panic!("a binary message was expected") };
    (bytes[0], String::from_utf8(bytes[1..].to_vec()).unwrap())
}

#[tokio::test]
async fn only_clients_of_the_right_authority_are_served() {
    let port = port().await;
    assert!(port.get("/healthz").await.ends_with("ok"));
    let other = tempfile::tempdir().unwrap();
    let stranger = Authority::load_or_create(other.path(), "strangers").unwrap();
    // With TLS 1.3 the refusal is seen with the first read.
    if let Ok(mut stream) = port.connect(&stranger).await {
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n").await;
        assert!(stream.read(&mut [0; 16]).await.is_err());
    }
}

#[tokio::test]
async fn logs_of_this_attempt_and_of_the_one_before_are_sent() {
    let port = port().await;
    std::fs::create_dir(port.directory.path().join("main")).unwrap();
    let file = |attempt: u32, text: &str| {
        let line = format!("2026-07-29T10:00:00Z stdout F {text}\n");
        std::fs::write(port.directory.path().join(format!("main/{attempt}.log")), line).unwrap();
    };
    file(0, "before");
    file(1, "now");
    assert!(port.get("/containerLogs/demo/hello/main").await.contains("now\n"));
    let previous = port.get("/containerLogs/demo/hello/main?previous=true&timestamps=true").await;
    assert!(previous.contains("2026-07-29T10:00:00Z before\n"), "{previous}");
    assert!(port.get("/containerLogs/demo/hello/other").await.starts_with("HTTP/1.1 404"));
    assert!(port.get("/containerLogs/demo/none/main").await.starts_with("HTTP/1.1 404"));
    assert!(port.get("/containerLogs/demo/hello/main?tailLines=x").await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn how_probes_ended_is_told_as_the_kubelet_does() {
    let port = port().await;
    port.facts.send_modify(|known| {
        known.probes.count("main", ProbeKind::Liveness, &Outcome::Success);
        known.probes.count("main", ProbeKind::Liveness, &Outcome::Success);
        known.probes.count("main", ProbeKind::Readiness, &Outcome::Failure("no".into()));
    });
    let answer = port.get("/metrics/probes").await;
    let pod = "container=\"main\",namespace=\"demo\",pod=\"hello\",pod_uid=\"00000000-0000-0000-0000-000000000000\"";
    for line in [
        format!("prober_probe_total{{{pod},probe_type=\"Liveness\",result=\"successful\"}} 2"),
        format!("prober_probe_total{{{pod},probe_type=\"Readiness\",result=\"failed\"}} 1"),
    ] {
        assert!(answer.lines().any(|told| told == line), "{line} is not in\n{answer}");
    }
}

#[tokio::test]
async fn what_machines_use_is_told_and_one_that_is_silent_holds_nobody_up() {
    let port = port().await;
    let summary = port.get("/stats/summary").await;
    let (_, body) = summary.split_once("\r\n\r\n").unwrap();
    let summary: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let container = &summary["pods"][0]["containers"][0];
    assert_eq!(
        (&container["name"], &container["cpu"]["usageCoreNanoSeconds"]),
        (&json!("main"), &json!(1_000_000_000))
    );
    assert!(summary["node"]["memory"]["workingSetBytes"].as_u64().unwrap() > 0);
    let metrics = port.get("/metrics/resource").await;
    let line = "container_cpu_usage_seconds_total{container=\"main\",namespace=\"demo\",pod=\"hello\"} 1 1000";
    assert!(metrics.contains(line) && metrics.contains("resource_scrape_error 0"), "{metrics}");
    // Its shim is gone.
    let nowhere = port.directory.path().join("nowhere.sock");
    port.facts.send_modify(|known| known.shim_socket = Some(nowhere));
    let metrics = port.get("/metrics/resource").await;
    assert!(metrics.contains("resource_scrape_error 1") && metrics.contains("node_cpu_usage"), "{metrics}");
}

#[tokio::test]
async fn exec_joins_the_client_with_a_process() {
    let port = port().await;
    let path = "/exec/demo/hello/main?command=cat&command=-&input=1&output=1&error=1";
    let mut socket = port.websocket(path, "v5.channel.k8s.io").await;
    assert_eq!(next(&mut socket).await, (2, "cat -".into()));
    socket.send(Message::binary(b"\0hello".to_vec())).await.unwrap();
    assert_eq!(next(&mut socket).await, (1, "HELLO".into()));
    socket.send(Message::binary(b"\x04{\"Width\":80,\"Height\":24}".to_vec())).await.unwrap();
    assert_eq!(next(&mut socket).await, (1, "{\"rows\":24,\"columns\":80}".into()));
    socket.send(Message::binary(vec![255, 0])).await.unwrap();
    let (channel, status) = next(&mut socket).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!((channel, &status["details"]["causes"][0]["message"]), (3, &json!("3")));
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    assert_eq!(port.shim.requests().len(), 1);
}

#[tokio::test]
async fn attach_speaks_the_older_dialect_and_leaves_out_what_was_not_asked_for() {
    let port = port().await;
    let mut socket = port.websocket("/attach/demo/hello/main?stdin=true&stdout=true", "v4.channel.k8s.io").await;
    socket.send(Message::binary(vec![b'x'; 200_000])).await.unwrap();
    let mut big = vec![0];
    big.extend(vec![b'y'; 200_000]);
    socket.send(Message::binary(big)).await.unwrap();
    let mut received = 0;
    while received < 200_000 {
        let (channel, text) = next(&mut socket).await;
        assert!(channel == 1 && text.bytes().all(|byte| byte == b'Y'));
        received += text.len();
    }
    assert_eq!(received, 200_000);
}

#[tokio::test]
async fn streams_are_refused_where_they_cannot_be() {
    let port = port().await;
    let plain = port.get("/exec/demo/hello/main?command=sh&output=1").await;
    assert!(plain.starts_with("HTTP/1.1 400") && plain.contains("WebSocket"), "{plain}");
    let mut request = "ws://127.0.0.1/exec/demo/hello/none?command=sh&output=1".into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "v5.channel.k8s.io".parse().unwrap());
    let stream = port.connect(&port.clients).await.unwrap();
    assert!(client_async(request, stream).await.unwrap_err().to_string().contains("404"));
}
