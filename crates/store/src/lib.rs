//! The versioned store at etcd's level: transactions of several comparisons and writes, ranges at a revision, watches
//! from a revision, compaction, time to live.
//!
//! One counter, the *revision*, orders everything: each transaction that writes takes the next one, and every object
//! carries the revision of its last write. The API server's `resourceVersion` is that number.
//!
//! [`Store`] is the trait; [`Embedded`] is the backend with SQLite as the durable log and an in-memory multi-version
//! index in front, which serves all reads. A write is answered only when it is on disk.
//!
//! What it is not: it knows nothing about objects, kinds or namespaces (that is the API server's), keeps no history
//! across a restart, and does not replicate.
//!
//! Threads, tasks and queues: one writer thread per open store behind a bounded queue. Watches have neither task nor
//! queue: they are read along in shared history by whoever asks for the next event. Readers wait for nobody but each
//! other's short locks.
//!
//! Start reading at [`types`], then the `embedded` module and its `writer`.
#![forbid(unsafe_code)]

mod embedded;
pub mod types;

pub use embedded::{Control, Embedded, EmbeddedOptions, OpenError, maintain};
pub use types::*;
