//! The real control plane with hollow nodes, over TLS.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::wait::{await_condition, conditions},
};
use orrery_sim::{Clients, ControlPlane, HollowNodes, HollowOptions, Options, READY};
use serde_json::{Value, json};

async fn pod(client: &Client, name: &str, annotations: &Value, spec: Value) -> Api<Pod> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let pod = json!({ "metadata": { "name": name, "annotations": annotations }, "spec": spec });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    pods
}

fn spec(command: &Value) -> Value {
    json!({ "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i", "command": command }] })
}

fn in_phase(phase: &'static str) -> impl kube::runtime::wait::Condition<Pod> {
    move |pod: Option<&Pod>| {
        pod.and_then(|pod| pod.status.as_ref()).and_then(|status| status.phase.as_deref()) == Some(phase)
    }
}

fn is_ready(wanted: &'static str) -> impl kube::runtime::wait::Condition<Pod> {
    move |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()).and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == wanted)
    }
}

async fn pods_run_end_and_go(client: &Client) {
    let pods = pod(client, "server", &json!({ READY: "false" }), spec(&json!([]))).await;
    await_condition(pods.clone(), "server", is_ready("False")).await.unwrap();
    let patch = json!({ "metadata": { "annotations": { READY: null } } });
    pods.patch("server", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    await_condition(pods.clone(), "server", is_ready("True")).await.unwrap();
    let server = pods.get("server").await.unwrap();
    let status = server.status.unwrap();
    assert!(status.pod_ip.is_some_and(|ip| ip.starts_with("10.")));
    assert_eq!(status.observed_generation, server.metadata.generation);
    pod(client, "good", &json!({}), spec(&json!(["sh", "-c", "sleep 0.1; exit 0"]))).await;
    await_condition(pods.clone(), "good", in_phase("Succeeded")).await.unwrap();
    pod(client, "bad", &json!({}), spec(&json!(["false"]))).await;
    await_condition(pods.clone(), "bad", in_phase("Failed")).await.unwrap();
    let uid = server.metadata.uid.unwrap();
    pods.delete("server", &DeleteParams::default()).await.unwrap();
    await_condition(pods.clone(), "server", conditions::is_deleted(&uid)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_certificates_of_their_own_run_what_is_bound_to_them() {
    let control_plane = ControlPlane::start(Options::default()).await.unwrap();
    let directory = control_plane.directory().to_owned();
    let client = control_plane.admin().client().await.unwrap();
    let options = HollowOptions::default();
    let mut nodes = HollowNodes::start(Clients::own(&control_plane), &options).await.unwrap();
    nodes.ready().await.unwrap();
    let listed = Api::<Node>::all(client.clone()).list(&ListParams::default()).await.unwrap();
    let names: Vec<_> = listed.items.iter().filter_map(|node| node.metadata.name.as_deref()).collect();
    assert_eq!(names, ["hollow-0", "hollow-1", "hollow-2"]);
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    assert!(leases.get("hollow-2").await.unwrap().spec.unwrap().renew_time.is_some());
    pods_run_end_and_go(&client).await;
    nodes.remove(&client).await.unwrap();
    assert!(Api::<Node>::all(client.clone()).list(&ListParams::default()).await.unwrap().items.is_empty());
    control_plane.stop().await.unwrap();
    assert!(!directory.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_share_one_client_and_one_watch() {
    let control_plane = ControlPlane::start(Options::default()).await.unwrap();
    let client = control_plane.admin().client().await.unwrap();
    let options = HollowOptions { count: 50, ..HollowOptions::default() };
    let mut nodes = HollowNodes::start(Clients::Shared(client.clone()), &options).await.unwrap();
    nodes.ready().await.unwrap();
    assert_eq!(Api::<Node>::all(client.clone()).list(&ListParams::default()).await.unwrap().items.len(), 50);
    pods_run_end_and_go(&client).await;
    nodes.stop().await;
    control_plane.stop().await.unwrap();
}
