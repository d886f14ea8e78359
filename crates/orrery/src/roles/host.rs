//! The processes of a host.

use super::{RoleResult, shutdown_on_signal};
use crate::{
    args::{HostdArgs, SphereletArgs},
    instance::{Instance, MACHINE_SLOTS},
    up::qemu,
};
use orrery_api::names::HostName;
use orrery_hostd::{Capacity, Config, GuestSize, Hypervisor, ManagerLink, TemplateSettings, WarmSettings};
use orrery_images::guest_boot::{self, GuestBoot, KernelSource};
use orrery_lifecycle::size::{self, MachineSize};
use orrery_network::InterfaceName;
use orrery_shim::make_template;
use orrery_vmm::{Qemu, Template};
use orrery_wire::machine::ShimConfig;
use std::{
    error::Error,
    fs,
    os::fd::{AsFd, RawFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::net::UnixStream;

/// Memory that the host keeps for itself, in bytes.
const HOST_RESERVE: u64 = 1024 * 1024 * 1024;
/// Most templates of a host: one of Debian's kernel takes some 120 MB.
const TEMPLATES: usize = 8;
const TEMPLATE_AGE: Duration = Duration::from_secs(24 * 3600);
/// Of the memory for machines, warm ones have one part of so many.
const WARM_PART: u64 = 2;
/// CPU that machines may reserve for each core, in thousandths: requests are mostly idle.
const CPU_OVERCOMMIT_MILLI: u64 = 4000;

/// Where `crx-init` is: beside this program, or where `make install` puts it.
fn crx_init() -> Result<PathBuf, Box<dyn Error + Send + Sync>> {
    let program = std::env::current_exe()?;
    let directory = program.parent().unwrap_or(Path::new("/"));
    [directory.join("crx-init"), directory.join("../lib/orrery/crx-init")]
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| format!("crx-init is not beside {}; build it with: make build", program.display()).into())
}

/// The guest's kernel and first file system; quick when the cache has them.
pub(crate) fn prepare_guest_boot(instance: &Instance) -> Result<GuestBoot, Box<dyn Error + Send + Sync>> {
    prepare_guest_boot_with(instance, &crate::kernel::chosen(instance)?)
}

/// The same with a kernel that is not chosen yet.
pub(crate) fn prepare_guest_boot_with(
    instance: &Instance,
    kernel: &KernelSource,
) -> Result<GuestBoot, Box<dyn Error + Send + Sync>> {
    Ok(guest_boot::prepare(&instance.cache(), kernel, &crx_init()?)?)
}

/// Everything that the host agent needs to know.
pub(crate) async fn hostd_config(instance: &Instance, host: HostName) -> Result<Config, Box<dyn Error + Send + Sync>> {
    let state_directory = instance.host_directory(host.as_str());
    let qemu = qemu();
    let version = orrery_vmm::qemu_version(&qemu).await?.to_string();
    let accelerator = orrery_vmm::probe_accelerator(&qemu, &instance.cache()).await?.acceleration;
    let boot = prepare_guest_boot(instance)?;
    let token = fs::read_to_string(state_directory.join("join-token")).ok();
    Ok(Config {
        instance: instance.name.clone(),
        runtime_directory: instance.host_runtime(host.as_str()),
        socket: instance.hostd_socket(host.as_str()),
        machine_range: instance.machine_range().parse()?,
        bridge: InterfaceName::new(instance.bridge())?,
        management_address: instance.kubelet_address().ip(),
        kubelet_port: instance.kubelet_address().port(),
        shim_command: vec![std::env::current_exe()?.display().to_string(), "shim".to_owned()],
        guest: orrery_hostd::GuestBoot { kernel: boot.kernel, initrd: boot.initrd },
        hypervisor: Hypervisor { qemu, version, accelerator },
        capacity: capacity()?,
        uid_base: instance.uid_base(),
        templates: Some(templates()),
        cgroup_root: PathBuf::from("/sys/fs/cgroup"),
        manager: Some(ManagerLink { endpoint: format!("https://{}", instance.manager_address()), token }),
        state_directory,
        host,
    })
}

/// A template for pods that say nothing of their size is made ahead.
fn templates() -> TemplateSettings {
    let MachineSize { memory, vcpus, .. } = size::default_machine_size();
    let size = GuestSize { memory_bytes: memory.0, vcpus };
    let ahead = vec![(orrery_spherelet::POOL.to_owned(), size)];
    TemplateSettings { ahead, most: TEMPLATES, max_age: TEMPLATE_AGE, warm: None }
}

/// What machines may use: the machine's memory less what the host itself needs, and its cores.
fn capacity() -> Result<Capacity, Box<dyn Error + Send + Sync>> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let total_kib: u64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .ok_or("/proc/meminfo does not say MemTotal")?;
    let cores = std::thread::available_parallelism()?.get() as u64;
    let memory_bytes = (total_kib * 1024).saturating_sub(HOST_RESERVE);
    // The last user id is for what makes templates.
    Ok(Capacity { cpu_milli: cores * CPU_OVERCOMMIT_MILLI, memory_bytes, machine_slots: MACHINE_SLOTS - 1 })
}

pub(crate) async fn hostd(instance: &Instance, options: HostdArgs) -> RoleResult {
    let shutdown = shutdown_on_signal()?;
    let mut config = hostd_config(instance, options.host.host).await?;
    if let Some(templates) = config.templates.as_mut().filter(|_| options.warm_machines > 0) {
        let memory_bytes = config.capacity.memory_bytes / WARM_PART;
        let rehearsal = guest_boot::rehearsal(&instance.cache(), &crx_init()?)?;
        templates.warm = Some(WarmSettings { most: options.warm_machines, memory_bytes, rehearsal });
    }
    Ok(orrery_hostd::run(config, shutdown).await?)
}

pub(crate) async fn spherelet(instance: &Instance, options: SphereletArgs) -> RoleResult {
    let shutdown = shutdown_on_signal()?;
    let config = orrery_spherelet::Config {
        hostd_socket: instance.hostd_socket(options.host.host.as_str()),
        image_store: instance.images(),
        registries: instance.registries(),
        listen: instance.kubelet_address(),
        node: options.host.host,
        pod_pids_limit: options.pod_max_pids,
        zone: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(orrery_spherelet::run(config, shutdown).await?)
}

pub(crate) async fn shim(path: &Path, template: &[RawFd], make: bool, warm: bool) -> RoleResult {
    let shutdown = shutdown_on_signal()?;
    let text = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let config: ShimConfig =
        serde_json::from_slice(&text).map_err(|error| format!("{} is malformed: {error}", path.display()))?;
    let template = match template {
        [] => None,
        [memory, state] => {
            Some(Template::inherited([*memory, *state]).map_err(|error| format!("--template: {error}"))?)
        }
        _ => return Err("--template takes two descriptors, such as 3,4".into()),
    };
    match template {
        Some(template) if make => {
            let machine = Arc::new(Qemu::new(config.qemu.clone()));
            // QEMU goes with this process.
            tokio::select! {
                made = make_template(machine, &config, &template) => Ok(made?),
                () = shutdown.cancelled() => Err("told to end before the template was made".into()),
            }
        }
        Some(template) if warm => {
            let agent = std::os::unix::net::UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
            agent.set_nonblocking(true)?;
            let agent = UnixStream::from_std(agent).map_err(|error| format!("standard input is no socket: {error}"))?;
            let machine = Arc::new(Qemu::new(config.qemu.clone()));
            Ok(orrery_shim::run_warm(machine, config, template, agent, shutdown).await?)
        }
        template => Ok(orrery_shim::run(config, template, shutdown).await?),
    }
}
