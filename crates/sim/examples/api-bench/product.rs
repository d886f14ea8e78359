//! The control plane that is measured, and its pods.

use crate::{
    CLIENTS, Failure, NAMESPACE, Settings,
    load::Load,
    memory, note,
    wire::{Sent, Target},
};
use bytes::Bytes;
use hyper::Method;
use orrery_sim::{ControlPlane, Options};
use serde_json::json;
use std::time::Duration;

/// The namespace that is listed: [`NAMESPACE`] pods.
pub(crate) const LISTED: &str = "listed";
/// The namespace in which pods are created.
pub(crate) const LOADED: &str = "loaded";
/// The namespace that is watched.
pub(crate) const WATCHED: &str = "watched";
/// Bytes of a pod as it is sent.
const SIZE: usize = 2048;

pub(crate) struct Product {
    pub(crate) target: Target,
    pub(crate) pid: u32,
    plane: ControlPlane,
}

impl Product {
    /// Starts a control plane of its own, and makes its namespaces.
    pub(crate) async fn start(settings: &Settings) -> Result<Self, Failure> {
        let program = Some(settings.program.clone());
        let plane =
            ControlPlane::start(Options { program, parent_directory: Some(settings.directory.clone()) }).await?;
        let admin = plane.admin();
        let target = Target {
            address: plane.endpoint().trim_start_matches("https://").to_owned(),
            server_ca_pem: admin.server_ca_pem.clone(),
            credentials: Some(admin.credentials.clone()),
        };
        let mut connection = target.one_by_one().await?;
        for name in [LISTED, LOADED, WATCHED] {
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            connection.send(post("/api/v1/namespaces".to_owned(), body.to_string().into())).await?;
            wait_for_account(&mut connection, name).await?;
        }
        let pid = plane.process_id().ok_or("the control plane is a process")?;
        Ok(Self { target, pid, plane })
    }

    /// Fills up to `pods` pods; how many KiB a pod the process holds beyond its encoded size, and that size in KiB.
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    pub(crate) async fn fill(&self, creates: &mut Load, pods: usize, idle_kib: f64) -> Result<(f64, f64), Failure> {
        note(&format!("filling up to {pods} pods"));
        Load::listed().times(&self.target, CLIENTS, NAMESPACE).await?;
        let present = self.target.list("", 0, Some(crate::PAGE)).await?;
        creates.times(&self.target, CLIENTS, pods.saturating_sub(present)).await?;
        let mut connection = self.target.one_by_one().await?;
        let size = connection.send(Sent::get(listed(0))).await?.len() as f64 / 1024.0;
        // Histories and logs are written behind.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let held = memory::pss_kib(self.pid)?;
        note(&format!("{held} KiB with pods of {size} KiB, {idle_kib} KiB without"));
        Ok(((held - idle_kib) / pods.max(present) as f64 - size, size))
    }

    /// A pod as it is given out.
    pub(crate) async fn sample(&self) -> Result<Bytes, Failure> {
        self.target.one_by_one().await?.send(post(collection(WATCHED), pod("sample"))).await
    }

    pub(crate) async fn stop(self) -> Result<(), Failure> {
        Ok(self.plane.stop().await?)
    }
}

/// Pods need the service account that a controller makes.
async fn wait_for_account(connection: &mut crate::wire::OneByOne, namespace: &str) -> Result<(), Failure> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
    let mut tries = 0;
    while connection.send(Sent::get(path.clone())).await.is_err() {
        tries += 1;
        if tries > 100 {
            return Err(format!("the namespace {namespace} has no service account").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

pub(crate) fn post(path: String, body: Bytes) -> Sent {
    Sent { method: Method::POST, path, content_type: "application/json", body }
}

/// The path of a namespace's pods.
pub(crate) fn collection(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

/// The name of a listed pod; numbers wrap, and neighbours are far apart.
fn listed_name(number: usize) -> String {
    format!("pod-{:08}", number.wrapping_mul(7919) % NAMESPACE)
}

/// The path of a listed pod.
pub(crate) fn listed(number: usize) -> String {
    format!("{}/{}", collection(LISTED), listed_name(number))
}

/// What is applied to a listed pod.
pub(crate) fn applied(number: usize) -> Bytes {
    let metadata = json!({"name": listed_name(number), "namespace": LISTED, "labels": {"round": number.to_string()}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}).to_string().into()
}

/// A pod that no scheduler takes, of [`SIZE`] bytes.
pub(crate) fn pod(name: &str) -> Bytes {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench", "tier": "back"}, "annotations": {"filling": ""}},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{
                "name": "main",
                "image": "docker.io/library/busybox:latest",
                "command": ["sleep", "3600"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "ports": [{"containerPort": 8080, "name": "http"}],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}},
            }],
        },
    });
    let missing = SIZE.saturating_sub(pod.to_string().len());
    pod["metadata"]["annotations"]["filling"] = "x".repeat(missing).into();
    pod.to_string().into()
}

impl Load {
    /// The listed pods, each once.
    fn listed() -> Self {
        Self::of(|number| post(collection(LISTED), pod(&listed_name(number))))
    }
}
