//! The manager's authorities and what they issue.
//!
//! Administrators and hosts connect to the same port, so the server trusts both authorities. They can't be mistaken for
//! each other: what a certificate says is always this module's word, never that of who asks to have one signed, and the
//! authority for hosts signs members of `system:hosts` only.

use orrery_api::names::HostName;
use orrery_identity::{
    Authority, Credentials, IdentityError, Profile, Usage,
    tls::{self, Clients},
};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

/// The group of administrators.
pub const ADMINISTRATORS: &str = "system:masters";
/// The group of Supervisors, which may create placement reviews and do nothing else.
pub const SUPERVISORS: &str = "system:supervisors";
/// The group of hosts.
pub const HOSTS: &str = "system:hosts";
/// A host's user name is this and its name.
const HOST_PREFIX: &str = "system:host:";

/// Long, as nothing renews it yet: a host whose certificate has ended joins again with a new token.
const HOST_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// A new one is made at each start.
const SERVING_LIFETIME: Duration = Duration::from_secs(397 * 24 * 3600);

/// The name of an authority's files under `pki/manager`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Signs what the manager serves with.
    Serving,
    /// Signs administrators and Supervisors.
    Clients,
    /// Signs hosts.
    Hosts,
}

impl Purpose {
    /// The files are `NAME.crt` and `NAME.key`.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Clients => "clients",
            Self::Hosts => "hosts",
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Authorities {
    serving: Authority,
    clients: Authority,
    hosts: Authority,
}

impl Authorities {
    /// Those under `pki`; missing ones are made.
    pub(crate) fn load(pki: &Path) -> Result<Self, IdentityError> {
        let directory = pki.join("manager");
        let make = |source| IdentityError::File { doing: "create", path: directory.display().to_string(), source };
        std::fs::create_dir_all(&directory).map_err(make)?;
        let load = |purpose: Purpose| Authority::load_or_create(&directory, purpose.file_name());
        Ok(Self { serving: load(Purpose::Serving)?, clients: load(Purpose::Clients)?, hosts: load(Purpose::Hosts)? })
    }

    /// TLS settings of the manager's port. The authority's certificate is sent along: a host that joins knows nothing but
    /// its hash.
    pub(crate) fn server_tls(&self, listen: SocketAddr) -> Result<Arc<rustls::ServerConfig>, IdentityError> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        if !listen.ip().is_unspecified() && !names.contains(&listen.ip().to_string()) {
            names.push(listen.ip().to_string());
        }
        let profile = Profile {
            common_name: "orrery-manager".to_owned(),
            organization: None,
            alternative_names: names,
            usage: Usage::Server,
            lifetime: SERVING_LIFETIME,
        };
        let mut credentials = self.serving.issue(&profile)?;
        credentials.certificate_pem.push_str(self.serving.certificate_pem());
        let trusted = format!("{}{}", self.clients.certificate_pem(), self.hosts.certificate_pem());
        tls::server(&credentials, Clients::Optional(&trusted), &["h2", "http/1.1"])
    }

    /// PEM of the authority that the manager's certificate is from.
    pub(crate) fn serving_ca_pem(&self) -> &str {
        self.serving.certificate_pem()
    }

    /// Its hash, as it stands in join tokens.
    pub(crate) fn serving_ca_hash(&self) -> Result<String, IdentityError> {
        self.serving.fingerprint()
    }

    /// Signs a host's request. Only the key is taken from it.
    pub(crate) fn sign_host(&self, host: &HostName, request_pem: &str) -> Result<String, IdentityError> {
        let profile = Profile {
            common_name: format!("{HOST_PREFIX}{host}"),
            organization: Some(HOSTS.to_owned()),
            alternative_names: Vec::new(),
            usage: Usage::Client,
            lifetime: HOST_LIFETIME,
        };
        self.hosts.sign_request(request_pem, &profile)
    }

    /// A client's credentials.
    pub(crate) fn issue_client(
        &self,
        name: &str,
        group: &str,
        lifetime: Duration,
    ) -> Result<Credentials, IdentityError> {
        let profile = Profile {
            common_name: name.to_owned(),
            organization: Some(group.to_owned()),
            alternative_names: Vec::new(),
            usage: Usage::Client,
            lifetime,
        };
        self.clients.issue(&profile)
    }
}

/// The host that a user is, if it is one.
pub(crate) fn host_of(user: &orrery_apiserver::User) -> Option<HostName> {
    if !user.is_in(HOSTS) {
        return None;
    }
    HostName::new(user.name().strip_prefix(HOST_PREFIX)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_apiserver::User;

    #[test]
    fn only_members_of_the_hosts_group_are_hosts() {
        let table = [
            (User::new("system:host:host-1", [HOSTS]), Some("host-1")),
            (User::new("system:host:host-1", [ADMINISTRATORS]), None),
            (User::new("host-1", [HOSTS]), None),
            (User::new("system:host:Not A Host", [HOSTS]), None),
        ];
        for (user, expected) in table {
            assert_eq!(host_of(&user).as_ref().map(HostName::as_str), expected, "{user:?}");
        }
    }
}
