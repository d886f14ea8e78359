//! The versioned store on etcd: for a control plane of several machines.
//!
//! [`EtcdStore`] implements [`Store`](orrery_store::Store) by etcd's own protocol and passes the same suite as the embedded
//! backend. etcd 3.5.13 is the oldest that is taken: before that, its answers about the progress of watches are wrong, and a
//! reader would believe that it knows everything while it does not.
//!
//! * `proto`: the part of etcd's messages that is used, declared here, so that a build needs no protobuf compiler.
//! * `client`: calls and what their failures mean. `store`: the trait. `convert`: messages to entries and back.
//! * `leases`: which lease a time to live goes to. `compactor`: forgets history after some minutes, agreed with others.
//! * `hub`, `table`, `feed`: all watches share one stream; a watch that is not read is paused and costs etcd and us nothing.
//!
//! Tasks and queues: one task for the stream of watches, one for compaction; a bounded channel for each watch. All end with
//! the last clone of the store.
//!
//! What it is not: it does not run etcd, keeps nothing in memory beside what watchers have not read yet, and every watch is
//! one of etcd's (the embedded backend shares more between watchers).
//!
//! Start reading at [`EtcdStore`].
#![forbid(unsafe_code)]

mod client;
mod compactor;
mod convert;
mod feed;
mod hub;
mod leases;
mod proto;
mod store;
mod table;

pub use client::{ConnectError, EtcdOptions, EtcdTls, OLDEST};
pub use store::EtcdStore;
