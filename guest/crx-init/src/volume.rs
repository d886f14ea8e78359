//! The pod's volumes, as init makes and fills them.
//!
//! ```text
//!   /run/volumes/NAME            what containers mount: a tmpfs of its own, or a directory of the scratch disk
//!   /run/scratch                 the scratch disk, mounted with the first volume that lies on it
//!   /run/scratch/volumes/NAME
//! ```
//!
//! Of a volume with files: `..data` is a link to the directory `..GENERATION` with all of them, and beside it each first
//! component of their paths is a link through it. A generation that is half there was never published.

use crate::refusal::{Doing, Refusal};
use crate::rootfs::find_disk;
use orrery_wire::guest::reason;
use orrery_wire::stats::FilesystemStats;
use orrery_wire::volume::{FilePiece, MAX_PUBLISHED_BYTES, Medium, SCRATCH_SERIAL, VolumeRequest, VolumeStep};
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};
use std::collections::BTreeSet;
use std::ffi::{CString, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// Where volumes are mounted.
pub(crate) const VOLUMES: &str = "/run/volumes";
const SCRATCH: &str = "/run/scratch";
const SCRATCH_VOLUMES: &str = "/run/scratch/volumes";
const FLAGS: MountFlags = MountFlags::NODEV.union(MountFlags::NOSUID);
const DATA: &str = "..data";
const NEXT_DATA: &str = "..data_next";

/// Carries out one step.
pub(crate) fn carry_out(request: &VolumeRequest) -> Result<(), Refusal> {
    if !is_label(&request.volume) {
        return Err(Refusal::new(reason::BAD_REQUEST, format!("{:?} is no name of a volume", request.volume)));
    }
    let target = Path::new(VOLUMES).join(&request.volume);
    match &request.step {
        VolumeStep::Directory { medium, group } => make_volume(&request.volume, &target, *medium, *group),
        VolumeStep::Stage { first, pieces } => {
            make_volume_of_files(&target)?;
            stage(&target, *first, pieces)
        }
        VolumeStep::Publish => publish(&target),
    }
    .map_err(|refusal| Refusal { message: format!("volume {}: {}", request.volume, refusal.message), ..refusal })
}

/// The room on the scratch disk, while volumes lie on it.
pub(crate) fn scratch_usage() -> Option<FilesystemStats> {
    Path::new(SCRATCH).exists().then(|| crate::stats::filesystem(Path::new(SCRATCH))).flatten()
}

/// Takes every volume away, with what is in it. Nobody may have it mounted.
pub(crate) fn forget_all() -> Result<(), Refusal> {
    let volumes = fs::read_dir(VOLUMES).into_iter().flatten().flatten().map(|volume| volume.path());
    let scratch = Some(PathBuf::from(SCRATCH)).filter(|scratch| scratch.exists());
    for mounted in volumes.chain(scratch) {
        let doing = || format!("taking {} away", mounted.display());
        unmount(&mounted, UnmountFlags::empty()).doing(doing)?;
        fs::remove_dir(&mounted).doing(doing)?;
    }
    Ok(())
}

fn is_label(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(legal)
}

fn make_volume(name: &str, target: &Path, medium: Medium, group: Option<u32>) -> Result<(), Refusal> {
    if !make_directory(target)? {
        return Ok(());
    }
    let mounted = match medium {
        Medium::Memory { limit_bytes } => mount_memory(target, limit_bytes),
        Medium::Disk => mount_scratch().and_then(|()| {
            let directory = Path::new(SCRATCH_VOLUMES).join(name);
            make_directory(&directory)?;
            mount_bind(&directory, target)
                .and_then(|()| mount_remount(target, FLAGS | MountFlags::BIND, c""))
                .doing(|| "mounting its directory".to_owned())
        }),
    };
    mounted.and_then(|()| open_to_all(target, group)).inspect_err(|_| {
        // The next try begins anew.
        let _ = unmount(target, UnmountFlags::DETACH);
        let _ = fs::remove_dir(target);
    })
}

/// A volume of files needs no limit of its own: its size is bounded when it is filled.
fn make_volume_of_files(target: &Path) -> Result<(), Refusal> {
    if !make_directory(target)? {
        return Ok(());
    }
    mount_memory(target, None).inspect_err(|_| {
        let _ = fs::remove_dir(target);
    })
}

fn mount_memory(target: &Path, limit_bytes: Option<u64>) -> Result<(), Refusal> {
    let options = limit_bytes.map_or("mode=0755".to_owned(), |limit| format!("mode=0755,size={}", limit.max(4096)));
    let options = CString::new(options).expect("a number holds no NUL");
    mount("tmpfs", target, "tmpfs", FLAGS, options.as_c_str()).doing(|| "mounting its memory".to_owned())
}

/// Mounts the scratch disk unless it is mounted.
fn mount_scratch() -> Result<(), Refusal> {
    if !make_directory(Path::new(SCRATCH))? {
        return Ok(());
    }
    let mounted = find_disk(SCRATCH_SERIAL)
        .ok_or_else(|| Refusal::new(reason::VOLUME_UNAVAILABLE, "the machine has no scratch disk"))
        .and_then(|disk| {
            let flags = FLAGS | MountFlags::NOATIME;
            mount(&disk, SCRATCH, "ext4", flags, c"discard").doing(|| format!("mounting {}", disk.display()))
        })
        .and_then(|()| make_directory(Path::new(SCRATCH_VOLUMES)).map(drop));
    mounted.inspect_err(|_| {
        let _ = unmount(SCRATCH, UnmountFlags::DETACH);
        let _ = fs::remove_dir(SCRATCH);
    })
}

/// Everybody may write, as in the kubelet's empty directories; files get the volume's group when it has one.
fn open_to_all(target: &Path, group: Option<u32>) -> Result<(), Refusal> {
    let doing = || "setting its owner and mode".to_owned();
    if let Some(group) = group {
        rustix::fs::chown(target, None, Some(Gid::from_raw(group))).doing(doing)?;
    }
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    rustix::fs::chmod(target, Mode::from_raw_mode(mode)).doing(doing)
}

/// Whether the directory was made now.
fn make_directory(path: &Path) -> Result<bool, Refusal> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error).doing(|| format!("making the directory {}", path.display())),
    }
}

