//! Checking values against a schema, as `kube-openapi/pkg/validation/validate` does by way of
//! `apiextensions-apiserver/pkg/apiserver/validation`.
//!
//! On an update, what is as it was does not fail (KEP-4008): [`value`] carries the old value along and turns the errors of
//! an unchanged part into warnings.

mod lists;
mod outcome;
mod value;

pub(crate) use lists::list_map_old;
pub use lists::sets_and_maps;
pub use outcome::Outcome;

use crate::structural::Structural;
use serde_json::Value;

/// Checks `new` against `schema`, whose errors stand below `path`. With `old`, what is unchanged does not fail.
pub(crate) fn values(schema: &Structural, new: &Value, old: Option<&Value>, path: &str) -> Outcome {
    value::check(schema, new, old, path)
}
