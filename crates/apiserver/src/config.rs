//! What an API server is made of.

use crate::{admission::Plugin, aggregate::Aggregator, auth::User, custom::convert::Converter};
use bytes::Bytes;
use orrery_auth::{
    audit::AuditLog,
    token::{TokenKeys, TokenSettings},
};
use orrery_identity::Credentials;
use orrery_machinery::{descriptor::ResourceDescriptor, status::ApiError};
use orrery_store::{Store, StoreError};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Registers numbers of another part of the process, such as those of the controllers.
pub type MetricSource = Box<dyn FnOnce(&mut prometheus_client::registry::Registry) + Send>;

/// Everything an [`ApiServer`](crate::ApiServer) is made of.
pub struct Config {
    /// The resources served.
    pub resources: Vec<ResourceDescriptor>,
    /// Where objects are kept.
    pub store: Arc<dyn Store>,
    /// Who answers `create` of resources that are not stored, by (group, plural). The authorization and authentication
    /// reviews are answered by the server itself.
    pub reviews: HashMap<(String, String), Arc<dyn ReviewHandler>>,
    /// What changes and refuses requests, in the order in which it is asked.
    pub admission: Vec<Arc<dyn Plugin>>,
    /// Who asks the webhooks that convert custom resources; without it, objects of other versions of such a resource can
    /// neither be read nor written.
    pub converter: Option<Arc<dyn Converter>>,
    /// Paths beyond the resource API.
    pub extra: Vec<ExtraRoute>,
    /// Who knows the API servers behind this one; without it there are none.
    pub aggregator: Option<Arc<dyn Aggregator>>,
    /// How kubelets are reached for logs and exec; without it these are refused.
    pub kubelet: Option<KubeletAccess>,
    /// Whether the namespaces, roles and bindings that every cluster has are created when they are missing; each as far as
    /// its kind is among `resources`.
    pub bootstrap: bool,
    /// Objects that are created when they are missing, as (group, resource, object); each as far as its kind is served.
    pub objects: Vec<(&'static str, &'static str, Value)>,
    /// Tokens of service accounts; without it there are none.
    pub tokens: Option<TokenConfig>,
    /// What is written down about requests; without it nothing is.
    pub audit: Option<AuditLog>,
    /// What `/metrics` tells beside the server's own numbers.
    pub metrics: Vec<MetricSource>,
    /// What `/version` answers.
    pub version: VersionInfo,
    /// Bounds on what clients may use.
    pub limits: Limits,
}

impl Config {
    /// A configuration without reviews, plugins, extra routes, kubelet access and bootstrap objects.
    #[must_use]
    pub fn new(resources: Vec<ResourceDescriptor>, store: Arc<dyn Store>) -> Self {
        Self {
            resources,
            store,
            reviews: HashMap::new(),
            admission: Vec::new(),
            converter: None,
            extra: Vec::new(),
            aggregator: None,
            kubelet: None,
            bootstrap: false,
            objects: Vec::new(),
            tokens: None,
            audit: None,
            metrics: Vec::new(),
            version: VersionInfo::default(),
            limits: Limits::default(),
        }
    }
}

/// How tokens of service accounts are issued and accepted.
pub struct TokenConfig {
    /// The keys.
    pub keys: TokenKeys,
    /// Issuer, audiences, lifetimes.
    pub settings: TokenSettings,
}

/// Bounds on what clients may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest request body.
    pub body_bytes: usize,
    /// How long a client may take to send a body.
    pub receive_timeout: Duration,
    /// How long a connection may be without a request: longer than clients keep idle connections (90 s is common), so that
    /// none is closed under a request.
    pub idle_timeout: Duration,
    /// The same while there are as many connections as there may be.
    pub crowded_idle_timeout: Duration,
    /// How long a client may leave what it is sent unread.
    pub unread_timeout: Duration,
    /// How long a request may take, watches and streams aside.
    pub request_timeout: Duration,
    /// Most reading requests at once, watches and streams aside.
    pub reads_in_flight: usize,
    /// Most changing requests at once.
    pub writes_in_flight: usize,
    /// Most connections at once.
    pub connections: usize,
    /// How long everything is served on after shutdown was asked for, while `/readyz` tells load balancers to go elsewhere.
    pub grace: Duration,
    /// How long requests under way may go on after that.
    pub drain: Duration,
    /// How often an idle watch that allows bookmarks gets one.
    pub bookmark_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 3 * 1024 * 1024,
            receive_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            crowded_idle_timeout: Duration::from_secs(5),
            unread_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(60),
            reads_in_flight: 400,
            writes_in_flight: 200,
            connections: 4096,
            grace: Duration::ZERO,
            drain: Duration::from_secs(10),
            bookmark_interval: Duration::from_secs(30),
        }
    }
}

