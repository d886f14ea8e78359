//! Watching over heartbeats.
//!
//! ```text
//! Ready=True --no heartbeat for 20 s--> Ready=Unknown --a heartbeat (join module)--> Ready=True
//! ```

use crate::{
    fleet::Fleet,
    inventory::{Inventory, InventoryError, chain},
    pools,
    recorded::Recorded,
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use orrery_api::{
    condition::{is_true, set_condition},
    inventory::{ComputeCluster, ComputeClusterStatus, Host, HostStatus},
    names::HostName,
};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior};

const TICK: Duration = Duration::from_secs(2);

/// Looks at all hosts and clusters again and again; ends only when it is dropped.
pub(crate) async fn run(inventory: Arc<Inventory>, fleet: Arc<Fleet>, recorded: Arc<Recorded>) {
    let mut known = None;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = pass(&inventory, &fleet, (&recorded, &mut known)).await {
            tracing::warn!(error = chain(&error), "hosts could not be looked after; it is tried again");
        }
    }
}

async fn pass(
    inventory: &Inventory,
    fleet: &Fleet,
    (recorded, known): (&Recorded, &mut Option<BTreeSet<String>>),
) -> Result<(), InventoryError> {
    let api = inventory.hosts()?;
    let all = ListParams::default();
    let mut hosts = api.list(&all).await.map_err(InventoryError::doing("list hosts"))?.items;
    let now = Instant::now();
    let name_of = |host: &Host| HostName::new(host.metadata.name.clone().unwrap_or_default()).ok();
    for host in &mut hosts {
        let Some(name) = name_of(host) else { continue };
        if fleet.is_silent(&name, now) {
            mark_silent(&api, &name, host).await?;
        }
    }
    fleet.keep_only(|name| hosts.iter().any(|host| host.metadata.name.as_deref() == Some(name.as_str())));
    let clusters = inventory.clusters()?;
    for cluster in clusters.list(&all).await.map_err(InventoryError::doing("list clusters"))?.items {
        count_hosts(&clusters, &cluster, &hosts).await?;
    }
    judge_pools(inventory, &hosts).await?;
    let names: BTreeSet<String> = hosts.iter().filter_map(|host| host.metadata.name.clone()).collect();
    if known.as_ref() != Some(&names) {
        recorded.forget(inventory, &names).await?;
        *known = Some(names);
    }
    Ok(())
}

async fn mark_silent(api: &Api<Host>, name: &HostName, host: &mut Host) -> Result<(), InventoryError> {
    let status = host.status.get_or_insert_default();
    if !set_condition(&mut status.conditions, silent(Time(Timestamp::now()))) {
        return Ok(());
    }
    // The version guards against undoing what a heartbeat wrote meanwhile.
    let guard = &host.metadata.resource_version;
    let patch = json!({"metadata": {"resourceVersion": guard}, "status": {"conditions": status.conditions}});
    match api.patch_status(name.as_str(), &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => {
            tracing::warn!(%name, "the host fell silent");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(error) => Err(InventoryError::doing("mark a silent host")(error)),
    }
}

fn silent(now: Time) -> Condition {
    Condition {
        type_: "Ready".to_owned(),
        status: "Unknown".to_owned(),
        reason: "NoHeartbeat".to_owned(),
        message:
            "No heartbeat arrives: look whether the host runs, whether its agent runs, and whether it reaches the \
                  manager"
                .to_owned(),
        last_transition_time: now,
        observed_generation: None,
    }
}

async fn count_hosts(
    api: &Api<ComputeCluster>,
    cluster: &ComputeCluster,
    hosts: &[Host],
) -> Result<(), InventoryError> {
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let counted = count(name, hosts);
    if cluster.status.as_ref() == Some(&counted) {
        return Ok(());
    }
    let patch = Patch::Merge(json!({"status": counted}));
    match api.patch_status(name, &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(InventoryError::doing("write a cluster's status")(error)),
    }
}

/// Says of each pool whether what it reserves can be had.
async fn judge_pools(inventory: &Inventory, hosts: &[Host]) -> Result<(), InventoryError> {
    let api = inventory.pools()?;
    let all = api.list(&ListParams::default()).await.map_err(InventoryError::doing("list resource pools"))?.items;
    let statuses = pools::statuses(&all, hosts, &Time(Timestamp::now()));
    for pool in &all {
        let name = pool.metadata.name.as_deref().unwrap_or_default();
        let Some(status) = statuses.get(name).filter(|status| pool.status.as_ref() != Some(status)) else { continue };
        match api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(InventoryError::doing("write a resource pool's status")(error)),
        }
    }
    Ok(())
}

fn count(cluster: &str, hosts: &[Host]) -> ComputeClusterStatus {
    let is_ready = |status: Option<&HostStatus>| status.is_some_and(|status| is_true(&status.conditions, "Ready"));
    let members = hosts.iter().filter(|host| host.spec.cluster == cluster);
    members.fold(ComputeClusterStatus::default(), |sum, host| ComputeClusterStatus {
        hosts: sum.hosts + 1,
        ready_hosts: sum.ready_hosts + u32::from(is_ready(host.status.as_ref())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::{condition::condition, inventory::HostSpec};

    #[test]
    fn a_cluster_counts_its_own_hosts_and_those_that_are_ready() {
        let host = |cluster: &str, ready: Option<bool>| {
            let mut host = Host::new("h", HostSpec { cluster: cluster.into() });
            let at = Time(Timestamp::from_second(1).unwrap());
            host.status = ready.map(|ready| HostStatus {
                conditions: vec![condition("Ready", ready, "Test", "", at)],
                ..HostStatus::default()
            });
            host
        };
        let hosts = [host("a", Some(true)), host("a", Some(false)), host("a", None), host("b", Some(true))];
        assert_eq!(count("a", &hosts), ComputeClusterStatus { hosts: 3, ready_hosts: 1 });
    }
}
