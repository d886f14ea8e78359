//! The controllers against a real API server in the same process.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod, Secret, ServiceAccount};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use orrery_api::{
    inventory::{PlacementReviewSpec, PlacementReviewStatus},
    names::HostName,
    units::{Bytes, MilliCpu},
};
use orrery_apiserver::{ApiServer, User};
use orrery_drs::{
    place::{Host, Snapshot},
    review::answer,
};
use orrery_store::{Embedded, EmbeddedOptions};
use orrery_workloads::{Config, Placer, PlacerError};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// DRS with one roomy host, or out of reach.
struct Drs {
    reachable: bool,
}

#[async_trait::async_trait]
impl Placer for Drs {
    async fn review(&self, review: PlacementReviewSpec) -> Result<PlacementReviewStatus, PlacerError> {
        if !self.reachable {
            return Err(PlacerError::Unreachable("connection refused".into()));
        }
        let roomy = Host { cpu: MilliCpu(8000), memory: Bytes(8 << 30), ..Host::default() };
        let snapshot = Snapshot { hosts: [(HostName::new("host-2").unwrap(), roomy)].into() };
        Ok(answer(&snapshot, &review).status)
    }
}

struct Cluster {
    client: kube::Client,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Cluster {
    async fn start(reachable: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(&directory.path().join("store.db"), EmbeddedOptions::default()).await.unwrap();
        let config = orrery_apiserver::Config::new(orrery_kinds::resources(), Arc::new(store));
        let server = ApiServer::new(config).await.unwrap();
        let client = kube::Client::new(server.in_process(User::new("controllers", ["system:masters"])), "default");
        let cluster =
            Self { client, shutdown: CancellationToken::new(), task: tokio::spawn(async {}), _directory: directory };
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
        cluster.create::<Namespace>(&Api::all(cluster.client.clone()), namespace).await;
        let config = Config {
            client: cluster.client.clone(),
            placer: Arc::new(Drs { reachable }),
            supervisor: "supervisor-1".into(),
            root_ca_pem: Some("root".into()),
            metrics: orrery_workloads::Metrics::default(),
        };
        let shutdown = cluster.shutdown.clone();
        let task = tokio::spawn(async move { orrery_workloads::run(config, shutdown).await });
        Self { task, ..cluster }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "demo")
    }

    async fn create<K>(&self, api: &Api<K>, object: Value) -> K
    where
        K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
    {
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }

    async fn node(&self, name: &str, cpu: &str) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        self.create(&nodes, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})).await;
        let status = json!({"status": {
            "allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "10"},
            "conditions": [{"type": "Ready", "status": "True"}]}});
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    async fn pod(&self, name: &str, cpu: &str) {
        let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}});
        let pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}});
        self.create(&self.api::<Pod>(), pod).await;
    }

    /// The event about `pod` with `reason`.
    async fn event(&self, pod: &str, reason: &str) -> Event {
        eventually(reason, || async {
            let events = self.api::<Event>().list(&ListParams::default()).await.unwrap().items;
            events.into_iter().find(|event| {
                event.involved_object.name.as_deref() == Some(pod) && event.reason.as_deref() == Some(reason)
            })
        })
        .await
    }

    async fn bound(&self, name: &str) -> Pod {
        eventually("bound", || async {
            let pod = self.api::<Pod>().get(name).await.unwrap();
            pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()).then_some(pod)
        })
        .await
    }
}

async fn eventually<T, R: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> R) -> T {
    let seen = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    seen.await.unwrap_or_else(|_| panic!("not seen within 30 s: {what}"))
}

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
