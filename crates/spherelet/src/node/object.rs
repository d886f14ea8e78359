//! The Node object, out of the host's facts.

use crate::config::Config;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use orrery_api::units::{Bytes, MilliCpu};
use orrery_wire::host::Facts;
use std::collections::BTreeMap;

/// Marks a node whose guests are emulated.
const ACCELERATOR_LABEL: &str = "inventory.orrery.dev/accelerator";
/// The level of Kubernetes that the node speaks.
const KUBERNETES: &str = "v1.36.0";
/// How many images a node shows, as by the kubelet.
const SHOWN_IMAGES: usize = 50;

/// The node as it should be at `now`.
pub(super) fn node(config: &Config, port: u16, facts: &Facts, present: Option<&Node>, now: Timestamp) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(config.node.to_string()),
            labels: Some(labels(config, facts)),
            ..ObjectMeta::default()
        },
        status: Some(status(config, port, facts, present, now)),
        ..Node::default()
    }
}

/// Whether `present` has every label of `wanted`.
pub(super) fn labelled(present: &Node, wanted: &Node) -> bool {
    let has = present.metadata.labels.as_ref();
    wanted.metadata.labels.iter().flatten().all(|(key, value)| has.is_some_and(|has| has.get(key) == Some(value)))
}

/// Whether the statuses differ in nothing but the times of heartbeats.
pub(super) fn same_but_for_heartbeats(present: &Node, wanted: &Node) -> bool {
    let plain = |node: &Node| {
        let mut status = node.status.clone().unwrap_or_default();
        status.conditions.iter_mut().flatten().for_each(|condition| condition.last_heartbeat_time = None);
        status
    };
    let present_status = plain(present);
    // What only others set is not compared.
    let mut expected = NodeStatus { conditions: None, ..present_status.clone() };
    let wanted = plain(wanted);
    expected.capacity = wanted.capacity;
    expected.allocatable = wanted.allocatable;
    expected.addresses = wanted.addresses;
    expected.daemon_endpoints = wanted.daemon_endpoints;
    expected.node_info = wanted.node_info;
    expected.conditions = wanted.conditions;
    expected.images = wanted.images;
    present_status == expected
}

/// The largest images, as a node shows them.
pub(super) fn images(mut list: Vec<(Vec<String>, u64)>) -> Vec<ContainerImage> {
    list.sort_by(|(one, one_size), (other, other_size)| other_size.cmp(one_size).then_with(|| one.cmp(other)));
    list.truncate(SHOWN_IMAGES);
    let image = |(names, size)| ContainerImage { names: Some(names), size_bytes: i64::try_from(size).ok() };
    list.into_iter().map(image).collect()
}

fn labels(config: &Config, facts: &Facts) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("kubernetes.io/hostname".to_owned(), config.node.to_string()),
        ("kubernetes.io/os".to_owned(), "linux".to_owned()),
        ("kubernetes.io/arch".to_owned(), "amd64".to_owned()),
        (ACCELERATOR_LABEL.to_owned(), facts.accelerator.to_lowercase()),
    ]);
    if let Some(zone) = &config.zone {
        labels.insert("topology.kubernetes.io/zone".to_owned(), zone.to_string());
    }
    labels
}

fn status(config: &Config, port: u16, facts: &Facts, present: Option<&Node>, now: Timestamp) -> NodeStatus {
    let capacity = BTreeMap::from([
        ("cpu".to_owned(), Quantity(MilliCpu(facts.cpu_milli).to_quantity())),
        ("memory".to_owned(), Quantity(Bytes(facts.memory_bytes).to_quantity())),
        ("pods".to_owned(), Quantity(facts.machine_slots.to_string())),
    ]);
    let address = |type_: &str, address: &str| NodeAddress { type_: type_.to_owned(), address: address.to_owned() };
    NodeStatus {
        allocatable: Some(capacity.clone()),
        capacity: Some(capacity),
        addresses: Some(vec![
            address("InternalIP", &facts.management_address),
            address("Hostname", config.node.as_str()),
        ]),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(port) }),
        }),
        node_info: Some(info(config, facts)),
        conditions: Some(conditions(present, now)),
        ..NodeStatus::default()
    }
}