/// What `/version` answers.
#[derive(Debug, Clone)]
pub struct VersionInfo {
    /// Such as `1`.
    pub major: String,
    /// Such as `36`.
    pub minor: String,
    /// Such as `v1.36.0+orrery-0.1.0`.
    pub git_version: String,
    /// The commit it was built of: `ORRERY_COMMIT` of the build's environment, or `unknown`.
    pub git_commit: String,
    /// When it was built, in RFC 3339: `ORRERY_BUILD_DATE` of the build's environment, or the beginning of time, as
    /// Kubernetes has it in builds that don't say.
    pub build_date: String,
}

impl Default for VersionInfo {
    fn default() -> Self {
        Self {
            major: "1".into(),
            minor: "36".into(),
            git_version: concat!("v1.36.0+orrery-", env!("CARGO_PKG_VERSION")).into(),
            git_commit: option_env!("ORRERY_COMMIT").unwrap_or("unknown").into(),
            build_date: option_env!("ORRERY_BUILD_DATE").unwrap_or("1970-01-01T00:00:00Z").into(),
        }
    }
}

/// Answers `create` of a resource that is not stored.
#[async_trait::async_trait]
pub trait ReviewHandler: Send + Sync + 'static {
    /// The object with its `status` filled in. `user` is who asks; authorization was done before.
    async fn review(&self, user: &User, object: Value) -> Result<Value, ApiError>;
}

/// A family of paths beyond the resource API. Authorization is the handler's.
pub struct ExtraRoute {
    /// All paths that begin with this, such as `/hosts/v1/`.
    pub prefix: &'static str,
    /// Whether callers without a certificate are let through, with no user.
    pub anonymous: bool,
    /// Who answers.
    pub handler: Arc<dyn ExtraHandler>,
}

/// A request to an [`ExtraRoute`].
#[derive(Debug, Clone)]
pub struct ExtraRequest {
    /// The method.
    pub method: ::http::Method,
    /// The whole path, without the query.
    pub path: String,
    /// Who calls; none without a certificate.
    pub user: Option<User>,
    /// The body, within the limit.
    pub body: Bytes,
}

/// Answers an [`ExtraRoute`].
#[async_trait::async_trait]
pub trait ExtraHandler: Send + Sync + 'static {
    /// The JSON document to answer with 200.
    async fn handle(&self, request: ExtraRequest) -> Result<Value, ApiError>;
}

/// How kubelets are reached: mutual TLS to the node's `InternalIP`.
#[derive(Clone)]
pub struct KubeletAccess {
    /// What the server shows to kubelets.
    pub credentials: Credentials,
    /// The authority (PEM) of kubelets' serving certificates.
    pub server_ca_pem: String,
}

/// Why an API server could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Two resources share group, version and plural.
    #[error("the resource {0} is registered twice")]
    Duplicate(String),
    /// A resource that is not stored has nobody to answer it.
    #[error("the resource {0} is not stored and has no review handler")]
    NoReviewHandler(String),
    /// The store failed while roles were read.
    #[error("cannot read roles and bindings from the store")]
    Store(#[from] StoreError),
    /// Definitions of custom resources could not be read.
    #[error("cannot read the definitions of custom resources: {}", .0.message)]
    Custom(ApiError),
    /// A bootstrap object could not be created.
    #[error("cannot create the bootstrap object {name}")]
    Bootstrap {
        /// Kind and name.
        name: String,
        /// Why.
        #[source]
        source: ApiError,
    },
}
