//! Where an API is and who we are to it.

use base64::{Engine, prelude::BASE64_STANDARD};
use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};
use orrery_identity::Credentials;

/// An API, and who we are to it.
#[derive(Debug, Clone)]
pub struct Access {
    /// Such as `https://127.0.0.1:6443`.
    pub endpoint: String,
    /// PEM of the authority that the server's certificate is from.
    pub server_ca_pem: String,
    /// Our certificate and key.
    pub credentials: Credentials,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The endpoint or the credentials are malformed.
    #[error("the endpoint or the credentials of {endpoint} are of no use")]
    Config {
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: kube::config::KubeconfigError,
    },
    /// The client could not be built.
    #[error("cannot build a client for {endpoint}")]
    Client {
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

impl Access {
    /// A client.
    ///
    /// # Errors
    /// When the endpoint or the credentials are malformed. It does not connect yet.
    pub async fn client(&self) -> Result<kube::Client, AccessError> {
        let mut config =
            kube::Config::from_custom_kubeconfig(self.to_kubeconfig("orrery"), &KubeConfigOptions::default())
                .await
                .map_err(|source| AccessError::Config { endpoint: self.endpoint.clone(), source })?;
        config.proxy_url = None;
        kube::Client::try_from(config)
            .map_err(|source| AccessError::Client { endpoint: self.endpoint.clone(), source: Box::new(source) })
    }

    /// The same as a kubeconfig in which cluster, user and context are called `name`.
    #[must_use]
    pub fn to_kubeconfig(&self, name: &str) -> Kubeconfig {
        Kubeconfig {
            clusters: vec![NamedCluster {
                name: name.to_owned(),
                other: std::collections::BTreeMap::default(),
                cluster: Some(Cluster {
                    server: Some(self.endpoint.clone()),
                    certificate_authority_data: Some(BASE64_STANDARD.encode(&self.server_ca_pem)),
                    ..Cluster::default()
                }),
            }],
            auth_infos: vec![NamedAuthInfo {
                name: name.to_owned(),
                other: std::collections::BTreeMap::default(),
                auth_info: Some(AuthInfo {
                    client_certificate_data: Some(BASE64_STANDARD.encode(&self.credentials.certificate_pem)),
                    client_key_data: Some(BASE64_STANDARD.encode(&self.credentials.key_pem).into()),
                    ..AuthInfo::default()
                }),
            }],
            contexts: vec![NamedContext {
                name: name.to_owned(),
                other: std::collections::BTreeMap::default(),
                context: Some(Context { cluster: name.to_owned(), user: Some(name.to_owned()), ..Context::default() }),
            }],
            current_context: Some(name.to_owned()),
            api_version: Some("v1".to_owned()),
            kind: Some("Config".to_owned()),
            ..Kubeconfig::default()
        }
    }
}
