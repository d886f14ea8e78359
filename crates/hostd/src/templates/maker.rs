//! Making one template: a shim that boots a guest, freezes it and ends, in a control group and as a user of its own.
//!
//! What it has on the host carries a machine's names, so that the next agent sweeps away what a crash of this one leaves.

use crate::{
    config::{Config, GuestSize},
    devices::passable_directory,
    effects::{EffectError, failed},
    intent::{INTENT_VERSION, Intent, Standing},
    process::Manner,
    records::blocking,
    start::Starter,
};
use orrery_api::names::MachineId;
use orrery_vmm::Template;
use orrery_wire::{
    host::{Admission, MachineSpec, Owner},
    machine::Acceleration,
};
use std::{fs, io, path::Path, time::Duration};

/// How long the making may take in all. It has what time others leave.
const EMULATED: Duration = Duration::from_secs(300);
const VIRTUALIZED: Duration = Duration::from_secs(60);
/// Memory of the host for QEMU and the shim beside the guest's, while nobody has said how much it may be, in bytes.
pub(crate) const OVERHEAD: u64 = 192 * 1024 * 1024;
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
    starter: Starter,
    /// No machine has it: theirs are below. So no machine has the makers' user id either.
    slot: u32,
}

impl Maker {
    pub(super) fn new(config: &Config) -> Self {
        Self { starter: Starter::new(config), slot: config.capacity.machine_slots }
    }

    /// A template for machines of `size` in the trust domain `domain`.
    pub(super) async fn make(&self, domain: &str, size: GuestSize) -> Result<Template, EffectError> {
        let intent = self.intent(domain, size);
        let Starter { layout, groups, .. } = &self.starter;
        let made = self.make_as(&intent).await;
        // Whatever is left of it: QEMU ends with its shim, its group with both.
        let removed = groups.remove(&self.starter.group(&intent)).await;
        for directory in [layout.runtime_machine(intent.id), layout.machine(intent.id)] {
            if let Err(error) = fs::remove_dir_all(&directory) {
                tracing::debug!(directory = %directory.display(), %error, "was gone already");
            }
        }
        let template = made?;
        removed.map(|()| template)
    }

    async fn make_as(&self, intent: &Intent) -> Result<Template, EffectError> {
        let Starter { layout, groups, .. } = &self.starter;
        let made = passable_directory(&layout.runtime_machine(intent.id))
            .and_then(|()| fs::create_dir_all(layout.machine(intent.id)));
        made.map_err(failed("make the directories of a template's guest"))?;
        let (groups, limits, group) = (groups.clone(), intent.spec.clone(), self.starter.group(intent));
        blocking(move || groups.create(&group, &limits)).await?;
        let template = Template::create(intent.spec.memory_bytes).map_err(failed("make the files of a template"))?;
        self.run(intent, &template).await?;
        Ok(template)
    }

    async fn run(&self, intent: &Intent, template: &Template) -> Result<(), EffectError> {
        let make = "make a template";
        let log = self.starter.layout.shim_log(intent.id);
        let manner = Manner { template: Some(template), makes_template: true, agent: None };
        let mut child = self.starter.start(intent, &manner).await?;
        let patience = match self.starter.hypervisor.accelerator {
            Acceleration::Tcg => EMULATED,
            Acceleration::Kvm => VIRTUALIZED,
        };
        match tokio::time::timeout(patience, child.wait()).await {
            Ok(Ok(status)) if status.success() && template.is_sealed() => Ok(()),
            Ok(Ok(status)) => Err(EffectError::new(make, MakeError::Ended { status, said: last_line(&log) })),
            Ok(Err(error)) => Err(EffectError::new(make, error)),
            Err(_elapsed) => {
                child.kill().await.map_err(failed("kill what makes a template"))?;
                Err(EffectError::new(make, MakeError::Late(patience)))
            }
        }
    }

    fn intent(&self, domain: &str, size: GuestSize) -> Intent {
        let id = MachineId(uuid::Uuid::new_v4());
        let layout = &self.starter.layout;
        let admission = Admission {
            shim_socket: layout.shim_socket(id).display().to_string(),
            log_directory: layout.logs(id).display().to_string(),
            interfaces: Vec::new(),
        };
        let (version, standing, slot) = (INTENT_VERSION, Standing::Active, self.slot);
        Intent { version, id, place: None, standing, slot, spec: spec(id, domain, size), admission }
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
