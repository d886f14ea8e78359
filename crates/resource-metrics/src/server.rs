//! Asks the kubelets when somebody reads, and answers out of the last two rounds.

use crate::{
    objects::{NODES, NodeMetrics, PODS, PodMetrics},
    rates::{self, Used},
    told::{Reading, Told},
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::api::{Api, ListParams, PartialObjectMeta};
use orrery_api::k8s::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use orrery_machinery::{
    descriptor::{ResourceDescriptor, to_value},
    status::ApiError,
};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};

/// How long a round is good for.
const FRESH: Duration = Duration::from_secs(10);
/// How old a round may be that another is compared with.
const COMPARABLE: Duration = Duration::from_secs(120);
/// The time between two rounds when there was none to compare with.
const APART: Duration = Duration::from_secs(1);
/// How long a kubelet may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Kubelets that are asked at the same time.
const PARALLEL: usize = 32;

/// The server of `metrics.k8s.io`.
#[derive(Default)]
pub struct ResourceMetrics {
    client: OnceLock<kube::Client>,
    rounds: Mutex<Rounds>,
}

/// The last two rounds, the earlier one only while the later can be compared with it.
#[derive(Default, Clone)]
struct Rounds {
    earlier: Option<Arc<Round>>,
    last: Option<Arc<Round>>,
}

/// What all kubelets told, by their nodes' names.
struct Round {
    began: Instant,
    time: Timestamp,
    nodes: HashMap<String, Told>,
}

impl ResourceMetrics {
    /// Asks with this client from now on: one that may read nodes and pods, and what kubelets tell. The first one counts.
    pub fn attach(&self, client: kube::Client) {
        // A second one would be another way to the same server.
        let _ = self.client.set(client);
    }

    /// The resources: `nodes` and `pods`.
    #[must_use]
    pub fn resources() -> Vec<Arc<ResourceDescriptor>> {
        [NODES, PODS].into_iter().map(|fixed| Arc::new(fixed.into())).collect()
    }

    /// What all nodes use, or all pods (of a namespace, unless it is empty). Those of which nothing is known are left out.
    ///
    /// # Errors
    /// 503 before a client is attached, 500 when the API does not list nodes or pods.
    pub async fn objects(&self, plural: &str, namespace: &str) -> Result<Vec<Value>, ApiError> {
        let starting = || ApiError::unavailable("the server is starting; nobody can be asked yet");
        let client = self.client.get().ok_or_else(starting)?;
        let compared = self.compared(client).await?;
        match plural {
            "nodes" => nodes(client, &compared).await,
            _ => pods(client, namespace, &compared).await,
        }
    }

    /// What is used now, by rounds that are fresh. Only one caller asks the kubelets; the others wait for its rounds.
    async fn compared(&self, client: &kube::Client) -> Result<Compared, ApiError> {
        let mut rounds = self.rounds.lock().await;
        let young = |round: &Option<Arc<Round>>, age: Duration| {
            round.as_ref().filter(|round| round.began.elapsed() < age).cloned()
        };
        if let (Some(earlier), Some(last)) = (rounds.earlier.clone(), young(&rounds.last, FRESH)) {
            return Ok(Compared { earlier, last });
        }
        let mut earlier = young(&rounds.last, COMPARABLE);
        if earlier.as_ref().is_none_or(|round| round.began.elapsed() < APART) {
            let first = match earlier {
                Some(first) => first,
                None => Arc::new(ask_all(client).await?),
            };
            tokio::time::sleep_until(first.began + APART).await;
            earlier = Some(first);
        }
        let last = Arc::new(ask_all(client).await?);
        *rounds = Rounds { earlier: earlier.clone(), last: Some(Arc::clone(&last)) };
        let earlier = earlier.unwrap_or_else(|| Arc::clone(&last));
        Ok(Compared { earlier, last })
    }
}

async fn nodes(client: &kube::Client, compared: &Compared) -> Result<Vec<Value>, ApiError> {
    let nodes = list(&Api::<Node>::all(client.clone())).await?;
    let told = nodes.iter().filter_map(|of| {
        let used = compared.used(of.name.as_deref()?, |told| told.node)?;
        Some(to_value(&NodeMetrics::new(of, used)))
    });
    Ok(told.collect())
}

async fn pods(client: &kube::Client, namespace: &str, compared: &Compared) -> Result<Vec<Value>, ApiError> {
    let api: Api<Pod> = match namespace {
        "" => Api::all(client.clone()),
        namespace => Api::namespaced(client.clone(), namespace),
    };
    let by_uid = compared.pods();
    let pods = list(&api).await?;
    let told = pods.iter().filter_map(|of| {
        let used = by_uid.get(of.uid.as_deref()?)?.clone();
        PodMetrics::new(of, used).map(|metrics| to_value(&metrics))
    });
    Ok(told.collect())
}

/// Two rounds.
struct Compared {
    earlier: Arc<Round>,
    last: Arc<Round>,
}

impl Compared {
    /// What something on a node used between the two rounds.
    fn used(&self, node: &str, of: impl Fn(&Told) -> Option<Reading>) -> Option<Used> {
        let now = of(self.last.nodes.get(node)?)?;
        rates::used(self.earlier.nodes.get(node).and_then(of), now, Some(self.earlier.time))
    }

    /// What the containers of all pods used, by the pods' uids.
    fn pods(&self) -> HashMap<&str, Vec<(String, Used)>> {
        let mut pods = HashMap::new();
        for (node, told) in &self.last.nodes {
            for (uid, containers) in &told.pods {
                let used = containers.keys().filter_map(|name| {
                    let used = self.used(node, |told| told.pods.get(uid)?.get(name).copied())?;
                    Some((name.clone(), used))
                });
                pods.insert(uid.as_str(), used.collect());
            }
        }
        pods
    }
}

/// Asks each node's kubelet. One that does not tell is left out.
async fn ask_all(client: &kube::Client) -> Result<Round, ApiError> {
    let (began, time) = (Instant::now(), Timestamp::now());
    let nodes = list(&Api::<Node>::all(client.clone())).await?;
    let asked = stream::iter(nodes.into_iter().filter_map(|node| node.name)).map(|node| async move {
        let told = tokio::time::timeout(PATIENCE, ask(client, &node)).await;
        match told {
            Ok(Ok(told)) => Some((node, told)),
            Ok(Err(error)) => {
                tracing::debug!(node, %error, "a kubelet does not tell what is used");
                None
            }
            Err(_) => {
                tracing::debug!(node, "a kubelet does not tell in time what is used");
                None
            }
        }
    });
    let nodes = asked.buffer_unordered(PARALLEL).filter_map(std::future::ready).collect().await;
    Ok(Round { began, time, nodes })
}

async fn ask(client: &kube::Client, node: &str) -> Result<Told, kube::Error> {
    let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
    let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    Ok(Told::read(&client.request(request).await?))
}

/// The metadata of all objects.
async fn list<K>(api: &Api<K>) -> Result<Vec<ObjectMeta>, ApiError>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let listed: kube::core::ObjectList<PartialObjectMeta<K>> =
        api.list_metadata(&ListParams::default()).await.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(listed.items.into_iter().map(|item| item.metadata).collect())
}
