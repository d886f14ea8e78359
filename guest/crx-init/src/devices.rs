//! The devices that belong to one pod: its disks and network interfaces.
//!
//! No driver has them until the machine gets its identity. So nothing of them is remembered in a template, and a clone
//! reads sizes and addresses of its own, not the template's.
//!
//! ```text
//!   boot: released --Configure: taken--> in use --Reset: released--> ...
//! ```
//! A disk in use has a link `/run/disks/SERIAL` to its device.

use crate::refusal::{Doing, Refusal};
use orrery_wire::guest::{FIRST_DISK_DEVICE, FIRST_NIC_DEVICE, GuestDisk, Identity, MAX_DISKS, reason};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Links to the disks in use, by serial number.
pub(crate) const DISKS: &str = "/run/disks";
const PCI_DEVICES: &str = "/sys/bus/pci/devices";
const BLOCK_DRIVER: &str = "/sys/bus/virtio/drivers/virtio_blk";
const NET_DRIVER: &str = "/sys/bus/virtio/drivers/virtio_net";

/// Takes from the drivers what is a pod's.
pub(crate) fn release() -> Result<(), Refusal> {
    for driver in [BLOCK_DRIVER, NET_DRIVER] {
        for device in devices_of(Path::new(driver)) {
            fs::write(Path::new(driver).join("unbind"), &device).doing(|| format!("releasing {device}"))?;
        }
    }
    for entry in fs::read_dir(DISKS).into_iter().flatten().flatten() {
        fs::remove_file(entry.path()).doing(|| format!("forgetting the disk {}", entry.path().display()))?;
    }
    Ok(())
}

/// Takes the disks and network interfaces of `identity` into use; what is in use already stays so.
pub(crate) fn take(identity: &Identity) -> Result<(), Refusal> {
    if !identity.interfaces.is_empty() {
        take_all(NET_DRIVER)?;
    }
    match &identity.disks {
        Some(disks) => disks.iter().try_for_each(take_disk),
        // A shim that knows no slots: disks are then found by the serial numbers that their devices tell.
        None => take_all(BLOCK_DRIVER),
    }
}

/// The devices that a driver has, such as `virtio3`.
fn devices_of(driver: &Path) -> Vec<String> {
    let names =
        fs::read_dir(driver).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with("virtio")).collect()
}

/// Gives a driver every device that it can drive and nobody has.
fn take_all(driver: &str) -> Result<(), Refusal> {
    for entry in fs::read_dir("/sys/bus/virtio/devices").doing(|| "listing devices".to_owned())?.flatten() {
        if !entry.path().join("driver").exists()
            && let Ok(name) = entry.file_name().into_string()
        {
            bind(driver, &name)?;
        }
    }
    Ok(())
}

/// A device of another kind is left alone: its driver says that it is none of its own.
fn bind(driver: &str, device: &str) -> Result<(), Refusal> {
    match fs::write(Path::new(driver).join("bind"), device) {
        Err(error) if error.raw_os_error() != Some(libc::ENODEV) => {
            Err(error).doing(|| format!("taking {device} into use"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn take_disk(disk: &GuestDisk) -> Result<(), Refusal> {
    let GuestDisk { slot, serial } = disk;
    if *slot >= MAX_DISKS || !crate::rootfs::is_plain(serial) {
        let message = format!("no disk can have slot {slot} and the serial number {serial:?}");
        return Err(Refusal::new(reason::BAD_REQUEST, message));
    }
    let doing = || format!("taking the disk in slot {slot} into use");
    let device = virtio_device(FIRST_DISK_DEVICE + *slot).doing(doing)?;
    if !device.join("driver").exists() {
        let name = device.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        bind(BLOCK_DRIVER, name)?;
    }
    let block = first_entry(&device.join("block"), |_| true).doing(doing)?;
    let name = block.file_name().unwrap_or_default();
    fs::create_dir_all(DISKS).doing(doing)?;
    match symlink(Path::new("/dev").join(name), Path::new(DISKS).join(serial)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error).doing(doing),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The name of the network interface at a place, once it is taken into use.
pub(crate) fn interface(place: usize) -> Option<String> {
    let device = virtio_device(FIRST_NIC_DEVICE.checked_add(u8::try_from(place).ok()?)?).ok()?;
    first_entry(&device.join("net"), |_| true).ok()?.file_name()?.to_str().map(str::to_owned)
}

/// The virtio device of a PCI device.
fn virtio_device(pci: u8) -> io::Result<PathBuf> {
    let pci = format!("{PCI_DEVICES}/0000:00:{pci:02x}.0");
    first_entry(Path::new(&pci), |name| name.starts_with("virtio"))
}

fn first_entry(directory: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<PathBuf> {
    let entries = fs::read_dir(directory)?.flatten();
    let mut named = entries.filter(|entry| entry.file_name().to_str().is_some_and(&wanted));
    named.next().map(|entry| entry.path()).ok_or_else(|| io::ErrorKind::NotFound.into())
}
