//! Server-side apply, and who owns which field.
//!
//! Each object says in `metadata.managedFields` which fields which manager has set. An entry is one manager with one
//! operation, version and sub-resource:
//!
//! ```text
//! apply    merges the configuration into the object; what the manager applied before and no longer mentions goes, unless
//!          another manager owns it; another manager's field with another value is a conflict (409), or taken with force
//! update   every other write: what differs from before is the writer's now, and nobody else's
//! ```
//!
//! * [`apply`]: merges a configuration (`PATCH` with `application/apply-patch+yaml`).
//! * [`track`]: brings `managedFields` up to date after any other write.
//! * [`keep_times`]: gives a write that changed nothing the times of before, so that it is none.
//! * [`validate_manager`], [`manager_of`]: names of managers.
//! * [`scale`]: the entries of an object as its scale sub-resource sees them.
//!
//! The rules are those of `k8s.io/apimachinery/pkg/util/managedfields` and `sigs.k8s.io/structured-merge-diff/v6/merge`, with
//! two differences that are upstream's plans: a configuration that is not of its type is 400 and not 500
//! (kubernetes/kubernetes#139253), and a map or list of which pruning leaves nothing is empty instead of null.

mod cap;
mod conflict;
mod entries;
mod ignored;
mod kubectl;
mod managers;
mod names;
mod prune;
mod quick;
pub mod scale;
mod server_side;
mod settle;
mod times;
mod tracking;
mod versions;

pub use ignored::Ignored;
pub use names::{MANAGER_LIMIT_BYTES, manager_of, validate_managed_fields, validate_manager, validate_patch_options};
pub use server_side::{Applied, Apply, apply};
pub use times::keep_times;
pub use tracking::{Update, track};
pub use versions::{ConvertError, OneVersion, Versions};

use crate::fields::FieldSet;
use orrery_machinery::shape::Shape;
use std::sync::LazyLock;

/// What is written, as far as ownership is concerned.
#[derive(Clone, Copy)]
pub struct Resource<'a> {
    /// Group and version of the request, such as `apps/v1`.
    pub api_version: &'a str,
    /// Such as `Deployment`.
    pub kind: &'a str,
    /// The type in this version.
    pub shape: &'a Shape,
    /// Fields that a write to this path cannot set (such as `status` on the main resource), so that nobody comes to own them
    /// by it.
    pub ignored: &'a Ignored<'a>,
    /// The object's other versions.
    pub versions: &'a dyn Versions,
}

/// Who writes, and when.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The manager's name; `unknown` stands for an empty one.
    pub manager: &'a str,
    /// Such as `status`; empty for the main resource.
    pub subresource: &'a str,
    /// RFC 3339, UTC, whole seconds, such as `2026-01-02T03:04:05Z`.
    pub now: &'a str,
}

/// What nobody owns: identity, and what the server itself sets.
fn stripped() -> &'static FieldSet<'static> {
    static STRIPPED: LazyLock<FieldSet<'static>> = LazyLock::new(|| {
        FieldSet::of(&[
            &["apiVersion"],
            &["kind"],
            &["metadata"],
            &["metadata", "name"],
            &["metadata", "namespace"],
            &["metadata", "creationTimestamp"],
            &["metadata", "selfLink"],
            &["metadata", "uid"],
            &["metadata", "clusterName"],
            &["metadata", "generation"],
            &["metadata", "managedFields"],
            &["metadata", "resourceVersion"],
        ])
    });
    &STRIPPED
}

#[cfg(test)]
pub(crate) mod tests;
