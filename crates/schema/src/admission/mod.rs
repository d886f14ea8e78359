//! Expressions of admission: `ValidatingAdmissionPolicy`, `MutatingAdmissionPolicy`, and `matchConditions` of webhooks
//! (`k8s.io/apiserver/pkg/admission/plugin/cel`, `.../plugin/policy`).
//!
//! ```text
//! spec ──check──► errors, when it is written
//!      ──compile──► policy ──matches(Input)──► no: nothing
//!                            └─ yes ──evaluate(Input, Budget)──► decisions, annotations │ patches
//! ```
//!
//! * [`Compiler`]: which variables there are, and what an expression has to give.
//! * [`Input`]: what the variables stand for in a request.
//! * [`MatchConditions`], [`ValidatingPolicy`], [`MutatingPolicy`]: compiled once, evaluated for each request.
//! * [`check_validating`], [`check_mutating`], [`check_match_conditions`]: when they are written.
//! * [`type_check`]: warnings for the status of a policy, from the schemas of what it applies to.
//!
//! Whether a policy applies to a request at all (its constraints and bindings), and carrying patches out, is the API
//! server's business.

mod compiler;
mod conditions;
mod input;
mod mutating;
mod rounds;
mod typecheck;
mod validating;
mod verify;

pub use compiler::{Compiler, Expected, Options};
pub use conditions::{FailurePolicy, MATCH_CONDITIONS_BUDGET, MatchConditions};
pub use input::Input;
pub use mutating::{MutatingPolicy, Patch};
pub use rounds::{Memory, Rounds};
pub use typecheck::{TypedKind, type_check};
pub use validating::{AuditAnnotation, Decision, ValidatingOutcome, ValidatingPolicy};
pub use verify::{check_match_conditions, check_mutating, check_validating};

#[cfg(test)]
mod tests;
