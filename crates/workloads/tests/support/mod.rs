//! An API server with its controllers in this process, and a kubelet that only says what pods do.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod kubelet;

use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
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

pub struct Cluster {
    pub client: kube::Client,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Cluster {
    pub async fn start(reachable: bool) -> Self {
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
            signer: None,
            metrics: orrery_workloads::Metrics::default(),
        };
        let shutdown = cluster.shutdown.clone();
        let task = tokio::spawn(async move { orrery_workloads::run(config, shutdown).await });
        Self { task, ..cluster }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "demo")
    }

    pub async fn create<K>(&self, api: &Api<K>, object: Value) -> K
    where
        K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
    {
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }

    pub async fn node(&self, name: &str, cpu: &str) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        self.create(&nodes, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})).await;
        let status = json!({"status": {
            "allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "10"},
            "conditions": [{"type": "Ready", "status": "True"}]}});
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    pub async fn pod(&self, name: &str, cpu: &str) {
        let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}});
        let pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}});
        self.create(&self.api::<Pod>(), pod).await;
    }

    /// The event about `pod` with `reason`.
    pub async fn event(&self, pod: &str, reason: &str) -> Event {
        eventually(reason, || async {
            let events = self.api::<Event>().list(&ListParams::default()).await.unwrap().items;
            events.into_iter().find(|event| {
                event.involved_object.name.as_deref() == Some(pod) && event.reason.as_deref() == Some(reason)
            })
        })
        .await
    }

    pub async fn bound(&self, name: &str) -> Pod {
        eventually("bound", || async {
            let pod = self.api::<Pod>().get(name).await.unwrap();
            pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()).then_some(pod)
        })
        .await
    }
}

pub async fn eventually<T, R: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> R) -> T {
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
