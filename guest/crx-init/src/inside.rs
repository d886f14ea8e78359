//! What a container's first process does to its own mount namespace before it becomes the container's program.
//!
//! Everything after [`enter_root`] happens with the image's root as `/`: a link planted in an image leads nowhere but
//! into the same container.

use crate::identity::ETC_FILES;
use crate::refusal::{Doing, Refusal};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind, mount_change,
    mount_remount, move_mount, open_tree, unmount,
};
use std::ffi::CStr;
use std::path::Path;

const QUIET: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
/// Kernel state that a container may see but not change.
const READ_ONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// Kernel state that a container has no business with.
const HIDDEN_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];

/// How much of the machine a container may see and change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Openness {
    /// All of it, with its devices.
    pub(crate) machine: bool,
    /// All of its own `/proc`.
    pub(crate) proc: bool,
}

/// Keeps what is mounted from here on from being seen outside.
pub(crate) fn make_mounts_private() -> Result<(), Refusal> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).doing(|| "making mounts private".to_owned())
}

/// Makes `root` the root of this mount namespace and lets go of everything else in it. Gives the container's copies of
/// [`ETC_FILES`], which lie outside, as detached mounts.
pub(crate) fn enter_root(root: &Path, etc: &Path) -> Result<Vec<(&'static str, OwnedFd)>, Refusal> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mut files = Vec::with_capacity(ETC_FILES.len());
    for name in ETC_FILES {
        let tree = open_tree(CWD, etc.join(name), flags).doing(|| format!("opening the text of /etc/{name}"))?;
        files.push((name, tree));
    }
    move_to(root)?;
    Ok(files)
}

/// Makes an empty directory that nobody can write to the root of this mount namespace.
pub(crate) fn enter_nothing() -> Result<(), Refusal> {
    let place = crate::rootfs::CONTAINERS;
    mount_one("tmpfs", place, QUIET | MountFlags::RDONLY, Some(c"size=4k,mode=0555"))?;
    move_to(Path::new(place))
}

fn move_to(root: &Path) -> Result<(), Refusal> {
    rustix::process::chdir(root).doing(|| "entering the root file system".to_owned())?;
    rustix::process::pivot_root(".", ".").doing(|| "changing the root".to_owned())?;
    unmount(".", UnmountFlags::DETACH).doing(|| "letting go of the old root".to_owned())?;
    rustix::process::chdir("/").doing(|| "entering the new root".to_owned())
}

/// Mounts what every container has: `/proc` (with its settings of the kernel), `/sys`, `/dev` and the texts of `/etc`. The umask must be 0.
pub(crate) fn furnish(
    etc: Vec<(&'static str, OwnedFd)>,
    read_only: bool,
    sysctls: &[(String, String)],
    openness: Openness,
) -> Result<(), Refusal> {
    make_directory("/proc")?;
    mount_one("proc", "/proc", QUIET, None)?;
    crate::confine::set_sysctls(sysctls)?;
    make_directory("/sys")?;
    let sealed = if openness.machine { QUIET } else { QUIET | MountFlags::RDONLY };
    mount_one("sysfs", "/sys", sealed, None)?;
    mount_one("cgroup2", "/sys/fs/cgroup", sealed, None)?;
    furnish_dev(openness.machine)?;
    if !openness.machine && !openness.proc {
        for path in READ_ONLY_PATHS {
            seal(path)?;
        }
        for path in HIDDEN_PATHS {
            hide(path)?;
        }
    }
    place_etc(etc, read_only)
}

/// Makes the root file system read-only, with all that was made in it up to now.
pub(crate) fn seal_root() -> Result<(), Refusal> {
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV;
    mount_remount("/", flags, c"").doing(|| "making the root file system read-only".to_owned())
}

fn mount_one(what: &str, target: &str, flags: MountFlags, options: Option<&CStr>) -> Result<(), Refusal> {
    mount(what, target, what, flags, options).doing(|| format!("mounting {what} on {target}"))
}

/// Makes a directory, or makes sure that it is one: mounting through a link would end somewhere else.
fn make_directory(path: &str) -> Result<(), Refusal> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => {
            let status = rustix::fs::lstat(path).doing(|| format!("looking at {path}"))?;
            let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
            if is_directory { Ok(()) } else { Err(Errno::NOTDIR).doing(|| format!("mounting on {path}")) }
        }
        result => result.doing(|| format!("making the directory {path}")),
    }
}

