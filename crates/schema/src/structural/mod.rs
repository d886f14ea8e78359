//! A structural schema as a typed tree (`apiextensions-apiserver/pkg/apiserver/schema/structural.go`).
//!
//! One node type serves both for the spine of the schema and for what stands under `allOf`, `anyOf`, `oneOf` and `not`;
//! [`check`](Structural::check) refuses under a junctor what may stand only on the spine.
//!
//! * `read`: from JSON, keeping everything that the schema says.
//! * `standard`: which constructs of JSON schema a definition may use at all, list and map types.
//! * `invariants`: what makes a schema structural.
//! * `completeness`: what value validations mention has to be on the spine as well.
//! * `defaults`: defaults are valid and name only known fields.

mod completeness;
mod defaults;
mod field_path;
mod invariants;
mod read;
mod standard;
mod status;

pub use field_path::{FieldPathError, find_field};
pub(crate) use invariants::is_int_or_string;
pub use read::ReadError;
pub(crate) use standard::is_meta_field;
pub use status::check_for_status;

use orrery_cel::pattern::Pattern;
use orrery_machinery::status::FieldError;
use serde_json::{Number, Value};
use std::collections::BTreeMap;

/// How many levels a schema may be nested. A schema is walked recursively, and a stack is finite; upstream's decoder
/// stops at 10,000, which no real definition comes near.
pub const MAX_DEPTH: usize = 128;

/// One node of a schema.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Structural {
    /// `description`.
    pub description: String,
    /// `title`.
    pub title: String,
    /// `type`: `object`, `array`, `string`, `integer`, `number`, `boolean`; empty for none.
    pub kind: String,
    /// Whether null is a value.
    pub nullable: bool,
    /// `default`; `Some(Null)` can't be told from none, as upstream.
    pub default: Option<Value>,
    /// `externalDocs`, kept for publishing.
    pub external_docs: Option<Value>,
    /// `example`, kept for publishing.
    pub example: Option<Value>,
    /// `items`.
    pub items: Option<Box<Structural>>,
    /// `properties`.
    pub properties: BTreeMap<String, Structural>,
    /// `additionalProperties`.
    pub additional: Option<Additional>,
    /// The `x-kubernetes-*` extensions.
    pub extensions: Extensions,
    /// What a value has to be beyond its structure.
    pub values: ValueValidation,
}

/// `additionalProperties`.
#[derive(Debug, Clone, PartialEq)]
pub enum Additional {
    /// Any, or none.
    Any(bool),
    /// Those that follow a schema.
    Schema(Box<Structural>),
}

