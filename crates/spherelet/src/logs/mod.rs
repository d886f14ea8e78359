//! Log files of containers, as `kubectl logs` wants them.

mod end;
mod follow;
mod record;
mod request;

pub(crate) use end::end;
pub(crate) use follow::{LogSource, send};
pub(crate) use request::{LogOptions, flag};
