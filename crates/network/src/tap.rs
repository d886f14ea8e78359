//! Making persistent taps: the tun driver has no netlink request for it.
#![allow(unsafe_code)]

use crate::{InterfaceName, NetworkError};
use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
};

/// The program's side of the driver.
const CLONE_DEVICE: &str = "/dev/net/tun";

/// What the driver reads of `struct ifreq`: the name, then the flags; the rest is padding of the kernel's union.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    padding: [u8; 22],
}

const _: () = assert!(size_of::<Request>() == size_of::<libc::ifreq>(), "the kernel copies a whole ifreq");

// The generated functions are `unsafe`; their callers below say why each call is sound.
nix::ioctl_write_ptr_bad!(attach, libc::TUNSETIFF, Request);
nix::ioctl_write_int_bad!(set_persistent, libc::TUNSETPERSIST);
nix::ioctl_write_int_bad!(set_owner, libc::TUNSETOWNER);

/// Makes the tap `name` if it is not there, and lets `owner` open it. A tap that a QEMU has open is left as it is.
pub(crate) fn ensure(name: &InterfaceName, owner: u32) -> Result<(), NetworkError> {
    let failed = |doing: &str| {
        let doing = format!("{doing} {name}");
        move |source: io::Error| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => NetworkError::NotPermitted { doing },
            _ => NetworkError::Tun { doing, source },
        }
    };
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open(CLONE_DEVICE)
        .map_err(failed("open /dev/net/tun (the kernel's tun driver) for tap device"))?;
    match attach_to(&device, name) {
        Ok(()) => {}
        Err(source) if source.raw_os_error() == Some(libc::EBUSY) => return Ok(()),
        Err(source) => return Err(failed("create tap device")(source)),
    }
    let owner = libc::c_int::from_ne_bytes(owner.to_ne_bytes());
    // SAFETY: the descriptor is open for the whole call and the request takes an integer, no pointer.
    unsafe { set_owner(device.as_raw_fd(), owner) }
        .map_err(|number| failed("set the owner of tap device")(number.into()))?;
    // SAFETY: as above.
    unsafe { set_persistent(device.as_raw_fd(), 1) }
        .map_err(|number| failed("make persistent tap device")(number.into()))?;
    Ok(())
}

fn attach_to(device: &File, name: &InterfaceName) -> io::Result<()> {
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags: 0, padding: [0; 22] };
    request.name[..name.as_str().len()].copy_from_slice(name.as_str().as_bytes());
    request.flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI).expect("both flags are below 0x8000");
    // SAFETY: the descriptor is open for the whole call; `request` has the size and layout of the kernel's `ifreq`, its
    // name ends with a zero byte (names have at most IFNAMSIZ - 1 bytes), and it lives until the call returns.
    unsafe { attach(device.as_raw_fd(), &raw const request) }?;
    Ok(())
}
