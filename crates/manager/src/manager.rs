//! Putting the manager together.

use crate::{
    access,
    admin::{self, Admin},
    authorities::{ADMINISTRATORS, Authorities},
    descriptors,
    drs::Runner,
    fleet::Fleet,
    inventory::Inventory,
    join::{self, Gate, NodeEnroller, TokenError, Tokens},
    monitor,
    recorded::Recorded,
};
use orrery_api::{inventory::GROUP, names::ClusterName};
use orrery_apiserver::{ApiServer, ConfigError, ExtraRoute, ReviewHandler, ServeError, User};
use orrery_identity::{Credentials, IdentityError};
use orrery_store::{Embedded, EmbeddedOptions, OpenError, Store};
use std::{collections::HashMap, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

/// What a manager is made of.
#[derive(Clone)]
pub struct Config {
    /// Directory of the manager's store.
    pub state: PathBuf,
    /// Directory of the authorities; the manager's are in `manager` below it.
    pub pki: PathBuf,
    /// Where the API is served, such as `127.0.0.1:7443`; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who makes nodes of hosts.
    pub enroller: Arc<dyn NodeEnroller>,
}

/// Why a manager could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An authority or the serving certificate is of no use.
    #[error("the manager's authorities are of no use")]
    Identity(#[from] IdentityError),
    /// The store could not be opened.
    #[error("cannot open the manager's store")]
    Store(#[from] OpenError),
    /// The API server could not be made.
    #[error("cannot make the inventory's API server")]
    ApiServer(#[from] ConfigError),
    /// The rights of Supervisors could not be written.
    #[error("the rights of Supervisors could not be written")]
    Rights(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}; look which process uses the port, or choose another")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why a manager ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not be started.
    #[error("the manager cannot start")]
    Start(#[from] StartError),
    /// It could not go on serving.
    #[error("the manager cannot serve")]
    Serve(#[from] ServeError),
}

/// A manager that listens; it answers from the outside once it is [served](Manager::serve), and through
/// [`Manager::client`] at once.
pub struct Manager {
    server: Arc<ApiServer>,
    listener: TcpListener,
    address: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    client: kube::Client,
    store: Embedded,
    authorities: Arc<Authorities>,
    tokens: Arc<Tokens>,
    inventory: Arc<Inventory>,
    fleet: Arc<Fleet>,
    recorded: Arc<Recorded>,
}

impl Manager {
    /// Opens the store, makes what authorities are missing, and listens.
    ///
    /// # Errors
    /// When one of these fails.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let authorities = Arc::new(Authorities::load(&config.pki)?);
        let embedded = Embedded::open(&config.state.join("store.db"), EmbeddedOptions::default()).await?;
        let store: Arc<dyn Store> = Arc::new(embedded.clone());
        let tokens = Arc::new(Tokens::new(Arc::clone(&store), authorities.serving_ca_hash()?));
        let (inventory, fleet) = (Arc::new(Inventory::default()), Arc::new(Fleet::new(Instant::now())));
        let recorded = Arc::new(Recorded::default());
        let gate = Gate {
            authorities: Arc::clone(&authorities),
            tokens: Arc::clone(&tokens),
            inventory: Arc::clone(&inventory),
            fleet: Arc::clone(&fleet),
            recorded: Arc::clone(&recorded),
            enroller: config.enroller,
        };
        let admin = Admin { tokens: Arc::clone(&tokens), inventory: Arc::clone(&inventory) };
        let runner: Arc<dyn ReviewHandler> = Arc::new(Runner::new(Arc::clone(&inventory), Arc::clone(&fleet)));
        let server = ApiServer::new(orrery_apiserver::Config {
            reviews: HashMap::from([((GROUP.to_owned(), "placementreviews".to_owned()), runner)]),
            extra: vec![
                ExtraRoute { prefix: join::PREFIX, anonymous: true, handler: Arc::new(gate) },
                ExtraRoute { prefix: admin::PREFIX, anonymous: false, handler: Arc::new(admin) },
            ],
            ..orrery_apiserver::Config::new(descriptors::all().into_iter().chain(access::kinds()).collect(), store)
        })
        .await?;
        let user = User::new("system:manager", [ADMINISTRATORS]);
        let client = kube::Client::new(server.in_process(user), "default");
        access::grant(&client).await.map_err(|error| StartError::Rights(Box::new(error)))?;
        inventory.connect(client.clone());
        let listen = |source| StartError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let tls = authorities.server_tls(address)?;
        tracing::info!(%address, "the manager listens");
        Ok(Self {
            server,
            listener,
            address,
            tls,
            client,
            store: embedded,
            authorities,
            tokens,
            inventory,
            fleet,
            recorded,
        })
    }

    /// Where the API is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client of the inventory within the process, as the manager itself (`system:manager`).
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// PEM of the authority that the served certificate is from.
    #[must_use]
    pub fn server_ca_pem(&self) -> &str {
        self.authorities.serving_ca_pem()
    }

    /// Credentials of a client. Members of [`ADMINISTRATORS`] may do anything; those of
    /// [`SUPERVISORS`](crate::SUPERVISORS) may create placement reviews.
    ///
    /// # Errors
    /// When a name makes no certificate.
    pub fn issue_client(&self, name: &str, group: &str, lifetime: Duration) -> Result<Credentials, IdentityError> {
        self.authorities.issue_client(name, group, lifetime)
    }

    /// A one-time token for a host of `cluster`. Whether there is such a cluster is looked at when it is used.
    ///
    /// # Errors
    /// When the store cannot write.
    pub async fn create_join_token(&self, cluster: &ClusterName, lifetime: Duration) -> Result<String, TokenError> {
        self.tokens.create(cluster, lifetime).await
    }

    /// Serves until `shutdown`, then lets go of the store.
    ///
    /// # Errors
    /// When the listener is of no use.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), ServeError> {
        let served = tokio::select! {
            // The monitor holds no state: it may be dropped at any step.
            served = self.server.serve(self.listener, self.tls, shutdown) => served,
            () = monitor::run(self.inventory, self.fleet, self.recorded) => unreachable!("the monitor never ends"),
        };
        self.store.close().await;
        served
    }
}

/// Starts a manager and serves it until `shutdown`.
///
/// # Errors
/// When it cannot start or serve.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    let manager = Manager::start(config).await?;
    Ok(manager.serve(shutdown).await?)
}
