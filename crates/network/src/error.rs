//! Why something could not be done to the network.

use crate::InterfaceName;
use std::{io, path::PathBuf};

/// Why an operation on the host's network failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel wants `CAP_NET_ADMIN`.
    #[error("may not {doing}: run as root, or with CAP_NET_ADMIN")]
    NotPermitted {
        /// What was being done.
        doing: String,
    },
    /// A device of this name exists and is something else.
    #[error(
        "network device {name} exists and is a {found}, not a {wanted}; remove it (ip link delete {name}) or choose \
         another name"
    )]
    OtherKind {
        /// The device.
        name: InterfaceName,
        /// What it is.
        found: String,
        /// What it should have been.
        wanted: &'static str,
    },
    /// A tap shall be plugged into a bridge that is not there.
    #[error("there is no bridge {0}")]
    NoBridge(InterfaceName),
    /// The kernel's netlink socket could not be opened.
    #[error("cannot open a netlink socket")]
    Connect(#[source] io::Error),
    /// The kernel refused a netlink request.
    #[error("cannot {doing}")]
    Kernel {
        /// What was being done.
        doing: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A netlink exchange failed without an answer of the kernel.
    #[error("cannot {doing}")]
    Netlink {
        /// What was being done.
        doing: String,
        /// What went wrong.
        #[source]
        source: rtnetlink::Error,
    },
    /// The tun driver refused.
    #[error("cannot {doing}")]
    Tun {
        /// What was being done.
        doing: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The program `nft` cannot be run.
    #[error("cannot {doing}: nft cannot be run; install it: apt-get install --no-install-recommends nftables")]
    Nft {
        /// What was being done.
        doing: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program `nft` refused.
    #[error("cannot {doing}: nft says: {said}")]
    Rules {
        /// What was being done.
        doing: String,
        /// What it said.
        said: String,
    },
    /// A kernel setting could not be written.
    #[error("cannot write {}", path.display())]
    Setting {
        /// The setting's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The kernel's error number in a netlink error, when it answered with one.
pub(crate) fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(message.raw_code().abs()),
        _ => None,
    }
}

/// Turns a netlink error into ours.
pub(crate) fn netlink(doing: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    let doing = doing.into();
    move |source| match errno(&source) {
        Some(libc::EPERM | libc::EACCES) => NetworkError::NotPermitted { doing },
        Some(number) => NetworkError::Kernel { doing, source: io::Error::from_raw_os_error(number) },
        None => NetworkError::Netlink { doing, source },
    }
}
