//! What objects use of a `ResourceQuota`, pure.
//!
//! Admission charges a new object to the quotas of its namespace before it is stored; a controller counts again what is
//! there. Both ask this crate, so that they agree.
//!
//! * [`Amounts`]: amounts by name, as `spec.hard` and `status.used` have them.
//! * [`usage`]: what one object uses.
//! * [`is_scoped`]: whether a quota is about an object.
//! * [`charge`]: what an object adds to a quota's use, or why it does not fit.
//!
//! The rules are those of `k8s.io/kubernetes/pkg/quota/v1`.
//!
//! What it is not: it reads and writes nothing; which objects there are is the caller's to know.
#![forbid(unsafe_code)]

mod amounts;
mod charge;
mod pods;
mod scopes;
mod usage;

pub use amounts::Amounts;
pub use charge::{Refusal, charge};
pub use pods::{is_best_effort, is_terminal, limits, requests};
pub use scopes::is_scoped;
pub use usage::usage;
