//! What hosts report of their machines, datastores and networks, as objects of the inventory.
//!
//! ```text
//! heartbeat ──wanted──► objects of that host ──compared with what is recorded──► created, changed, deleted
//! ```
//!
//! The host's ledger is the truth: an object that it does not report goes, one that somebody deleted comes back with the next
//! change. Datastores and networks bear the host's name. A heartbeat that says nothing new costs nothing.

use crate::inventory::{Inventory, InventoryError};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use orrery_api::{
    inventory::{
        Datastore, DatastoreSpec, DatastoreStatus, DatastoreType, MachineOwner, MachinePhase, Network, NetworkSpec,
        NetworkStatus, NetworkType, PowerState, VirtualMachine, VirtualMachineSpec, VirtualMachineStatus,
    },
    names::HostName,
    units::{Bytes, MilliCpu},
};
use orrery_wire::{
    host::{Owner, POD_SEGMENT},
    join::{Heartbeat, HeldMachine},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

/// Free room is told in steps of so many bytes, so that each written file is no news.
const FREE_STEP: u64 = 256 << 20;

/// What a host's objects should be.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    /// None when the host does not tell.
    machines: Option<Vec<VirtualMachine>>,
    datastore: Option<Datastore>,
    network: Network,
}

/// Writes down what hosts report.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// What was written down last for each host.
    last: Mutex<BTreeMap<HostName, Wanted>>,
}

impl Recorded {
    /// Writes down what a heartbeat tells, if it is news.
    ///
    /// # Errors
    /// When the inventory cannot be read or written; the next heartbeat tries again.
    pub(crate) async fn record(
        &self,
        inventory: &Inventory,
        host: &HostName,
        beat: &Heartbeat,
    ) -> Result<(), InventoryError> {
        let wanted = wanted(host, beat);
        if self.last().get(host) == Some(&wanted) {
            return Ok(());
        }
        if let Some(machines) = &wanted.machines {
            let api = inventory.machines()?;
            let of_host = ListParams::default().fields(&format!("spec.host={host}"));
            let present = api.list(&of_host).await.map_err(InventoryError::doing("list machines"))?.items;
            let kept: BTreeSet<&str> = machines.iter().map(name).collect();
            for gone in present.iter().map(name).filter(|name| !kept.contains(name)) {
                delete(&api, gone).await?;
            }
            for machine in machines {
                let present = present.iter().find(|present| present.metadata.name == machine.metadata.name);
                let same = present.is_some_and(|p| p.spec == machine.spec && p.status == machine.status);
                if !same {
                    write(&api, machine, &json!({"spec": machine.spec}), &json!({"status": machine.status})).await?;
                }
            }
        }
        if let Some(store) = &wanted.datastore {
            let api = inventory.datastores()?;
            write(&api, store, &json!({"spec": store.spec}), &json!({"status": store.status})).await?;
        }
        let api = inventory.networks()?;
        let network = &wanted.network;
        write(&api, network, &json!({"spec": network.spec}), &json!({"status": network.status})).await?;
        self.last().insert(host.clone(), wanted);
        Ok(())
    }

    /// Takes away what is recorded of hosts that are not in the inventory any more.
    ///
    /// # Errors
    /// When the inventory cannot be read or written.
    pub(crate) async fn forget(&self, inventory: &Inventory, hosts: &BTreeSet<String>) -> Result<(), InventoryError> {
        self.last().retain(|host, _| hosts.contains(host.as_str()));
        let all = ListParams::default();
        let machines = inventory.machines()?;
        for machine in machines.list(&all).await.map_err(InventoryError::doing("list machines"))?.items {
            if !hosts.contains(&machine.spec.host) {
                delete(&machines, name(&machine)).await?;
            }
        }
        let datastores = inventory.datastores()?;
        for store in datastores.list(&all).await.map_err(InventoryError::doing("list datastores"))?.items {
            if store.status.as_ref().is_some_and(|status| status.hosts.iter().all(|host| !hosts.contains(host))) {
                delete(&datastores, name(&store)).await?;
            }
        }
        let networks = inventory.networks()?;
        for network in networks.list(&all).await.map_err(InventoryError::doing("list networks"))?.items {
            if network.status.as_ref().is_some_and(|status| status.hosts.iter().all(|host| !hosts.contains(host))) {
                delete(&networks, name(&network)).await?;
            }
        }
        Ok(())
    }

