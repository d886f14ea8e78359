//! What the processes of a host say to each other and to a guest.
//!
//! Types and framing only: no sockets, no clock, no policy. Four links are described, each with a version that both
//! sides agree on when they connect ([`hello`]):
//!
//! * [`host`]: spherelet, manager-facing code and the command line to `hostd`, over a Unix socket.
//! * [`join`]: a host to the manager, over HTTPS.
//! * [`shim`]: `hostd` and `spherelet` to the parent process of one machine, over a Unix socket.
//! * [`guest`]: the shim to `crx-init` in the guest, over one virtio-serial port. The guest is hostile: everything read
//!   from it is bounded by [`frame::MAX_PAYLOAD`] and by credit.
//!
//! [`volume`] is the part of the last two that is about a pod's volumes. [`machine`] is no link but the file that tells a shim about its machine.
//!
//! The Unix sockets carry length-prefixed JSON ([`message`]); the guest's port carries typed frames ([`frame`]), of which
//! control frames hold JSON.
//!
//! Start reading at [`frame`] and [`guest`].
#![forbid(unsafe_code)]

pub mod frame;
pub mod guest;
pub mod hello;
pub mod host;
pub mod join;
pub mod machine;
pub mod message;
pub mod shim;
pub mod stats;
pub mod volume;
