//! The host as a node: registered once, its lease renewed and its status reported while the session lives.

mod object;

#[cfg(test)]
mod tests;

use crate::{config::Config, host::Hostd, images::ImageSource};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, Patch, PatchParams, PostParams};
use orrery_wire::host::Facts;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often the lease is renewed and the status compared.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How soon a failed heartbeat is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(2);
/// How long others wait for a heartbeat before they think the node lost.
const LEASE_SECONDS: i32 = 40;
/// How often an unchanged status is written again.
const UNCHANGED: SignedDuration = SignedDuration::from_mins(5);
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Keeps the node registered until `shutdown`.
pub(crate) async fn keep(
    config: Config,
    kubelet_port: u16,
    hostd: Hostd,
    images: Arc<dyn ImageSource>,
    client: kube::Client,
    shutdown: CancellationToken,
) {
    let mut node = Keeper { config, kubelet_port, hostd, images, client, facts: None, reported: None };
    loop {
        let pause = match node.beat().await {
            Ok(()) => HEARTBEAT,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the node could not be reported");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            // Both futures hold no state between polls: dropping them loses nothing.
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// An error with its sources, for one line of log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// Why the node could not be reported.
#[derive(Debug, thiserror::Error)]
enum BeatError {
    #[error("the host's facts are not known")]
    Facts(#[source] crate::host::CallError),
    #[error("cannot {doing}")]
    Api {
        doing: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
}

fn api_error(doing: &'static str) -> impl Fn(kube::Error) -> BeatError {
    move |source| BeatError::Api { doing, source: Box::new(source) }
}

struct Keeper {
    config: Config,
    kubelet_port: u16,
    hostd: Hostd,
    images: Arc<dyn ImageSource>,
    client: kube::Client,
    /// Asked for again while hostd answers; kept while it does not.
    facts: Option<Facts>,
    reported: Option<Timestamp>,
}

impl Keeper {
    async fn beat(&mut self) -> Result<(), BeatError> {
        match self.hostd.facts().await {
            Ok(facts) => self.facts = Some(facts),
            // A host agent that is being upgraded does not make the node lost.
            Err(error) if self.facts.is_some() => tracing::debug!(error = %chain(&error), "hostd does not answer"),
            Err(error) => return Err(BeatError::Facts(error)),
        }
        let Some(facts) = self.facts.clone() else { return Ok(()) };
        let node = self.node(&facts).await?;
        self.renew_lease(&node).await
    }

    /// Registers the node or reports its status, whichever is due.
    async fn node(&mut self, facts: &Facts) -> Result<Node, BeatError> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let name = self.config.node.as_str();
        let now = Timestamp::now();
        let present = nodes.get_opt(name).await.map_err(api_error("read the node"))?;
        let mut wanted = object::node(&self.config, self.kubelet_port, facts, present.as_ref(), now);
        let images = self.images.clone();
        let list = tokio::task::spawn_blocking(move || images.list()).await.unwrap_or_default();
        wanted.status.get_or_insert_default().images = Some(object::images(list));
        let Some(present) = present else {
            let created =
                nodes.create(&PostParams::default(), &wanted).await.map_err(api_error("register the node"))?;
            tracing::info!(node = name, "registered");
            return self.report(&nodes, wanted, created, now).await;
        };
        if !object::labelled(&present, &wanted) {
            let patch = json!({ "metadata": { "labels": wanted.metadata.labels } });
            let params = PatchParams::default();
            nodes.patch(name, &params, &Patch::Merge(patch)).await.map_err(api_error("label the node"))?;
        }
        let fresh = self.reported.is_some_and(|at| now.duration_since(at) < UNCHANGED);
        if fresh && object::same_but_for_heartbeats(&present, &wanted) {
            return Ok(present);
        }
        self.report(&nodes, wanted, present, now).await
    }

    async fn report(
        &mut self,
        nodes: &Api<Node>,
        wanted: Node,
        present: Node,
        now: Timestamp,
    ) -> Result<Node, BeatError> {
        let patch = json!({ "metadata": { "uid": present.metadata.uid }, "status": wanted.status });
        let params = PatchParams::default();
        let name = self.config.node.as_str();
        nodes.patch_status(name, &params, &Patch::Merge(patch)).await.map_err(api_error("report the node's status"))?;
        self.reported = Some(now);
        Ok(present)
    }

    async fn renew_lease(&self, node: &Node) -> Result<(), BeatError> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), LEASE_NAMESPACE);
        let name = self.config.node.as_str();
        let spec = LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        };
        let patch = Patch::Merge(json!({ "spec": spec }));
        match leases.patch(name, &PatchParams::default(), &patch).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(api_error("renew the node's lease")(error)),
        }
        let owner = node.metadata.uid.clone().map(|uid| OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: name.to_owned(),
            uid,
            ..OwnerReference::default()
        });
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(LEASE_NAMESPACE.to_owned()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        };
        let lease = Lease { metadata, spec: Some(spec) };
        leases.create(&PostParams::default(), &lease).await.map_err(api_error("make the node's lease"))?;
        Ok(())
    }
}
