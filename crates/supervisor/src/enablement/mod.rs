//! The controller that carries `Supervisor` objects to a running control plane with nodes.
//!
//! One task: it reads the inventory, asks [`plan`] for the next step, takes it, writes the status and the `Task`, and
//! comes again when the inventory changes or after a while.

mod observe;
mod plan;
mod report;

pub use plan::{Failure, HostView, Observed, Step, plan};

use crate::{Authorities, AuthoritiesError, ControlPlane, control_plane::DeployError};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use orrery_api::inventory::{ConfigStatus, Supervisor, Zone, ZoneSpec};
use serde_json::json;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How soon an unfinished enablement is looked at again.
const BUSY: Duration = Duration::from_millis(300);
/// How soon a finished one is.
const IDLE: Duration = Duration::from_secs(10);
/// How long the controller's own access to a Supervisor lives; made anew at each look after half of it.
pub(crate) const ACCESS_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What enablement needs.
#[derive(Clone)]
pub struct EnablementConfig {
    /// The inventory.
    pub inventory: Client,
    /// The directory that holds one directory for each Supervisor.
    pub supervisors: PathBuf,
    /// What control planes run on.
    pub control_plane: Arc<dyn ControlPlane>,
}

/// Why a look at a Supervisor ended early; it is looked at again.
#[derive(Debug, thiserror::Error)]
pub enum EnablementError {
    /// The inventory did not answer, or refused.
    #[error("cannot {doing}")]
    Inventory {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The control plane could not be asked for.
    #[error("cannot deploy the control plane")]
    Deploy(#[source] DeployError),
    /// The Supervisor's authorities are of no use.
    #[error("cannot use the authorities of the Supervisor")]
    Authorities(#[source] AuthoritiesError),
}

pub(crate) fn inventory(doing: &'static str) -> impl Fn(kube::Error) -> EnablementError {
    move |source| EnablementError::Inventory { doing, source: Box::new(source) }
}

/// The controller of `Supervisor` objects.
pub struct Enablement {
    config: EnablementConfig,
}

impl Enablement {
    /// A controller; it does nothing until it is run.
    #[must_use]
    pub fn new(config: EnablementConfig) -> Self {
        Self { config }
    }

    /// Works until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let supervisors: Api<Supervisor> = Api::all(self.config.inventory.clone());
        loop {
            let next = match self.look(&supervisors).await {
                Ok(busy) => {
                    if busy {
                        BUSY
                    } else {
                        IDLE
                    }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "enablement will look again");
                    BUSY * 4
                }
            };
            tokio::select! {
                // Cancel-safe: neither arm has begun anything.
                () = shutdown.cancelled() => return,
                () = wait_for_change(&self.config.inventory, next) => {}
            }
        }
    }

    /// One look at every Supervisor. Whether one is unfinished.
    async fn look(&self, supervisors: &Api<Supervisor>) -> Result<bool, EnablementError> {
        let list = supervisors.list(&ListParams::default()).await.map_err(inventory("list Supervisors"))?;
        let mut busy = false;
        for supervisor in &list.items {
            busy |= self.advance(supervisor, &list.items).await?;
        }
        Ok(busy)
    }

    /// Takes the next step of one Supervisor. Whether there will be another.
    async fn advance(&self, supervisor: &Supervisor, all: &[Supervisor]) -> Result<bool, EnablementError> {
        let name = supervisor.metadata.name.clone().unwrap_or_default();
        let observed = observe::observe(&self.config, &name, supervisor, all).await?;
        let step = plan(&observed);
        report::report(&self.config, supervisor, &observed, &step).await?;
        match &step {
            Step::MapZone { zone, create } => self.map_zone(&name, &observed.cluster, zone, *create).await?,
            Step::DeployControlPlane => {
                Authorities::load_or_create(&self.config.supervisors.join(&name).join("pki"))
                    .map_err(EnablementError::Authorities)?;
                self.config.control_plane.deploy(&name).await.map_err(EnablementError::Deploy)?;
            }
            Step::Blocked(_) | Step::AwaitControlPlane | Step::AwaitHosts(_) | Step::Done => {}
        }
        let finished = supervisor.status.as_ref().is_some_and(|status| status.config_status == ConfigStatus::Running);
        Ok(step != Step::Done || !finished)
    }

    async fn map_zone(&self, supervisor: &str, cluster: &str, zone: &str, create: bool) -> Result<(), EnablementError> {
        let zones: Api<Zone> = Api::all(self.config.inventory.clone());
        if create {
            let object = Zone::new(zone, ZoneSpec { cluster: cluster.to_owned() });
            match zones.create(&PostParams::default(), &object).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {} // made by an earlier look
                other => drop(other.map_err(inventory("make the zone"))?),
            }
        }
        let patch = json!({"status": {"supervisor": supervisor}});
        zones
            .patch_status(zone, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .map_err(inventory("map the zone"))?;
        tracing::info!(%supervisor, %cluster, %zone, "mapped the cluster's zone");
        Ok(())
    }
}

/// Ends when a Supervisor or a workload namespace changes, and after `longest` in any case. A failed watch is no
/// trouble: the next look comes by the clock.
pub(crate) async fn wait_for_change(client: &Client, longest: Duration) {
    use futures::StreamExt;
    let supervisors: Api<Supervisor> = Api::all(client.clone());
    let changed = async {
        let Ok(version) = supervisors.list_metadata(&ListParams::default().limit(1)).await else {
            return std::future::pending().await;
        };
        let version = version.metadata.resource_version.unwrap_or_default();
        let Ok(stream) = supervisors.watch_metadata(&kube::api::WatchParams::default(), &version).await else {
            return std::future::pending().await;
        };
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            if !matches!(event, Ok(kube::core::WatchEvent::Bookmark(_)) | Err(_)) {
                return;
            }
        }
        std::future::pending::<()>().await;
    };
    let _ = tokio::time::timeout(longest, changed).await;
}
