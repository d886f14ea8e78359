//! What the built-in controllers stand on.
//!
//! A controller is three things: what it watches (a [`Cache`] of projected objects for each kind), when it looks (a
//! [`Queue`] of keys), and what it does with one key ([`Reconcile`]: read the caches, make a plan with a pure function,
//! apply it through the API). This crate is everything of that which is not the plan.
//!
//! ```text
//! API ──list+watch──► Cache ──change──► Queue ──key──► worker: Reconcile::reconcile ──writes──► API
//!                       ▲                                 │ reads
//!                       └─────────────────────────────────┘
//! ```
//!
//! * **One cache for each kind in a process.** It holds [`Projected`] values, never whole API objects, with indexes
//!   ([`Term`]), and knows the resource version up to which it is complete ([`Cache::revision`]).
//! * **Level-triggered.** A change says only which key to look at. The worker re-reads everything.
//! * **Own writes.** A cache lags behind what its controller has just written; acting on it twice would make twice as
//!   many pods. Each write's resource version is noted in [`OwnWrites`], and a key is not planned again before the cache
//!   has come that far. After `kill -9` nothing needs to be remembered: the first list contains all that was written.
//! * **Failures** of one key are retried with a back-off of its own and disturb no other; a panic counts as a failure.
//!
//! It decides nothing, and depends on nothing of ours but names and units. The kinds that several controllers look at are
//! projected in [`objects`]; a kind that only one looks at is projected beside it.
//!
//! Tasks: one for each cache, a few workers for each controller, one that writes events ([`Recorder`]). Queues are sets of
//! keys, so that no more than the number of objects can wait; the channel of events is bounded and drops what is too much.
//!
//! Start reading at [`Reconcile`].
#![forbid(unsafe_code)]

mod cache;
mod conditions;
mod controller;
mod events;
mod meta;
mod metrics;
pub mod objects;
mod own_writes;
mod queue;
mod selector;
mod supervise;
mod tasks;

pub use cache::{Cache, Options, Projected, Term};
pub use conditions::{Condition, find_condition, set_condition};
pub use controller::{Controller, Outcome, Reconcile};
pub use events::{Recorder, Tone, write_events};
pub use meta::{Meta, ObjectKey, Revision, Uid, owner_reference};
pub use metrics::Metrics;
pub use own_writes::OwnWrites;
pub use queue::Queue;
pub use selector::Selector;
pub use supervise::{ControllerError, chain, supervise};
pub use tasks::Tasks;
