//! What enablement does next. Pure: observed state in, one step out.
//!
//! ```text
//!   CheckPreconditions --all hold--> MapZone --> DeployControlPlane --> AwaitControlPlane --> AwaitHosts --> Done
//!          |  ^
//!          v  | asked again
//!        Blocked
//! ```
//!
//! Nothing is remembered but what can be observed (the zone, the control plane's configuration, its health, its nodes) and
//! the `PreconditionsMet` condition: once they held, a host that goes away does not stop an enablement half-way.

use orrery_api::inventory::Accelerator;
use std::collections::BTreeSet;

/// A host, as far as enablement looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostView {
    /// Its name.
    pub name: String,
    /// Whether its heartbeats arrive.
    pub ready: bool,
    /// KVM or TCG, once it has reported.
    pub accelerator: Option<Accelerator>,
}

/// Everything that the next step depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The Supervisor's name.
    pub supervisor: String,
    /// The cluster to enable.
    pub cluster: String,
    /// Whether hosts that emulate may take part.
    pub allow_emulation: bool,
    /// Whether the preconditions held before.
    pub preconditions_met: bool,
    /// Whether the cluster is in the inventory.
    pub cluster_exists: bool,
    /// Another Supervisor that names the same cluster.
    pub cluster_taken_by: Option<String>,
    /// The cluster's hosts.
    pub hosts: Vec<HostView>,
    /// The zone that is the cluster, and the Supervisor that uses it.
    pub zone: Option<(String, Option<String>)>,
    /// Names of all zones.
    pub zone_names: BTreeSet<String>,
    /// Whether the control plane was asked for.
    pub control_plane_deployed: bool,
    /// Whether its API answers.
    pub control_plane_ready: bool,
    /// Nodes that are ready.
    pub ready_nodes: BTreeSet<String>,
}

/// A precondition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which, one CamelCase word.
    pub check: &'static str,
    /// What is wrong.
    pub message: String,
    /// What helps.
    pub fix: String,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing is done until these hold; all of them are named.
    Blocked(Vec<Failure>),
    /// Makes `zone` for the cluster, or marks the present one as used.
    MapZone {
        /// The zone's name.
        zone: String,
        /// Whether it has to be made.
        create: bool,
    },
    /// Makes authorities and configuration, and starts the control plane.
    DeployControlPlane,
    /// The API does not answer yet.
    AwaitControlPlane,
    /// These hosts are no ready nodes yet.
    AwaitHosts(Vec<String>),
    /// All is done.
    Done,
}

impl Step {
    /// For people, in a task.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Blocked(failures) => {
                let texts: Vec<String> =
                    failures.iter().map(|f| format!("{}: {} Fix: {}", f.check, f.message, f.fix)).collect();
                format!("preconditions do not hold: {}", texts.join(" | "))
            }
            Self::MapZone { zone, create: true } => format!("making zone {zone} for the cluster"),
            Self::MapZone { zone, create: false } => format!("mapping zone {zone}"),
            Self::DeployControlPlane => "deploying the control plane".to_owned(),
            Self::AwaitControlPlane => "waiting for the API to answer".to_owned(),
            Self::AwaitHosts(hosts) => format!("waiting for hosts to become nodes: {}", hosts.join(", ")),
            Self::Done => "the Supervisor runs".to_owned(),
        }
    }

    /// How much of enablement lies behind this step, 0 to 100.
    #[must_use]
    pub fn percent(&self) -> u8 {
        match self {
            Self::Blocked(_) => 0,
            Self::MapZone { .. } => 10,
            Self::DeployControlPlane => 25,
            Self::AwaitControlPlane => 50,
            Self::AwaitHosts(_) => 75,
            Self::Done => 100,
        }
    }
}

/// The next step.
#[must_use]
pub fn plan(observed: &Observed) -> Step {
    if !observed.preconditions_met {
        let failures = check(observed);
        if !failures.is_empty() {
            return Step::Blocked(failures);
        }
    }
    match &observed.zone {
        None => return Step::MapZone { zone: free_zone_name(observed), create: true },
        Some((zone, user)) if user.as_deref() != Some(observed.supervisor.as_str()) => {
            return Step::MapZone { zone: zone.clone(), create: false };
        }
        Some(_) => {}
    }
    if !observed.control_plane_deployed {
        return Step::DeployControlPlane;
    }
    if !observed.control_plane_ready {
        return Step::AwaitControlPlane;
    }
    let missing: Vec<String> = observed
        .hosts
        .iter()
        .filter(|host| host.ready && !observed.ready_nodes.contains(&host.name))
        .map(|host| host.name.clone())
        .collect();
    if missing.is_empty() { Step::Done } else { Step::AwaitHosts(missing) }
}

