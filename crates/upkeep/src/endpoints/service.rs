//! What the pods of a service come to. Pure.

use super::{
    object::{Endpoint, Family, Port, Service, SlicePort},
    pack::Group,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orrery_reconcile::objects::Pod;
use std::{collections::BTreeMap, sync::Arc};

/// Whether nothing that an endpoint tells of a pod differs.
pub(super) fn looks_the_same(old: &Pod, new: &Pod) -> bool {
    (old.meta.uid == new.meta.uid && old.meta.labels == new.meta.labels)
        && old.meta.deleting.is_some() == new.meta.deleting.is_some()
        && (old.is_over(), old.ready, &old.ips, &old.node) == (new.is_over(), new.ready, &new.ips, &new.node)
        && (&old.hostname, &old.subdomain, &old.ports) == (&new.hostname, &new.subdomain, &new.ports)
}

/// The pod's number for a port of the service; none when it has no port of that name.
pub(super) fn port_of(pod: &Pod, port: &Port) -> Option<i32> {
    match &port.target {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => Some(port.port),
        Some(IntOrString::String(name)) => {
            let mut named = pod.ports.iter().filter(|own| own.name == *name && own.protocol == port.protocol);
            named.next().map(|own| own.port)
        }
    }
}

/// Whether the pod can answer at all.
pub(super) fn belongs(pod: &Pod, also_terminating: bool) -> bool {
    !pod.is_over() && !pod.ips.is_empty() && (also_terminating || pod.meta.deleting.is_none())
}

/// The name by which the pod is found under the service's own, if it asks for one.
pub(super) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let within = pod.subdomain.as_deref() == Some(service.meta.key.name.as_str());
    pod.hostname.clone().filter(|_| within)
}

/// The endpoints of a service, by address family and ports. `zone` knows the zone of a node.
pub(super) fn endpoints(
    service: &Service,
    pods: &[Arc<Pod>],
    zone: impl Fn(&str) -> Option<String>,
) -> BTreeMap<Group, Vec<Endpoint>> {
    let mut groups: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
    for family in &service.families {
        for pod in pods.iter().filter(|pod| belongs(pod, true)) {
            let Some(ip) = pod.ips.iter().find(|ip| Family::of(ip) == *family) else { continue };
            let ports = ports(service, pod);
            if ports.is_empty() && !service.ports.is_empty() {
                continue;
            }
            let endpoint = endpoint(service, pod, ip, zone(pod.node.as_deref().unwrap_or_default()));
            groups.entry(Group { family: *family, ports }).or_default().push(endpoint);
        }
    }
    groups
}

fn ports(service: &Service, pod: &Pod) -> Vec<SlicePort> {
    let port = |port: &Port| {
        Some(SlicePort {
            name: port.name.clone(),
            port: port_of(pod, port)?,
            protocol: port.protocol.clone(),
            app_protocol: port.app_protocol.clone(),
        })
    };
    let mut ports: Vec<SlicePort> = service.ports.iter().filter_map(port).collect();
    ports.sort();
    ports
}

fn endpoint(service: &Service, pod: &Pod, ip: &str, zone: Option<String>) -> Endpoint {
    let terminating = pod.meta.deleting.is_some();
    let serving = service.publish_not_ready || pod.ready;
    let near = service.distribution.as_deref();
    let ready = serving && (!terminating || service.publish_not_ready);
    Endpoint {
        ip: ip.to_owned(),
        ready,
        serving: Some(serving),
        terminating: Some(terminating),
        hostname: hostname(service, pod),
        node: pod.node.clone(),
        hint_zone: ready && zone.is_some() && matches!(near, Some("PreferClose" | "PreferSameZone" | "PreferSameNode")),
        hint_node: ready && near == Some("PreferSameNode"),
        zone,
        target: Some(("Pod".to_owned(), pod.meta.key.clone(), pod.meta.uid.0.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_reconcile::{
        ObjectKey, Projected,
        objects::{ContainerPort, Phase},
    };
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "a literal reads best by value")]
    fn service(spec: serde_json::Value) -> Service {
        let mut object =
            json!({"metadata": {"namespace": "demo", "name": "web"}, "spec": {"selector": {"app": "web"}}});
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Service::project(serde_json::from_value(object).unwrap()).unwrap()
    }

    fn pod(name: &str, ready: bool) -> Pod {
        let mut pod =
            Pod { ready, phase: Phase::Running, ips: vec![format!("10.0.0.{}", name.len())], ..Pod::default() };
        pod.meta.key = ObjectKey::new("demo", name);
        pod
    }

    fn of(service: &Service, pods: &[Pod]) -> Vec<(Vec<i32>, Vec<Endpoint>)> {
        let pods: Vec<Arc<Pod>> = pods.iter().cloned().map(Arc::new).collect();
        let groups = endpoints(service, &pods, |_| Some("zone-a".to_owned()));
        groups.into_iter().map(|(group, list)| (group.ports.iter().map(|port| port.port).collect(), list)).collect()
    }

    #[test]
    fn pods_that_can_answer_are_told_with_how_they_are() {
        let service = service(json!({"ports": [{"port": 80, "targetPort": 8080}]}));
        let mut going = pod("going", true);
        going.meta.deleting = Some(k8s_openapi::jiff::Timestamp::now());
        let over = Pod { phase: Phase::Succeeded, ..pod("over", false) };
        let bare = Pod { ips: vec![], ..pod("bare", false) };
        let list = of(&service, &[pod("a", true), pod("bb", false), going, over, bare]);
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].0, [8080]);
        let told: Vec<_> = list[0].1.iter().map(|e| (e.ready, e.serving, e.terminating)).collect();
        let said = |ready, serving, terminating| (ready, Some(serving), Some(terminating));
        assert_eq!(told, [said(true, true, false), said(false, false, false), said(false, true, true)]);
    }

    #[test]
    fn named_ports_are_each_pods_own_and_make_groups() {
        let service = service(json!({"ports": [{"name": "w", "port": 80, "targetPort": "web"}]}));
        let with = |name: &str, port| Pod {
            ports: vec![ContainerPort { name: "web".into(), port, protocol: "TCP".into() }],
            ..pod(name, true)
        };
        let list = of(&service, &[with("a", 8080), with("bb", 9090), pod("ccc", true)]);
        assert_eq!(list.iter().map(|(ports, list)| (ports[0], list.len())).collect::<Vec<_>>(), [(8080, 1), (9090, 1)]);
    }

    #[test]
    fn unready_addresses_are_published_and_hosts_named_when_asked_for() {
        let service = service(json!({"clusterIP": "None", "publishNotReadyAddresses": true}));
        let named = Pod { hostname: Some("web-0".into()), subdomain: Some("web".into()), ..pod("a", false) };
        let other = Pod { hostname: Some("db-0".into()), subdomain: Some("db".into()), ..pod("bb", false) };
        let list = of(&service, &[named, other]);
        assert!(list[0].0.is_empty() && list[0].1.iter().all(|endpoint| endpoint.ready));
        assert_eq!(list[0].1.iter().map(|e| e.hostname.as_deref()).collect::<Vec<_>>(), [Some("web-0"), None]);
    }
}