/// Adds to the generation that is not published yet.
fn stage(target: &Path, first: bool, pieces: &[FilePiece]) -> Result<(), Refusal> {
    let next = next_generation(target)?;
    if first {
        remove_all(&next)?;
    }
    make_directory(&next)?;
    let bytes = size_of(&next)? + pieces.iter().map(|piece| piece.data.len() as u64).sum::<u64>();
    if bytes > MAX_PUBLISHED_BYTES as u64 {
        let message = format!("its files have more than {MAX_PUBLISHED_BYTES} bytes together");
        return Err(Refusal::new(reason::VOLUME_UNAVAILABLE, message));
    }
    pieces.iter().try_for_each(|piece| append(&next, piece))
}

fn append(generation: &Path, piece: &FilePiece) -> Result<(), Refusal> {
    let path = Path::new(&piece.path);
    if !is_inside(path) {
        return Err(Refusal::new(reason::BAD_REQUEST, format!("{:?} is no path of a volume's file", piece.path)));
    }
    let doing = || format!("writing {}", piece.path);
    let path = generation.join(path);
    let parent = path.parent().unwrap_or(generation);
    fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).doing(doing)?;
    let mut file = fs::File::options().append(true).create(true).mode(0o600).open(&path).doing(doing)?;
    file.write_all(&piece.data).doing(doing)?;
    let (user, group) = (Uid::from_raw(piece.user), Gid::from_raw(piece.group));
    rustix::fs::fchown(&file, Some(user), Some(group)).doing(doing)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(piece.mode & 0o7777)).doing(doing)
}

/// Whether a path stays below where it begins and does not look like what is ours.
fn is_inside(path: &Path) -> bool {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(name) if !name.as_encoded_bytes().starts_with(b".."));
    path.components().next().is_some() && path.components().all(plain)
}

/// The published generation's directory, if there is one.
fn published(target: &Path) -> Option<PathBuf> {
    fs::read_link(target.join(DATA)).ok().map(|name| target.join(name))
}

/// The directory that the next generation is put together in: two names take turns.
fn next_generation(target: &Path) -> Result<PathBuf, Refusal> {
    let names = ["..a", "..b"].map(|name| target.join(name));
    let [a, b] = names;
    Ok(if published(target).is_some_and(|now| now == a) { b } else { a })
}

fn publish(target: &Path) -> Result<(), Refusal> {
    let next = next_generation(target)?;
    if !next.exists() {
        let what = "nothing was staged";
        return Err(Refusal::new(reason::BAD_STATE, what));
    }
    let now = published(target);
    if let Some(now) = &now
        && is_same(now, &next).doing(|| "comparing with what is there".to_owned())?
    {
        return remove_all(&next);
    }
    let doing = || "publishing its files".to_owned();
    let link = target.join(NEXT_DATA);
    let _ = fs::remove_file(&link);
    symlink(next.file_name().unwrap_or_default(), &link).doing(doing)?;
    fs::rename(&link, target.join(DATA)).doing(doing)?;
    let wanted = entries(&next).doing(doing)?;
    for name in &wanted {
        match symlink(Path::new(DATA).join(name), target.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error).doing(doing),
            _ => {}
        }
    }
    for name in entries(target).doing(doing)? {
        if !name.as_encoded_bytes().starts_with(b"..") && !wanted.contains(&name) {
            fs::remove_file(target.join(&name)).doing(doing)?;
        }
    }
    now.map_or(Ok(()), |now| remove_all(&now))
}

