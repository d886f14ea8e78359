//! One HTTP exchange with a registry: certainty about who answers, bounds on how long and how much.

use super::error::RegistryError;
use super::settings::Settings;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Speaks HTTP to the hosts that one pull needs.
pub(super) struct Transport {
    settings: Settings,
    /// One for each set of authorities.
    clients: Mutex<HashMap<Option<PathBuf>, HttpClient>>,
}

/// Where a request goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// Host and port as they stand in the address.
    pub(super) host: String,
    pub(super) plain: bool,
    /// The authorities that are believed beside the system's.
    pub(super) ca: Option<PathBuf>,
}

impl Origin {
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.plain { "http" } else { "https" }, self.host)
    }
}

impl Transport {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, clients: Mutex::default() }
    }

    /// The origin of a registry, by what is set for it.
    pub(super) fn origin(&self, host: &str) -> Origin {
        let registry = self.settings.registry(host);
        // The registry that has the default name is served under another.
        let host = if host == "docker.io" { "registry-1.docker.io" } else { host };
        Origin { host: host.to_owned(), plain: registry.plain_http, ca: registry.ca }
    }

    /// The origin of an address that a registry named. One that is not set to plain HTTP may not lead to it.
    pub(super) fn named(&self, from: &Origin, location: &Uri) -> Result<Origin, RegistryError> {
        let wrong = |what: String| RegistryError::Protocol { host: from.host.clone(), what };
        let host = location.authority().map(|authority| authority.as_str());
        let host = host.filter(|host| !host.contains('@')).ok_or_else(|| wrong(format!("it names {location}")))?;
        let plain = match location.scheme_str() {
            Some("https") => false,
            Some("http") if from.plain || self.settings.registry(host).plain_http => true,
            _ => return Err(wrong(format!("it leads to {location}, which is not secure"))),
        };
        Ok(Origin { host: host.to_owned(), plain, ca: self.settings.registry(host).ca.or_else(|| from.ca.clone()) })
    }

    /// Sends a request and gives the head of the answer, whatever its status.
    pub(super) async fn send(
        &self,
        origin: &Origin,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, RegistryError> {
        let protocol = |error: http::Error| RegistryError::Protocol {
            host: origin.host.clone(),
            what: format!("its address cannot be used ({error})"),
        };
        let mut request =
            Request::builder().method(method).uri(origin.url(path)).body(Full::new(body)).map_err(protocol)?;
        *request.headers_mut() = headers;
        let agent = http::HeaderValue::from_static(concat!("orrery/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(http::header::USER_AGENT, agent);
        let client = self.client(origin.ca.as_deref())?;
        let connect = |error: hyper_util::client::legacy::Error| RegistryError::Connect {
            host: origin.host.clone(),
            plain: origin.plain,
            source: Box::new(error),
        };
        self.in_time(origin, "its answer was waited for", client.request(request)).await?.map_err(connect)
    }

    /// The next piece of an answer's body; none at its end.
    pub(super) async fn chunk(&self, origin: &Origin, body: &mut Incoming) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let broken =
                |error: hyper::Error| RegistryError::Broken { host: origin.host.clone(), source: Box::new(error) };
            let frame = self.in_time(origin, "its answer came", body.frame()).await?;
            let Some(frame) = frame.transpose().map_err(broken)? else { return Ok(None) };
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// A whole body, of at most `limit` bytes.
    pub(super) async fn document(
        &self,
        origin: &Origin,
        mut body: Incoming,
        what: &'static str,
        limit: usize,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut content = Vec::new();
        while let Some(chunk) = self.chunk(origin, &mut body).await? {
            if content.len() + chunk.len() > limit {
                return Err(RegistryError::TooLong { host: origin.host.clone(), what, limit });
            }
            content.extend_from_slice(&chunk);
        }
        Ok(content)
    }

    async fn in_time<T>(
        &self,
        origin: &Origin,
        doing: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, RegistryError> {
        let idle = self.settings.idle_timeout;
        let late = |_| RegistryError::Idle { host: origin.host.clone(), seconds: idle.as_secs(), doing };
        tokio::time::timeout(idle, work).await.map_err(late)
    }

    fn client(&self, ca: Option<&Path>) -> Result<HttpClient, RegistryError> {
        let mut clients = self.clients.lock().expect("nobody panics while holding this lock");
        if let Some(client) = clients.get(&ca.map(Path::to_owned)) {
            return Ok(client.clone());
        }
        let client = make_client(ca)?;
        clients.insert(ca.map(Path::to_owned), client.clone());
        Ok(client)
    }
}

fn make_client(ca: Option<&Path>) -> Result<HttpClient, RegistryError> {
    let mut roots = system_roots().clone();
    if let Some(path) = ca {
        let fail = |source| RegistryError::Authority { path: path.to_owned(), source };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| fail(Box::new(error)))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| fail(Box::new(error)))?;
            roots.add(certificate).map_err(|error| fail(Box::new(error)))?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
    Ok(Client::builder(TokioExecutor::new()).build(connector.wrap_connector(tcp)))
}

/// The authorities that this machine believes.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        if let Some(error) = found.errors.first() {
            tracing::warn!(%error, "not all of the system's certificate authorities can be read");
        }
        roots.add_parsable_certificates(found.certs);
        roots
    })
}