/// Every precondition that does not hold.
fn check(observed: &Observed) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut fail = |check, message: String, fix: String| failures.push(Failure { check, message, fix });
    let cluster = &observed.cluster;
    if !observed.cluster_exists {
        fail(
            "ClusterExists",
            format!("Cluster {cluster} is not in the inventory."),
            format!("create the ComputeCluster {cluster}, or name another in spec.cluster."),
        );
    }
    if let Some(other) = &observed.cluster_taken_by {
        fail(
            "ClusterFree",
            format!("Cluster {cluster} belongs to Supervisor {other}."),
            "enable another cluster.".to_owned(),
        );
    }
    if let Some((zone, Some(user))) = &observed.zone
        && *user != observed.supervisor
    {
        fail("ZoneFree", format!("Zone {zone} is used by Supervisor {user}."), "enable another cluster.".to_owned());
    }
    if !observed.hosts.iter().any(|host| host.ready) {
        fail(
            "HostReady",
            format!("Cluster {cluster} has no ready host ({} known).", observed.hosts.len()),
            "join a host to it, or look at the log of its agent.".to_owned(),
        );
    }
    let emulating = |host: &&HostView| host.ready && host.accelerator == Some(Accelerator::Tcg);
    let emulating: Vec<&str> = observed.hosts.iter().filter(emulating).map(|host| host.name.as_str()).collect();
    if !observed.allow_emulation && !emulating.is_empty() {
        fail(
            "HardwareVirtualization",
            format!("These hosts emulate, which is no isolation boundary: {}.", emulating.join(", ")),
            "enable virtualization in their firmware, or set spec.allowEmulation for a trial.".to_owned(),
        );
    }
    failures
}

/// `zone-N` with the number of `cluster-N`, or the first one that is free.
fn free_zone_name(observed: &Observed) -> String {
    let numbered = observed.cluster.strip_prefix("cluster-").map(|number| format!("zone-{number}"));
    let candidates = (1..).map(|number| format!("zone-{number}"));
    numbered
        .into_iter()
        .chain(candidates)
        .find(|name| !observed.zone_names.contains(name))
        .expect("there are more numbers than zones")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ready_to_go() -> Observed {
        Observed {
            supervisor: "supervisor-1".into(),
            cluster: "cluster-1".into(),
            allow_emulation: true,
            preconditions_met: false,
            cluster_exists: true,
            cluster_taken_by: None,
            hosts: vec![HostView { name: "host-1".into(), ready: true, accelerator: Some(Accelerator::Tcg) }],
            zone: None,
            zone_names: BTreeSet::new(),
            control_plane_deployed: false,
            control_plane_ready: false,
            ready_nodes: BTreeSet::new(),
        }
    }

    /// What the world does when a step is carried out.
    fn carry_out(observed: &mut Observed, step: &Step) {
        match step {
            Step::Blocked(_) | Step::Done => {}
            Step::MapZone { zone, .. } => {
                observed.preconditions_met = true;
                observed.zone = Some((zone.clone(), Some(observed.supervisor.clone())));
                observed.zone_names.insert(zone.clone());
            }
            Step::DeployControlPlane => observed.control_plane_deployed = true,
            Step::AwaitControlPlane => observed.control_plane_ready = true,
            Step::AwaitHosts(hosts) => observed.ready_nodes.extend(hosts.iter().cloned()),
        }
    }

    #[test]
    fn a_good_cluster_is_enabled_step_by_step() {
        let mut observed = ready_to_go();
        let mut steps = Vec::new();
        loop {
            let step = plan(&observed);
            carry_out(&mut observed, &step);
            steps.push(step.percent());
            if step == Step::Done {
                break;
            }
        }
        assert_eq!(steps, [10, 25, 50, 75, 100]);
        assert_eq!(observed.zone, Some(("zone-1".into(), Some("supervisor-1".into()))));
    }

    #[test]
    fn every_failed_precondition_is_named_at_once() {
        let observed = Observed {
            cluster_exists: false,
            cluster_taken_by: Some("supervisor-2".into()),
            allow_emulation: false,
            ..ready_to_go()
        };
        let Step::Blocked(failures) = plan(&observed) else { panic!("must be blocked") };
        let checks: Vec<_> = failures.iter().map(|f| f.check).collect();
        assert_eq!(checks, ["ClusterExists", "ClusterFree", "HardwareVirtualization"]);
        assert!(failures.iter().all(|f| !f.fix.is_empty()));
    }

    #[test]
    fn a_host_lost_half_way_does_not_block() {
        let mut observed = Observed { preconditions_met: true, ..ready_to_go() };
        observed.hosts[0].ready = false;
        assert!(matches!(plan(&observed), Step::MapZone { .. }));
    }

    #[test]
    fn a_taken_zone_name_is_passed_over() {
        let observed = Observed { zone_names: ["zone-1".to_owned()].into(), ..ready_to_go() };
        assert_eq!(plan(&observed), Step::MapZone { zone: "zone-2".into(), create: true });
    }

    proptest! {
        #[test]
        fn enablement_ends_from_any_state(
            met: bool, exists: bool, emulation: bool, ready: bool, zone: bool, deployed: bool, up: bool, node: bool,
        ) {
            let mut observed = Observed {
                preconditions_met: met, cluster_exists: exists, allow_emulation: emulation,
                control_plane_deployed: deployed, control_plane_ready: up, ..ready_to_go()
            };
            observed.hosts[0].ready = ready;
            if zone { observed.zone = Some(("zone-1".into(), None)); }
            if node { observed.ready_nodes.insert("host-1".into()); }
            let mut last = 0;
            for _ in 0..8 {
                let step = plan(&observed);
                prop_assert!(step.percent() >= last, "goes back at {:?}", step);
                last = step.percent();
                carry_out(&mut observed, &step);
            }
            let end = plan(&observed);
            prop_assert!(matches!(end, Step::Done | Step::Blocked(_)), "{:?}", end);
        }
    }
}
