//! The network devices of a host: bridges, taps and the routes that guard them.
//!
//! [`Network`] speaks netlink to the kernel's network namespace that the calling thread is in. Every operation says
//! what shall be, does what is missing, and may be repeated: a bridge that is there is left as it is, a device that is
//! gone is deleted. Nothing is remembered between calls; the kernel is the only state.
//!
//! What it makes:
//!
//! * a **bridge** with one address, the gateway of the machines behind it. Its hardware address is fixed, so that it
//!   does not follow the ports that come and go, and it takes no part in IPv6;
//! * **taps**, persistent, owned by the user id that the machine's QEMU runs as, plugged into a bridge. Whoever has
//!   that user id (or `CAP_NET_ADMIN`) may open the tap by its name, as far as it may open `/dev/net/tun` at all;
//! * a **guard** at each tap, which drops what does not come from the machine's own MAC and IPv4 address (nftables);
//! * an **unreachable route** for a private range, worse than the bridge's own route: while the bridge is away, packets
//!   for its machines end here instead of leaving by the default route.
//!
//! What it is not: it forwards nothing and translates no addresses; and it knows no machines.
//!
//! [`Network::range_conflicts`] tells what already uses a range, before it is taken.
//!
//! One task belongs to a [`Network`]: it moves netlink messages and ends when the value is dropped.
//!
//! Start reading at [`Network`]; `tap` holds the only `unsafe` code, three `ioctl` calls.
#![deny(unsafe_code)]

mod error;
mod guard;
mod name;
mod network;
mod range;
mod routes;
mod sysctl;
mod tap;

pub use error::NetworkError;
pub use guard::{InvalidMac, Mac};
pub use ipnet::Ipv4Net;
pub use name::{InterfaceName, InvalidInterfaceName};
pub use network::{Network, TapSpec};
pub use range::{Conflict, Use};
