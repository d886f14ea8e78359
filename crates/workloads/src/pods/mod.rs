//! What all workload controllers do with pods: decide which are theirs, make them from a template, choose which to delete.

mod claim;
mod control;
mod rank;
mod slow_start;
mod template;
mod workload;

pub(crate) use claim::{Claimant, claim};
pub(crate) use control::{Owner, PodControl};
pub(crate) use rank::to_delete;
pub(crate) use slow_start::slow_start;
pub(crate) use template::{TEMPLATE_HASH, TemplateDigest, digest, pod_from, safe_hash};
pub(crate) use workload::{Workload, candidates, dependents, wake_on_dependents, wake_on_own_change};
