//! Credentials for the nodes of a Supervisor.

use crate::{Authorities, AuthoritiesError, ControlPlaneConfig};
use orrery_api::names::{HostName, InvalidName, SupervisorName};
use orrery_wire::join::{EnrolReply, EnrolRequest};
use std::path::PathBuf;

/// Why a host gets no credentials.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// A name is malformed.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The Supervisor has no control plane (yet).
    #[error("Supervisor {0} has no control plane yet; the host asks again by itself")]
    NotEnabled(SupervisorName),
    /// The Supervisor's configuration can't be read.
    #[error("cannot read the configuration of the Supervisor")]
    Config(#[source] crate::control_plane::ConfigError),
    /// The authorities can't sign.
    #[error("cannot sign for host {host}")]
    Authorities {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: AuthoritiesError,
    },
}

/// Signs the credentials of nodes with the authorities of their Supervisor.
#[derive(Debug, Clone)]
pub struct Enroller {
    supervisors: PathBuf,
}

impl Enroller {
    /// `supervisors` is the directory that holds one directory for each Supervisor.
    #[must_use]
    pub fn new(supervisors: PathBuf) -> Self {
        Self { supervisors }
    }

    /// Credentials for `host`, whose name the caller has proven by the host's certificate.
    ///
    /// # Errors
    /// When the Supervisor is not enabled, or a request is malformed.
    pub fn enrol(&self, host: &str, request: &EnrolRequest) -> Result<EnrolReply, EnrolError> {
        let host = HostName::new(host)?;
        let supervisor = SupervisorName::new(request.supervisor.as_str())?;
        let directory = self.supervisors.join(supervisor.as_str());
        let config = ControlPlaneConfig::load(&directory)
            .map_err(EnrolError::Config)?
            .ok_or_else(|| EnrolError::NotEnabled(supervisor.clone()))?;
        let failed = |source| EnrolError::Authorities { host: host.to_string(), source };
        let authorities = Authorities::load_or_create(&directory.join("pki")).map_err(failed)?;
        let client = authorities.sign_node_client(host.as_str(), &request.client_csr_pem).map_err(failed)?;
        let serving =
            authorities.sign_node_serving(host.as_str(), &request.address, &request.serving_csr_pem).map_err(failed)?;
        tracing::info!(%host, %supervisor, "signed the credentials of a node");
        Ok(EnrolReply {
            endpoint: config.endpoint,
            server_ca_pem: authorities.server_ca_pem().to_owned(),
            kubelet_client_ca_pem: authorities.kubelet_client_ca_pem().to_owned(),
            client_certificate_pem: client,
            serving_certificate_pem: serving,
            cluster_dns: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(supervisor: &str) -> EnrolRequest {
        let (_, csr) = orrery_identity::new_signing_request("anything").unwrap();
        EnrolRequest {
            supervisor: supervisor.into(),
            client_csr_pem: csr.clone(),
            serving_csr_pem: csr,
            address: "127.0.0.1".into(),
        }
    }

    #[test]
    fn a_host_is_told_to_wait_until_there_is_a_control_plane() {
        let directory = tempfile::tempdir().unwrap();
        let enroller = Enroller::new(directory.path().into());
        assert!(matches!(enroller.enrol("host-1", &request("supervisor-1")), Err(EnrolError::NotEnabled(_))));
        assert!(matches!(enroller.enrol("host-1", &request("../etc")), Err(EnrolError::Name(_))));
    }

    #[test]
    fn credentials_come_from_the_supervisors_own_authorities() {
        let directory = tempfile::tempdir().unwrap();
        let supervisor = directory.path().join("supervisor-1");
        std::fs::create_dir_all(&supervisor).unwrap();
        let config = ControlPlaneConfig {
            version: 1,
            supervisor: "supervisor-1".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            endpoint: "https://127.0.0.1:6443".into(),
            advertise: None,
        };
        config.store(&supervisor).unwrap();
        let reply = Enroller::new(directory.path().into()).enrol("host-1", &request("supervisor-1")).unwrap();
        let authorities = Authorities::load_or_create(&supervisor.join("pki")).unwrap();
        assert_eq!(reply.server_ca_pem, authorities.server_ca_pem());
        assert_eq!(reply.kubelet_client_ca_pem, authorities.kubelet_client_ca_pem());
        assert_ne!(reply.client_certificate_pem, reply.serving_certificate_pem);
    }
}
