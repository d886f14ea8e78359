//! What happens to an object of a custom resource with its schema.
//!
//! ```text
//! request ──► admit: nulls and defaults, unknown fields, metadata ──► admission ──► validate ──► storage
//! storage ──► restore: the same, leniently ──► answer
//! ```
//!
//! A version's schema is read once ([`Schema::new`]) and used for every object.

use crate::metadata::{self, Invalid};
use crate::rules::Rules;
use crate::structural::Structural;
use crate::validate::{Outcome, sets_and_maps, values};
use crate::{defaulting, prune};
use orrery_cel::Budget;
use orrery_machinery::status::{FieldError, FieldReason};
use serde_json::Value;

/// The schema of one version of a custom resource, ready for use.
#[derive(Debug, Clone)]
pub struct Schema {
    structural: Structural,
    rules: Rules,
}

impl Schema {
    /// Makes a schema ready: compiles its rules.
    #[must_use]
    pub fn new(structural: Structural) -> Self {
        let rules = Rules::new(&structural);
        Self { structural, rules }
    }

    /// The schema itself.
    #[must_use]
    pub fn structural(&self) -> &Structural {
        &self.structural
    }

    /// Brings an object of a request into shape: fills in defaults, drops nulls that are no values and fields that the
    /// schema does not name, coerces metadata. Answers with what was dropped for being unknown, as in
    /// `unknown field "spec.foo"`; `fieldValidation` says whether that is an error, a warning or nothing.
    ///
    /// # Errors
    /// When `apiVersion`, `kind` or `metadata`, here or in an embedded object, has a field of a wrong type.
    pub fn admit(&self, object: &mut Value) -> Result<Vec<String>, FieldError> {
        self.shape(object, Invalid::Refuse)
    }

    /// Brings an object from storage into shape, which may be older than the schema: the same as for a request, but what
    /// is malformed is dropped.
    pub fn restore(&self, object: &mut Value) {
        self.shape(object, Invalid::Drop).expect("malformed fields are dropped, not refused");
    }

    fn shape(&self, object: &mut Value, invalid: Invalid) -> Result<Vec<String>, FieldError> {
        self.apply_defaults(object);
        let mut dropped = self.structural.prune(object);
        dropped.extend(metadata::coerce(&self.structural, object, "", true, invalid)?);
        dropped.sort();
        Ok(dropped.into_iter().map(|path| format!("unknown field {path:?}")).collect())
    }

    /// Fills in defaults only, as after a mutation.
    pub fn apply_defaults(&self, object: &mut Value) {
        self.structural.apply_defaults(object);
    }

    /// Checks an object, or a changed one when the old one is given: values, embedded objects, sets and maps, rules.
    /// What is unchanged does not fail but warns. `metadata` at the root is not looked at.
    #[must_use]
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Outcome {
        let schema = &self.structural;
        let mut outcome = values(schema, new, old, "");
        outcome.errors.extend(metadata::validate(schema, new, "", false));
        // An object whose lists were no sets or maps before the rule existed can still be changed.
        if old.is_none_or(|old| sets_and_maps(schema, old, "").is_empty()) {
            outcome.errors.extend(sets_and_maps(schema, new, ""));
        }
        if outcome.errors.iter().any(is_blocking) {
            if self.rules.is_some() {
                outcome.errors.push(FieldError::invalid("<nil>", &"null".into(), NOT_CHECKED));
            }
        } else {
            outcome.extend(self.rules.run(new, old, &mut Budget::default()));
        }
        outcome
    }
}

impl Structural {
    /// Drops from a whole object the fields that this schema does not name, and answers with their paths. `apiVersion`,
    /// `kind` and `metadata` are not looked at.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune(self, object, true)
    }

    /// Drops nulls that are no values and fills in defaults.
    pub fn apply_defaults(&self, value: &mut Value) {
        defaulting::prune_nulls(Some(self), value);
        defaulting::fill(self, value);
    }
}

const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid; correct the existing \
    errors to complete validation";

/// Whether an error says that a value has not the structure that rules rely on.
fn is_blocking(error: &FieldError) -> bool {
    let text = &error.message;
    matches!(error.reason, FieldReason::Required | FieldReason::TooLong)
        || text.starts_with("Too many: ")
        || text.contains(" in body must be of type ")
}
