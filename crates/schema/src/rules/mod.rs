//! `x-kubernetes-validations`: rules in CEL on a schema's nodes (`apiextensions-apiserver/pkg/apiserver/schema/cel`).
//!
//! * [`check`]: when a definition is written: do its rules compile, can they be afforded, do their defaults obey them.
//! * [`Rules`]: compiled once for a schema, run on every object.
//!
//! A rule sees the value of its node as `self` and the value before as `oldSelf`; a rule that uses `oldSelf` runs only
//! when there is one. Which old value belongs to a value is known along objects, maps, and lists that are maps.

mod compile;
mod run;
mod verify;

pub use run::Rules;
pub use verify::check;
