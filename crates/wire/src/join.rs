//! What a host and the manager say to each other over HTTPS, as JSON bodies.
//!
//! | request | who | body -> answer |
//! |---|---|---|
//! | `POST /hosts/v1/join` | anybody with a token | [`JoinRequest`] -> [`JoinReply`] |
//! | `POST /hosts/v1/heartbeat` | a host, by its certificate (`system:host:NAME`) | [`Heartbeat`] -> [`HeartbeatReply`] |
//! | `POST /hosts/v1/enrol` | the same | [`EnrolRequest`] -> [`EnrolReply`] |
//!
//! A token is `ID.SECRET.CAHASH`: the manager keeps only a hash of the secret; the host trusts the manager only if the
//! SHA-256 of the authority in the manager's certificate chain is `CAHASH` (lower case hexadecimal digits). It can be
//! used once.

use crate::host::{Facts, Owner};
use serde::{Deserialize, Serialize};

/// Asks to become a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinRequest {
    /// The whole one-time token.
    pub token: String,
    /// The name that the host wants.
    pub host: String,
    /// PEM of a certificate signing request; its key never leaves the host.
    pub csr_pem: String,
    /// What the host has and is.
    pub facts: Facts,
}

/// The host is in the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinReply {
    /// PEM of the host's client certificate towards the manager.
    pub certificate_pem: String,
    /// PEM of the authority that the manager's certificate is from.
    pub manager_ca_pem: String,
    /// The cluster that the token was made for.
    pub cluster: String,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// What the host has and is.
    pub facts: Facts,
    /// How many machines it holds.
    pub machines: u32,
    /// CPU that is reserved for them, in thousandths of a core.
    #[serde(default)]
    pub used_cpu_milli: u64,
    /// Memory that is reserved for them, overhead included, in bytes.
    #[serde(default)]
    pub used_memory_bytes: u64,
    /// Version of the host agent.
    pub agent_version: String,
    /// Its machines; none from an agent that does not tell.
    #[serde(default)]
    pub held: Option<Vec<HeldMachine>>,
    /// The directory that it keeps disks and images in.
    #[serde(default)]
    pub datastore: Option<LocalDatastore>,
}

/// A machine as its host holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldMachine {
    /// A UUID.
    pub id: String,
    /// For people, such as `demo/hello`.
    pub name: String,
    /// Whose machine it is.
    pub owner: Owner,
    /// The resource pool.
    pub pool: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// CPU reserved for it, in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory of the guest, in bytes.
    pub memory_bytes: u64,
    /// Memory reserved beyond the guest's own, in bytes.
    pub overhead_bytes: u64,
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<String>,
    /// Whether it is being taken away.
    pub releasing: bool,
}

/// A directory of a host, and the room in its file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalDatastore {
    /// The directory.
    pub path: String,
    /// What its file system holds, in bytes.
    pub capacity_bytes: u64,
    /// What of that is free, in bytes.
    pub free_bytes: u64,
}

/// What the manager has to say to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatReply {
    /// The Supervisor that the host is a node of, if it is one. The host then sends an [`EnrolRequest`] unless it holds
    /// valid credentials for it.
    pub supervisor: Option<String>,
    /// Seconds until the next heartbeat is expected.
    pub interval_seconds: u32,
}

/// Asks for credentials of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolRequest {
    /// The Supervisor's name.
    pub supervisor: String,
    /// PEM of the signing request for the client certificate (`system:node:NAME`).
    pub client_csr_pem: String,
    /// PEM of the signing request for the kubelet port's certificate.
    pub serving_csr_pem: String,
    /// The address at which the kubelet port is served.
    pub address: String,
}

/// Credentials of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolReply {
    /// The Supervisor's API, such as `https://127.0.0.1:6443`.
    pub endpoint: String,
    /// PEM of the authority that the API server's certificate is from.
    pub server_ca_pem: String,
    /// PEM of the authority whose certificates may call the kubelet port.
    pub kubelet_client_ca_pem: String,
    /// PEM of the client certificate.
    pub client_certificate_pem: String,
    /// PEM of the kubelet port's certificate.
    pub serving_certificate_pem: String,
    /// Addresses of the name servers that pods get; empty while there is none.
    pub cluster_dns: Vec<String>,
}
