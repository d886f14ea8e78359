//! `orrery kernel`: what the machines of pods boot.

use crate::{
    args::{Kernel, KernelName},
    instance::{HOST, Instance},
    roles::prepare_guest_boot_with,
    say,
    up::{Progress, Step, qemu},
};
use orrery_images::guest_boot::{self, BuildStep, GuestBoot, KernelSource, KernelTree};
use orrery_keeper::{KeeperClient, protocol::Request};
use orrery_shim::make_template;
use orrery_vmm::{Qemu, Template};
use orrery_wire::{
    host::{Admission, MachineSpec, Owner},
    machine::{Acceleration, SHIM_CONFIG_VERSION, ShimConfig},
};
use std::{error::Error, fs, io, path::Path, sync::Arc, time::Duration};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// The file in the cache that says which kernel is used; without it, Debian's is.
const CHOICE: &str = "kernels/use";
/// How long a guest may take to boot when a kernel is tried.
const PATIENCE: Duration = Duration::from_secs(120);
/// Memory of the guest that tries a kernel: that of the smallest machines, in bytes.
const TRIAL_MEMORY: u64 = 160 * 1024 * 1024;
/// Who its QEMU runs as. Machines' users begin behind it.
const TRIAL_USER: u32 = 999_998;

impl KernelName {
    fn source(self) -> KernelSource {
        match self {
            Self::Debian => KernelSource::AptCloud,
            Self::Lean => KernelSource::Lean,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Lean => "lean",
        }
    }
}

/// The kernel that machines boot from now on.
pub(crate) fn chosen(instance: &Instance) -> io::Result<KernelSource> {
    match fs::read_to_string(instance.cache().join(CHOICE)) {
        Ok(name) if name.trim() == KernelName::Lean.as_str() => Ok(KernelSource::Lean),
        Ok(_) => Ok(KernelSource::AptCloud),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(KernelSource::AptCloud),
        Err(error) => Err(error),
    }
}

pub(crate) async fn run(instance: &Instance, command: Kernel) -> Outcome {
    match command {
        Kernel::Build { source, jobs, keep } => {
            build(instance, source.as_deref(), jobs).await?;
            if keep { Ok(()) } else { take_into_use(instance, KernelName::Lean).await }
        }
        Kernel::List => list(instance),
        Kernel::Use { name } => take_into_use(instance, name).await,
    }
}

fn list(instance: &Instance) -> Outcome {
    let chosen = chosen(instance)?;
    say(&format!("{:<8} {:<24} USED", "NAME", "RELEASE"));
    for name in [KernelName::Debian, KernelName::Lean] {
        let release = guest_boot::cached_release(&instance.cache(), &name.source());
        let used = if name.source() == chosen { "yes" } else { "-" };
        say(&format!("{:<8} {:<24} {used}", name.as_str(), release.as_deref().unwrap_or("(not here)")));
    }
    Ok(())
}

async fn build(instance: &Instance, source: Option<&Path>, jobs: Option<usize>) -> Outcome {
    let tree = match source {
        None => KernelTree::Debian,
        Some(path) if path.is_dir() => KernelTree::Directory(path.to_owned()),
        Some(path) => KernelTree::Archive(path.to_owned()),
    };
    let jobs = match jobs {
        Some(jobs) => jobs,
        None => std::thread::available_parallelism()?.get(),
    };
    let cache = instance.cache();
    let work = tokio::task::spawn_blocking(move || {
        let progress = Progress::new();
        let mut current: Option<Step> = None;
        let built = guest_boot::build_lean(&cache, &tree, jobs, &mut |step| {
            let next = progress.begin(name_of(step));
            current.replace(next).into_iter().for_each(|step| step.done(""));
        });
        match (&built, current) {
            (Ok(release), Some(step)) => step.done(release),
            (Err(_), Some(step)) => step.failed(),
            (_, None) => {}
        }
        built
    });
    work.await??;
    Ok(())
}

fn name_of(step: BuildStep) -> &'static str {
    match step {
        BuildStep::Source => "get the kernel's source",
        BuildStep::Configure => "configure the kernel",
        BuildStep::Compile => "compile the kernel",
    }
}

/// Boots a guest with the kernel; only then the next start of `hostd`, which is now, takes it.
async fn take_into_use(instance: &Instance, name: KernelName) -> Outcome {
    let boot = prepare_guest_boot_with(instance, &name.source())?;
    let step = Progress::new().begin(&format!("boot a guest with {}", boot.kernel_release));
    match tokio::time::timeout(PATIENCE, try_boot(instance, boot)).await {
        Ok(Ok(())) => step.done(""),
        Ok(Err(error)) => {
            step.failed();
            return Err(error);
        }
        Err(_elapsed) => {
            step.failed();
            return Err(format!("no guest came up within {} s; the kernel stays as it was", PATIENCE.as_secs()).into());
        }
    }
    let choice = instance.cache().join(CHOICE);
    fs::write(&choice, name.as_str()).map_err(|error| format!("cannot write {}: {error}", choice.display()))?;
    let role = format!("{HOST}/hostd");
    let keeper = KeeperClient::new(&instance.keeper_socket());
    let restarted = async {
        keeper.request(&Request::Stop { name: role.clone() }).await?;
        keeper.request(&Request::Start { name: role.clone() }).await
    };
    match restarted.await {
        Ok(_) => say(&format!("machines boot the {} kernel from now on; those that run keep theirs", name.as_str())),
        Err(_) => say(&format!("machines will boot the {} kernel: orrery up", name.as_str())),
    }
    Ok(())
}

/// A guest boots until it answers and is frozen, which is more than most machines do.
async fn try_boot(instance: &Instance, boot: GuestBoot) -> Outcome {
    let directory = tempfile::tempdir()?;
    let qemu = qemu();
    let accelerator = orrery_vmm::probe_accelerator(&qemu, &instance.cache()).await?.acceleration;
    let config = trial(directory.path(), boot, &qemu, accelerator);
    let template = Template::create(TRIAL_MEMORY)?;
    let machine = Arc::new(Qemu::new(qemu));
    make_template(machine, &config, &template).await.map_err(|error| {
        let console = fs::read_to_string(config.state_directory.join("console.log")).unwrap_or_default();
        let last: Vec<&str> = console.lines().rev().take(5).collect();
        let said: String = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        format!("{error}; the end of its console:\n{said}")
    })?;
    Ok(())
}

fn trial(directory: &Path, boot: GuestBoot, qemu: &Path, accelerator: Acceleration) -> ShimConfig {
    let machine = MachineSpec {
        id: "00000000-0000-0000-0000-000000000000".to_owned(),
        owner: Owner::Host { purpose: "trial of a kernel".to_owned() },
        name: "trial".to_owned(),
        pool: "trial".to_owned(),
        namespace: "trial".to_owned(),
        vcpus: 1,
        cpu_milli: 0,
        memory_bytes: TRIAL_MEMORY,
        overhead_bytes: 0,
        disks: Vec::new(),
        scratch_bytes: None,
        interfaces: Vec::new(),
    };
    let path = directory.display().to_string();
    let admission = Admission { shim_socket: path.clone(), log_directory: path, interfaces: Vec::new() };
    ShimConfig {
        version: SHIM_CONFIG_VERSION,
        machine,
        admission,
        runtime_directory: directory.to_owned(),
        log_directory: directory.to_owned(),
        state_directory: directory.to_owned(),
        kernel: boot.kernel,
        initrd: boot.initrd,
        qemu: qemu.to_owned(),
        accelerator,
        uid: TRIAL_USER,
        gid: TRIAL_USER,
        cgroups: Vec::new(),
    }
}
