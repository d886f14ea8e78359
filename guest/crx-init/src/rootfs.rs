//! A container's root file system, as init prepares it: the image's disk, mounted once, below a layer in memory.
//!
//! ```text
//!   /run/images/SERIAL            erofs, read-only, shared by all containers of the image
//!   /run/containers/STREAM/rw     tmpfs of the container: upper/ and work/ of the overlay, etc/ with its own copies, its
//!                                 termination message
//!   /run/containers/STREAM/root   the overlay; the container's `/`
//! ```

use crate::identity::{ETC, ETC_FILES};
use crate::refusal::{Doing, Refusal};
use orrery_wire::guest::{MAX_TERMINATION_MESSAGE, reason};
use orrery_wire::stats::FilesystemStats;
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const IMAGES: &str = "/run/images";
/// Where containers' file systems are mounted.
pub(crate) const CONTAINERS: &str = "/run/containers";
/// The least size of a writable layer, in bytes: room for mount points and the texts of `/etc`, also when the container
/// itself may write nothing. (To tmpfs, a size of 0 would mean no limit.)
const LEAST_WRITABLE_BYTES: u64 = 1024 * 1024;

/// A mounted root file system.
#[derive(Debug)]
pub(crate) struct Rootfs {
    directory: PathBuf,
}

impl Rootfs {
    /// Mounts the image with `serial` and a writable layer of `writable_bytes` for the container with `stream`.
    pub(crate) fn prepare(stream: u32, serial: &str, writable_bytes: u64) -> Result<Self, Refusal> {
        let image = mount_image(serial)?;
        let rootfs = Self { directory: Path::new(CONTAINERS).join(stream.to_string()) };
        match rootfs.mount_layers(&image, writable_bytes) {
            Ok(()) => Ok(rootfs),
            Err(refusal) => {
                rootfs.remove();
                Err(refusal)
            }
        }
    }

    /// The container's `/`.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// The room in its writable layer.
    pub(crate) fn usage(&self) -> Option<FilesystemStats> {
        crate::stats::filesystem(&self.directory.join("rw"))
    }

    /// Where the container's copies of [`ETC_FILES`] lie.
    pub(crate) fn etc(&self) -> PathBuf {
        self.directory.join("rw/etc")
    }

    /// Where the container leaves its last words.
    pub(crate) fn termination_message(&self) -> PathBuf {
        self.directory.join("rw/termination-message")
    }

    /// The end of what the container left as its last words, when it left some.
    pub(crate) fn last_words(&self) -> Option<String> {
        let mut file = fs::File::open(self.termination_message()).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MAX_TERMINATION_MESSAGE as u64))).ok()?;
        let mut bytes = Vec::new();
        // The file may still grow: what is read is bounded by itself.
        file.take(MAX_TERMINATION_MESSAGE as u64).read_to_end(&mut bytes).ok()?;
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn mount_layers(&self, image: &Path, writable_bytes: u64) -> Result<(), Refusal> {
        let (root, layer) = (self.root(), self.directory.join("rw"));
        let flags = MountFlags::NODEV;
        for directory in [&self.directory, &root, &layer] {
            make_directory(directory)?;
        }
        let options = format!("size={},mode=0755", writable_bytes.max(LEAST_WRITABLE_BYTES));
        let options = CString::new(options).expect("a number holds no NUL");
        mount("tmpfs", &layer, "tmpfs", flags, options.as_c_str())
            .doing(|| "mounting the writable layer".to_owned())?;
        for name in ["upper", "work", "etc"] {
            make_directory(&layer.join(name))?;
        }
        copy_owner_and_mode(image, &layer.join("upper"))?;
        for name in ETC_FILES {
            fs::copy(Path::new(ETC).join(name), layer.join("etc").join(name)).doing(|| format!("copying {name}"))?;
        }
        make_termination_message(&self.termination_message())?;
        let options = format!("lowerdir={},upperdir={1}/upper,workdir={1}/work", image.display(), layer.display());
        let options = CString::new(options).expect("our own paths hold no NUL");
        mount("overlay", &root, "overlay", flags, options.as_c_str()).doing(|| "mounting the overlay".to_owned())
    }

    /// Unmounts everything and frees the layer's memory. What fails is reported on the console.
    pub(crate) fn remove(self) {
        for mounted in [self.root(), self.directory.join("rw")] {
            match unmount(&mounted, UnmountFlags::DETACH) {
                // Not there or not mounted: preparing failed half-way.
                Ok(()) | Err(Errno::NOENT | Errno::INVAL) => {}
                Err(error) => crate::console::say(&format!("unmounting {}: {error}", mounted.display())),
            }
            let _ = fs::remove_dir(&mounted);
        }
        let _ = fs::remove_dir(&self.directory);
    }
}

