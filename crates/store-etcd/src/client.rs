//! Calls to etcd, and what their failures mean.

use crate::proto::{self, StatusRequest, StatusResponse};
use http::uri::PathAndQuery;
use orrery_store::StoreError;
use prost::Message;
use std::time::Duration;
use tonic::client::Grpc;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// The oldest etcd that is taken. Before it, an answer about progress may come before the events that it speaks of
/// (etcd-io/etcd issues 15220 and 17507).
pub const OLDEST: (u64, u64, u64) = (3, 5, 13);

/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a read is tried when etcd is not to be reached, and how long to wait in between. A write is never repeated
/// here: nobody knows what became of it.
const READ_ATTEMPTS: u32 = 5;
const READ_PAUSE: Duration = Duration::from_millis(200);

/// How to reach etcd and what to keep there.
#[derive(Debug, Clone)]
pub struct EtcdOptions {
    /// Such as `https://10.0.0.1:2379`, one for each member; also `unix:/path`.
    pub endpoints: Vec<String>,
    /// How to know etcd and be known to it; none for plain connections.
    pub tls: Option<EtcdTls>,
    /// Stands before every key, with a slash, such as `/orrery/supervisor-1`: several stores can share one etcd.
    pub root: String,
    /// How long history is kept. None when somebody else compacts.
    pub history_age: Option<Duration>,
    /// How many batches of changes may wait for a watcher before its watch is paused.
    pub watch_buffer: usize,
    /// How often a watch that has been given everything is told so.
    pub progress_interval: Duration,
}

impl EtcdOptions {
    /// The usual settings.
    #[must_use]
    pub fn new(endpoints: Vec<String>, root: impl Into<String>) -> Self {
        Self {
            endpoints,
            tls: None,
            root: root.into(),
            history_age: Some(Duration::from_secs(5 * 60)),
            watch_buffer: 64,
            progress_interval: Duration::from_secs(5),
        }
    }
}

/// Certificates for etcd's client port. All in PEM.
#[derive(Debug, Clone)]
pub struct EtcdTls {
    /// Who signs etcd's certificates. Nobody else is trusted.
    pub server_ca: String,
    /// Our certificate.
    pub certificate: String,
    /// Our key.
    pub key: String,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The list of endpoints is of no use.
    #[error("{0:?} is no endpoint of etcd; give one such as https://10.0.0.1:2379 for each member")]
    Endpoint(String),
    /// The certificates are of no use.
    #[error("the certificates for etcd are of no use")]
    Tls(#[source] tonic::transport::Error),
    /// A member cannot be asked what it is.
    #[error("cannot reach etcd at {endpoint}; look whether it runs and whether the certificates are right")]
    Unreachable {
        /// Which one.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<Status>,
    },
    /// A member is too old.
    #[error(
        "etcd at {endpoint} is {found}; {}.{}.{} or newer is needed, as older ones tell watchers that they have everything when \
         they have not",
        OLDEST.0, OLDEST.1, OLDEST.2
    )]
    TooOld {
        /// Which one.
        endpoint: String,
        /// Its version.
        found: String,
    },
}

/// The calls.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    channel: Channel,
}

impl Client {
    /// Asks every member that can be reached for its version; one has to answer. Later calls go to any of them.
    pub(crate) async fn connect(options: &EtcdOptions) -> Result<Self, ConnectError> {
        let endpoints = options.endpoints.iter().map(|text| endpoint(text, options.tls.as_ref()));
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        let mut unreachable = Err(ConnectError::Endpoint(String::new()));
        for (endpoint, text) in endpoints.iter().zip(&options.endpoints) {
            let client = Self { channel: endpoint.connect_lazy() };
            match client.call::<_, StatusResponse>("/etcdserverpb.Maintenance/Status", StatusRequest {}).await {
                Ok(status) if new_enough(&status.version) => unreachable = unreachable.or(Ok(client)),
                Ok(status) => return Err(ConnectError::TooOld { endpoint: text.clone(), found: status.version }),
                Err(source) if unreachable.is_err() => {
                    let (endpoint, source) = (text.clone(), Box::new(source));
                    unreachable = Err(ConnectError::Unreachable { endpoint, source });
                }
                Err(error) => tracing::warn!(endpoint = %text, %error, "this member of etcd does not answer"),
            }
        }
        let only = unreachable?;
        if endpoints.len() == 1 {
            return Ok(only);
        }
        Ok(Self { channel: Channel::balance_list(endpoints.into_iter()) })
    }

