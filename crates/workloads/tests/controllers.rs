//! The scheduler and the namespace controller against a real API server in the same process.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use k8s_openapi::api::core::v1::{Event, Namespace, Pod, Secret, ServiceAccount};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::json;
use support::{Cluster, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_bound_to_the_host_that_drs_chose() {
    let cluster = Cluster::start(true).await;
    for node in ["host-1", "host-2"] {
        cluster.node(node, "2").await;
    }
    cluster.pod("hello", "500m").await;
    let pod = cluster.bound("hello").await;
    assert_eq!(pod.spec.unwrap().node_name.as_deref(), Some("host-2"));
    assert_eq!(pod.metadata.annotations, None);
    let event = cluster.event("hello", "Scheduled").await;
    assert_eq!(event.message.as_deref(), Some("Successfully assigned demo/hello to host-2"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_drs_the_pod_says_who_decided() {
    let cluster = Cluster::start(false).await;
    cluster.node("host-1", "2").await;
    cluster.pod("hello", "500m").await;
    let annotations = cluster.bound("hello").await.metadata.annotations.unwrap();
    assert_eq!(annotations["drs.orrery.dev/decided-by"], "scheduler");
    assert!(annotations["drs.orrery.dev/message"].contains("connection refused"), "{annotations:?}");
    cluster.event("hello", "PlacedWithoutDRS").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_fits_nowhere_is_told_why_and_bound_once_there_is_room() {
    let cluster = Cluster::start(true).await;
    cluster.node("host-1", "250m").await;
    cluster.pod("hello", "500m").await;
    // Nodes and pods come over two watches: the first attempts may have seen the node half made, or not at all.
    let message = "0/1 nodes are available: 1 Insufficient cpu.";
    eventually("the event", || async {
        let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap().items;
        let told = |event: &Event| {
            event.reason.as_deref() == Some("FailedScheduling") && event.message.as_deref() == Some(message)
        };
        events.iter().any(told).then_some(())
    })
    .await;
    eventually("the condition", || async {
        let status = cluster.api::<Pod>().get("hello").await.unwrap().status?;
        let condition = status.conditions?.into_iter().find(|condition| condition.type_ == "PodScheduled")?;
        (condition.reason.as_deref() == Some("Unschedulable") && condition.message.as_deref() == Some(message))
            .then_some(())
    })
    .await;
    cluster.node("host-2", "2").await;
    assert_eq!(cluster.bound("hello").await.spec.unwrap().node_name.as_deref(), Some("host-2"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_larger_than_the_nodes_leaves_the_rest_pending() {
    let cluster = Cluster::start(false).await;
    cluster.node("host-1", "1").await;
    cluster.node("host-2", "1").await;
    for index in 0..6 {
        cluster.pod(&format!("p{index}"), "500m").await;
    }
    let (bound, waiting) = eventually("four of six", || async {
        let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
        let (bound, waiting): (Vec<_>, Vec<_>) =
            pods.into_iter().partition(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()));
        (bound.len() == 4).then_some((bound, waiting))
    })
    .await;
    let on = |node: &str| bound.iter().filter(|p| p.spec.as_ref().unwrap().node_name.as_deref() == Some(node)).count();
    assert_eq!((on("host-1"), on("host-2")), (2, 2));
    for pod in waiting {
        cluster.event(pod.metadata.name.as_deref().unwrap(), "FailedScheduling").await;
    }
    // Room for one more is room for exactly one.
    let gone = bound[0].metadata.name.as_deref().unwrap();
    cluster.api::<Pod>().delete(gone, &DeleteParams::default().grace_period(0)).await.unwrap();
    eventually("the fifth", || async {
        let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
        let bound = pods.iter().filter(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()));
        (bound.count() == 4).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_namespace_loses_its_pods_first_then_the_rest_and_then_itself() {
    let cluster = Cluster::start(true).await;
    cluster.node("host-2", "2").await;
    eventually("the default account", || async { cluster.api::<ServiceAccount>().get_opt("default").await.unwrap() })
        .await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    cluster.create(&cluster.api::<Secret>(), secret).await;
    cluster.pod("hello", "100m").await;
    cluster.bound("hello").await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    namespaces.delete("demo", &DeleteParams::default()).await.unwrap();

    // Nobody runs the pod, so nobody ends it: the secret stays as long as it does.
    eventually("the pod is being deleted", || async {
        let pod = cluster.api::<Pod>().get("hello").await.unwrap();
        pod.metadata.deletion_timestamp
    })
    .await;
    eventually("conditions", || async {
        let conditions = namespaces.get("demo").await.unwrap().status?.conditions?;
        let remaining = conditions.into_iter().find(|c| c.type_ == "NamespaceContentRemaining")?;
        remaining.message?.contains("pods. has 1 resource instances").then_some(())
    })
    .await;
    assert!(cluster.api::<Secret>().get_opt("s").await.unwrap().is_some());
    cluster.api::<Pod>().delete("hello", &DeleteParams::default().grace_period(0)).await.unwrap();
    eventually("the namespace is gone", || async { namespaces.get_opt("demo").await.unwrap().is_none().then_some(()) })
        .await;
    assert!(cluster.api::<Secret>().list(&ListParams::default()).await.unwrap().items.is_empty());
    cluster.stop().await;
}
