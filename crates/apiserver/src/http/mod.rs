//! HTTP: connections, bodies, paths, content negotiation, and the way of a request through the server.
//!
//! Start at `dispatch`.

pub(crate) mod audit;
pub(crate) mod body;
mod connection;
pub(crate) mod dispatch;
mod identity;
mod inprocess;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod respond;

pub use body::ResponseBody;
pub(crate) use connection::serve;
pub use inprocess::InProcess;
