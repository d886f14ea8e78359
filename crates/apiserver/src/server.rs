//! The server: its parts, and how it is started.

use crate::{
    admission,
    auth::{Authorizer, NodeView, Reviews, User},
    config::{Config, ConfigError, ExtraRoute, Limits, ReviewHandler, VersionInfo},
    custom::{self, Follower},
    http::{self, InProcess},
    metrics::Metrics,
    rbac::{self, RbacCache, bootstrap},
    registry::Registry,
    subresource::kubelet::Kubelets,
};
use orrery_machinery::{
    descriptor::{ResourceDescriptor, Storage},
    meta,
};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, OnceLock},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener has no address.
    #[error("cannot tell the listener's address")]
    Address(#[source] io::Error),
}

/// An API server.
pub struct ApiServer {
    pub(crate) registry: Registry,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) reviews: HashMap<(String, String), Arc<dyn ReviewHandler>>,
    pub(crate) extra: Vec<ExtraRoute>,
    pub(crate) kubelets: Option<Kubelets>,
    pub(crate) version: VersionInfo,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) reads: Semaphore,
    pub(crate) writes: Semaphore,
    /// Keeps custom resources served; set once the server is made.
    custom: OnceLock<Follower>,
    /// Cancelled when serving ends: watches and streams end then.
    pub(crate) stopping: CancellationToken,
}

impl ApiServer {
    /// Makes a server: reads roles and bindings, and creates the bootstrap ones that are missing.
    ///
    /// # Errors
    /// When the configuration contradicts itself, or the store cannot be read or written.
    pub async fn new(config: Config) -> Result<Arc<Self>, ConfigError> {
        let mut reviews = config.reviews;
        let mut seen = HashSet::new();
        for resource in &config.resources {
            let name = format!("{}.{}/{}", resource.plural, resource.group, resource.version);
            if !seen.insert((&resource.group, &resource.version, &resource.plural)) {
                return Err(ConfigError::Duplicate(name));
            }
            let key = (resource.group.to_string(), resource.plural.to_string());
            let answered = Reviews::answers(&resource.group, &resource.plural) || reviews.contains_key(&key);
            if resource.storage == Storage::Review && !answered {
                return Err(ConfigError::NoReviewHandler(name));
            }
        }
        let mut own_reviews = Vec::new();
        let has_rbac = config.resources.iter().any(|resource| resource.group == rbac::GROUP);
        for resource in config.resources.iter().filter(|r| Reviews::answers(&r.group, &r.plural)) {
            let key = (resource.group.to_string(), resource.plural.to_string());
            own_reviews.push(key);
        }
        let resources = config.resources.into_iter().map(with_shape).map(custom::with_schema_rules).collect();
        let registry = Registry::new(resources, Arc::clone(&config.store), admission::Chain::new(config.admission));
        if config.bootstrap {
            create_missing(&registry, bootstrap_objects()).await?;
        }
        create_missing(&registry, config.objects).await?;
        let cache = Arc::new(RbacCache::start(Arc::clone(&config.store), has_rbac).await?);
        let authorizer = Arc::new(Authorizer::new(cache, NodeView::new(config.store)));
        let own: Arc<dyn ReviewHandler> = Arc::new(Reviews::new(Arc::clone(&authorizer)));
        for key in own_reviews {
            reviews.entry(key).or_insert_with(|| Arc::clone(&own));
        }
        let kubelets = config.kubelet.map(|access| Kubelets::new(&access)).transpose().map_err(ConfigError::Kubelet)?;
        let server = Arc::new(Self {
            custom: OnceLock::new(),
            registry,
            authorizer,
            reviews,
            extra: config.extra,
            kubelets,
            version: config.version,
            metrics: Metrics::new(),
            reads: Semaphore::new(config.limits.reads_in_flight),
            writes: Semaphore::new(config.limits.writes_in_flight),
            limits: config.limits,
            stopping: CancellationToken::new(),
        });
        let follower = Follower::start(&server).await.map_err(ConfigError::Custom)?;
        drop(server.custom.set(follower));
        Ok(server)
    }

    /// Serves HTTPS on `listener` until `shutdown`; then watches end, and other requests under way may finish within the
    /// drain time. A server is served once.
    ///
    /// # Errors
    /// When the listener is of no use.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let stopping = self.stopping.clone();
        let end = shutdown.clone();
        // Ends with `shutdown`, or with this future when it is dropped.
        let link = async move {
            end.cancelled().await;
            stopping.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = http::serve(self, listener, tls, shutdown) => result,
            () = link => unreachable!("the link never ends"),
        }
    }

    /// A client in the same process, acting as `user`.
    #[must_use]
    pub fn in_process(self: &Arc<Self>, user: User) -> InProcess {
        InProcess::new(Arc::clone(self), user)
    }
}

/// The resource, with what is known of how objects of its kind merge.
fn with_shape(mut resource: ResourceDescriptor) -> ResourceDescriptor {
    if let Some(shape) = orrery_shapes::of(&resource.group, &resource.version, &resource.kind) {
        resource.shape = shape;
    }
    resource
}

/// The namespaces, roles and bindings that every cluster has.
fn bootstrap_objects() -> Vec<(&'static str, &'static str, Value)> {
    let namespaces = admission::LASTING_NAMESPACES
        .iter()
        .map(|name| ("", "namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})));
    let rbac = bootstrap::objects().into_iter().map(|(plural, object)| (rbac::GROUP, plural, object));
    namespaces.chain(rbac).collect()
}

/// Creates the objects that are missing and whose kinds are served.
async fn create_missing(
    registry: &Registry,
    objects: Vec<(&'static str, &'static str, Value)>,
) -> Result<(), ConfigError> {
    for (group, plural, object) in objects {
        let name = format!("{plural}/{}", meta::name(&object));
        let Some(resource) = registry.resource(group, "v1", plural) else { continue };
        registry
            .create_if_missing(&resource, object)
            .await
            .map_err(|source| ConfigError::Bootstrap { name, source })?;
    }
    Ok(())
}