    fn last(&self) -> std::sync::MutexGuard<'_, BTreeMap<HostName, Wanted>> {
        // Nothing panics while it is held.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name<K: k8s_openapi::Metadata<Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>>(object: &K) -> &str {
    object.metadata().name.as_deref().unwrap_or_default()
}

/// What a host's objects should be, by what it reports.
fn wanted(host: &HostName, beat: &Heartbeat) -> Wanted {
    let machines = beat.held.as_ref().map(|held| held.iter().map(|machine| recorded(host, machine)).collect());
    let datastore = beat.datastore.as_ref().map(|local| {
        let spec = DatastoreSpec { kind: DatastoreType::Directory, path: local.path.clone() };
        let mut store = Datastore::new(host.as_str(), spec);
        store.status = Some(DatastoreStatus {
            capacity_bytes: Bytes(local.capacity_bytes),
            free_bytes: Bytes(local.free_bytes / FREE_STEP * FREE_STEP),
            hosts: vec![host.to_string()],
        });
        store
    });
    let subnet = beat.facts.machine_range.clone();
    let spec = NetworkSpec { kind: NetworkType::Bridge, segment: POD_SEGMENT.to_owned(), subnet };
    let mut network = Network::new(host.as_str(), spec);
    network.status = Some(NetworkStatus { hosts: vec![host.to_string()] });
    Wanted { machines, datastore, network }
}

fn recorded(host: &HostName, held: &HeldMachine) -> VirtualMachine {
    let owner = match held.owner.clone() {
        Owner::Pod { namespace, name, uid } => MachineOwner { kind: "Pod".to_owned(), namespace, name, uid },
        Owner::Host { purpose: name } => {
            MachineOwner { kind: "Host".to_owned(), namespace: String::new(), name, uid: String::new() }
        }
    };
    let spec = VirtualMachineSpec {
        owner,
        display_name: held.name.clone(),
        host: host.to_string(),
        resource_pool: held.pool.clone(),
        vcpus: held.vcpus,
        cpu_milli: MilliCpu(held.cpu_milli),
        memory_bytes: Bytes(held.memory_bytes),
        power_state: if held.releasing { PowerState::PoweredOff } else { PowerState::PoweredOn },
    };
    let mut machine = VirtualMachine::new(&held.id, spec);
    machine.status = Some(VirtualMachineStatus {
        phase: if held.releasing { MachinePhase::Releasing } else { MachinePhase::Admitted },
        overhead_bytes: Bytes(held.overhead_bytes),
        addresses: held.addresses.clone(),
    });
    machine
}

/// Creates an object or changes the present one; then its status.
async fn write<K>(
    api: &Api<K>,
    object: &K,
    spec: &serde_json::Value,
    status: &serde_json::Value,
) -> Result<(), InventoryError>
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let failed = || InventoryError::doing("write down what a host reports");
    let name = object.meta().name.as_deref().unwrap_or_default();
    match api.create(&PostParams::default(), object).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {
            api.patch(name, &PatchParams::default(), &Patch::Merge(spec)).await.map_err(failed())?;
        }
        Err(error) => return Err(failed()(error)),
    }
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.map_err(failed()).map(drop)
}

async fn delete<K>(api: &Api<K>, name: &str) -> Result<(), InventoryError>
where
    K: Clone + Debug + DeserializeOwned,
{
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(InventoryError::doing("take away what a host no longer reports")(error)),
    }
}
