//! The rules of services, a table row each.

use super::*;
use crate::testing::{Rules, cells, headings};

fn rules() -> Rules {
    Rules::new(
        descriptor(),
        json!({
            "metadata": {"name": "web", "namespace": "n"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], "clusterIP": "10.96.0.7"},
        }),
    )
}

#[test]
fn a_service_gets_upstreams_defaults() {
    let spec = rules().filled()["spec"].take();
    assert_eq!(spec["ports"], json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]));
    assert_eq!((&spec["type"], &spec["sessionAffinity"]), (&json!("ClusterIP"), &json!("None")));
    assert_eq!((&spec["internalTrafficPolicy"], spec.get("externalTrafficPolicy")), (&json!("Cluster"), None));
    assert_eq!(spec["clusterIPs"], json!(["10.96.0.7"]));
    let balanced = rules().with(&[("/spec/type", json!("LoadBalancer")), ("/spec/sessionAffinity", json!("ClientIP"))]);
    let spec = &balanced["spec"];
    assert_eq!(
        (&spec["externalTrafficPolicy"], &spec["allocateLoadBalancerNodePorts"]),
        (&json!("Cluster"), &json!(true))
    );
    assert_eq!(spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10_800);
}

#[test]
fn a_service_follows_upstreams_rules() {
    let rules = rules();
    rules.fine(&[]);
    rules.fine(&[("/spec/clusterIP", json!("None")), ("/spec/ports", json!([]))]);
    for (at, value, field, text) in [
        ("ports", json!([]), "ports", "Required value"),
        ("ports", json!([{"port": 0, "targetPort": 1}]), "ports[0].port", "must be between 1 and 65535, inclusive"),
        ("ports", json!([{"port": 1, "protocol": "ICMP"}]), "ports[0].protocol", "\"SCTP\", \"TCP\", \"UDP\""),
        ("ports", json!([{"port": 1, "targetPort": "1"}]), "ports[0].targetPort", "at least one letter"),
        ("ports", json!([{"port": 1, "nodePort": 30_000}]), "ports[0].nodePort", "when `type` is 'ClusterIP'"),
        ("ports", json!([{"port": 1, "name": "a"}, {"port": 2}]), "ports[1].name", "Required value"),
        ("type", json!("Any"), "type", "supported values: \"ClusterIP\", \"ExternalName\""),
        ("sessionAffinity", json!("Any"), "sessionAffinity", "supported values: \"ClientIP\", \"None\""),
        ("selector", json!({"a b": "c"}), "selector", "name part must"),
        ("externalTrafficPolicy", json!("Local"), "externalTrafficPolicy", "externally-accessible services"),
        ("internalTrafficPolicy", json!("Near"), "internalTrafficPolicy", "\"Cluster\", \"Local\""),
        ("loadBalancerClass", json!("a.b/c"), "loadBalancerClass", "may only be used when `type` is 'LoadBalancer'"),
        ("clusterIP", json!("10.0.0"), "clusterIPs[0]", "must be a valid IP address"),
        ("clusterIPs", json!(["10.0.0.1"]), "clusterIPs", "first value must match `clusterIP`"),
        ("externalIPs", json!(["x"]), "externalIPs[0]", "must be a valid IP address"),
    ] {
        rules.one_error(&format!("/spec/{at}"), &value, &format!("spec.{field}"), text);
    }
    rules.one_error("/metadata/name", &json!("1st"), "metadata.name", "a DNS-1035 label must");
}

#[test]
fn an_alias_has_a_name_and_no_address() {
    let alias = Rules::new(
        descriptor(),
        json!({"metadata": {"name": "db", "namespace": "n"}, "spec": {"type": "ExternalName", "externalName": "db.x.io."}}),
    );
    alias.fine(&[]);
    alias.one_error("/spec/externalName", &json!(""), "spec.externalName", "Required value");
    let why = "may not be set for ExternalName services";
    alias.one_error("/spec/clusterIP", &json!("10.0.0.1"), "spec.clusterIPs", why);
}

#[test]
fn an_address_once_given_stays() {
    let rules = rules();
    rules.change("/spec/clusterIP", &json!(null), None);
    rules.change("/spec/clusterIP", &json!("10.96.0.8"), Some(("spec.clusterIPs[0]", "may not change once set")));
    rules.change("/spec/ports", &json!([{"port": 81}]), None);
    rules.status(
        &json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}),
        Some(("status.loadBalancer.ingress", "may only")),
    );
}

#[test]
fn what_was_allocated_stays_until_the_type_has_no_use_for_it() {
    let old =
        rules().with(&[("/spec/type", json!("NodePort")), ("/spec/ports", json!([{"port": 80, "nodePort": 30_080}]))]);
    let mut new = old.clone();
    new["spec"]["ports"] = json!([{"port": 80}, {"port": 81}]);
    change::prepare(&old, &mut new);
    assert_eq!(new["spec"]["ports"], json!([{"port": 80, "nodePort": 30_080}, {"port": 81}]));
    let mut inside = old.clone();
    inside["spec"]["type"] = "ClusterIP".into();
    change::prepare(&old, &mut inside);
    assert_eq!(inside["spec"]["ports"][0].get("nodePort"), None);
    assert_eq!(inside["spec"].get("externalTrafficPolicy"), None);
    let mut alias = old.clone();
    alias["spec"]["type"] = "ExternalName".into();
    change::prepare(&old, &mut alias);
    assert_eq!((alias["spec"].get("clusterIP"), alias["spec"].get("clusterIPs")), (None, None));
}

#[test]
fn the_table_reads_as_upstreams() {
    let expected = ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"];
    assert_eq!(headings(descriptor()), expected);
    let service = rules().filled();
    let expected = json!(["ClusterIP", "10.96.0.7", "<none>", "80/TCP"]);
    assert_eq!(json!(cells(descriptor(), &service)[1..5]), expected);
    let balanced = rules()
        .with(&[("/spec/type", json!("LoadBalancer")), ("/spec/ports", json!([{"port": 80, "nodePort": 30_080}]))]);
    assert_eq!(json!(cells(descriptor(), &balanced)[3..5]), json!(["<pending>", "80:30080/TCP"]));
}
