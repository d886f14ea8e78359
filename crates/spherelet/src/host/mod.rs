//! The processes of this host, over their Unix sockets.

mod hostd;
mod link;
mod shim;

#[cfg(test)]
pub(crate) mod fake;

pub(crate) use hostd::{Admitted, Hostd};
pub(crate) use link::CallError;
pub(crate) use shim::{ProcessInput, ProcessOutput, ProcessStream, Shim, ShimWatch};
