//! Kernel settings of one device. `/proc/sys/net` shows the network namespace of the thread that reads it, so these
//! files are written by the calling thread itself; each takes microseconds.

use crate::{InterfaceName, NetworkError};
use std::{fs, io, path::PathBuf};

/// Keeps a device out of IPv6: no link-local address, no router advertisements. A kernel without IPv6 is fine.
pub(crate) fn disable_ipv6(name: &InterfaceName) -> Result<(), NetworkError> {
    for (setting, value) in [("accept_ra", "0"), ("disable_ipv6", "1")] {
        let path = PathBuf::from(format!("/proc/sys/net/ipv6/conf/{name}/{setting}"));
        match fs::write(&path, value) {
            Ok(()) => {}
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(NetworkError::Setting { path, source }),
        }
    }
    Ok(())
}
