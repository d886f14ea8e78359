//! Attaching to an existing tap device.
#![allow(unsafe_code)] // TUNSETIFF has no safe wrapper.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsRawFd, OwnedFd},
    os::unix::fs::OpenOptionsExt,
};

/// Opens the queue of the persistent tap device `name`.
///
/// Frames carry a virtio header, so that the guest may leave checksums and segmentation to the host.
pub(crate) fn open(name: &str) -> io::Result<OwnedFd> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() >= libc::IFNAMSIZ || bytes.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name of a network device"));
    }
    // TUNSETIFF makes a device that is missing; ours are made by the host's agent, plugged in and accounted for.
    if !std::path::Path::new("/sys/class/net").join(name).exists() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file: File = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: `ifreq` is plain old data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (target, byte) in request.ifr_name.iter_mut().zip(bytes) {
        *target = byte.cast_signed();
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).expect("the flags of a tap device fit 15 bits");
    // SAFETY: the descriptor is open and `request` lives through the call, which writes inside of it only.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(file.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_missing_is_not_made() {
        assert_eq!(open("no-such-tap").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!std::path::Path::new("/sys/class/net/no-such-tap").exists());
    }

    #[test]
    fn what_cannot_be_a_device_name_is_refused() {
        for name in ["", "a-name-longer-than-fifteen", "nul\0"] {
            assert_eq!(open(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }
}
