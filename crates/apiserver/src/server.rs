//! The server: its parts, and how it is started.

use crate::{
    admission,
    aggregate::Aggregator,
    auth::{Authorizer, Reviews, User, roles},
    config::{Config, ConfigError, ExtraRoute, Limits, ReviewHandler, TokenConfig, VersionInfo},
    custom::Follower,
    envelope,
    http::{self, InProcess},
    metrics::Metrics,
    registry::{Registry, key},
    subresource::kubelet::Kubelets,
};
use orrery_auth::{
    Authenticators, Layout, Objects, TokenAuthenticator,
    audit::AuditLog,
    node::NodeAuthorizer,
    rbac::{self, RbacCache},
    token::{Discovery, ServiceAccountTokens},
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
    pub(crate) authenticators: Authenticators,
    /// Tokens of service accounts, and the documents by which others verify them.
    pub(crate) tokens: Option<Arc<ServiceAccountTokens>>,
    pub(crate) token_discovery: Option<Discovery>,
    pub(crate) audit: Option<AuditLog>,
    pub(crate) reviews: HashMap<(String, String), Arc<dyn ReviewHandler>>,
    pub(crate) extra: Vec<ExtraRoute>,
    pub(crate) kubelets: Option<Kubelets>,
    /// Connections to what is behind services and pods.
    pub(crate) proxied: orrery_callout::Clients,
    /// Who knows the API servers behind this one.
    pub(crate) aggregator: Option<Arc<dyn Aggregator>>,
    pub(crate) version: VersionInfo,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) reads: Semaphore,
    pub(crate) writes: Semaphore,
    /// Keeps custom resources served; set once the server is made.
    custom: OnceLock<Follower>,
    /// Cancelled when shutdown was asked for: the server is not ready any more.
    pub(crate) draining: CancellationToken,
    /// Cancelled when the grace time after that is over: watches and streams end then.
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
        let resources =
            config.resources.into_iter().map(with_shape).map(orrery_schema::custom::with_schema_rules).collect();
        let chain = admission::Chain::new(config.admission);
        let registry = Registry::new(resources, Arc::clone(&config.store), chain, config.converter);
        if config.bootstrap {
            create_missing(&registry, lasting_namespaces()).await?;
            roles::create_bootstrap(&registry).await?;
        }
        create_missing(&registry, config.objects).await?;
        let Guards { authorizer, authenticators, tokens } = guards(config.store, config.tokens, has_rbac).await?;
        if config.bootstrap && has_rbac {
            roles::settle(&registry, &authorizer).await;
        }
        let own: Arc<dyn ReviewHandler> = Arc::new(Reviews::new(Arc::clone(&authorizer), authenticators.clone()));
        for key in own_reviews {
            reviews.entry(key).or_insert_with(|| Arc::clone(&own));
        }
        let kubelets = config.kubelet.map(|access| Kubelets::new(&access));
        let changes = authorizer.rbac().changes();
        let server = Arc::new(Self {
            custom: OnceLock::new(),
            registry,
            authorizer,
            authenticators,
            token_discovery: tokens.as_ref().and_then(|tokens| Discovery::new(tokens.keys(), tokens.settings())),
            tokens,
            metrics: Metrics::new(config.audit.as_ref(), config.metrics),
            audit: config.audit,
            reviews,
            extra: config.extra,
            kubelets,
            proxied: orrery_callout::Clients::default(),
            aggregator: config.aggregator,
            version: config.version,
            reads: Semaphore::new(config.limits.reads_in_flight),
            writes: Semaphore::new(config.limits.writes_in_flight),
            limits: config.limits,
            draining: CancellationToken::new(),
            stopping: CancellationToken::new(),
        });
        let follower = Follower::start(&server).await.map_err(ConfigError::Custom)?;
        drop(server.custom.set(follower));
        if has_rbac {
            tokio::spawn(roles::run(Arc::downgrade(&server), changes));
        }
        Ok(server)
    }

    /// Serves HTTPS on `listener` until `shutdown`:
    ///
    /// ```text
    /// shutdown ──► /readyz fails, everything is served on ──grace──► no new connections; watches end, requests finish ──drain──► end
    /// ```
    ///
    /// A server may be served at several addresses, all until the same `shutdown`.
    ///
    /// # Errors
    /// When the listener is of no use.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let (draining, stopping, grace) = (self.draining.clone(), self.stopping.clone(), self.limits.grace);
        let end = stopping.clone();
        // Ends with `shutdown`, or with this future when it is dropped.
        let link = async move {
            shutdown.cancelled().await;
            draining.cancel();
            tokio::time::sleep(grace).await;
            stopping.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = http::serve(self, listener, tls, end) => result,
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

/// Who knows who calls, and who says what they may do.
struct Guards {
    authorizer: Arc<Authorizer>,
    authenticators: Authenticators,
    tokens: Option<Arc<ServiceAccountTokens>>,
}

async fn guards(
    store: Arc<dyn orrery_store::Store>,
    tokens: Option<TokenConfig>,
    has_rbac: bool,
) -> Result<Guards, orrery_store::StoreError> {
    let objects = Objects::new(store, Layout { prefix: key::prefix, decode: envelope::decode_stored });
    let tokens = tokens.map(|tokens| {
        let TokenConfig { keys, settings } = tokens;
        Arc::new(ServiceAccountTokens::new(keys, settings, objects.clone()))
    });
    let all = tokens.iter().map(|tokens| Arc::clone(tokens) as Arc<dyn TokenAuthenticator>);
    let authenticators = Authenticators::new(all.collect());
    let rbac = if has_rbac { RbacCache::start(objects.clone()).await? } else { RbacCache::empty() };
    let nodes = NodeAuthorizer::start(objects, has_rbac).await?;
    Ok(Guards { authorizer: Arc::new(Authorizer::new(rbac, nodes)), authenticators, tokens })
}

/// The namespaces that every cluster has.
fn lasting_namespaces() -> Vec<(&'static str, &'static str, Value)> {
    let namespaces = admission::LASTING_NAMESPACES.iter();
    namespaces
        .map(|name| ("", "namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})))
        .collect()
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
