//! The control plane of a Supervisor: how it is asked for, and the process that is it.

use crate::{
    AuditOptions, Authorities, AuthoritiesError, SecurityError, TokenOptions, placer::ManagerPlacer, security,
    signer::AuthoritySigner, usage::Usage,
};
use kube::Client;
use nix::sys::socket::{setsockopt, sockopt};
use orrery_api::names::SupervisorName;
use orrery_apiserver::{
    ApiServer, Config as ApiConfig, ConfigError as ApiConfigError, KubeletAccess, ServeError, User,
};
use orrery_client::json::JsonClient;
use orrery_identity::{IdentityError, tls};
use orrery_store::{Embedded, EmbeddedOptions, OpenError};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

/// Name of the file that says that there is a control plane, in the Supervisor's directory.
const CONFIG_FILE: &str = "control-plane.json";
/// The version of that file.
pub const CONFIG_VERSION: u32 = 1;
/// Where Services' cluster addresses come from.
const SERVICE_RANGE: &str = "10.96.0.0/16";
/// How often the process looks for its configuration before enablement has written it.
const CONFIG_INTERVAL: Duration = Duration::from_millis(200);

/// What a control plane is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlPlaneConfig {
    /// Version of this file.
    pub version: u32,
    /// The Supervisor's name.
    pub supervisor: String,
    /// Where the API is served. With port 0 the system chooses a free one.
    pub listen: SocketAddr,
    /// How clients reach it, such as `https://127.0.0.1:6443`. When `listen` leaves the port open, the control plane
    /// writes here which one it got.
    pub endpoint: String,
    /// Where the API is served as well, for pods, and what the endpoints of the Service `kubernetes` say. None when pods
    /// cannot reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<SocketAddr>,
}

/// Why the configuration of a control plane can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read or written.
    #[error("cannot {doing} {path}")]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} is malformed; restore it from a backup")]
    Malformed {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A newer build has written the file.
    #[error("{path} is of version {version}, which this build does not know; use a newer build")]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        version: u32,
    },
}

impl ControlPlaneConfig {
    /// The configuration in a Supervisor's directory; none before it was asked for.
    ///
    /// # Errors
    /// When the file can't be read or is not ours.
    pub fn load(directory: &Path) -> Result<Option<Self>, ConfigError> {
        let path = directory.join(CONFIG_FILE);
        let shown = path.display().to_string();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ConfigError::File { doing: "read", path: shown, source }),
        };
        let config: Self =
            serde_json::from_slice(&text).map_err(|source| ConfigError::Malformed { path: shown.clone(), source })?;
        if config.version > CONFIG_VERSION {
            return Err(ConfigError::Newer { path: shown, version: config.version });
        }
        Ok(Some(config))
    }

    /// Writes the configuration, whole or not at all.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn store(&self, directory: &Path) -> Result<(), ConfigError> {
        let path = directory.join(CONFIG_FILE);
        let temporary = path.with_extension("new");
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other);
        let write = || {
            fs::create_dir_all(directory)?;
            fs::write(&temporary, text?)?;
            fs::File::open(&temporary)?.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| ConfigError::File { doing: "write", path: path.display().to_string(), source })
    }
}

/// What control planes run on: a process beside the manager, or virtual machines.
#[async_trait::async_trait]
pub trait ControlPlane: Send + Sync + 'static {
    /// Sees to it that the control plane of `supervisor` runs or is being started. Its authorities are there. Doing it
    /// again changes nothing.
    async fn deploy(&self, supervisor: &str) -> Result<(), DeployError>;

    /// Whether its API answers and is ready.
    async fn ready(&self, supervisor: &str) -> bool;
}

/// Why a control plane can't be asked for.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// Its configuration can't be written.
    #[error("cannot write the configuration of the control plane")]
    Config(#[from] ConfigError),
}

/// A control plane in a process of its own on the manager's machine, which waits for its configuration.
#[derive(Debug, Clone)]
pub struct EmbeddedControlPlane {
    /// The directory that holds one directory for each Supervisor.
    pub supervisors: PathBuf,
    /// Where the API is served.
    pub listen: SocketAddr,
    /// Where it is served for pods, if they can reach it.
    pub advertise: Option<SocketAddr>,
}

#[async_trait::async_trait]
impl ControlPlane for EmbeddedControlPlane {
    async fn deploy(&self, supervisor: &str) -> Result<(), DeployError> {
        let config = ControlPlaneConfig {
            version: CONFIG_VERSION,
            supervisor: supervisor.to_owned(),
            listen: self.listen,
            endpoint: format!("https://{}", self.listen),
            advertise: self.advertise,
        };
        Ok(config.store(&self.supervisors.join(supervisor))?)
    }

    async fn ready(&self, supervisor: &str) -> bool {
        let directory = self.supervisors.join(supervisor);
        let Ok(authorities) = Authorities::load_or_create(&directory.join("pki")) else { return false };
        let endpoint = format!("https://{}", self.listen);
        let Ok(client) = JsonClient::anonymous(&endpoint, authorities.server_ca_pem(), Duration::from_secs(2)) else {
            return false;
        };
        client.get_text("/readyz").await.is_ok()
    }
}

