//! Starting a shim: its configuration, written whole, then its process.

use crate::{
    cgroup::Groups,
    config::{Config, GuestBoot, Hypervisor, Layout},
    effects::{EffectError, failed},
    intent::Intent,
    naming::Naming,
    process::{self, Manner},
    records::{blocking, write_json},
};
use orrery_wire::machine::{SHIM_CONFIG_VERSION, ShimConfig};
use std::path::PathBuf;
use tokio::process::Child;

/// What the shims of a host have in common.
pub(crate) struct Starter {
    pub(crate) layout: Layout,
    pub(crate) naming: Naming,
    pub(crate) groups: Groups,
    pub(crate) hypervisor: Hypervisor,
    command: Vec<String>,
    guest: GuestBoot,
    uid_base: u32,
}

impl Starter {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            layout: config.layout(),
            naming: Naming::new(&config.instance, &config.host),
            groups: Groups::new(&config.cgroup_root),
            hypervisor: config.hypervisor.clone(),
            command: config.shim_command.clone(),
            guest: config.guest.clone(),
            uid_base: config.uid_base,
        }
    }

    /// The machine's control group, below the mount point.
    pub(crate) fn group(&self, intent: &Intent) -> PathBuf {
        self.naming.machine_group(intent.id, &intent.spec)
    }

    /// Starts the shim of a machine whose directories and control group are there.
    pub(crate) async fn start(&self, intent: &Intent, manner: &Manner<'_>) -> Result<Child, EffectError> {
        self.configure(intent).await?;
        let path = self.layout.shim_config(intent.place());
        process::spawn_shim(&self.command, &path, &self.layout.shim_log(intent.place()), manner)
            .map_err(failed(format!("start the shim {} of machine {}", self.command.join(" "), intent.id)))
    }

    /// Writes down what the shim has to know.
    pub(crate) async fn configure(&self, intent: &Intent) -> Result<ShimConfig, EffectError> {
        let (config, path) = (self.shim_config(intent), self.layout.shim_config(intent.place()));
        blocking(move || write_json(&path, &config).map(|()| config)).await
    }

    fn shim_config(&self, intent: &Intent) -> ShimConfig {
        let uid = self.uid_base + intent.slot;
        ShimConfig {
            version: SHIM_CONFIG_VERSION,
            machine: intent.spec.clone(),
            admission: intent.admission.clone(),
            runtime_directory: self.layout.runtime_machine(intent.place()),
            log_directory: self.layout.logs(intent.place()),
            state_directory: self.layout.machine(intent.place()),
            kernel: self.guest.kernel.clone(),
            initrd: self.guest.initrd.clone(),
            qemu: self.hypervisor.qemu.clone(),
            accelerator: self.hypervisor.accelerator,
            uid,
            gid: uid,
            cgroups: self.groups.directories(&self.group(intent)),
        }
    }
}
