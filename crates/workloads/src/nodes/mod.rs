//! Nodes that fell silent.
//!
//! ```text
//! Ready --no lease renewal for 40 s--> Unknown + taint unreachable:NoSchedule --the node posts Ready--> Ready, no taint
//! ```
//!
//! Silence is measured by our own clock, from when a renewal was seen: the clocks of hosts may differ. Whether a node is
//! ready is the node's own word; only its silence is ours. Pods on a silent node stay: eviction is not built.

mod plan;

use crate::{
    events::{Recorder, Tone},
    mirror::Mirror,
    supervise::{ControllerError, chain},
};
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, ObjectReference},
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    runtime::watcher,
};
use plan::{Hearing, NodeState, plan};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// Where nodes keep their leases.
const LEASES: &str = "kube-node-lease";
/// How often silence is looked for.
const TICK: Duration = Duration::from_secs(5);

/// Watches over nodes until a watch ends.
pub(crate) async fn run(client: kube::Client) -> Result<(), ControllerError> {
    let config = watcher::Config::default;
    let mut nodes = Mirror::new("nodes", Api::all(client.clone()), config(), state);
    let mut leases = Mirror::new("leases", Api::namespaced(client.clone(), LEASES), config(), renewal);
    let events = Recorder::new(client.clone(), "node-controller");
    let api: Api<Node> = Api::all(client);
    let mut hearing = Hearing::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Cancel-safe: see `Mirror::changed`.
            changed = nodes.changed() => changed?,
            changed = leases.changed() => changed?,
            // Cancel-safe: a timer.
            _ = ticks.tick() => {}
        }
        if !nodes.synced() || !leases.synced() {
            continue;
        }
        let now = Instant::now();
        for name in nodes.items().keys() {
            let renewed = leases.items().get(&format!("{LEASES}/{name}")).copied().flatten();
            hearing.note(name, renewed, now);
        }
        hearing.keep_only(|name| nodes.items().contains_key(name));
        for (name, node) in nodes.items() {
            let applied = apply(&api, &events, name, node, hearing.is_silent(name, now)).await;
            if let Err(error) = applied.or_else(forgive_conflict) {
                tracing::warn!(node = name, error = chain(&error), "the node could not be marked; it is tried again");
            }
        }
    }
}

/// A conflict means that the node has news, or is gone: the watch will tell.
fn forgive_conflict(error: ControllerError) -> Result<(), ControllerError> {
    match &error {
        ControllerError::Api { source, .. } => match source.as_ref() {
            kube::Error::Api(status) if status.code == 404 || status.code == 409 => Ok(()),
            _ => Err(error),
        },
        ControllerError::WatchEnded(_) => Err(error),
    }
}

fn state(node: &Node) -> Option<NodeState> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.clone());
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone());
    Some(NodeState {
        uid: node.uid().unwrap_or_default(),
        version: node.resource_version().unwrap_or_default(),
        conditions: conditions.unwrap_or_default(),
        taints: taints.unwrap_or_default(),
    })
}

/// When the lease was last renewed, by the node's clock: only compared, never counted with.
#[expect(clippy::unnecessary_wraps, reason = "a projection may leave an object out; this one never does")]
fn renewal(lease: &Lease) -> Option<Option<Timestamp>> {
    Some(lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0))
}

async fn apply(
    api: &Api<Node>,
    events: &Recorder,
    name: &str,
    node: &NodeState,
    silent: bool,
) -> Result<(), ControllerError> {
    let plan = plan(node, silent, &Time(Timestamp::now()));
    // The version guards against undoing what the node itself wrote meanwhile; a conflict is tried again.
    let guard = json!({"resourceVersion": node.version});
    if let Some(conditions) = plan.conditions {
        let patch = json!({"metadata": guard, "status": {"conditions": conditions}});
        let patched = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map_err(ControllerError::api("mark a silent node"))?;
        tracing::warn!(node = name, "the node fell silent");
        let message = format!("Node {name} status is now: NodeNotReady");
        events.record(&reference(name, node), Tone::Normal, "NodeNotReady", &message).await;
        // The taint follows with the version that this write made.
        return Ok(());
    }
    if let Some(taints) = plan.taints {
        let patch = json!({"metadata": guard, "spec": {"taints": taints}});
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map_err(ControllerError::api("taint a node"))?;
    }
    Ok(())
}

fn reference(name: &str, node: &NodeState) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(node.uid.clone()),
        ..ObjectReference::default()
    }
}
