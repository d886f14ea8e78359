//! What the clients do, and what must be there in the end.

use crate::client::{Client, Violation};
use http::Method;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often a Job runs to its end.
pub(crate) const COMPLETIONS: u64 = 3;
/// Most objects of a sort that a client has at once.
const MOST: usize = 6;

/// What must be there.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Counters by name: the value of the last write.
    pub(crate) counters: BTreeMap<String, u64>,
    /// Deployments by name: their replicas. None was deleted.
    pub(crate) deployments: BTreeMap<String, Option<u64>>,
    /// Jobs by name: whether they are to be there.
    pub(crate) jobs: BTreeMap<String, bool>,
    /// Namespaces by name: whether they are to be there.
    pub(crate) namespaces: BTreeMap<String, bool>,
}

/// The clients.
pub(crate) struct Load {
    tasks: Vec<JoinHandle<Result<Wanted, Violation>>>,
}

impl Load {
    pub(crate) fn start(client: &Arc<Client>, seed: u64, stop: &CancellationToken) -> Self {
        let of = |number: u64| (Arc::clone(client), StdRng::seed_from_u64(seed ^ (number << 32)), stop.clone());
        let tasks = vec![
            tokio::spawn(counters(of(1))),
            tokio::spawn(deployments(of(2))),
            tokio::spawn(jobs(of(3))),
            tokio::spawn(namespaces(of(4))),
        ];
        Self { tasks }
    }

    /// Waits for what the clients have begun.
    pub(crate) async fn end(self) -> Result<Wanted, Violation> {
        let mut all = Wanted::default();
        for task in self.tasks {
            let part = task.await.expect("a client does not panic")?;
            all.counters.extend(part.counters);
            all.deployments.extend(part.deployments);
            all.jobs.extend(part.jobs);
            all.namespaces.extend(part.namespaces);
        }
        Ok(all)
    }
}

type Part = (Arc<Client>, StdRng, CancellationToken);

/// Counts in config maps, each on from the version that it wrote last: a lost or doubled write shows at once.
async fn counters((client, mut random, stop): Part) -> Result<Wanted, Violation> {
    let mut wanted = Wanted::default();
    while !stop.is_cancelled() {
        let name = format!("counter-{}", random.random_range(0..MOST));
        let path = format!("/api/v1/namespaces/default/configmaps/{name}");
        let next = wanted.counters.get(&name).map_or(0, |count| count + 1);
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"count": next.to_string()}});
        if next == 0 {
            let collection = "/api/v1/namespaces/default/configmaps";
            client.write((Method::POST, collection), Some(&object), &[201], &[409]).await?;
        } else {
            let present = client.get(&path).await;
            let count = present.body["data"]["count"].as_str().and_then(|count| count.parse().ok());
            if count != Some(next - 1) {
                let asked = format!("GET {path}, where {} was written last", next - 1);
                return Err(Violation { asked, status: present.status, body: present.body.to_string() });
            }
            object["metadata"]["resourceVersion"] = present.body["metadata"]["resourceVersion"].clone();
            // A lost answer makes the second try a conflict with the first.
            client.write((Method::PUT, &path), Some(&object), &[200], &[409]).await?;
        }
        wanted.counters.insert(name, next);
    }
    Ok(wanted)
}

pub(crate) fn deployment(name: &str, replicas: u64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

/// Makes, scales and deletes Deployments.
async fn deployments((client, mut random, stop): Part) -> Result<Wanted, Violation> {
    let collection = "/apis/apps/v1/namespaces/default/deployments";
    let mut wanted = Wanted::default();
    let mut made = 0;
    while !stop.is_cancelled() {
        let live: Vec<String> = wanted
            .deployments
            .iter()
            .filter(|(_, replicas)| replicas.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        let replicas = random.random_range(0..5);
        let chosen = (!live.is_empty()).then(|| live[random.random_range(0..live.len())].clone());
        match (random.random_range(0..4), chosen) {
            (1 | 2, Some(name)) => {
                let path = format!("{collection}/{name}");
                let patch = json!({"spec": {"replicas": replicas}});
                client.write((Method::PATCH, &path), Some(&patch), &[200], &[]).await?;
                wanted.deployments.insert(name, Some(replicas));
            }
            (3, Some(name)) => {
                let path = format!("{collection}/{name}");
                client.write((Method::DELETE, &path), None, &[200, 202], &[404, 409]).await?;
                wanted.deployments.insert(name, None);
            }
            _ if live.len() < MOST => {
                made += 1;
                let name = format!("d-{made}");
                let object = deployment(&name, replicas);
                client.write((Method::POST, collection), Some(&object), &[201], &[409]).await?;
                wanted.deployments.insert(name, Some(replicas));
            }
            _ => {}
        }
        pause(&stop).await;
    }
    Ok(wanted)
}

/// Makes Jobs that end by themselves, and deletes some.
async fn jobs((client, mut random, stop): Part) -> Result<Wanted, Violation> {
    let collection = "/apis/batch/v1/namespaces/default/jobs";
    let mut wanted = Wanted::default();
    let mut made = 0;
    while !stop.is_cancelled() {
        made += 1;
        let name = format!("j-{made}");
        let command = json!(["sh", "-c", "sleep 0.2; exit 0"]);
        let object = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {
            "completions": COMPLETIONS, "parallelism": 2, "template": {"spec": {"restartPolicy": "Never",
                "containers": [{"name": "c", "image": "i", "command": command}]}}}});
        client.write((Method::POST, collection), Some(&object), &[201], &[409]).await?;
        let keep = random.random_range(0..3) > 0;
        if !keep {
            let path = format!("{collection}/{name}?propagationPolicy=Background");
            client.write((Method::DELETE, &path), None, &[200, 202], &[404, 409]).await?;
        }
        wanted.jobs.insert(name, keep);
        pause(&stop).await;
    }
    Ok(wanted)
}

/// Makes namespaces with something in them, and deletes most.
async fn namespaces((client, mut random, stop): Part) -> Result<Wanted, Violation> {
    let mut wanted = Wanted::default();
    let mut made = 0;
    while !stop.is_cancelled() {
        made += 1;
        let name = format!("n-{made}");
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        client.write((Method::POST, "/api/v1/namespaces"), Some(&object), &[201], &[409]).await?;
        let inside = format!("/apis/apps/v1/namespaces/{name}/deployments");
        client.write((Method::POST, &inside), Some(&deployment("inside", 2)), &[201], &[409]).await?;
        let keep = random.random_range(0..4) == 0;
        if !keep {
            let path = format!("/api/v1/namespaces/{name}");
            client.write((Method::DELETE, &path), None, &[200, 202], &[404, 409]).await?;
        }
        wanted.namespaces.insert(name, keep);
        pause(&stop).await;
    }
    Ok(wanted)
}

/// Lets controllers do something between two writes.
async fn pause(stop: &CancellationToken) {
    drop(tokio::time::timeout(std::time::Duration::from_millis(150), stop.cancelled()).await);
}