/// What the control plane's process is told.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// The Supervisor's directory.
    pub directory: PathBuf,
    /// The Supervisor's name.
    pub supervisor: SupervisorName,
    /// A kubeconfig for the manager's API; written by the manager's machine and renewed there.
    pub manager_kubeconfig: PathBuf,
    /// How tokens of service accounts are issued.
    pub tokens: TokenOptions,
    /// What is written down about requests.
    pub audit: AuditOptions,
    /// How long everything is served on after shutdown was asked for, while `/readyz` fails.
    pub grace: Duration,
}

/// Why the control plane ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its configuration is of no use.
    #[error("the control plane's configuration is of no use")]
    Config(#[from] ConfigError),
    /// Its authorities are of no use.
    #[error("the control plane's authorities are of no use")]
    Authorities(#[from] AuthoritiesError),
    /// Its certificates are of no use.
    #[error("the control plane's certificates are of no use")]
    Identity(#[from] IdentityError),
    /// Its token key or audit log is of no use.
    #[error("the control plane cannot prove or record")]
    Security(#[from] SecurityError),
    /// Its store can't be opened.
    #[error("cannot open the store")]
    Store(#[from] OpenError),
    /// The API server can't be made.
    #[error("cannot make the API server")]
    Api(#[from] ApiConfigError),
    /// The address is not to be had.
    #[error("cannot listen on {address}; another process may use it (see: ss -ltnp)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The API server ended with an error.
    #[error("the API server ended")]
    Serve(#[from] ServeError),
}

/// The control plane: waits for its configuration, then serves the API and runs the controllers until `shutdown`.
///
/// # Errors
/// When the configuration, the store or the address can't be used, or the server fails.
pub async fn run(config: RunConfig, shutdown: CancellationToken) -> Result<(), RunError> {
    let Some(deployed) = wait_for_config(&config.directory, &shutdown).await? else { return Ok(()) };
    let authorities = Arc::new(Authorities::load_or_create(&config.directory.join("pki"))?);
    let advertise = deployed.advertise;
    let (listener, address, endpoint) = listen(deployed, &config.directory).await?;
    let for_pods = advertise.and_then(listen_for_pods);
    let names = [Some(address), advertise].into_iter().flatten().map(|address| address.ip().to_string());
    let serving = authorities.issue_serving(&names.chain([first_service_address()]).collect::<Vec<_>>())?;
    let tls = tls::server(&serving, tls::Clients::Optional(authorities.client_ca_pem()), &["h2", "http/1.1"])?;
    let store = Embedded::open(&config.directory.join("store.db"), EmbeddedOptions::default()).await?;
    let store = Arc::new(store);
    let mut api = ApiConfig::new(orrery_kinds::resources(), Arc::clone(&store) as _);
    api.bootstrap = true;
    let settings = orrery_admission::Settings { service_range: SERVICE_RANGE.parse().expect("the range is one") };
    api.admission = orrery_admission::plugins(settings);
    let usage = Arc::new(orrery_resource_metrics::ResourceMetrics::default());
    let aggregation = Arc::new(orrery_aggregation::Aggregation::new(orrery_aggregation::Settings {
        front_proxy: authorities.issue_front_proxy()?,
        front_proxy_ca_pem: authorities.front_proxy_ca_pem().to_owned(),
        client_ca_pem: authorities.client_ca_pem().to_owned(),
        inside: vec![Arc::new(Usage(Arc::clone(&usage)))],
    }));
    api.aggregator = Some(Arc::clone(&aggregation) as _);
    api.converter = Some(Arc::new(orrery_conversion::Webhooks::default()));
    api.objects = orrery_admission::bootstrap(settings, address.port());
    api.kubelet = Some(KubeletAccess {
        credentials: authorities.issue_kubelet_client()?,
        server_ca_pem: authorities.kubelet_serving_ca_pem().to_owned(),
    });
    api.tokens = Some(security::tokens(&config.directory.join("pki"), &endpoint, &config.tokens)?);
    api.audit = Some(security::audit(&config.directory, &config.audit)?);
    api.limits.grace = config.grace;
    let metrics = orrery_workloads::Metrics::default();
    let told = metrics.clone();
    api.metrics.push(Box::new(move |registry| told.register(registry)));
    let server = ApiServer::new(api).await?;
    let controllers = run_controllers(Arc::clone(&server), config, authorities, metrics, shutdown.clone());
    let controllers = tokio::spawn(controllers);
    let own = Client::new(server.in_process(User::new("system:apiserver", ["system:masters"])), "default");
    let presence = tokio::spawn(present(own, Arc::clone(&server), for_pods, Arc::clone(&tls), shutdown.clone()));
    let own = Client::new(server.in_process(User::new("system:apiserver", ["system:masters"])), "default");
    usage.attach(own.clone());
    let end = shutdown.clone();
    let aggregator = tokio::spawn(async move { aggregation.run(own, end).await });
    let result = server.serve(listener, tls, shutdown.clone()).await;
    shutdown.cancel();
    if let Err(error) = controllers.await {
        tracing::error!(%error, "the controllers ended badly");
    }
    if let Err(error) = presence.await {
        tracing::error!(%error, "serving the API for pods ended badly");
    }
    if let Err(error) = aggregator.await {
        tracing::error!(%error, "the aggregation of API servers ended badly");
    }
    store.close().await;
    Ok(result?)
}

/// The address of the Service `kubernetes`, which clients in pods call the server by.
fn first_service_address() -> String {
    let range: orrery_admission::Range = SERVICE_RANGE.parse().expect("the range is one");
    range.first().to_string()
}

/// Binds an address that pods reach, which need not be there yet: the bridge of pods comes with the host.
///
/// Without it the API is served for everybody else all the same.
fn listen_for_pods(address: SocketAddr) -> Option<TcpListener> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        setsockopt(&socket, sockopt::IpFreebind, &true)?;
        socket.bind(address)?;
        socket.listen(1024)
    };
    let told =
        |error| tracing::error!(%address, %error, "the API is not served for pods: the address is not to be had");
    bind().map_err(told).ok()
}

/// Serves the API for pods and says so in the API, until `shutdown`.
async fn present(
    client: Client,
    server: Arc<ApiServer>,
    listener: Option<TcpListener>,
    tls: Arc<rustls::ServerConfig>,
    shutdown: CancellationToken,
) {
    let Some(listener) = listener else { return };
    let Ok(address) = listener.local_addr() else { return };
    let served = server.serve(listener, tls, shutdown.clone());
    let (served, ()) = tokio::join!(served, orrery_presence::run(client, address, shutdown.clone()));
    if let Err(error) = served {
        tracing::error!(%error, "the API is not served for pods");
    }
}

/// Binds the configured address, and writes down which port the system chose when it had the choice. Also gives the address
/// that it is, and the endpoint under which clients reach it.
async fn listen(
    mut deployed: ControlPlaneConfig,
    directory: &Path,
) -> Result<(TcpListener, SocketAddr, String), RunError> {
    let address = deployed.listen;
    let failed = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    if address.port() == 0 {
        deployed.endpoint = format!("https://{bound}");
        deployed.store(directory)?;
    }
    Ok((listener, bound, deployed.endpoint))
}

/// The controllers and the scheduler, over the server's router in this process.
async fn run_controllers(
    server: Arc<ApiServer>,
    config: RunConfig,
    authorities: Arc<Authorities>,
    metrics: orrery_workloads::Metrics,
    shutdown: CancellationToken,
) {
    // Not `system:masters`: what controllers may do is in the role `orrery:controllers`, for everybody to see.
    let user = User::new("system:kube-controller-manager", ["orrery:controllers"]);
    let client = Client::new(server.in_process(user), "default");
    let workloads = orrery_workloads::Config {
        client,
        placer: Arc::new(ManagerPlacer::new(config.manager_kubeconfig)),
        supervisor: config.supervisor.to_string(),
        root_ca_pem: Some(authorities.server_ca_pem().to_owned()),
        signer: Some(Arc::new(AuthoritySigner(authorities))),
        metrics,
    };
    orrery_workloads::run(workloads, shutdown).await;
}

async fn wait_for_config(
    directory: &Path,
    shutdown: &CancellationToken,
) -> Result<Option<ControlPlaneConfig>, ConfigError> {
    tracing::info!("waiting for enablement");
    loop {
        if let Some(config) = ControlPlaneConfig::load(directory)? {
            return Ok(Some(config));
        }
        tokio::select! {
            // Cancel-safe: neither arm has begun anything.
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(CONFIG_INTERVAL) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_was_left_open_is_written_down() {
        let directory = tempfile::tempdir().unwrap();
        let config = ControlPlaneConfig {
            version: CONFIG_VERSION,
            supervisor: "supervisor-1".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            endpoint: "https://127.0.0.1:0".into(),
            advertise: None,
        };
        let (_listener, bound, _) = listen(config, directory.path()).await.unwrap();
        let written = ControlPlaneConfig::load(directory.path()).unwrap().unwrap();
        assert_eq!(written.endpoint, format!("https://{bound}"));
        assert_eq!(written.listen.port(), 0);
    }

    #[test]
    fn a_configuration_reads_back_and_a_newer_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(ControlPlaneConfig::load(directory.path()).unwrap().is_none());
        let mut config = ControlPlaneConfig {
            version: CONFIG_VERSION,
            supervisor: "supervisor-1".into(),
            listen: "127.0.0.1:6443".parse().unwrap(),
            endpoint: "https://127.0.0.1:6443".into(),
            advertise: Some("10.244.0.1:6443".parse().unwrap()),
        };
        config.store(directory.path()).unwrap();
        assert_eq!(ControlPlaneConfig::load(directory.path()).unwrap(), Some(config.clone()));
        config.version += 1;
        config.store(directory.path()).unwrap();
        assert!(matches!(ControlPlaneConfig::load(directory.path()), Err(ConfigError::Newer { .. })));
        fs::write(directory.path().join(CONFIG_FILE), "{").unwrap();
        assert!(matches!(ControlPlaneConfig::load(directory.path()), Err(ConfigError::Malformed { .. })));
    }
}
