//! Log files of containers, as `kubectl logs` wants them.

mod follow;
mod record;
mod request;

pub(crate) use follow::{LogSource, send};
pub(crate) use request::{LogOptions, flag};
