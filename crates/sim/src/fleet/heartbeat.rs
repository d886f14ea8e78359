//! A hollow node's Node and Lease.

use super::{HollowOptions, Identity};
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// Where nodes keep their leases.
pub(super) const LEASE_NAMESPACE: &str = "kube-node-lease";
/// The least that others wait for a heartbeat before they think a node lost, in seconds.
const LEASE_SECONDS: u64 = 40;

/// Registers the node, or reports its status anew.
pub(super) async fn register(client: Client, identity: Identity, options: HollowOptions) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(client);
    let name = identity.name.as_str();
    let wanted = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" } },
    });
    let node: Node = serde_json::from_value(wanted).map_err(kube::Error::SerdeError)?;
    let known = match nodes.create(&PostParams::default(), &node).await {
        Ok(created) => created,
        Err(kube::Error::Api(status)) if status.code == 409 => nodes.get(name).await?,
        Err(error) => return Err(error),
    };
    let patch = json!({ "status": status(&identity, &options, &known, Timestamp::now()) });
    nodes.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await.map(drop)
}

fn status(identity: &Identity, options: &HollowOptions, known: &Node, now: Timestamp) -> Value {
    let resources = json!({ "cpu": options.cpu, "memory": options.memory, "pods": options.pods.to_string(),
        "ephemeral-storage": "100Gi" });
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    let known: Vec<_> = known.status.iter().flat_map(|status| status.conditions.iter().flatten()).collect();
    let condition = |(kind, status, reason): (&str, &str, &str)| {
        let before = known.iter().find(|known| known.type_ == kind && known.status == status);
        let since = before.and_then(|before| before.last_transition_time.as_ref()).map(|at| at.0.to_string());
        json!({ "type": kind, "status": status, "reason": reason, "message": "the node is hollow",
            "lastHeartbeatTime": now, "lastTransitionTime": since.unwrap_or_else(|| now.clone()) })
    };
    let conditions = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID"),
        ("Ready", "True", "KubeletReady"),
    ];
    json!({
        "capacity": resources, "allocatable": resources,
        "addresses": [
            { "type": "InternalIP", "address": identity.address.to_string() },
            { "type": "Hostname", "address": identity.name },
        ],
        "conditions": conditions.map(condition),
        "nodeInfo": {
            "architecture": "amd64", "operatingSystem": "linux", "osImage": "hollow", "kernelVersion": "none",
            "containerRuntimeVersion": "sim://1", "kubeProxyVersion": "",
            "kubeletVersion": concat!("v1.36.0+orrery-sim-", env!("CARGO_PKG_VERSION")),
            "bootID": identity.name, "machineID": identity.name, "systemUUID": identity.name,
        },
    })
}

/// Renews the node's lease, or makes it.
pub(super) async fn renew(client: Client, identity: Identity, options: HollowOptions) -> Result<(), kube::Error> {
    let leases: Api<Lease> = Api::namespaced(client, LEASE_NAMESPACE);
    let name = identity.name;
    let seconds = options.heartbeat.as_secs().saturating_mul(4).max(LEASE_SECONDS);
    let spec = LeaseSpec {
        holder_identity: Some(name.clone()),
        lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    let patch = Patch::Merge(json!({ "spec": spec }));
    match leases.patch(&name, &PatchParams::default(), &patch).await {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(error),
    }
    let mut lease = Lease { spec: Some(spec), ..Lease::default() };
    lease.metadata.name = Some(name);
    leases.create(&PostParams::default(), &lease).await.map(drop)
}
