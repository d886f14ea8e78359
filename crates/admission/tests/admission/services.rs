use crate::support::Server;
use serde_json::json;
use std::collections::BTreeSet;

const SERVICES: &str = "/api/v1/namespaces/default/services";

#[tokio::test]
async fn services_that_are_made_at_once_get_node_ports_of_their_own() {
    let server = Server::start().await;
    let service = |name: String, port: Option<u16>| {
        json!({"metadata": {"name": name}, "spec": {"type": "NodePort",
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": port}]}})
    };
    // All want the same one: one gets it.
    let wanted: Vec<_> = (0..8).map(|index| service(format!("same-{index}"), Some(30_100))).collect();
    let answers = futures::future::join_all(wanted.iter().map(|service| server.post(SERVICES, service))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1, "{:?}", answers.iter().map(|answer| (answer.status, answer.message())).collect::<Vec<_>>());
    assert!(answers.iter().any(|answer| answer.message().contains("provided port is already allocated")));
    // Nobody asks for one: all get one.
    let wanted: Vec<_> = (0..8).map(|index| service(format!("any-{index}"), None)).collect();
    let answers = futures::future::join_all(wanted.iter().map(|service| server.post(SERVICES, service))).await;
    let ports = answers.into_iter().map(|answer| answer.expect(201)["spec"]["ports"][0]["nodePort"].as_u64().unwrap());
    assert_eq!(ports.collect::<BTreeSet<u64>>().len(), 8);
    // One that is free again may be had by another.
    for index in 0..8 {
        server.call("DELETE", &format!("{SERVICES}/same-{index}"), None).await;
    }
    server.post(SERVICES, &service("late".into(), Some(30_100))).await.expect(201);
}
