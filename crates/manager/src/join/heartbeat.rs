//! Signs of life.

use super::{Gate, refusal::Refusal};
use crate::{
    fleet::Usage,
    inventory::{InventoryError, chain},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::api::{ListParams, Patch, PatchParams};
use orrery_api::{
    condition::{condition, is_true, set_condition},
    inventory::{Accelerator, HostFacts, HostStatus, Supervisor},
    names::HostName,
    units::{Bytes, MilliCpu},
};
use orrery_wire::{
    host::Facts,
    join::{Heartbeat, HeartbeatReply},
};
use serde_json::json;
use tokio::time::Instant;

/// How often hosts are to give a sign of life.
const INTERVAL_SECONDS: u32 = 5;
/// The same while a host serves no Supervisor yet, so that an enablement does not wait for it.
const WAITING_INTERVAL_SECONDS: u32 = 1;
/// The object is not written for the time of the heartbeat alone more often than this.
const WRITE_EVERY_SECONDS: i64 = 10;

impl Gate {
    /// `POST /hosts/v1/heartbeat`.
    pub(super) async fn heartbeat(&self, host: &HostName, beat: Heartbeat) -> Result<HeartbeatReply, Refusal> {
        if beat.facts.host != host.as_str() {
            return Err(Refusal::OtherHost { host: host.to_string(), facts: beat.facts.host });
        }
        let facts = host_facts(&beat.facts, &beat.agent_version)?;
        let hosts = self.inventory.hosts()?;
        let found = hosts.get_opt(host.as_str()).await.map_err(InventoryError::doing("read a host"))?;
        let object = found.ok_or_else(|| Refusal::NotInInventory(host.to_string()))?;
        let usage = Usage {
            cpu: MilliCpu(beat.used_cpu_milli),
            memory: Bytes(beat.used_memory_bytes),
            machines: beat.machines,
        };
        self.fleet.heard(host, usage, Instant::now());
        if let Some(status) = refreshed(object.status.as_ref(), facts, beat.machines, Time(Timestamp::now())) {
            let patch = Patch::Merge(json!({"status": status}));
            let patched = hosts.patch_status(host.as_str(), &PatchParams::default(), &patch).await;
            patched.map_err(InventoryError::doing("write a host's status"))?;
        }
        // It is no reason to refuse a sign of life; the next one tries again.
        if let Err(error) = self.recorded.record(&self.inventory, host, &beat).await {
            tracing::warn!(%host, error = chain(&error), "what the host reports could not be written down");
        }
        let supervisors = self.inventory.supervisors()?.list(&ListParams::default()).await;
        let supervisors = supervisors.map_err(InventoryError::doing("list Supervisors"))?.items;
        let supervisor = assignment(&supervisors, &object.spec.cluster);
        let interval_seconds = if supervisor.is_some() { INTERVAL_SECONDS } else { WAITING_INTERVAL_SECONDS };
        Ok(HeartbeatReply { supervisor, interval_seconds })
    }
}

/// The status to write, when there is news in it or the written time has become old.
pub(super) fn refreshed(old: Option<&HostStatus>, facts: HostFacts, machines: u32, now: Time) -> Option<HostStatus> {
    let mut status = old.cloned().unwrap_or_default();
    let ready = condition("Ready", true, "Heartbeat", "Heartbeats arrive", now.clone());
    let mut news = set_condition(&mut status.conditions, ready);
    news |= status.facts.as_ref() != Some(&facts) || status.machines != machines;
    let age = status.last_heartbeat_time.as_ref().map(|time| now.0.as_second().saturating_sub(time.0.as_second()));
    news |= age.is_none_or(|seconds| seconds >= WRITE_EVERY_SECONDS);
    status.facts = Some(facts);
    status.machines = machines;
    status.last_heartbeat_time = Some(now);
    news.then_some(status)
}

/// The Supervisor that hosts of `cluster` serve: the one that enabled it, once its control plane can be reached. The
/// first by name, should there be several.
pub(super) fn assignment(supervisors: &[Supervisor], cluster: &str) -> Option<String> {
    let serves = |supervisor: &&Supervisor| {
        supervisor.spec.cluster == cluster
            && supervisor.metadata.deletion_timestamp.is_none()
            && supervisor.status.as_ref().is_some_and(|status| is_true(&status.conditions, "ControlPlaneReady"))
    };
    supervisors.iter().filter(serves).filter_map(|supervisor| supervisor.metadata.name.clone()).min()
}

/// A host's facts as the inventory keeps them.
pub(super) fn host_facts(facts: &Facts, agent_version: &str) -> Result<HostFacts, Refusal> {
    let accelerator = match facts.accelerator.as_str() {
        "KVM" => Accelerator::Kvm,
        "TCG" => Accelerator::Tcg,
        other => return Err(Refusal::Accelerator(other.to_owned())),
    };
    Ok(HostFacts {
        cpu_milli: MilliCpu(facts.cpu_milli),
        memory_bytes: Bytes(facts.memory_bytes),
        accelerator,
        qemu_version: facts.qemu_version.clone(),
        kernel_release: facts.kernel_release.clone(),
        boot_id: facts.boot_id.clone(),
        agent_version: agent_version.to_owned(),
        management_address: facts.management_address.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::inventory::{SupervisorSpec, SupervisorStatus};

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn a_status_is_written_for_news_and_otherwise_every_ten_seconds() {
        let facts = HostFacts { cpu_milli: MilliCpu(4000), ..HostFacts::default() };
        let first = refreshed(None, facts.clone(), 1, at(100)).expect("the first heartbeat is news");
        assert!(is_true(&first.conditions, "Ready"));
        assert_eq!(refreshed(Some(&first), facts.clone(), 1, at(105)), None);
        assert!(refreshed(Some(&first), facts.clone(), 2, at(105)).is_some(), "another machine is news");
        let later = refreshed(Some(&first), facts.clone(), 1, at(110)).expect("the time is old");
        assert_eq!(later.last_heartbeat_time, Some(at(110)));
        assert_eq!(later.conditions[0].last_transition_time, at(100));
        let mut silent = first;
        silent.conditions[0].status = "Unknown".into();
        let back = refreshed(Some(&silent), facts, 1, at(105)).expect("being back is news");
        assert_eq!(back.conditions[0].last_transition_time, at(105));
    }

    #[test]
    fn hosts_serve_the_supervisor_of_their_cluster_once_its_control_plane_is_ready() {
        let supervisor = |name: &str, cluster: &str, ready: bool| {
            let spec = SupervisorSpec { cluster: cluster.into(), allow_emulation: false };
            let mut supervisor = Supervisor::new(name, spec);
            supervisor.status = Some(SupervisorStatus {
                conditions: vec![condition("ControlPlaneReady", ready, "Test", "", at(1))],
                ..SupervisorStatus::default()
            });
            supervisor
        };
        let all = [supervisor("s1", "a", false), supervisor("s2", "b", true), supervisor("s3", "b", true)];
        assert_eq!(assignment(&all, "a"), None);
        assert_eq!(assignment(&all, "b").as_deref(), Some("s2"));
        assert_eq!(assignment(&all, "c"), None);
    }
}