fn info(config: &Config, facts: &Facts) -> NodeSystemInfo {
    NodeSystemInfo {
        architecture: "amd64".to_owned(),
        boot_id: facts.boot_id.clone(),
        container_runtime_version: format!("crx://{}", config.version),
        kernel_version: facts.kernel_release.clone(),
        kube_proxy_version: String::new(),
        kubelet_version: format!("{KUBERNETES}+orrery-{}", config.version),
        machine_id: facts.host.clone(),
        operating_system: "linux".to_owned(),
        os_image: format!("Orrery host (QEMU {}, {})", facts.qemu_version, facts.accelerator),
        system_uuid: facts.host.clone(),
        swap: None,
    }
}

fn conditions(present: Option<&Node>, now: Timestamp) -> Vec<NodeCondition> {
    let known = present.and_then(|node| node.status.as_ref()).and_then(|status| status.conditions.as_ref());
    let known = || known.into_iter().flatten();
    let own = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "Spherelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "Spherelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "Spherelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "Spherelet is posting ready status"),
    ];
    let time = || Some(Time(Timestamp::from_second(now.as_second()).unwrap_or(now)));
    let condition = |(type_, status, reason, message): (&str, &str, &str, &str)| {
        let before = known().find(|present| present.type_ == type_ && present.status == status);
        NodeCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: time(),
            last_transition_time: before.and_then(|before| before.last_transition_time.clone()).or_else(time),
        }
    };
    let others = known().filter(|present| own.iter().all(|own| own.0 != present.type_)).cloned();
    own.into_iter().map(condition).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::names::HostName;

    fn facts() -> Facts {
        Facts {
            host: "host-1".into(),
            cpu_milli: 2000,
            memory_bytes: 4 << 30,
            machine_slots: 110,
            accelerator: "TCG".into(),
            qemu_version: "7.2.22".into(),
            kernel_release: "6.1.0".into(),
            boot_id: "b".into(),
            management_address: "127.0.0.1".into(),
            machine_range: "10.244.0.0/24".into(),
        }
    }

    fn config() -> Config {
        Config {
            node: HostName::new("host-1").unwrap(),
            zone: None,
            hostd_socket: "/nowhere".into(),
            image_store: "/nowhere".into(),
            pod_pids_limit: None,
            registries: "/nowhere".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            version: "0.1.0".into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_node_tells_what_its_host_has() {
        let node = node(&config(), 10250, &facts(), None, at(5));
        let status = node.status.unwrap();
        let capacity = status.capacity.unwrap();
        assert_eq!(
            (capacity["cpu"].0.as_str(), capacity["memory"].0.as_str(), capacity["pods"].0.as_str()),
            ("2", "4Gi", "110")
        );
        assert_eq!(node.metadata.labels.unwrap()[ACCELERATOR_LABEL], "tcg");
        let info = status.node_info.unwrap();
        assert_eq!(
            (info.kubelet_version.as_str(), info.container_runtime_version.as_str()),
            ("v1.36.0+orrery-0.1.0", "crx://0.1.0")
        );
        assert_eq!(status.addresses.unwrap()[0].address, "127.0.0.1");
    }

    #[test]
    fn a_heartbeat_alone_is_no_change_and_keeps_the_transition_time() {
        let first = node(&config(), 10250, &facts(), None, at(5));
        let second = node(&config(), 10250, &facts(), Some(&first), at(15));
        assert!(same_but_for_heartbeats(&first, &second) && labelled(&first, &second));
        let more = Facts { memory_bytes: 8 << 30, ..facts() };
        assert!(!same_but_for_heartbeats(&first, &node(&config(), 10250, &more, Some(&first), at(15))));
        let ready = second.status.unwrap().conditions.unwrap().pop().unwrap();
        assert_eq!(ready.last_transition_time.unwrap().0, at(5));
        assert_eq!(ready.last_heartbeat_time.unwrap().0, at(15));
    }

    #[test]
    fn conditions_of_others_are_kept() {
        let mut present = node(&config(), 10250, &facts(), None, at(5));
        let other =
            NodeCondition { type_: "NetworkUnavailable".into(), status: "False".into(), ..NodeCondition::default() };
        present.status.as_mut().unwrap().conditions.as_mut().unwrap().push(other.clone());
        let next = node(&config(), 10250, &facts(), Some(&present), at(6));
        assert!(next.status.unwrap().conditions.unwrap().contains(&other));
    }
}