fn remove_all(directory: &Path) -> Result<(), Refusal> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("removing {}", directory.display()))
        }
        _ => Ok(()),
    }
}

fn entries(directory: &Path) -> std::io::Result<BTreeSet<OsString>> {
    fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

/// Whether two trees of plain files hold the same, with the same owners and modes.
fn is_same(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (a, b) = (fs::symlink_metadata(one)?, fs::symlink_metadata(other)?);
    if (a.mode(), a.uid(), a.gid()) != (b.mode(), b.uid(), b.gid()) {
        return Ok(false);
    }
    if !a.is_dir() {
        return Ok(a.len() == b.len() && fs::read(one)? == fs::read(other)?);
    }
    let names = entries(one)?;
    if names != entries(other)? {
        return Ok(false);
    }
    for name in names {
        if !is_same(&one.join(&name), &other.join(&name))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn size_of(directory: &Path) -> Result<u64, Refusal> {
    let doing = || "measuring what was staged".to_owned();
    let mut bytes = 0;
    for name in entries(directory).doing(doing)? {
        let path = directory.join(name);
        let status = fs::symlink_metadata(&path).doing(doing)?;
        bytes += if status.is_dir() { size_of(&path)? } else { status.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(path: &str, data: &str) -> FilePiece {
        let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        FilePiece { path: path.into(), mode: 0o640, user: own.0, group: own.1, data: data.into() }
    }

    fn put(target: &Path, files: &[(&str, &str)]) {
        let pieces: Vec<_> = files.iter().map(|(path, data)| piece(path, data)).collect();
        stage(target, true, &pieces).unwrap();
        publish(target).unwrap();
    }

    fn read(target: &Path, path: &str) -> Option<String> {
        fs::read_to_string(target.join(path)).ok()
    }

    #[test]
    fn files_are_replaced_all_at_once_and_those_gone_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path();
        put(target, &[("a", "1"), ("sub/b", "2")]);
        assert_eq!((read(target, "a").as_deref(), read(target, "sub/b").as_deref()), (Some("1"), Some("2")));
        let first = published(target);
        put(target, &[("a", "3"), ("c", "4")]);
        assert_ne!(published(target), first);
        assert_eq!((read(target, "a").as_deref(), read(target, "c").as_deref()), (Some("3"), Some("4")));
        assert!(!target.join("sub").exists() && fs::symlink_metadata(target.join("sub")).is_err());
        assert_eq!(fs::metadata(target.join("a")).unwrap().mode() & 0o7777, 0o640);
        let left = entries(target).unwrap();
        assert_eq!(left.len(), 4, "{left:?}");
    }

    #[test]
    fn publishing_the_same_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path();
        put(target, &[("a", "1")]);
        let before = published(target);
        put(target, &[("a", "1")]);
        assert_eq!(published(target), before);
        assert_eq!(entries(target).unwrap().len(), 3);
    }

    #[test]
    fn a_long_file_comes_in_pieces_and_what_was_staged_before_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path();
        stage(target, true, &[piece("lost", "x")]).unwrap();
        stage(target, true, &[piece("a", "1")]).unwrap();
        stage(target, false, &[piece("a", "2")]).unwrap();
        publish(target).unwrap();
        assert_eq!((read(target, "a").as_deref(), read(target, "lost")), (Some("12"), None));
        let big = piece("big", &"x".repeat(MAX_PUBLISHED_BYTES + 1));
        assert_eq!(stage(target, true, &[big]).unwrap_err().reason, reason::VOLUME_UNAVAILABLE);
        assert_eq!(publish(target).map_err(|refusal| refusal.reason), Ok(()));
    }

    #[test]
    fn a_path_that_leaves_the_volume_is_refused() {
        for (path, inside) in [
            ("a", true),
            ("a/b.c", true),
            ("", false),
            ("/a", false),
            ("../a", false),
            ("a/../b", false),
            ("..data/a", false),
            ("a/..b", false),
        ] {
            assert_eq!(is_inside(Path::new(path)), inside, "{path}");
        }
        for (name, legal) in [("kube-api-access-1", true), ("", false), ("a/b", false), ("..", false), ("A", false)] {
            assert_eq!(is_label(name), legal, "{name}");
        }
    }
}
