//! The authorities of one Supervisor, each for one purpose.

use orrery_client::Access;
use orrery_identity::{Authority, Credentials, IdentityError, Profile, Usage};
use std::{fs, io, path::Path, time::Duration};

/// How long the certificate of the API server lives; it is made anew at each start.
const SERVING_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long a node's certificates live; the host renews them when a third is left.
pub(crate) const NODE_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why the authorities can't be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// Their directory can't be made.
    #[error("cannot make the directory {path}")]
    Directory {
        /// The directory.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A key or certificate is of no use.
    #[error("cannot {doing}")]
    Identity {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: IdentityError,
    },
}

/// The authorities of one Supervisor.
#[derive(Debug)]
pub struct Authorities {
    /// Signs the API server's certificate.
    serving: Authority,
    /// Signs those who call the API: users, controllers, nodes.
    clients: Authority,
    /// Signs the kubelet ports of nodes.
    kubelet_serving: Authority,
    /// Signs the API server towards kubelet ports, and nothing else.
    kubelet_clients: Authority,
    /// Signs the API server towards API servers behind it, and nothing else.
    front_proxy: Authority,
}

impl Authorities {
    /// The authorities kept in `directory`; made on first use.
    ///
    /// # Errors
    /// When the directory can't be written or holds something else.
    pub fn load_or_create(directory: &Path) -> Result<Self, AuthoritiesError> {
        fs::create_dir_all(directory)
            .map_err(|source| AuthoritiesError::Directory { path: directory.display().to_string(), source })?;
        let load = |name| {
            Authority::load_or_create(directory, name)
                .map_err(|source| AuthoritiesError::Identity { doing: "load an authority of the Supervisor", source })
        };
        Ok(Self {
            serving: load("serving")?,
            clients: load("clients")?,
            kubelet_serving: load("kubelet-serving")?,
            kubelet_clients: load("kubelet-clients")?,
            front_proxy: load("front-proxy")?,
        })
    }

    /// PEM of the authority that the API server's certificate is from.
    #[must_use]
    pub fn server_ca_pem(&self) -> &str {
        self.serving.certificate_pem()
    }

    /// PEM of the authority whose certificates the API server knows.
    #[must_use]
    pub fn client_ca_pem(&self) -> &str {
        self.clients.certificate_pem()
    }

    /// PEM of the authority that kubelet ports are signed by.
    #[must_use]
    pub fn kubelet_serving_ca_pem(&self) -> &str {
        self.kubelet_serving.certificate_pem()
    }

    /// PEM of the authority whose certificates may call kubelet ports.
    #[must_use]
    pub fn kubelet_client_ca_pem(&self) -> &str {
        self.kubelet_clients.certificate_pem()
    }

    /// PEM of the authority by which API servers behind this one know it.
    #[must_use]
    pub fn front_proxy_ca_pem(&self) -> &str {
        self.front_proxy.certificate_pem()
    }

    /// A certificate for the API server towards API servers behind it.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn issue_front_proxy(&self) -> Result<Credentials, AuthoritiesError> {
        let profile = client_profile("front-proxy-client", None, SERVING_LIFETIME);
        self.front_proxy.issue(&profile).map_err(identity("issue the API server's front-proxy certificate"))
    }

    /// A certificate for the API server at `addresses`.
    ///
    /// # Errors
    /// When an address is neither a name nor an IP address.
    pub fn issue_serving(&self, addresses: &[String]) -> Result<Credentials, AuthoritiesError> {
        let mut names: Vec<String> =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1"]
                .map(str::to_owned)
                .to_vec();
        names.extend(
            addresses.iter().filter(|address| !["127.0.0.1", "localhost"].contains(&address.as_str())).cloned(),
        );
        let profile = Profile {
            common_name: "kube-apiserver".to_owned(),
            organization: None,
            alternative_names: names,
            usage: Usage::Server,
            lifetime: SERVING_LIFETIME,
        };
        self.serving.issue(&profile).map_err(identity("issue the API server's certificate"))
    }

    /// A certificate for the API server towards kubelet ports.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn issue_kubelet_client(&self) -> Result<Credentials, AuthoritiesError> {
        let profile = client_profile("kube-apiserver-kubelet-client", None, SERVING_LIFETIME);
        self.kubelet_clients.issue(&profile).map_err(identity("issue the API server's kubelet certificate"))
    }

    /// Access to the API at `endpoint` as `user` in `group`.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn access(
        &self,
        endpoint: &str,
        user: &str,
        group: &str,
        lifetime: Duration,
    ) -> Result<Access, AuthoritiesError> {
        let credentials = self
            .clients
            .issue(&client_profile(user, Some(group), lifetime))
            .map_err(identity("issue a client certificate"))?;
        Ok(Access { endpoint: endpoint.to_owned(), server_ca_pem: self.server_ca_pem().to_owned(), credentials })
    }

    /// Signs what was asked for through the API: users and nodes by the authority of clients, ports of nodes by their own.
    ///
    /// # Errors
    /// When the request is none, or an alternative name is neither a name nor an IP address.
    pub(crate) fn sign_requested(&self, profile: &Profile, request_pem: &str) -> Result<String, IdentityError> {
        match profile.usage {
            Usage::Client => self.clients.sign_request(request_pem, profile),
            Usage::Server => self.kubelet_serving.sign_request(request_pem, profile),
        }
    }

    /// Signs a node's client certificate.
    ///
    /// # Errors
    /// When the request is none.
    pub(crate) fn sign_node_client(&self, node: &str, request_pem: &str) -> Result<String, AuthoritiesError> {
        let profile = client_profile(&format!("system:node:{node}"), Some("system:nodes"), NODE_LIFETIME);
        self.clients.sign_request(request_pem, &profile).map_err(identity("sign a node's client certificate"))
    }

    /// Signs a node's kubelet port.
    ///
    /// # Errors
    /// When the request is none, or `address` is neither a name nor an IP address.
    pub(crate) fn sign_node_serving(
        &self,
        node: &str,
        address: &str,
        request_pem: &str,
    ) -> Result<String, AuthoritiesError> {
        let profile = Profile {
            common_name: format!("system:node:{node}"),
            organization: Some("system:nodes".to_owned()),
            alternative_names: vec![node.to_owned(), address.to_owned()],
            usage: Usage::Server,
            lifetime: NODE_LIFETIME,
        };
        self.kubelet_serving.sign_request(request_pem, &profile).map_err(identity("sign a node's serving certificate"))
    }
}

fn identity(doing: &'static str) -> impl Fn(IdentityError) -> AuthoritiesError {
    move |source| AuthoritiesError::Identity { doing, source }
}

fn client_profile(user: &str, group: Option<&str>, lifetime: Duration) -> Profile {
    Profile {
        common_name: user.to_owned(),
        organization: group.map(str::to_owned),
        alternative_names: Vec::new(),
        usage: Usage::Client,
        lifetime,
    }
}
