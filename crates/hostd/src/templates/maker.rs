//! Making one template: a shim that boots a guest, freezes it and ends, in a control group and as a user of its own.
//!
//! What it has on the host carries a machine's names, so that the next agent sweeps away what a crash of this one leaves.

use crate::{
    cgroup::Groups,
    config::{Config, GuestBoot, GuestSize, Hypervisor, Layout},
    devices::passable_directory,
    effects::{EffectError, failed},
    naming::Naming,
    process::{self, Manner},
    records::{blocking, write_json},
};
use orrery_api::names::MachineId;
use orrery_vmm::Template;
use orrery_wire::{
    host::{Admission, MachineSpec, Owner},
    machine::{Acceleration, SHIM_CONFIG_VERSION, ShimConfig},
};
use std::{fs, io, path::Path, time::Duration};

/// How long the making may take in all. It has what time others leave.
const EMULATED: Duration = Duration::from_secs(300);
const VIRTUALIZED: Duration = Duration::from_secs(60);
/// Memory of the host for QEMU and the shim beside the guest's.
const OVERHEAD: u64 = 192 * 1024 * 1024;
/// Where the makers' control groups are, in place of a resource pool and a namespace.
const GROUP: &str = "templates";

#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error("its process ended with {status}: {said}")]
    Ended { status: std::process::ExitStatus, said: String },
    #[error("it was not there after {} s and was killed", .0.as_secs())]
    Late(Duration),
}

/// Makes templates, one at a time.
pub(super) struct Maker {
    layout: Layout,
    naming: Naming,
    groups: Groups,
    command: Vec<String>,
    guest: GuestBoot,
    hypervisor: Hypervisor,
    /// No machine has it: slots end below.
    uid: u32,
}

impl Maker {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            layout: config.layout(),
            naming: Naming::new(&config.instance, &config.host),
            groups: Groups::new(&config.cgroup_root),
            command: config.shim_command.clone(),
            guest: config.guest.clone(),
            hypervisor: config.hypervisor.clone(),
            uid: config.maker_uid(),
        }
    }

    /// A template for machines of `size` in the trust domain `domain`.
    pub(super) async fn make(&self, domain: &str, size: GuestSize) -> Result<Template, EffectError> {
        let id = MachineId(uuid::Uuid::new_v4());
        let spec = spec(id, domain, size);
        let group = self.naming.machine_group(id, &spec);
        let made = self.make_as(id, &spec, &group).await;
        // Whatever is left of it: QEMU ends with its shim, its group with both.
        let removed = self.groups.remove(&group).await;
        for directory in [self.layout.runtime_machine(id), self.layout.machine(id)] {
            if let Err(error) = fs::remove_dir_all(&directory) {
                tracing::debug!(directory = %directory.display(), %error, "was gone already");
            }
        }
        let template = made?;
        removed.map(|()| template)
    }

    async fn make_as(&self, id: MachineId, spec: &MachineSpec, group: &Path) -> Result<Template, EffectError> {
        let (runtime, state) = (self.layout.runtime_machine(id), self.layout.machine(id));
        let made = passable_directory(&runtime).and_then(|()| fs::create_dir_all(&state));
        made.map_err(failed("make the directories of a template's guest"))?;
        let (groups, limits, path) = (self.groups.clone(), spec.clone(), group.to_owned());
        blocking(move || groups.create(&path, &limits)).await?;
        let (config, path) = (self.config(id, spec, group), self.layout.shim_config(id));
        let written = path.clone();
        blocking(move || write_json(&written, &config)).await?;
        let template = Template::create(spec.memory_bytes).map_err(failed("make the files of a template"))?;
        self.run(&path, &self.layout.shim_log(id), &template).await?;
        Ok(template)
    }

    async fn run(&self, config: &Path, log: &Path, template: &Template) -> Result<(), EffectError> {
        let make = "make a template";
        let manner = Manner { template: Some(template), makes_template: true };
        let mut child = process::spawn_shim(&self.command, config, log, &manner).map_err(failed(make))?;
        let patience = match self.hypervisor.accelerator {
            Acceleration::Tcg => EMULATED,
            Acceleration::Kvm => VIRTUALIZED,
        };
        match tokio::time::timeout(patience, child.wait()).await {
            Ok(Ok(status)) if status.success() && template.is_sealed() => Ok(()),
            Ok(Ok(status)) => Err(EffectError::new(make, MakeError::Ended { status, said: last_line(log) })),
            Ok(Err(error)) => Err(EffectError::new(make, error)),
            Err(_elapsed) => {
                child.kill().await.map_err(failed("kill what makes a template"))?;
                Err(EffectError::new(make, MakeError::Late(patience)))
            }
        }
    }

    fn config(&self, id: MachineId, spec: &MachineSpec, group: &Path) -> ShimConfig {
        ShimConfig {
            version: SHIM_CONFIG_VERSION,
            machine: spec.clone(),
            admission: Admission {
                shim_socket: self.layout.shim_socket(id).display().to_string(),
                log_directory: self.layout.logs(id).display().to_string(),
                interfaces: Vec::new(),
            },
            runtime_directory: self.layout.runtime_machine(id),
            log_directory: self.layout.logs(id),
            state_directory: self.layout.machine(id),
            kernel: self.guest.kernel.clone(),
            initrd: self.guest.initrd.clone(),
            qemu: self.hypervisor.qemu.clone(),
            accelerator: self.hypervisor.accelerator,
            uid: self.uid,
            gid: self.uid,
            cgroups: self.groups.directories(group),
        }
    }
}

fn spec(id: MachineId, domain: &str, size: GuestSize) -> MachineSpec {
    MachineSpec {
        id: id.to_string(),
        owner: Owner::Host { purpose: "template".to_owned() },
        name: format!("template/{domain}"),
        pool: GROUP.to_owned(),
        namespace: GROUP.to_owned(),
        vcpus: size.vcpus,
        cpu_milli: 0,
        memory_bytes: size.memory_bytes,
        overhead_bytes: OVERHEAD,
        disks: Vec::new(),
        scratch_bytes: None,
        interfaces: Vec::new(),
    }
}

/// The last thing that a process said in its log, for people.
fn last_line(log: &Path) -> String {
    let text =
        fs::read(log).unwrap_or_else(|error: io::Error| format!("{} cannot be read: {error}", log.display()).into());
    let text = String::from_utf8_lossy(&text);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}
