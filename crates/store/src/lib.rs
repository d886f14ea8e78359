//! The versioned store at etcd's level: transactions of several comparisons and writes, ranges at a revision, watches
//! from a revision, compaction, time to live.
//!
//! One counter, the *revision*, orders everything: each transaction that writes takes the next one, and every object
//! carries the revision of its last write. The API server's `resourceVersion` is that number.
//!
//! [`Store`] is the trait; [`embedded`] is the backend with SQLite as the durable log and an in-memory multi-version
//! index in front, which serves all reads. A write is answered only when it is on disk.
//!
//! Start reading at [`types`].
#![forbid(unsafe_code)]

pub mod types;

pub use types::*;
