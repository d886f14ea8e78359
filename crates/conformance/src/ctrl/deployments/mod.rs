//! Deployments.

mod life;
mod rollout;

pub(super) use life::TESTS as LIFE;
pub(super) use rollout::TESTS as ROLLOUT;

use super::workload::{PATIENCE, controller};
use crate::harness::{Objects, Outcome};
use serde_json::Value;

/// The annotation that says which revision of its Deployment a ReplicaSet is.
const REVISION: &str = "deployment.kubernetes.io/revision";

fn revision(object: &Value) -> &str {
    object["metadata"]["annotations"][REVISION].as_str().unwrap_or_default()
}

/// Whether all pods of a Deployment are of its template, and available.
fn is_complete(deployment: &Value) -> bool {
    let wanted = &deployment["spec"]["replicas"];
    let status = &deployment["status"];
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|field| status[field] == *wanted)
}

async fn complete(deployments: &Objects, name: &str) -> Outcome<Value> {
    deployments.wait(name, "its rollout is complete", PATIENCE, is_complete).await
}

/// The ReplicaSets of a Deployment, the oldest revision first.
async fn sets_of(sets: &Objects, deployment: &Value) -> Outcome<Vec<Value>> {
    let uid = deployment["metadata"]["uid"].as_str().unwrap_or_default();
    let mut own = sets.items(&[]).await?;
    own.retain(|set| controller(set) == uid);
    own.sort_by_key(|set| revision(set).parse::<u64>().unwrap_or_default());
    Ok(own)
}
