//! A directory that an image is unpacked into. Nothing in here can reach out of it.
//!
//! Every parent directory is opened by the kernel with `RESOLVE_IN_ROOT`: symbolic links in it lead as they will in the
//! container, with this directory as the root, whatever they say. The last part of a path is never followed.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod,
    fchown, fsetxattr, futimens, linkat, mkdirat, open, openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashSet};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;

/// A path inside the image: parts joined by `/`, no `.` and no `..`; empty for the root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct InnerPath(Vec<u8>);

impl InnerPath {
    /// Reads a path as it stands in an archive. None if it has `..` in it.
    pub(crate) fn parse(raw: &[u8]) -> Option<Self> {
        let parts: Vec<&[u8]> = raw.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
        (!parts.contains(&b"..".as_slice())).then(|| Self(parts.join(&b'/')))
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The parent and the name; the root has neither.
    pub(crate) fn split(&self) -> Option<(Self, &[u8])> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => Some((Self(self.0[..slash].to_vec()), &self.0[slash + 1..])),
            None => Some((Self(Vec::new()), &self.0)),
        }
    }

    pub(crate) fn join(&self, name: &[u8]) -> Self {
        if self.is_root() { Self(name.to_vec()) } else { Self([&self.0, b"/".as_slice(), name].concat()) }
    }

    fn as_arg(&self) -> &[u8] {
        if self.is_root() { b"." } else { &self.0 }
    }
}

impl std::fmt::Display for InnerPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

/// Owner, mode and time of an entry.
#[derive(Debug, Clone)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

/// The directory. Methods add the paths that a layer has to its set `made`.
#[derive(Debug)]
pub(crate) struct Rootfs {
    root: OwnedFd,
    /// Times of directories, set at the end: filling a directory changes its time.
    times: BTreeMap<InnerPath, i64>,
}