/// An empty file that every user of the container may write to.
fn make_termination_message(path: &Path) -> Result<(), Refusal> {
    let doing = || "making the termination message file".to_owned();
    fs::File::create(path).doing(doing)?;
    rustix::fs::chmod(path, Mode::from_raw_mode(0o666)).doing(doing)
}

fn make_directory(path: &Path) -> Result<(), Refusal> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).doing(|| format!("making the directory {}", path.display())),
    }
}

/// The overlay's root shows the owner and mode of its upper directory, which should be the image's.
fn copy_owner_and_mode(from: &Path, to: &Path) -> Result<(), Refusal> {
    let doing = || "giving the root directory its owner and mode".to_owned();
    let status = rustix::fs::stat(from).doing(doing)?;
    let (owner, group) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    rustix::fs::chown(to, Some(owner), Some(group)).doing(doing)?;
    rustix::fs::chmod(to, Mode::from_raw_mode(status.st_mode & 0o7777)).doing(doing)
}

fn mount_image(serial: &str) -> Result<PathBuf, Refusal> {
    let unavailable = |message: String| Refusal::new(reason::IMAGE_UNAVAILABLE, message);
    if !is_plain(serial) {
        let message =
            format!("{serial:?} is no disk serial number of 1 to 20 letters, digits, hyphens and underscores");
        return Err(Refusal::new(reason::BAD_REQUEST, message));
    }
    let target = Path::new(IMAGES).join(serial);
    if target.exists() {
        return Ok(target);
    }
    let disk =
        find_disk(serial).ok_or_else(|| unavailable(format!("the machine has no disk with serial number {serial}")))?;
    make_directory(&target)?;
    let flags = MountFlags::RDONLY | MountFlags::NODEV;
    mount(&disk, &target, "erofs", flags, None).map_err(|error| {
        let _ = fs::remove_dir(&target);
        unavailable(format!("mounting the image on {} as erofs: {error}", disk.display()))
    })?;
    Ok(target)
}

/// Whether `serial` may be part of a path and of mount options.
pub(crate) fn is_plain(serial: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=20).contains(&serial.len()) && serial.bytes().all(legal)
}

/// Unmounts every image, so that their disks can go.
pub(crate) fn unmount_images() -> Result<(), Refusal> {
    for image in fs::read_dir(IMAGES).doing(|| "listing images".to_owned())?.flatten() {
        let doing = || format!("unmounting the image {}", image.path().display());
        unmount(image.path(), UnmountFlags::empty()).doing(doing)?;
        fs::remove_dir(image.path()).doing(doing)?;
    }
    Ok(())
}

/// The device of the disk with `serial`: one that was taken into use by its slot, or one that says so itself.
pub(crate) fn find_disk(serial: &str) -> Option<PathBuf> {
    if let Ok(device) = fs::read_link(Path::new(crate::devices::DISKS).join(serial)) {
        return Some(device);
    }
    let entries = fs::read_dir("/sys/block").ok()?;
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| {
            fs::read_to_string(format!("/sys/block/{name}/serial")).is_ok_and(|text| text.trim_end() == serial)
        })
        .map(|name| Path::new("/dev").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_serial_numbers_become_paths() {
        for (serial, expected) in [
            ("img-0_aB9", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("a,b", false),
            ("a:b", false),
            ("123456789012345678901", false),
        ] {
            assert_eq!(is_plain(serial), expected, "{serial}");
        }
    }
}
