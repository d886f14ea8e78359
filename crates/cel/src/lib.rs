//! CEL, the expressions of Kubernetes (<https://github.com/google/cel-spec>), with its libraries.
//!
//! ```text
//! source ──parse──► tree ──check──► typed tree ──cost──► Program ──evaluate (with a Budget)──► value
//! ```
//!
//! * `token`, `parse`: reading, bounded in length and nesting; macros become comprehensions.
//! * `types`, `decl`, `check`: types, also from schemas; undeclared names, fields and overloads are found before
//!   anything runs, in the words of cel-go.
//! * `estimate`: what an expression can cost at most, given how large values may be.
//! * `value`, `eval`: the interpreter. It charges for each step what cel-go's cost tracker charges, and stops when the
//!   [`Budget`] is used up; values are read from JSON as they are needed, not copied.
//! * `function`, `lib_*`: operators and libraries, as tables of overloads with their code.
//!
//! * [`format`]: formats of texts, which schemas share; [`pattern`]: Go's regular expressions.
//!
//! Why our own: an API server must be able to stop an expression of a user, to say before it runs that it can't be
//! afforded, and to refuse mistyped ones with cel-go's texts. The public crates interpret without a counter and without
//! types.
//! No expression can make this crate panic, recurse without bound, or compute for long. It reads no clock and opens no
//! socket; only names of time zones are looked up in the system's database.
//!
//! What this crate is not: it knows no schema and no request. Those are in `orrery-schema`.
//!
//! There are no tasks and no channels. Start reading at [`Environment`] and [`Program`].
#![forbid(unsafe_code)]

mod ast;
mod check;
mod convert;
mod decl;
mod error;
mod estimate;
mod eval;
pub mod format;
mod function;
mod lib_core;
mod lib_kubernetes;
mod lib_lists;
mod lib_net;
mod lib_strings;
mod lib_time;
mod number;
mod ops;
mod parse;
pub mod pattern;
mod program;
mod quantity;
mod token;
mod types;
mod value;

pub use decl::{Decl, Field, Kind, LONGEST_TEXT, ListKind, MAX_REQUEST_BYTES, escape};
pub use error::{CompileError, EvalError};
pub use eval::{Activation, Budget};
pub use lib_kubernetes::{Authorizer, Check, Decision};
pub use number::go_float;
pub use program::{Environment, Program};
pub use types::{ObjectType, Type};
pub use value::Val;

/// How deep an expression may be nested, and how high its tree may be.
pub const MAX_DEPTH: usize = 128;
/// How long an expression may be, in characters; cel-go's own limit.
pub const MAX_LENGTH: usize = 100_000;
/// What one evaluation may cost: `PerCallLimit` of `k8s.io/apiserver/pkg/apis/cel`, roughly a tenth of a second.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// What all evaluations for one object may cost together: `RuntimeCELCostBudget`.
pub const PER_OBJECT_BUDGET: u64 = 10_000_000;

#[cfg(test)]
mod tests;
