//! The nouns of Orrery: names, units and the kinds of the manager's inventory.
//!
//! This crate holds types only. It knows no clock, no socket and no rule beyond "this text is not a name"; every other
//! crate may import it, and it imports none of ours. The Kubernetes types are those of `k8s-openapi`, re-exported as
//! [`k8s`] so that the whole workspace agrees on one level (v1.36).
//!
//! * [`names`]: identifiers as types (a host's name is not a namespace's name).
//! * [`units`]: CPU and memory amounts with their unit in the type, and Kubernetes quantities.
//! * [`inventory`]: the kinds of `inventory.orrery.dev/v1alpha1`.
//! * [`condition`]: the one way a condition is set, so that its transition time is right.
//!
//! Start reading at [`inventory`].
#![forbid(unsafe_code)]

pub mod condition;
pub mod inventory;
pub mod names;
pub mod units;

pub use k8s_openapi as k8s;