    /// A client without limits on what it takes: etcd has its own, and a large range is a right answer.
    pub(crate) fn grpc(&self) -> Grpc<Channel> {
        Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX)
    }

    /// One call.
    pub(crate) async fn call<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc();
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::unavailable(format!("no connection: {error}")))?;
        let mut request = Request::new(message);
        request.set_timeout(CALL_TIMEOUT);
        let codec = ProstCodec::<Q, A>::default();
        let answered = tokio::time::timeout(CALL_TIMEOUT, grpc.unary(request, PathAndQuery::from_static(path), codec));
        let answered = answered.await.map_err(|_| Status::deadline_exceeded("no answer in time"))?;
        answered.map(tonic::Response::into_inner)
    }

    /// A read: tried again when etcd is not to be reached, such as while it chooses a leader.
    pub(crate) async fn range(&self, request: proto::RangeRequest) -> Result<proto::RangeResponse, Status> {
        let mut attempt = 1;
        loop {
            match self.call("/etcdserverpb.KV/Range", request.clone()).await {
                Err(status) if status.code() == Code::Unavailable && attempt < READ_ATTEMPTS => attempt += 1,
                result => return result,
            }
            tokio::time::sleep(READ_PAUSE).await;
        }
    }
}

fn endpoint(text: &str, tls: Option<&EtcdTls>) -> Result<Endpoint, ConnectError> {
    let wrong = || ConnectError::Endpoint(text.to_owned());
    if !["http://", "https://", "unix:"].iter().any(|scheme| text.starts_with(scheme)) {
        return Err(wrong());
    }
    let endpoint = Endpoint::from_shared(text.to_owned()).map_err(|_| wrong())?;
    let endpoint = endpoint
        .connect_timeout(CALL_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20);
    let Some(tls) = tls else { return Ok(endpoint) };
    let config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&tls.server_ca))
        .identity(Identity::from_pem(&tls.certificate, &tls.key));
    endpoint.tls_config(config).map_err(ConnectError::Tls)
}

/// Whether a version such as `3.5.30` or `3.6.0-rc.1` will do.
fn new_enough(version: &str) -> bool {
    let release = version.split(['-', '+']).next().unwrap_or("");
    let numbers: Vec<u64> = release.split('.').map_while(|part| part.parse().ok()).collect();
    matches!(numbers[..], [major, minor, patch, ..] if (major, minor, patch) >= OLDEST)
}

/// What etcd says when a revision is gone.
pub(crate) fn is_compacted(status: &Status) -> bool {
    status.code() == Code::OutOfRange && status.message().contains("has been compacted")
}

/// What etcd says when a revision is not there yet.
pub(crate) fn is_future(status: &Status) -> bool {
    status.code() == Code::OutOfRange && status.message().contains("future revision")
}

/// What a failure means to who uses the store.
pub(crate) fn failure(doing: &'static str, status: Status) -> StoreError {
    if status.message().contains("database space exceeded") {
        return StoreError::Unwritable(format!(
            "etcd has used up the space that it was given: compact and defragment it, give it more (--quota-backend-bytes), then \
             disarm the alarm (etcdctl alarm disarm) ({})",
            status.message()
        ));
    }
    StoreError::Backend { doing, source: Box::new(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_from_3_5_13_on_will_do() {
        for (version, expected) in [
            ("3.4.23", false),
            ("3.4.99", false),
            ("3.5.12", false),
            ("3.5.13", true),
            ("3.5.30", true),
            ("3.6.0-rc.1", true),
            ("4.0.0", true),
            ("3.5", false),
            ("", false),
            ("nonsense", false),
        ] {
            assert_eq!(new_enough(version), expected, "{version}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in ["", "10.0.0.1:2379", "ftp://10.0.0.1", "http://"] {
            assert!(matches!(endpoint(text, None), Err(ConnectError::Endpoint(_))), "{text:?}");
        }
        assert!(endpoint("http://127.0.0.1:2379", None).is_ok());
        assert!(endpoint("unix:/run/etcd.sock", None).is_ok());
    }
}
