//! `GET /stats/summary`: what the kubelet tells under this path, as far as a pod in a machine of its own has it.
//!
//! Source of the form: `k8s.io/kubelet/pkg/apis/stats/v1alpha1`. A pod's numbers are those inside of its machine; what QEMU takes
//! beside is the node's.

use super::{ContainerUsage, PodUsage, Usage};
use k8s_openapi::jiff::Timestamp;
use orrery_wire::stats::{FilesystemStats, GroupStats, InterfaceStats};
use serde_json::{Value, json};

/// The answer, about the node called `node`.
pub(crate) fn summary(node: &str, usage: &Usage) -> Value {
    let time = time(usage.node.unix_nanos);
    let host = &usage.node;
    let disk = filesystem(&host.disk, &time);
    json!({
        "node": {
            "nodeName": node,
            "startTime": self::time(host.booted_at),
            "cpu": cpu(&time, host.cpu_nanos, host.cpu_rate),
            "memory": {"time": time, "availableBytes": host.memory_available_bytes, "usageBytes": host.working_set_bytes(),
                "workingSetBytes": host.working_set_bytes()},
            "fs": disk,
            "runtime": {"imageFs": disk},
        },
        "pods": usage.pods.iter().map(pod).collect::<Vec<_>>(),
    })
}

fn pod(usage: &PodUsage) -> Value {
    let (time, guest) = (time(usage.stats.unix_nanos), &usage.stats.guest);
    let mut told = json!({
        "podRef": {"name": usage.pod.name, "namespace": usage.pod.namespace, "uid": usage.pod.uid.to_string()},
        "startTime": self::time(usage.booted_at),
        "containers": usage.containers.iter().map(|container| self::container(container, &time)).collect::<Vec<_>>(),
        "cpu": cpu(&time, guest.pod.cpu_nanos, usage.cpu_rate),
        "memory": memory(&time, &guest.pod),
        "process_stats": {"process_count": guest.pod.processes},
    });
    if let Some(first) = guest.interfaces.first() {
        let mut network = interface(first);
        network["time"] = json!(time);
        network["interfaces"] = guest.interfaces.iter().map(interface).collect();
        told["network"] = network;
    }
    // Files of containers and of volumes, wherever they lie.
    let layers = usage.containers.iter().filter_map(|container| container.group.writable);
    let used = layers.chain(guest.scratch).fold(0u64, |sum, room| sum.saturating_add(room.used_bytes));
    told["ephemeral-storage"] = match &guest.scratch {
        Some(scratch) => filesystem(&FilesystemStats { used_bytes: used, ..*scratch }, &time),
        None => json!({"time": time, "usedBytes": used}),
    };
    told
}

fn container(usage: &ContainerUsage, time: &str) -> Value {
    let mut told = json!({
        "name": usage.name,
        "startTime": self::time(usage.started_at),
        "cpu": cpu(time, usage.group.cpu_nanos, usage.cpu_rate),
        "memory": memory(time, &usage.group),
    });
    if let Some(room) = &usage.group.writable {
        told["rootfs"] = filesystem(room, time);
    }
    told
}

fn cpu(time: &str, nanos: u64, rate: Option<u64>) -> Value {
    let mut told = json!({"time": time, "usageCoreNanoSeconds": nanos});
    if let Some(rate) = rate {
        told["usageNanoCores"] = json!(rate);
    }
    told
}

fn memory(time: &str, group: &GroupStats) -> Value {
    json!({"time": time, "usageBytes": group.memory_bytes, "workingSetBytes": group.working_set_bytes,
        "rssBytes": group.anonymous_bytes, "pageFaults": group.page_faults, "majorPageFaults": group.major_page_faults})
}

fn interface(stats: &InterfaceStats) -> Value {
    json!({"name": stats.name, "rxBytes": stats.received_bytes, "rxErrors": stats.receive_errors,
        "txBytes": stats.sent_bytes, "txErrors": stats.send_errors})
}

fn filesystem(room: &FilesystemStats, time: &str) -> Value {
    json!({"time": time, "availableBytes": room.available_bytes, "capacityBytes": room.capacity_bytes,
        "usedBytes": room.used_bytes, "inodesFree": room.free_inodes, "inodes": room.inodes,
        "inodesUsed": room.inodes.saturating_sub(room.free_inodes)})
}

/// Unix nanoseconds as Kubernetes writes times, to the millisecond: who makes a rate out of two answers has to know how far
/// apart they lie.
fn time(nanos: u64) -> String {
    let millis = i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).map(|time| time.to_string()).unwrap_or_default()
}
