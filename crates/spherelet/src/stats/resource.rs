//! `GET /metrics/resource`: what metrics-server and autoscalers read from a kubelet, as Prometheus text with the times of the
//! samples.
//!
//! Names and meanings: `k8s.io/kubernetes/pkg/kubelet/metrics/collectors/resource_metrics.go`.

use super::Usage;
use std::fmt::Write;

/// A number, its labels, and when it was read (Unix nanoseconds).
type Sample = (String, f64, u64);

/// The answer.
pub(crate) fn exposition(usage: &Usage) -> String {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let node = |value: f64| vec![(String::new(), value, usage.node.unix_nanos)];
    let of_containers = |value: &dyn Fn(&super::ContainerUsage) -> f64| -> Vec<Sample> {
        let all = usage.pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)));
        all.map(|(pod, container)| {
            let labels = format!("{{container=\"{}\",{}}}", container.name, pod_labels(pod));
            (labels, value(container), pod.stats.unix_nanos)
        })
        .collect()
    };
    let of_pods = |value: &dyn Fn(&super::PodUsage) -> f64| -> Vec<Sample> {
        usage.pods.iter().map(|pod| (format!("{{{}}}", pod_labels(pod)), value(pod), pod.stats.unix_nanos)).collect()
    };
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, samples: Vec<Sample>| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value, at) in samples {
            let _ = writeln!(text, "{name}{labels} {value} {}", at / 1_000_000);
        }
    };
    metric(
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the container in core-seconds",
        of_containers(&|container| seconds(container.group.cpu_nanos)),
    );
    metric(
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set of the container in bytes",
        of_containers(&|container| container.group.working_set_bytes as f64),
    );
    metric(
        "container_start_time_seconds",
        "gauge",
        "Start time of the container since unix epoch in seconds",
        of_containers(&|container| seconds(container.started_at)),
    );
    metric(
        "node_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the node in core-seconds",
        node(seconds(usage.node.cpu_nanos)),
    );
    metric(
        "node_memory_working_set_bytes",
        "gauge",
        "Current working set of the node in bytes",
        node(usage.node.working_set_bytes() as f64),
    );
    metric(
        "pod_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the pod in core-seconds",
        of_pods(&|pod| seconds(pod.stats.guest.pod.cpu_nanos)),
    );
    metric(
        "pod_memory_working_set_bytes",
        "gauge",
        "Current working set of the pod in bytes",
        of_pods(&|pod| pod.stats.guest.pod.working_set_bytes as f64),
    );
    let failed = if usage.silent > 0 { 1 } else { 0 };
    let help = "1 if there was an error while getting container metrics, 0 otherwise";
    let _ = writeln!(
        text,
        "# HELP resource_scrape_error {help}\n# TYPE resource_scrape_error gauge\nresource_scrape_error {failed}"
    );
    text
}

/// Names of Kubernetes need no escaping.
fn pod_labels(pod: &super::PodUsage) -> String {
    format!("namespace=\"{}\",pod=\"{}\"", pod.pod.namespace, pod.pod.name)
}

#[cfg(test)]
mod tests {
    use super::super::{ContainerUsage, NodeUsage, PodUsage};
    use super::*;
    use crate::pods::PodName;
    use orrery_api::names::MachineId;
    use orrery_wire::stats::{GroupStats, GuestStats, InterfaceStats, MachineStats};

    fn usage() -> Usage {
        let group = GroupStats { cpu_nanos: 1_500_000_000, working_set_bytes: 4096, ..GroupStats::default() };
        let guest = GuestStats {
            pod: GroupStats { cpu_nanos: 2_000_000_000, processes: 3, ..group },
            interfaces: vec![InterfaceStats { name: "eth0".into(), received_bytes: 9, ..InterfaceStats::default() }],
            ..GuestStats::default()
        };
        let container =
            ContainerUsage { name: "main".into(), started_at: 5_000_000_000, group, cpu_rate: Some(250_000_000) };
        let pod = PodUsage {
            pod: PodName { namespace: "demo".into(), name: "web".into(), uid: MachineId(uuid::Uuid::nil()) },
            booted_at: 4_000_000_000,
            stats: MachineStats { unix_nanos: 7_000_000_000, guest, names: Vec::new() },
            containers: vec![container],
            cpu_rate: None,
        };
        Usage { node: NodeUsage { unix_nanos: 7_000_000_000, ..NodeUsage::default() }, pods: vec![pod], silent: 1 }
    }

    #[test]
    fn samples_have_the_kubelets_names_their_labels_and_their_time() {
        let text = exposition(&usage());
        for line in [
            "container_cpu_usage_seconds_total{container=\"main\",namespace=\"demo\",pod=\"web\"} 1.5 7000",
            "container_memory_working_set_bytes{container=\"main\",namespace=\"demo\",pod=\"web\"} 4096 7000",
            "container_start_time_seconds{container=\"main\",namespace=\"demo\",pod=\"web\"} 5 7000",
            "pod_cpu_usage_seconds_total{namespace=\"demo\",pod=\"web\"} 2 7000",
            "node_memory_working_set_bytes 0 7000",
            "resource_scrape_error 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_summary_has_the_kubelets_form() {
        let summary = super::super::summary("host-1", &usage());
        let pod = &summary["pods"][0];
        assert_eq!(pod["podRef"]["name"], "web");
        assert_eq!(pod["startTime"], "1970-01-01T00:00:04Z");
        assert_eq!(pod["containers"][0]["cpu"]["usageNanoCores"], 250_000_000);
        assert_eq!(pod["containers"][0]["memory"]["workingSetBytes"], 4096);
        assert!(pod["cpu"].get("usageNanoCores").is_none(), "a rate that is not known is not told");
        assert_eq!((&pod["network"]["name"], &pod["network"]["rxBytes"]), (&"eth0".into(), &9.into()));
        assert_eq!(summary["node"]["nodeName"], "host-1");
    }
}
