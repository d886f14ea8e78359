//! Taints that evict pods.

use super::workload::{MUST_NOT, PATIENCE, all_up, is_ending, label, pod};
use crate::{
    ensure,
    harness::{Context, Failure, Objects, Outcome, resource},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-node] NoExecuteTaintManager Single Pod [Serial] removing taint cancels eviction [Disruptive] [Conformance]",
        run!(cancelled),
    )
    .serial()
    .within(300),
    test(
        "[sig-node] NoExecuteTaintManager Multiple Pods [Serial] evicts pods with minTolerationSeconds [Disruptive] [Conformance]",
        run!(in_their_order),
    )
    .serial()
    .within(300),
];

const KEY: &str = "conformance.orrery.dev/evict";

fn tolerating(name: &str, labels: &Value, seconds: u64) -> Value {
    let mut pod = pod(name, labels);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
    pod["spec"]["tolerations"] = json!([{ "key": KEY, "operator": "Equal", "value": "v", "effect": "NoExecute",
        "tolerationSeconds": seconds }]);
    pod
}

/// Adds the taint to a node, or takes it away.
async fn taint(nodes: &Objects, node: &str, present: bool) -> Outcome {
    let change = |object: &mut Value| {
        let mut taints = object["spec"]["taints"].as_array().cloned().unwrap_or_default();
        taints.retain(|taint| taint["key"] != KEY);
        if present {
            taints.push(json!({ "key": KEY, "value": "v", "effect": "NoExecute" }));
        }
        object["spec"]["taints"] = if taints.is_empty() { Value::Null } else { json!(taints) };
    };
    nodes.update(node, change).await.map(drop)
}

/// Runs `body` and takes the taint away again whatever it comes to.
async fn with_node<F>(context: &Context, pods: Vec<Value>, body: impl FnOnce(Objects, Objects, String) -> F) -> Outcome
where
    F: Future<Output = Outcome>,
{
    let namespace = context.namespace().await?;
    let objects = context.objects(resource::pods(), &namespace);
    let nodes = context.cluster(resource::nodes());
    let count = pods.len();
    let mut node = None;
    for mut pod in pods {
        // The second goes where the first is, past the scheduler if it has to.
        if let Some(node) = &node {
            pod["spec"]["nodeName"] = json!(node);
        }
        objects.create(&pod).await?;
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let bound = |pod: &Value| pod["spec"]["nodeName"].is_string();
        let pod = objects.wait(name, "it is bound", PATIENCE, bound).await?;
        node = pod["spec"]["nodeName"].as_str().map(str::to_owned);
    }
    all_up(&objects, "app=evicted", count).await?;
    let node = node.ok_or_else(|| Failure::wrong("the pods are on no node"))?;
    let outcome = body(objects, nodes.clone(), node.clone()).await;
    taint(&nodes, &node, false).await?;
    outcome
}

async fn cancelled(context: &Context) -> Outcome {
    const TOLERATED: u64 = 20;
    let labels = label("evicted").0;
    // The witness shows that the taint evicts at all.
    let pods = vec![tolerating("p", &labels, TOLERATED), tolerating("witness", &labels, 1)];
    with_node(context, pods, |pods, nodes, node| async move {
        let tainted = Instant::now();
        taint(&nodes, &node, true).await?;
        pods.gone("witness", Duration::from_secs(TOLERATED / 2)).await?;
        ensure!(!is_ending(&pods.get("p").await?), "the pod is evicted before its time");
        taint(&nodes, &node, false).await?;
        ensure!(tainted.elapsed() < Duration::from_secs(TOLERATED), "the taint could not be removed in time");
        while tainted.elapsed() < Duration::from_secs(TOLERATED) + MUST_NOT {
            ensure!(!is_ending(&pods.get("p").await?), "the pod is evicted although the taint was removed");
            sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    })
    .await
}

async fn in_their_order(context: &Context) -> Outcome {
    let labels = label("evicted").0;
    let pods = vec![tolerating("soon", &labels, 5), tolerating("later", &labels, 25)];
    with_node(context, pods, |pods, nodes, node| async move {
        let tainted = Instant::now();
        taint(&nodes, &node, true).await?;
        pods.gone("soon", Duration::from_secs(20)).await?;
        ensure!(tainted.elapsed() >= Duration::from_secs(4), "the first pod went after {:?}", tainted.elapsed());
        let later = pods.get("later").await?;
        ensure!(!is_ending(&later), "both pods are evicted together");
        same!(later["status"]["phase"], "Running", "the phase of the second pod");
        pods.gone("later", PATIENCE).await?;
        ensure!(tainted.elapsed() >= Duration::from_secs(24), "the second pod went after {:?}", tainted.elapsed());
        Ok(())
    })
    .await
}
