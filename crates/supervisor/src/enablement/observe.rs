//! What enablement sees.

use super::{EnablementConfig, EnablementError, HostView, Observed, inventory};
use crate::{Authorities, ControlPlaneConfig};
use kube::{Api, api::ListParams};
use orrery_api::{
    condition::is_true,
    inventory::{ComputeCluster, Host, Supervisor, Zone},
    k8s::api::core::v1::Node,
};
use std::{collections::BTreeSet, time::Duration};

pub(super) async fn observe(
    config: &EnablementConfig,
    name: &str,
    supervisor: &Supervisor,
    all: &[Supervisor],
) -> Result<Observed, EnablementError> {
    let cluster = &supervisor.spec.cluster;
    let client = &config.inventory;
    let hosts = Api::<Host>::all(client.clone()).list(&ListParams::default()).await.map_err(inventory("list hosts"))?;
    let zones = Api::<Zone>::all(client.clone()).list(&ListParams::default()).await.map_err(inventory("list zones"))?;
    let clusters = Api::<ComputeCluster>::all(client.clone());
    let cluster_exists = clusters.get_opt(cluster).await.map_err(inventory("read the cluster"))?.is_some();
    let deployed = ControlPlaneConfig::load(&config.supervisors.join(name)).ok().flatten();
    let control_plane_ready = deployed.is_some() && config.control_plane.ready(name).await;
    let ready_nodes = match &deployed {
        Some(deployed) if control_plane_ready => ready_nodes(config, name, deployed).await,
        _ => BTreeSet::new(),
    };
    let zone = zones.items.iter().find(|zone| zone.spec.cluster == *cluster);
    Ok(Observed {
        supervisor: name.to_owned(),
        cluster: cluster.clone(),
        allow_emulation: supervisor.spec.allow_emulation,
        preconditions_met: supervisor.status.as_ref().is_some_and(|s| is_true(&s.conditions, "PreconditionsMet")),
        cluster_exists,
        cluster_taken_by: older_rival(supervisor, all),
        hosts: hosts.items.iter().filter(|host| host.spec.cluster == *cluster).map(view).collect(),
        zone: zone.map(|zone| (name_of(zone), zone.status.as_ref().and_then(|status| status.supervisor.clone()))),
        zone_names: zones.items.iter().map(name_of).collect(),
        control_plane_deployed: deployed.is_some(),
        control_plane_ready,
        ready_nodes,
    })
}

fn name_of<K: kube::Resource>(object: &K) -> String {
    object.meta().name.clone().unwrap_or_default()
}

fn view(host: &Host) -> HostView {
    let status = host.status.as_ref();
    HostView {
        name: name_of(host),
        ready: status.is_some_and(|status| is_true(&status.conditions, "Ready")),
        accelerator: status.and_then(|status| status.facts.as_ref()).map(|facts| facts.accelerator),
    }
}

/// Another Supervisor for the same cluster that was asked for earlier (by time, then by name).
fn older_rival(supervisor: &Supervisor, all: &[Supervisor]) -> Option<String> {
    let age = |s: &Supervisor| (s.metadata.creation_timestamp.clone().map(|time| time.0), s.metadata.name.clone());
    all.iter()
        .filter(|other| other.spec.cluster == supervisor.spec.cluster && age(other) < age(supervisor))
        .find_map(|other| other.metadata.name.clone())
}

/// The nodes that are ready; none when the API does not say.
async fn ready_nodes(config: &EnablementConfig, name: &str, deployed: &ControlPlaneConfig) -> BTreeSet<String> {
    let directory = config.supervisors.join(name).join("pki");
    let list = async {
        let authorities = Authorities::load_or_create(&directory).ok()?;
        let lifetime = Duration::from_secs(600);
        let access = authorities.access(&deployed.endpoint, "orrery:enablement", "system:masters", lifetime).ok()?;
        let client = access.client().await.ok()?;
        Api::<Node>::all(client).list(&ListParams::default()).await.ok()
    };
    let Some(nodes) = list.await else { return BTreeSet::new() };
    let ready = |node: &Node| {
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|list| list.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    };
    nodes.items.iter().filter(|node| ready(node)).map(name_of).collect()
}
