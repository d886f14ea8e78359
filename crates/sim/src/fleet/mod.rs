//! Many hollow nodes.

mod heartbeat;
mod node;
mod watch;

use crate::ControlPlane;
use futures::{StreamExt, stream};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Node};
use kube::{Api, Client, api::DeleteParams};
use node::HollowNode;
use orrery_client::{Access, AccessError};
use std::{net::Ipv4Addr, time::Duration};
use tokio::{sync::watch as state, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// How many nodes are made, or removed, at once.
const AT_ONCE: usize = 16;

/// Gives access to the API as the node of a name.
pub type AccessOfNode = Box<dyn Fn(&str) -> Result<Access, HollowError> + Send + Sync>;

/// Who the nodes are to the API.
pub enum Clients {
    /// Each has a certificate of its own (`system:node:NAME`) and watches its own pods, as real nodes do. The access is made
    /// for each node's name.
    Own(AccessOfNode),
    /// All use this client, and one watch on the pods of all nodes: thousands of nodes cost one connection. Its user must be
    /// allowed to write Nodes, Leases and the status of pods.
    Shared(Client),
}

impl Clients {
    /// Nodes with certificates of the control plane's authority.
    #[must_use]
    pub fn own(control_plane: &ControlPlane) -> Self {
        let issuer = control_plane.issuer();
        Self::Own(Box::new(move |node| {
            let failed = |source| HollowError::Credentials { node: node.to_owned(), source };
            issuer.access(&format!("system:node:{node}"), "system:nodes").map_err(failed)
        }))
    }
}

/// What hollow nodes are like.
#[derive(Debug, Clone)]
pub struct HollowOptions {
    /// How many.
    pub count: usize,
    /// Their names are this and a number, beginning with 0.
    pub prefix: String,
    /// Processors of each, as a quantity.
    pub cpu: String,
    /// Memory of each, as a quantity.
    pub memory: String,
    /// The most pods on each, 250 at most: each node has 254 addresses.
    pub pods: u8,
    /// How often each renews its lease; it is thought lost after four times as long, 40 s at least.
    pub heartbeat: Duration,
}

impl Default for HollowOptions {
    fn default() -> Self {
        Self {
            count: 3,
            prefix: "hollow-".to_owned(),
            cpu: "32".to_owned(),
            memory: "256Gi".to_owned(),
            pods: 110,
            heartbeat: Duration::from_secs(10),
        }
    }
}

/// Why there are no hollow nodes.
#[derive(Debug, thiserror::Error)]
pub enum HollowError {
    /// There are too many.
    #[error("{0} nodes are too many; there are addresses for 65536")]
    TooMany(usize),
    /// A node gets no certificate.
    #[error("cannot make the certificate of node {node}")]
    Credentials {
        /// The node.
        node: String,
        /// Why.
        #[source]
        source: crate::StartError,
    },
    /// A node's client can't be made.
    #[error("cannot make the client of node {node}")]
    Client {
        /// The node.
        node: String,
        /// Why.
        #[source]
        source: AccessError,
    },
    /// A node ended.
    #[error("a hollow node ended; its log says why")]
    Ended,
    /// A node could not be removed.
    #[error("cannot remove node {node}")]
    Remove {
        /// The node.
        node: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Hollow nodes. Dropping them ends their tasks; their objects stay, as those of lost hosts do.
pub struct HollowNodes {
    names: Vec<String>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    registered: Vec<state::Receiver<bool>>,
}

impl HollowNodes {
    /// Starts the nodes' tasks. It does not wait until they are registered: [`HollowNodes::ready`] does.
    ///
    /// # Errors
    /// When there are too many, or a client can't be made.
    pub async fn start(clients: Clients, options: &HollowOptions) -> Result<Self, HollowError> {
        if options.count > 1 << 16 {
            return Err(HollowError::TooMany(options.count));
        }
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let names: Vec<String> = (0..options.count).map(|index| format!("{}{index}", options.prefix)).collect();
        let mut shared = match &clients {
            Clients::Own(_) => None,
            Clients::Shared(client) => Some(watch::Shared::new(client.clone(), &names)),
        };
        let mut registered = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let client = match &clients {
                Clients::Shared(client) => client.clone(),
                Clients::Own(access) => {
                    access(name)?.client().await.map_err(|source| HollowError::Client { node: name.clone(), source })?
                }
            };
            let pods = match &mut shared {
                Some(shared) => shared.pods_of(name),
                None => watch::own(client.clone(), name),
            };
            let (sender, receiver) = state::channel(false);
            registered.push(receiver);
            let identity = identity(index, name);
            let node = HollowNode::new(identity, client, options.clone(), sender);
            tasks.spawn(node.run(pods, shutdown.clone()));
        }
        if let Some(shared) = shared {
            tasks.spawn(shared.run(shutdown.clone()));
        }
        Ok(Self { names, shutdown, tasks, registered })
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Waits until every node is registered and Ready.
    ///
    /// # Errors
    /// When a node's task has ended.
    pub async fn ready(&mut self) -> Result<(), HollowError> {
        for registered in &mut self.registered {
            registered.wait_for(|registered| *registered).await.map_err(|_| HollowError::Ended)?;
        }
        Ok(())
    }

    /// Ends them; their objects stay.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Ends them and removes their Nodes and Leases, as an administrator would whose client is given.
    ///
    /// # Errors
    /// When an object can't be removed; those of other nodes are removed nevertheless.
    pub async fn remove(self, client: &Client) -> Result<(), HollowError> {
        let names = self.names.clone();
        self.stop().await;
        let results: Vec<_> =
            stream::iter(names).map(|name| remove(client, name)).buffer_unordered(AT_ONCE).collect().await;
        results.into_iter().collect()
    }
}

impl Drop for HollowNodes {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn remove(client: &Client, node: String) -> Result<(), HollowError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), heartbeat::LEASE_NAMESPACE);
    let params = DeleteParams::default();
    let nodes: Api<Node> = Api::all(client.clone());
    let gone = |result: Result<(), kube::Error>| match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    };
    let lease = gone(leases.delete(&node, &params).await.map(drop));
    let result = gone(nodes.delete(&node, &params).await.map(drop)).and(lease);
    result.map_err(|source| HollowError::Remove { node, source: Box::new(source) })
}

/// Who a node is, and which addresses it has.
#[derive(Debug, Clone)]
struct Identity {
    name: String,
    /// On loopback: nothing listens there, and nothing leaves the machine.
    address: Ipv4Addr,
    /// The first three bytes of its pods' addresses.
    network: [u8; 3],
}

fn identity(index: usize, name: &str) -> Identity {
    let [.., high, low] = u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes();
    Identity { name: name.to_owned(), address: Ipv4Addr::new(127, 64, high, low.max(1)), network: [10, high, low] }
}
