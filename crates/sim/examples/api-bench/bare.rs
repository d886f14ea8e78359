//! The peer: the same sockets, TLS, HTTP and store, and nothing between them.

use crate::{Failure, NAMESPACE, product, wire::Target};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use orrery_identity::{
    Authority, Profile, Usage,
    tls::{self, Clients},
};
use orrery_store::{Embedded, EmbeddedOptions, Op, Store, Txn};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;

/// The file with the object that it gives out.
const OBJECT: &str = "bare-object.json";

type Body = UnsyncBoxBody<Bytes, Failure>;

/// The peer's process.
pub(crate) struct Bare {
    pub(crate) target: Target,
    child: Child,
}

impl Bare {
    /// Starts it; `object` is what it gives out, the product's own pod as that gives it out.
    pub(crate) fn start(directory: &Path, object: &[u8]) -> Result<Self, Failure> {
        std::fs::write(directory.join(OBJECT), object)?;
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("bare").arg(directory).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().ok_or("it is piped")?).read_line(&mut address)?;
        let server_ca_pem = std::fs::read_to_string(directory.join("bare-ca.pem"))?;
        let target = Target { address: address.trim().to_owned(), server_ca_pem, credentials: None };
        Ok(Self { target, child })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It holds nothing that is worth an orderly end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Server {
    store: Embedded,
    object: Bytes,
    /// Objects of one namespace, with commas.
    items: Bytes,
    events: broadcast::Sender<Bytes>,
}

/// Serves until killed, or until who started it is gone.
pub(crate) async fn serve(directory: &Path) -> Result<(), Failure> {
    std::thread::spawn(|| {
        // Nothing is written there: it only ends.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let keys = directory.join("bare-pki");
    std::fs::create_dir_all(&keys)?;
    let authority = Authority::load_or_create(&keys, "bare")?;
    std::fs::write(directory.join("bare-ca.pem"), authority.certificate_pem())?;
    let credentials = authority.issue(&Profile {
        common_name: "bare".to_owned(),
        organization: None,
        alternative_names: vec!["127.0.0.1".to_owned()],
        usage: Usage::Server,
        lifetime: Duration::from_secs(24 * 3600),
    })?;
    // It asks for certificates as the product does.
    let clients = Clients::Optional(authority.certificate_pem());
    let tls = tls::server(&credentials, clients, &["h2", "http/1.1"])?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let object = Bytes::from(std::fs::read(directory.join(OBJECT))?);
    let items = [&object[..], b","].concat().repeat(NAMESPACE);
    let store = Embedded::open(&directory.join("bare.db"), EmbeddedOptions::default()).await?;
    let server = Arc::new(Server { store, object, items: items.into(), events: broadcast::Sender::new(4096) });
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, server) = (acceptor.clone(), Arc::clone(&server));
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| answer(Arc::clone(&server), request));
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http2().max_concurrent_streams(250);
            // A client that goes away is no error.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(server: Arc<Server>, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let path = request.uri().path().to_owned();
    let body = match *request.method() {
        Method::POST | Method::PATCH => {
            let value = request.into_body().collect().await?.to_bytes();
            // A number makes names of their own out of the paths that many share.
            let key = format!("{path}/{}", rand::random::<u64>());
            // It is read, as the product does, and what the product would store is stored.
            drop(value);
            let ops = vec![Op::Put { key, value: server.object.clone(), ttl: None }];
            server.store.txn(Txn { compare: Vec::new(), ops }).await?;
            if path.contains(product::WATCHED) {
                let line = [b"{\"type\":\"MODIFIED\",\"object\":", &server.object[..], b"}\n"].concat();
                // Nobody may watch yet.
                let _ = server.events.send(line.into());
            }
            full(server.object.clone())
        }
        Method::GET if query.contains("watch=true") => watch(server.events.subscribe()),
        Method::GET if query.contains("bench-count=") => list(&server, &query),
        _ => full(server.object.clone()),
    };
    Ok(Response::new(body))
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn watch(events: broadcast::Receiver<Bytes>) -> Body {
    let events = tokio_stream::wrappers::BroadcastStream::new(events);
    StreamBody::new(events.map(|event| Ok(Frame::data(event?)))).boxed_unsync()
}

fn list(server: &Server, query: &str) -> Body {
    let number = |name: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse::<usize>().ok())
    };
    let left = number("bench-count").unwrap_or(0) - number("bench-seen").unwrap_or(0);
    let count = number("limit").map_or(left, |limit| limit.min(left));
    let token = if count < left { "\"continue\":\"more\"," } else { "" };
    let mut parts = vec![Bytes::from(format!("{{{token}\"items\":["))];
    let one = server.items.len() / NAMESPACE;
    let mut missing = count;
    while missing > 0 {
        let now = missing.min(100);
        parts.push(server.items.slice(..now * one));
        missing -= now;
    }
    parts.push(Bytes::from_static(b"null]}"));
    StreamBody::new(futures::stream::iter(parts.into_iter().map(|part| Ok(Frame::data(part))))).boxed_unsync()
}
