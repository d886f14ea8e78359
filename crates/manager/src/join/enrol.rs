//! From a host of the inventory to a node of its Supervisor.

use super::{Gate, heartbeat::assignment, refusal::Refusal};
use crate::inventory::InventoryError;
use kube::api::ListParams;
use orrery_api::names::HostName;
use orrery_wire::join::{EnrolReply, EnrolRequest};

/// Why a Supervisor gives no credentials.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// It cannot yet; the host is to ask again.
    #[error("{0}")]
    NotReady(String),
    /// It will not; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// It failed.
    #[error("the Supervisor failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The Supervisors, as joining knows them.
#[async_trait::async_trait]
pub trait NodeEnroller: Send + Sync + 'static {
    /// Signs `request`'s two signing requests for the node `host` and tells where the Supervisor is. The manager has
    /// checked that `host` is who asks and that its cluster has this Supervisor.
    async fn enrol(&self, host: &HostName, request: EnrolRequest) -> Result<EnrolReply, EnrolError>;
}

impl Gate {
    /// `POST /hosts/v1/enrol`.
    pub(super) async fn enrol(&self, host: &HostName, request: EnrolRequest) -> Result<EnrolReply, Refusal> {
        let found = self.inventory.hosts()?.get_opt(host.as_str()).await;
        let found = found.map_err(InventoryError::doing("read a host"))?;
        let object = found.ok_or_else(|| Refusal::NotInInventory(host.to_string()))?;
        let supervisors = self.inventory.supervisors()?.list(&ListParams::default()).await;
        let supervisors = supervisors.map_err(InventoryError::doing("list Supervisors"))?.items;
        if assignment(&supervisors, &object.spec.cluster).as_deref() != Some(request.supervisor.as_str()) {
            return Err(Refusal::NotAssigned { host: host.to_string(), supervisor: request.supervisor });
        }
        let supervisor = request.supervisor.clone();
        let reply = self.enroller.enrol(host, request).await?;
        tracing::info!(%host, supervisor, "the host was enrolled as a node");
        Ok(reply)
    }
}
