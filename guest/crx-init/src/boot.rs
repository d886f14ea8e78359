//! From the kernel's first call to a furnished system: console, modules, a root of our own, kernel file systems.
//!
//! The root file system that the kernel unpacked cannot be the old root of `pivot_root`, which containers need. So init
//! moves a small tmpfs over it first and lives there.

use crate::cgroup;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_move};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs;
use std::path::PathBuf;

/// What went wrong while booting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    #[error("mounting {what} on {target}")]
    Mount { what: &'static str, target: &'static str, source: Errno },
    #[error("moving to the new root: {step}")]
    MoveRoot { step: &'static str, source: Errno },
    #[error("making the directory {path}")]
    MakeDirectory { path: &'static str, source: Errno },
    #[error("setting up standard input and output")]
    Console(#[source] Errno),
    #[error("taking the pod's devices from their drivers")]
    Devices(#[source] crate::refusal::Refusal),
    #[error("setting {path}")]
    Setting { path: String, source: std::io::Error },
}

const NEW_ROOT: &str = "/newroot";
const MODULES: &str = "/modules";
const SETTINGS: [(&str, &str); 6] = [
    // When memory runs out, init is the last to go.
    ("/proc/self/oom_score_adj", "-1000"),
    // Ping and low ports need no privilege in a network that is the pod's own; container runtimes set the same.
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
    // A user namespace would give a container's process all capabilities inside it, and with them much more of the
    // kernel to attack.
    ("/proc/sys/user/max_user_namespaces", "0"),
    // All drivers are loaded by now, and nobody boots another kernel.
    ("/proc/sys/kernel/modules_disabled", "1"),
    ("/proc/sys/kernel/kexec_load_disabled", "1"),
];

/// Prepares the machine; afterwards `/run/{etc,images,containers,volumes}` are there for the rest of init.
pub(crate) fn boot() -> Result<(), BootError> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    make_directory("/dev")?;
    mount_one("devtmpfs", "/dev", MountFlags::NOSUID, None)?;
    open_console()?;
    crate::console::guard_init();
    load_modules();
    furnish_new_root()?;
    move_root()?;
    for path in ["/run/etc", "/run/images", "/run/containers", crate::volume::VOLUMES] {
        make_directory(path)?;
    }
    crate::devices::release().map_err(BootError::Devices)?;
    for (path, value) in SETTINGS {
        set(path, value)?;
    }
    // One poll of ours may watch several descriptors for each of many processes.
    let files = Rlimit { current: Some(65_536), maximum: Some(1_048_576) };
    let _ = setrlimit(Resource::Nofile, files);
    let _ = rustix::system::reboot(rustix::system::RebootCommand::CadOff);
    cgroup::prepare().map_err(|source| BootError::Setting { path: cgroup::ROOT.to_owned(), source })
}

fn make_directory(path: &'static str) -> Result<(), BootError> {
    match mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(source) => Err(BootError::MakeDirectory { path, source }),
    }
}

fn mount_one(
    what: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: Option<&std::ffi::CStr>,
) -> Result<(), BootError> {
    mount(what, target, what, flags, options).map_err(|source| BootError::Mount { what, target, source })
}

/// Changes a setting of the kernel; one that the kernel does not have needs no change.
fn set(path: &str, value: &str) -> Result<(), BootError> {
    match fs::write(path, value) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(BootError::Setting { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Makes descriptors 0 to 2 the console, or `/dev/null` on a machine without one.
fn open_console() -> Result<(), BootError> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let console = open("/dev/console", flags, Mode::empty())
        .or_else(|_| open("/dev/null", flags, Mode::empty()))
        .map_err(BootError::Console)?;
    rustix::stdio::dup2_stdin(&console).map_err(BootError::Console)?;
    rustix::stdio::dup2_stdout(&console).map_err(BootError::Console)?;
    rustix::stdio::dup2_stderr(&console).map_err(BootError::Console)?;
    // Opened with nothing below it, the console may itself be one of the three.
    if rustix::fd::AsRawFd::as_raw_fd(&console) <= 2 {
        std::mem::forget(console);
    }
    Ok(())
}

/// Loads `/modules/*.ko` in the order of their names and frees their memory. A module that fails is reported and passed
/// over: what it was for will say what is missing.
fn load_modules() {
    let Ok(entries) = fs::read_dir(MODULES) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "ko"));
    paths.sort();
    for path in paths {
        let loaded = open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|file| rustix::system::finit_module(&file, c"", 0));
        match loaded {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => crate::console::say(&format!("loading {}: {error}", path.display())),
        }
    }
    let _ = fs::remove_dir_all(MODULES);
}

fn furnish_new_root() -> Result<(), BootError> {
    let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    make_directory(NEW_ROOT)?;
    mount_one("tmpfs", NEW_ROOT, MountFlags::NOSUID | MountFlags::NODEV, Some(c"size=1m,mode=0755"))?;
    for path in ["/newroot/dev", "/newroot/proc", "/newroot/sys", "/newroot/run"] {
        make_directory(path)?;
    }
    mount_one("devtmpfs", "/newroot/dev", MountFlags::NOSUID, None)?;
    mount_one("proc", "/newroot/proc", quiet, None)?;
    mount_one("sysfs", "/newroot/sys", quiet, None)?;
    mount_one("tmpfs", "/newroot/run", MountFlags::NOSUID | MountFlags::NODEV, Some(c"size=8m,mode=0755"))?;
    mount_one("cgroup2", "/newroot/sys/fs/cgroup", quiet, None)
}

fn move_root() -> Result<(), BootError> {
    let at = |step| move |source| BootError::MoveRoot { step, source };
    rustix::process::chdir(NEW_ROOT).map_err(at("entering it"))?;
    mount_move(".", "/").map_err(at("moving it over the old one"))?;
    rustix::process::chroot(".").map_err(at("making it the root"))?;
    rustix::process::chdir("/").map_err(at("entering the root"))
}