/// The `x-kubernetes-*` extensions of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extensions {
    /// `x-kubernetes-preserve-unknown-fields`: fields that the schema does not name are kept.
    pub preserve_unknown_fields: bool,
    /// `x-kubernetes-embedded-resource`: a whole object, with `apiVersion`, `kind` and `metadata`.
    pub embedded_resource: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-list-type`: `atomic`, `set` or `map`.
    pub list_type: Option<String>,
    /// `x-kubernetes-list-map-keys`.
    pub list_map_keys: Vec<String>,
    /// `x-kubernetes-map-type`: `granular` or `atomic`.
    pub map_type: Option<String>,
    /// `x-kubernetes-validations`.
    pub validations: Vec<ValidationRule>,
}

/// One of `x-kubernetes-validations`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValidationRule {
    /// A CEL expression that is true of good values.
    pub rule: String,
    /// What is said when it is false; empty for the rule itself.
    pub message: String,
    /// A CEL expression for what is said; empty for none.
    pub message_expression: String,
    /// `FieldValueInvalid`, `FieldValueForbidden`, `FieldValueRequired` or `FieldValueDuplicate`.
    pub reason: Option<String>,
    /// The field below this node that is to blame, such as `.spec.replicas`; empty for the node itself.
    pub field_path: String,
    /// Whether `oldSelf` is an optional, so that the rule also runs when there is no old value.
    pub optional_old_self: Option<bool>,
}

/// What a value has to be beyond its structure.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ValueValidation {
    /// `format`; empty for none.
    pub format: String,
    /// `maximum`.
    pub maximum: Option<Number>,
    /// Whether `maximum` itself is too much.
    pub exclusive_maximum: bool,
    /// `minimum`.
    pub minimum: Option<Number>,
    /// Whether `minimum` itself is too little.
    pub exclusive_minimum: bool,
    /// `multipleOf`.
    pub multiple_of: Option<Number>,
    /// `maxLength`, in characters.
    pub max_length: Option<i64>,
    /// `minLength`, in characters.
    pub min_length: Option<i64>,
    /// `pattern`.
    pub pattern: Option<Pattern>,
    /// `maxItems`.
    pub max_items: Option<i64>,
    /// `minItems`.
    pub min_items: Option<i64>,
    /// `uniqueItems`; a definition may not set it.
    pub unique_items: bool,
    /// `maxProperties`.
    pub max_properties: Option<i64>,
    /// `minProperties`.
    pub min_properties: Option<i64>,
    /// `enum`; empty for none.
    pub enumeration: Vec<Value>,
    /// `required`.
    pub required: Vec<String>,
    /// `allOf`.
    pub all_of: Vec<Structural>,
    /// `anyOf`.
    pub any_of: Vec<Structural>,
    /// `oneOf`.
    pub one_of: Vec<Structural>,
    /// `not`.
    pub not: Option<Box<Structural>>,
}

impl Structural {
    /// Reads the `openAPIV3Schema` of a definition and checks everything that can be checked without values: rules,
    /// structure, defaults and CEL. Errors name fields below `openAPIV3Schema`.
    ///
    /// # Errors
    /// All mistakes, with upstream's fields, reasons and texts.
    pub fn parse(schema: &Value) -> Result<Self, Vec<FieldError>> {
        Self::parse_at(schema, "openAPIV3Schema")
    }

    /// Like [`parse`](Self::parse), for a schema that stands at `path`, such as
    /// `spec.versions[0].schema.openAPIV3Schema`.
    ///
    /// # Errors
    /// All mistakes, with upstream's fields, reasons and texts.
    pub fn parse_at(schema: &Value, path: &str) -> Result<Self, Vec<FieldError>> {
        let errors = standard::check(schema, path);
        let structural = match Self::read(schema) {
            Ok(structural) => structural,
            Err(_) if !errors.is_empty() => return Err(errors),
            Err(error) => return Err(vec![FieldError::invalid(path, &"".into(), &error.to_string())]),
        };
        let mut all = structural.check(path);
        all.extend(errors);
        if all.is_empty() {
            all = crate::rules::check(&structural, path);
        }
        if all.is_empty() { Ok(structural) } else { Err(all) }
    }

    /// What makes this schema not structural, and defaults that are not valid; nothing when all is well.
    #[must_use]
    pub fn check(&self, path: &str) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.nullable {
            let field = crate::path::child(path, "nullable");
            errors.push(FieldError::forbidden(field, "nullable cannot be true at the root"));
        }
        let mut structure = invariants::check(self, path);
        structure.extend(completeness::check(self, path));
        structure.sort_by(|a, b| (&a.field, &a.message).cmp(&(&b.field, &b.message)));
        if structure.is_empty() {
            structure = defaults::check(self, path);
        }
        errors.extend(structure);
        errors
    }

    /// The schema of additional properties, when there is one.
    #[must_use]
    pub fn additional_schema(&self) -> Option<&Self> {
        match &self.additional {
            Some(Additional::Schema(schema)) => Some(schema),
            Some(Additional::Any(_)) | None => None,
        }
    }

    /// The schema of the entry `name` of an object.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or_else(|| self.additional_schema())
    }

    /// Whether items are told apart by their keys.
    pub(crate) fn is_list_map(&self) -> bool {
        self.extensions.list_type.as_deref() == Some("map")
    }
}