impl Rootfs {
    /// Takes an existing, empty directory.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let root = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut rootfs = Self { root, times: BTreeMap::new() };
        let top = InnerPath(Vec::new());
        fchmod(rootfs.readable(&top)?, Mode::from_raw_mode(0o755))?;
        rootfs.times.insert(top, 0);
        Ok(rootfs)
    }

    fn open_inside(&self, path: &InnerPath, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat2(&self.root, path.as_arg(), flags, Mode::empty(), resolve)?)
    }

    /// Opens a directory for its entries and attributes; a symbolic link in its place is no directory.
    fn readable(&self, path: &InnerPath) -> io::Result<OwnedFd> {
        self.open_inside(path, OFlags::RDONLY | OFlags::NOFOLLOW)
    }

    /// Opens a directory, making it and those above it where they are missing.
    fn ensure(&mut self, path: &InnerPath) -> io::Result<OwnedFd> {
        match self.open_inside(path, OFlags::PATH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let Some((parent, name)) = path.split() else { return Err(Errno::NOENT.into()) };
        let above = self.ensure(&parent)?;
        // It may be there all the same: a symbolic link that leads nowhere, which is no directory.
        match mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => return Err(Errno::NOTDIR.into()),
            made => made?,
        }
        // Nobody gave it a time; one that does not depend on the day of the import.
        self.times.insert(path.clone(), 0);
        self.open_inside(path, OFlags::PATH)
    }

    /// Opens the place for a new entry and clears it.
    fn place(&mut self, path: &InnerPath, made: &mut HashSet<InnerPath>) -> io::Result<(OwnedFd, CString)> {
        let (parent, name) = path.split().ok_or(Errno::ISDIR)?;
        let parent = self.ensure(&parent)?;
        let name = CString::new(name)?;
        remove(&parent, &name)?;
        claim(path, made);
        Ok((parent, name))
    }

    /// Makes a directory, or gives an existing one new attributes.
    pub(crate) fn directory(
        &mut self,
        path: &InnerPath,
        attributes: &Attributes,
        made: &mut HashSet<InnerPath>,
    ) -> io::Result<()> {
        let directory = match path.split() {
            None => self.readable(path)?,
            Some((parent, name)) => {
                let parent = self.ensure(&parent)?;
                let name = CString::new(name)?;
                let kind = statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW);
                if !kind.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
                    remove(&parent, &name)?;
                    mkdirat(&parent, &name, Mode::from_raw_mode(0o700))?;
                }
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                openat(&parent, &name, flags, Mode::empty())?
            }
        };
        claim(path, made);
        self.times.insert(path.clone(), attributes.mtime);
        dress(&directory, attributes)
    }

    /// Makes a file out of what `fill` writes.
    pub(crate) fn file(
        &mut self,
        path: &InnerPath,
        attributes: &Attributes,
        made: &mut HashSet<InnerPath>,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let (parent, name) = self.place(path, made)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&parent, &name, flags, Mode::from_raw_mode(0o600))?);
        fill(&mut file)?;
        dress(&file, attributes)
    }

    /// Makes a symbolic link; its text may say anything.
    pub(crate) fn symlink(
        &mut self,
        path: &InnerPath,
        target: &[u8],
        attributes: &Attributes,
        made: &mut HashSet<InnerPath>,
    ) -> io::Result<()> {
        let (parent, name) = self.place(path, made)?;
        symlinkat(target, &parent, &name)?;
        chownat(&parent, &name, Some(uid(attributes)), Some(gid(attributes)), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(utimensat(&parent, &name, &times(attributes.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Makes another name for an entry that is there already.
    pub(crate) fn hard_link(
        &mut self,
        path: &InnerPath,
        target: &InnerPath,
        made: &mut HashSet<InnerPath>,
    ) -> io::Result<()> {
        if path == target {
            return Ok(());
        }
        let (target_parent, target_name) = target.split().ok_or(Errno::PERM)?;
        let target_parent = self.open_inside(&target_parent, OFlags::PATH)?;
        // Looked at first, so that a bad link does not take away what is in its place.
        statat(&target_parent, target_name, AtFlags::SYMLINK_NOFOLLOW)?;
        let (parent, name) = self.place(path, made)?;
        Ok(linkat(&target_parent, target_name, &parent, &name, AtFlags::empty())?)
    }

    /// Removes what lower layers have at `path`; what `made` names is this layer's and stays.
    pub(crate) fn white_out(&self, path: &InnerPath, made: &HashSet<InnerPath>) -> io::Result<()> {
        let Some((parent, name)) = path.split() else { return Ok(()) };
        if made.contains(path) {
            return self.empty(path, made);
        }
        match self.open_inside(&parent, OFlags::PATH) {
            Ok(parent) => remove(&parent, &CString::new(name)?),
            Err(error) if no_directory(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes what lower layers have below `path`.
    pub(crate) fn empty(&self, path: &InnerPath, made: &HashSet<InnerPath>) -> io::Result<()> {
        let directory = match self.readable(path) {
            Ok(directory) => directory,
            Err(error) if no_directory(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        for name in names(&directory)? {
            let child = path.join(name.as_bytes());
            if made.contains(&child) {
                let kind = FileType::from_raw_mode(statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
                if kind == FileType::Directory {
                    self.empty(&child, made)?;
                }
            } else {
                remove(&directory, &name)?;
            }
        }
        Ok(())
    }

    /// Sets the times of the directories, which had to wait until everything was in place.
    pub(crate) fn finish(self) -> io::Result<()> {
        for (path, mtime) in &self.times {
            match self.readable(path) {
                Ok(directory) => futimens(directory, &times(*mtime))?,
                // A later layer has removed or replaced it.
                Err(error) if no_directory(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Notes that this layer has an entry at `path`, and so in all directories above it.
fn claim(path: &InnerPath, made: &mut HashSet<InnerPath>) {
    let mut next = Some(path.clone());
    while let Some(path) = next.filter(|path| !made.contains(path)) {
        next = path.split().map(|(parent, _)| parent);
        made.insert(path);
    }
}

/// Gives a file or directory its attributes. The mode comes after the owner, since a change of owner takes set-user-id
/// bits and capabilities away.
fn dress(file: impl AsFd, attributes: &Attributes) -> io::Result<()> {
    fchown(&file, Some(uid(attributes)), Some(gid(attributes)))?;
    fchmod(&file, Mode::from_raw_mode(attributes.mode & 0o7777))?;
    for (name, value) in &attributes.xattrs {
        fsetxattr(&file, name.as_str(), value, XattrFlags::empty())?;
    }
    Ok(futimens(&file, &times(attributes.mtime))?)
}

fn no_directory(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn uid(attributes: &Attributes) -> Uid {
    Uid::from_raw(attributes.uid)
}

fn gid(attributes: &Attributes) -> Gid {
    Gid::from_raw(attributes.gid)
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

fn names(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes an entry with all that is in it, following nothing. A missing one is no error.
fn remove(parent: &OwnedFd, name: &CString) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    for child in names(&directory)? {
        remove(&directory, &child)?;
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::MetadataExt as _;

    proptest! {
        #[test]
        fn a_path_has_no_way_up_and_reads_the_same_again(raw in "[a./\\x00é]{0,12}") {
            let up = raw.split('/').any(|part| part == "..");
            let path = InnerPath::parse(raw.as_bytes());
            prop_assert_eq!(path.is_none(), up);
            let Some(path) = path else { return Ok(()) };
            prop_assert_eq!(InnerPath::parse(&path.0), Some(path.clone()));
            if let Some((parent, name)) = path.split() {
                prop_assert_eq!(parent.join(name), path);
            }
        }
    }

    #[test]
    fn a_set_user_id_program_stays_one_when_it_gets_its_owner() {
        if !rustix::process::geteuid().is_root() {
            return orrery_testing::skipped("changing an owner needs root");
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut rootfs = Rootfs::new(directory.path()).expect("open");
        let attributes = Attributes { mode: 0o104_755, uid: 42, gid: 43, mtime: 99, xattrs: Vec::new() };
        let path = InnerPath::parse(b"./bin//su").expect("a path");
        rootfs.file(&path, &attributes, &mut HashSet::new(), |_| Ok(())).expect("create");
        rootfs.finish().expect("finish");
        let look = |path: &str| std::fs::metadata(directory.path().join(path)).expect("look");
        let file = look("bin/su");
        assert_eq!((file.mode() & 0o7777, file.uid(), file.gid(), file.mtime()), (0o4755, 42, 43, 99));
        assert_eq!((look("bin").mode() & 0o7777, look("bin").mtime(), look(".").mtime()), (0o755, 0, 0));
    }
}