/// Fills `/dev`. A device node works only through a bind mount of its own: `/dev` itself ends up without device nodes,
/// so that nodes which the container makes are of no use to it; unless it is to have all of the machine's.
fn furnish_dev(all_devices: bool) -> Result<(), Refusal> {
    make_directory("/dev")?;
    mount_one("tmpfs", "/dev", MountFlags::NOSUID | MountFlags::NOEXEC, Some(c"mode=0755,size=64k"))?;
    let mode = Mode::from_raw_mode(0o666);
    for (path, major, minor) in DEVICES {
        rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(major, minor))
            .doing(|| format!("making {path}"))?;
        mount_bind(path, path).doing(|| format!("mounting {path}"))?;
    }
    if all_devices {
        make_devices("/sys/dev/char", FileType::CharacterDevice)?;
        make_devices("/sys/dev/block", FileType::BlockDevice)?;
    } else {
        let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
        mount_remount("/dev", flags, c"").doing(|| "closing /dev to other devices".to_owned())?;
    }
    for (target, link) in LINKS {
        rustix::fs::symlink(target, link).doing(|| format!("making the link {link}"))?;
    }
    make_directory("/dev/pts")?;
    let options = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount_one("devpts", "/dev/pts", MountFlags::NOSUID | MountFlags::NOEXEC, Some(options))?;
    make_directory("/dev/shm")?;
    mount_one("tmpfs", "/dev/shm", QUIET, Some(c"mode=1777,size=64m"))?;
    make_directory("/dev/mqueue")?;
    match mount("mqueue", "/dev/mqueue", "mqueue", QUIET, None) {
        // A kernel may be built without POSIX message queues.
        Ok(()) | Err(Errno::NODEV) => Ok(()),
        Err(error) => Err(error).doing(|| "mounting mqueue on /dev/mqueue".to_owned()),
    }
}

/// Makes the nodes of all devices that the kernel lists in `directory`.
fn make_devices(directory: &str, kind: FileType) -> Result<(), Refusal> {
    let doing = || format!("listing {directory}");
    for entry in std::fs::read_dir(directory).doing(doing)? {
        let path = entry.doing(doing)?.path().join("uevent");
        // A device may leave while it is looked at.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let number = |name| value(name).and_then(|value| value.parse::<u32>().ok());
        // Terminals of the container's own take the place of the machine's.
        let Some(name) = value("DEVNAME").filter(|name| !matches!(*name, "console" | "ptmx")) else { continue };
        let (Some(major), Some(minor)) = (number("MAJOR"), number("MINOR")) else { continue };
        let node = Path::new("/dev").join(name);
        if let Some(parent) = node.parent() {
            std::fs::create_dir_all(parent).doing(|| format!("making the directory {}", parent.display()))?;
        }
        match rustix::fs::mknodat(CWD, &node, kind, Mode::from_raw_mode(0o600), makedev(major, minor)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).doing(|| format!("making {}", node.display())),
        }
    }
    Ok(())
}

/// Makes the container's terminal, already open as `/dev/pts/0` or the like, its `/dev/console` too.
pub(crate) fn place_console(terminal: &str) -> Result<(), Refusal> {
    let doing = || "making /dev/console".to_owned();
    rustix::fs::open("/dev/console", OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
        .doing(doing)?;
    mount_bind(terminal, "/dev/console").doing(doing)
}

fn seal(path: &str) -> Result<(), Refusal> {
    match mount_bind(path, path) {
        Ok(()) => mount_remount(path, QUIET | MountFlags::BIND | MountFlags::RDONLY, c"")
            .doing(|| format!("making {path} read-only")),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error).doing(|| format!("mounting {path} over itself")),
    }
}

fn hide(path: &str) -> Result<(), Refusal> {
    let Ok(status) = rustix::fs::lstat(path) else { return Ok(()) };
    let hidden = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => mount("tmpfs", path, "tmpfs", QUIET | MountFlags::RDONLY, c"size=4k"),
        _ => mount_bind("/dev/null", path),
    };
    hidden.doing(|| format!("hiding {path}"))
}

/// Mounts the container's copies over the image's files. An image without `/etc` gets none: its program does not look.
fn place_etc(files: Vec<(&'static str, OwnedFd)>, read_only: bool) -> Result<(), Refusal> {
    let is_directory = |status: rustix::fs::Stat| FileType::from_raw_mode(status.st_mode) == FileType::Directory;
    if !rustix::fs::lstat("/etc").is_ok_and(is_directory) {
        return Ok(());
    }
    for (name, tree) in files {
        let target = format!("/etc/{name}");
        let doing = || format!("placing {target}");
        // An image may have a link here, such as resolv.conf to a file of systemd's; it gives way to a plain file.
        match rustix::fs::lstat(&target).map(|status| FileType::from_raw_mode(status.st_mode)) {
            Ok(FileType::RegularFile) | Err(_) => {}
            Ok(_) => rustix::fs::unlink(&target).doing(doing)?,
        }
        let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(&target, flags, Mode::from_raw_mode(0o644)).doing(doing)?;
        move_mount(&tree, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).doing(doing)?;
        if read_only {
            let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV;
            mount_remount(&target, flags, c"").doing(doing)?;
        }
    }
    Ok(())
}
