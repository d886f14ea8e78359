//! Warnings for the status of a validating policy: expressions that don't fit the types that the policy applies to
//! (`plugin/policy/validating/typechecking.go`). They never change what a policy does.

use super::compiler::{Compiler, Expected, Options};
use crate::path::{child, index};
use orrery_cel::Decl;
use serde_json::{Value, json};
use std::sync::Arc;

/// How many types are checked.
const MAX_TYPES: usize = 10;

/// A kind that a policy applies to, and what is known of its objects.
#[derive(Debug, Clone)]
pub struct TypedKind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Its objects.
    pub decl: Arc<Decl>,
}

impl TypedKind {
    /// As Go prints a `GroupVersionKind`.
    fn text(&self) -> String {
        format!("{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// Checks the expressions of a policy's `spec` against `kinds`; answers with `expressionWarnings` for its status.
/// `params` says what is known of the parameters.
#[must_use]
pub fn type_check(spec: &Value, kinds: &[TypedKind], params: Option<&Arc<Decl>>) -> Vec<Value> {
    let mut warnings = Vec::new();
    for (i, validation) in spec["validations"].as_array().into_iter().flatten().enumerate() {
        for part in ["expression", "messageExpression"] {
            let Some(source) = validation[part].as_str().filter(|source| !source.is_empty()) else { continue };
            let found: Vec<String> =
                kinds.iter().take(MAX_TYPES).filter_map(|kind| problem(spec, source, kind, params)).collect();
            if !found.is_empty() {
                let field = child(&index("spec.validations", i), part);
                warnings.push(json!({"fieldRef": field, "warning": found.join("\n")}));
            }
        }
    }
    warnings
}

fn problem(spec: &Value, source: &str, kind: &TypedKind, params: Option<&Arc<Decl>>) -> Option<String> {
    let options = Options { params: spec["paramKind"].is_object(), authorizer: true, mutation: false };
    let mut compiler = Compiler::typed(options, Some(&kind.decl), params);
    for variable in spec["variables"].as_array().into_iter().flatten() {
        let text = |part: &str| variable[part].as_str().unwrap_or_default();
        // What is wrong with a variable shows where it is used.
        let _ = compiler.variable(text("name"), text("expression"));
    }
    let error = compiler.compile(source, Expected::Any).err()?;
    let error = error.strip_prefix("compilation failed: ").unwrap_or(&error);
    Some(format!("{}: {error}\n", kind.text()))
}
