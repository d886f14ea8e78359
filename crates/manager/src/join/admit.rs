//! Taking a host in.
//!
//! Everything is checked before the token is spent; a host whose answer got lost may send the same request again.

use super::{
    Gate,
    heartbeat::{host_facts, refreshed},
    refusal::Refusal,
    token::Claim,
};
use crate::{fleet::Usage, inventory::InventoryError};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::api::{Patch, PatchParams, PostParams};
use orrery_api::{
    condition::is_true,
    inventory::{Host, HostFacts, HostSpec},
    names::{ClusterName, HostName},
};
use orrery_wire::join::{JoinReply, JoinRequest};
use serde_json::json;
use tokio::time::Instant;

impl Gate {
    /// `POST /hosts/v1/join`.
    pub(super) async fn join(&self, request: JoinRequest) -> Result<JoinReply, Refusal> {
        let host = HostName::new(request.host.as_str()).map_err(Refusal::Name)?;
        if request.facts.host != request.host {
            return Err(Refusal::OtherHost { host: request.host, facts: request.facts.host });
        }
        let facts = host_facts(&request.facts, "")?;
        let claim = Claim::new(&host, &request.csr_pem);
        let admission = self.tokens.check(&request.token, &claim).await?;
        self.cluster_exists(&admission.cluster).await?;
        let present = self.inventory.hosts()?.get_opt(host.as_str()).await;
        let present = present.map_err(InventoryError::doing("read a host"))?;
        if let Some(present) = &present {
            may_take_over(present, &host, &admission.cluster, admission.again)?;
        }
        let certificate_pem = self.authorities.sign_host(&host, &request.csr_pem).map_err(Refusal::Request)?;
        let cluster = admission.cluster.clone();
        self.tokens.spend(admission, &claim).await?;
        self.record(&host, &cluster, present, facts).await?;
        tracing::info!(%host, %cluster, "the host joined");
        Ok(JoinReply {
            certificate_pem,
            manager_ca_pem: self.authorities.serving_ca_pem().to_owned(),
            cluster: cluster.to_string(),
        })
    }

    async fn cluster_exists(&self, cluster: &ClusterName) -> Result<(), Refusal> {
        let found = self.inventory.clusters()?.get_opt(cluster.as_str()).await;
        match found.map_err(InventoryError::doing("read a cluster"))? {
            Some(_) => Ok(()),
            None => Err(Refusal::UnknownCluster(cluster.to_string())),
        }
    }

    /// The host's object, alive from now on.
    async fn record(
        &self,
        host: &HostName,
        cluster: &ClusterName,
        present: Option<Host>,
        facts: HostFacts,
    ) -> Result<(), Refusal> {
        let hosts = self.inventory.hosts()?;
        if present.is_none() {
            let object = Host::new(host.as_str(), HostSpec { cluster: cluster.to_string() });
            match hosts.create(&PostParams::default(), &object).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    return Err(Refusal::Duplicate(host.to_string()));
                }
                Err(error) => return Err(InventoryError::doing("create a host")(error).into()),
            }
        }
        let machines = present.as_ref().and_then(|host| host.status.as_ref()).map_or(0, |status| status.machines);
        let old = present.as_ref().and_then(|host| host.status.as_ref());
        if let Some(status) = refreshed(old, facts, machines, Time(Timestamp::now())) {
            let patch = Patch::Merge(json!({"status": status}));
            let patched = hosts.patch_status(host.as_str(), &PatchParams::default(), &patch).await;
            patched.map_err(InventoryError::doing("write a host's status"))?;
        }
        self.fleet.heard(host, Usage { machines, ..Usage::default() }, Instant::now());
        Ok(())
    }
}

/// Whether whoever holds a token may become the host `present`. One that is alive is not replaced, unless it is the same
/// that asks again.
fn may_take_over(present: &Host, host: &HostName, cluster: &ClusterName, again: bool) -> Result<(), Refusal> {
    if present.spec.cluster != cluster.as_str() {
        return Err(Refusal::OtherCluster {
            host: host.to_string(),
            has: present.spec.cluster.clone(),
            wants: cluster.to_string(),
        });
    }
    let alive = present.status.as_ref().is_some_and(|status| is_true(&status.conditions, "Ready"));
    if alive && !again { Err(Refusal::Duplicate(host.to_string())) } else { Ok(()) }
}
