//! The volumes of a container: found before its root is entered, mounted once it has been.
//!
//! A volume belongs to all containers of the pod, so what lies in it is not trusted: a sub-path is resolved below the
//! volume and nowhere else. Where it is mounted is resolved inside the container's own root.

use crate::refusal::{Doing, Refusal};
use crate::volume::VOLUMES;
use orrery_wire::guest::reason;
use orrery_wire::volume::VolumeMount;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount_remount, move_mount, open_tree};
use std::path::{Component, Path, PathBuf};

/// Something that is to be mounted, detached from where it lies.
pub(crate) struct Detached {
    tree: OwnedFd,
    target: PathBuf,
    is_directory: bool,
    read_only: bool,
}

/// Detaches the volumes of `mounts` and the termination message file, in the order that they are to be mounted in:
/// parents before what lies in them.
pub(crate) fn detach(mounts: &[VolumeMount], termination: Option<(&Path, &str)>) -> Result<Vec<Detached>, Refusal> {
    let mut detached = Vec::with_capacity(mounts.len() + 1);
    for mount in mounts {
        let found = find(mount).map_err(|refusal| in_volume(&mount.volume, &refusal))?;
        detached.push(detach_one(found.as_fd(), &mount.path, mount.read_only)?);
    }
    if let Some((file, path)) = termination {
        let file = rustix::fs::open(file, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .doing(|| "opening the termination message file".to_owned())?;
        detached.push(detach_one(file.as_fd(), path, false)?);
    }
    detached.sort_by_key(|mount| mount.target.components().count());
    Ok(detached)
}

fn in_volume(volume: &str, refusal: &Refusal) -> Refusal {
    Refusal::new(&refusal.reason, format!("volume {volume}: {}", refusal.message))
}

fn detach_one(found: BorrowedFd<'_>, path: &str, read_only: bool) -> Result<Detached, Refusal> {
    let target = PathBuf::from(path);
    if !target.is_absolute() || target.starts_with("/proc") || path.contains('\0') {
        let message = format!("nothing can be mounted at {path:?}: use an absolute path outside /proc");
        return Err(Refusal::new(reason::BAD_REQUEST, message));
    }
    let doing = || format!("detaching what is to be mounted at {path}");
    let status = fstat(found).doing(doing)?;
    let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(found, "", flags).doing(doing)?;
    Ok(Detached { tree, target, is_directory, read_only })
}

/// What of a volume is to be mounted.
fn find(mount: &VolumeMount) -> Result<OwnedFd, Refusal> {
    let directory = Path::new(VOLUMES).join(&mount.volume);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let volume = rustix::fs::open(&directory, flags, Mode::empty())
        .map_err(|_| Refusal::new(reason::VOLUME_UNAVAILABLE, "it was not made"))?;
    let path = Path::new(&mount.sub_path);
    let plain = |component: Component<'_>| matches!(component, Component::Normal(_) | Component::CurDir);
    if !path.components().all(plain) {
        let message = format!("the sub-path {:?} is not below the volume", mount.sub_path);
        return Err(Refusal::new(reason::BAD_REQUEST, message));
    }
    below(&volume, path)
}

/// `path` below `volume`; directories that are missing are made like the volume's own.
fn below(volume: &OwnedFd, path: &Path) -> Result<OwnedFd, Refusal> {
    let mode = Mode::from_raw_mode(fstat(volume).doing(|| "looking at it".to_owned())?.st_mode & 0o7777);
    let mut at = PathBuf::new();
    let open = |path: &Path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        openat2(volume, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
    };
    let refused = |error: Errno| match error {
        Errno::XDEV | Errno::LOOP => {
            let message = format!("the sub-path {} leads out of the volume", path.display());
            Refusal::new(reason::VOLUME_UNAVAILABLE, message)
        }
        _ => Refusal::new(reason::VOLUME_UNAVAILABLE, format!("the sub-path {}: {error}", path.display())),
    };
    let mut found = open(&at).map_err(refused)?;
    for component in path.components() {
        at.push(component);
        found = match open(&at) {
            Err(Errno::NOENT) => {
                let Component::Normal(name) = component else { continue };
                match mkdirat(&found, name, mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(refused(error)),
                }
                open(&at).map_err(refused)?
            }
            other => other.map_err(refused)?,
        };
    }
    Ok(found)
}

/// Mounts inside the container's root, which has been entered.
pub(crate) fn place(mounts: Vec<Detached>) -> Result<(), Refusal> {
    for mount in mounts {
        let doing = || format!("mounting at {}", mount.target.display());
        make_target(&mount).doing(doing)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
        move_mount(&mount.tree, "", CWD, &mount.target, flags).doing(doing)?;
        if mount.read_only {
            let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
            mount_remount(&mount.target, flags, c"").doing(doing)?;
        }
    }
    Ok(())
}

fn make_target(mount: &Detached) -> std::io::Result<()> {
    if mount.is_directory {
        return std::fs::create_dir_all(&mount.target);
    }
    if let Some(parent) = mount.target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::File::options().write(true).create_new(true).open(&mount.target) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn open(directory: &Path) -> OwnedFd {
        rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn a_sub_path_is_made_like_its_volume_and_never_leads_out_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let volume = directory.path().join("volume");
        std::fs::create_dir(&volume).unwrap();
        std::fs::set_permissions(&volume, std::fs::Permissions::from_mode(0o750)).unwrap();
        below(&open(&volume), Path::new("a/./b")).unwrap();
        let mode = std::fs::metadata(volume.join("a/b")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o750);
        symlink("a", volume.join("inside")).unwrap();
        below(&open(&volume), Path::new("inside/b")).unwrap();
        for (link, name) in [("..", "up"), ("/etc", "absolute"), ("a/../../volume", "around")] {
            symlink(link, volume.join(name)).unwrap();
            let refusal = below(&open(&volume), &Path::new(name).join("x")).unwrap_err();
            assert!(refusal.message.contains("leads out of the volume"), "{name}: {refusal}");
        }
    }

    #[test]
    fn a_target_in_proc_or_without_a_root_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["data", "", "/proc/sys", "/a\0b"] {
            let Err(refusal) = detach_one(open(directory.path()).as_fd(), path, false) else { panic!("{path}") };
            assert_eq!(refusal.reason, reason::BAD_REQUEST);
        }
    }
}
