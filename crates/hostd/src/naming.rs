//! Names that the host gives: they tell whose a device is after the host agent has forgotten it. Pure.

use orrery_api::names::{HostName, InstanceName, MachineId};
use orrery_network::InterfaceName;
use orrery_wire::{
    guest::{FIRST_DISK_DEVICE, FIRST_NIC_DEVICE},
    host::MachineSpec,
};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Most network interfaces of a machine: so many places are there before the disks'. A tap's name has one digit for them.
pub(crate) const MAX_INTERFACES: usize = (FIRST_DISK_DEVICE - FIRST_NIC_DEVICE) as usize;
const _: () = assert!(MAX_INTERFACES <= 10);

/// What the names of one host's devices begin with.
#[derive(Debug, Clone)]
pub(crate) struct Naming {
    instance: InstanceName,
    host: HostName,
    tap_prefix: String,
}

impl Naming {
    pub(crate) fn new(instance: &InstanceName, host: &HostName) -> Self {
        // Two hosts may share a kernel's network namespace (one machine, several instances); 24 bits tell them apart.
        let digest = Sha256::digest(format!("{instance}/{host}"));
        let tap_prefix = format!("o{:02x}{:02x}{:02x}t", digest[0], digest[1], digest[2]);
        Self { instance: instance.clone(), host: host.clone(), tap_prefix }
    }

    /// What every tap of this host begins with, and no other device does.
    pub(crate) fn tap_prefix(&self) -> &str {
        &self.tap_prefix
    }

    /// The tap of interface `index` of the machine in `slot`.
    pub(crate) fn tap(&self, slot: u32, index: usize) -> InterfaceName {
        InterfaceName::new(format!("{}{slot}i{index}", self.tap_prefix))
            .expect("eight characters, at most five digits, a letter and a digit are fifteen")
    }

    /// The host's level of the control group tree, below the mount point.
    pub(crate) fn host_group(&self) -> PathBuf {
        Path::new(&format!("orrery-{}", self.instance)).join(self.host.as_str())
    }

    /// The machine's level of the control group tree, below the mount point. The specification was checked: pool and
    /// namespace are DNS labels.
    pub(crate) fn machine_group(&self, id: MachineId, spec: &MachineSpec) -> PathBuf {
        self.host_group().join(&spec.pool).join(&spec.namespace).join(id.to_string())
    }
}

/// The hardware address of interface `index` of a machine: always the same, locally administered, unicast.
pub(crate) fn mac(id: MachineId, index: usize) -> String {
    let digest = Sha256::digest(format!("{id}/{index}"));
    format!("52:54:{:02x}:{:02x}:{:02x}:{:02x}", digest[0], digest[1], digest[2], digest[3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_taps_fit_the_kernel_and_tell_hosts_apart() {
        let instance = InstanceName::new("default").unwrap();
        let one = Naming::new(&instance, &HostName::new("host-1").unwrap());
        let other = Naming::new(&instance, &HostName::new("host-2").unwrap());
        assert_ne!(one.tap_prefix(), other.tap_prefix());
        assert_eq!(one.tap(99_999, MAX_INTERFACES - 1).as_str().len(), 15);
        assert!(one.tap(3, 0).as_str().starts_with(one.tap_prefix()));
    }

    #[test]
    fn a_machines_hardware_address_depends_on_its_id_and_interface_only() {
        let id = MachineId(uuid::Uuid::from_u128(7));
        assert_eq!(mac(id, 0), mac(id, 0));
        assert_ne!(mac(id, 0), mac(id, 1));
        assert_ne!(mac(id, 0), mac(MachineId(uuid::Uuid::from_u128(8)), 0));
        assert!(mac(id, 0).starts_with("52:54:") && mac(id, 0).len() == 17);
    }
}
