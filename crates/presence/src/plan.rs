//! What the objects should be that say where API servers are.

use serde_json::{Value, json};
use std::{collections::BTreeSet, net::SocketAddr};

/// The name of the Service, its Endpoints and its EndpointSlice.
pub(crate) const NAME: &str = "kubernetes";
/// How long a lease holds without being renewed.
const LEASE_SECONDS: i64 = 60;
/// The label of leases of API servers.
const IDENTITY: &str = "apiserver.kubernetes.io/identity";
/// The annotation that says which address a lease is for.
const ADDRESS: &str = "orrery.dev/advertised-address";

/// Where servers are, each once and in order.
pub(crate) type Addresses = BTreeSet<SocketAddr>;

/// The name of a server's lease.
pub(crate) fn lease_name(address: SocketAddr) -> String {
    let ip = address.ip().to_string().replace([':', '.'], "-");
    format!("apiserver-{}-{}", ip.trim_matches('-'), address.port())
}

/// The lease of a server, renewed at `now`.
pub(crate) fn lease(present: Option<&Value>, address: SocketAddr, now: jiff::Timestamp) -> Value {
    let name = lease_name(address);
    let now = now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let mut lease = present.cloned().unwrap_or_else(|| {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-system"}, "spec": {"acquireTime": now}})
    });
    lease["metadata"]["labels"][IDENTITY] = "kube-apiserver".into();
    lease["metadata"]["annotations"][ADDRESS] = address.to_string().into();
    lease["spec"]["holderIdentity"] = name.into();
    lease["spec"]["leaseDurationSeconds"] = LEASE_SECONDS.into();
    lease["spec"]["renewTime"] = now.into();
    lease
}

/// The addresses of a list of leases that hold at `now`.
pub(crate) fn holding(leases: &Value, now: jiff::Timestamp) -> Addresses {
    let leases = leases["items"].as_array().into_iter().flatten();
    let holds = |lease: &&Value| {
        let renewed = lease["spec"]["renewTime"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
        let seconds = lease["spec"]["leaseDurationSeconds"].as_i64().unwrap_or_default();
        lease["metadata"]["labels"][IDENTITY] == "kube-apiserver"
            && renewed.is_some_and(|renewed| now.as_second() - renewed.as_second() < seconds)
    };
    let addresses = leases.filter(holds).filter_map(|lease| lease["metadata"]["annotations"][ADDRESS].as_str());
    addresses.filter_map(|address| address.parse().ok()).collect()
}

/// The Endpoints: a subset for each port.
pub(crate) fn endpoints(addresses: &Addresses) -> Value {
    let ports: BTreeSet<u16> = addresses.iter().map(SocketAddr::port).collect();
    let subsets = ports.into_iter().map(|port| {
        let same = addresses.iter().filter(|address| address.port() == port);
        let ips: Vec<Value> = same.map(|address| json!({"ip": address.ip().to_string()})).collect();
        json!({"addresses": ips, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]})
    });
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": NAME, "namespace": "default",
            // The slice is made here, too.
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": subsets.collect::<Vec<_>>(),
    })
}

/// The EndpointSlice, which has one port and one sort of addresses: those of the first.
pub(crate) fn slice(addresses: &Addresses, service: &Value) -> Value {
    let first = addresses.first();
    let port = first.map(SocketAddr::port);
    let is_v6 = first.is_some_and(SocketAddr::is_ipv6);
    let same = addresses.iter().filter(|address| Some(address.port()) == port && address.is_ipv6() == is_v6);
    let endpoint =
        |address: &SocketAddr| json!({"addresses": [address.ip().to_string()], "conditions": {"ready": true}});
    let mut slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": NAME, "namespace": "default", "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": if is_v6 { "IPv6" } else { "IPv4" },
        "endpoints": same.map(endpoint).collect::<Vec<_>>(),
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    if let Some(uid) = service["metadata"]["uid"].as_str() {
        slice["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "Service", "name": NAME, "uid": uid}]);
    }
    slice
}

/// The present object with everything that is wanted of it; none when it is so already.
pub(crate) fn merged(present: Option<&Value>, wanted: &Value) -> Option<Value> {
    let Some(present) = present else { return Some(wanted.clone()) };
    let mut object = present.clone();
    for (field, value) in wanted.as_object().into_iter().flatten() {
        match field.as_str() {
            "metadata" => {
                for (name, label) in value["labels"].as_object().into_iter().flatten() {
                    object["metadata"]["labels"][name] = label.clone();
                }
            }
            _ if is_within(value, &object[field]) => {}
            _ => object[field] = value.clone(),
        }
    }
    (object != *present).then_some(object)
}

/// Whether `found` says all that `wanted` does; the server adds defaults.
fn is_within(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(_)) => wanted.iter().all(|(name, value)| is_within(value, &found[name])),
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| is_within(wanted, found))
        }
        _ => wanted == found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    fn time(seconds: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_addresses_are_those_of_leases_that_hold() {
        let one = lease(None, at("10.0.0.1:6443"), time(1000));
        let two = lease(None, at("10.0.0.2:6443"), time(1030));
        let leases = json!({"items": [one, two, {"metadata": {"name": "other"}}]});
        assert_eq!(holding(&leases, time(1040)).len(), 2);
        assert_eq!(holding(&leases, time(1070)), [at("10.0.0.2:6443")].into());
        let renewed = lease(Some(&leases["items"][0]), at("10.0.0.1:6443"), time(1069));
        assert_eq!(renewed["spec"]["acquireTime"], leases["items"][0]["spec"]["acquireTime"]);
        assert_eq!(holding(&json!({"items": [renewed]}), time(1070)).len(), 1);
    }

    #[test]
    fn endpoints_and_slice_name_the_same_servers() {
        let addresses = [at("10.0.0.2:6443"), at("10.0.0.1:6443")].into();
        let endpoints = endpoints(&addresses);
        assert_eq!(endpoints["subsets"][0]["addresses"], json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]));
        let slice = slice(&addresses, &json!({"metadata": {"uid": "u"}}));
        assert_eq!(
            (&slice["endpoints"][1]["addresses"], &slice["ports"][0]["port"]),
            (&json!(["10.0.0.2"]), &json!(6443))
        );
        assert_eq!(slice["metadata"]["ownerReferences"][0]["uid"], "u");
        assert_eq!(lease_name(at("[fd00::1]:6443")), "apiserver-fd00--1-6443");
    }

    #[test]
    fn what_others_add_is_no_difference_and_stays() {
        let wanted = endpoints(&[at("10.0.0.1:6443")].into());
        assert_eq!(merged(None, &wanted), Some(wanted.clone()));
        let mut present = wanted.clone();
        present["metadata"]["uid"] = "u".into();
        present["subsets"][0]["ports"][0]["appProtocol"] = "https".into();
        assert_eq!(merged(Some(&present), &wanted), None);
        let moved = endpoints(&[at("10.0.0.9:6443")].into());
        let changed = merged(Some(&present), &moved).unwrap();
        assert_eq!((&changed["subsets"], &changed["metadata"]["uid"]), (&moved["subsets"], &json!("u")));
    }
}
