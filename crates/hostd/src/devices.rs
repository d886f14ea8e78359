//! Directories, control groups and taps of machines, for real.

use crate::{
    cgroup::Groups,
    config::Layout,
    effects::{Devices, EffectError, Found, Group, failed},
    intent::Intent,
    naming::Naming,
    records::{blocking, machine_directories},
};
use async_trait::async_trait;
use orrery_api::names::MachineId;
use orrery_network::{InterfaceName, Ipv4Net, Network, TapSpec};
use orrery_wire::host::AssignedInterface;
use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

/// Levels of the control group tree between a host and its machines: resource pool, namespace, machine.
const LEVELS: usize = 3;

/// What machines have on this host.
pub(crate) struct HostDevices {
    pub(crate) network: Arc<Network>,
    pub(crate) bridge: InterfaceName,
    pub(crate) naming: Naming,
    pub(crate) layout: Layout,
    pub(crate) groups: Groups,
    pub(crate) uid_base: u32,
}

impl HostDevices {
    fn tap_name(tap: &str) -> Result<InterfaceName, EffectError> {
        InterfaceName::new(tap).map_err(failed(format!("use tap {tap}")))
    }
}

/// Makes a directory that everybody may pass through and only root may change.
pub(crate) fn passable_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o711))
}

#[async_trait]
impl Devices for HostDevices {
    async fn create_directories(&self, intent: &Intent) -> Result<(), EffectError> {
        let (runtime, logs) = (self.layout.runtime_machine(intent.place()), self.layout.logs(intent.place()));
        let (machine, scratch) = (self.layout.machine(intent.place()), intent.spec.scratch_bytes);
        blocking(move || {
            // QEMU, under a user id of its own, has to get at what the shim puts there for it.
            passable_directory(&runtime).map_err(failed(format!("make {}", runtime.display())))?;
            fs::create_dir_all(&logs).map_err(failed(format!("make {}", logs.display())))?;
            scratch.map_or(Ok(()), |bytes| {
                crate::scratch::make(&machine, bytes).map_err(failed("make the machine's scratch disk"))
            })
        })
        .await
    }

    async fn remove_runtime(&self, id: MachineId) -> Result<(), EffectError> {
        let path = self.layout.runtime_machine(id);
        blocking(move || match fs::remove_dir_all(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(EffectError::new(format!("remove {}", path.display()), error)),
        })
        .await
    }

    async fn create_group(&self, intent: &Intent) -> Result<(), EffectError> {
        let (groups, spec) = (self.groups.clone(), intent.spec.clone());
        let group = self.naming.machine_group(intent.id, &spec);
        blocking(move || groups.create(&group, &spec)).await
    }

    async fn remove_group(&self, group: &Group) -> Result<(), EffectError> {
        self.groups.remove(&group.0).await
    }

    async fn create_tap(&self, intent: &Intent, interface: &AssignedInterface) -> Result<(), EffectError> {
        let doing = || format!("make tap {} of machine {}", interface.tap, intent.id);
        let network: Ipv4Net = interface.address.parse().map_err(failed(doing()))?;
        let spec = TapSpec {
            name: Self::tap_name(&interface.tap)?,
            owner: self.uid_base + intent.slot,
            bridge: self.bridge.clone(),
            mac: interface.mac.parse().map_err(failed(doing()))?,
            address: network.addr(),
        };
        self.network.ensure_tap(&spec).await.map_err(failed(doing()))
    }

    async fn remove_tap(&self, tap: &str) -> Result<(), EffectError> {
        self.network.delete_tap(&Self::tap_name(tap)?).await.map_err(failed(format!("remove tap {tap}")))
    }

    async fn found(&self) -> Result<Found, EffectError> {
        let taps = self.network.links_with_prefix(self.naming.tap_prefix()).await.map_err(failed("list taps"))?;
        let (groups, above, runtimes) = (self.groups.clone(), self.naming.host_group(), self.layout.runtime_machines());
        blocking(move || {
            let groups = groups.list(&above, LEVELS)?;
            let of_machine = |path: &Path| {
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<MachineId>().is_ok())
            };
            let groups = groups.into_iter().filter(|path| of_machine(path)).map(Group).collect();
            Ok(Found { taps, groups, runtimes: machine_directories(&runtimes)? })
        })
        .await
    }
}
