//! Conflicts between managers.

use super::managers::{ManagerId, Operation};
use crate::fields::{FieldSet, go_quote};
use orrery_machinery::status::ApiError;
use serde_json::{Value, json};

/// Fields that other managers own with other values.
#[derive(Debug, Clone, Default)]
pub(super) struct Conflicts(Vec<(ManagerId<'static>, FieldSet<'static>)>);

impl Conflicts {
    pub(super) fn add(&mut self, id: &ManagerId<'_>, fields: FieldSet<'_>) {
        let owned = |text: &str| std::borrow::Cow::Owned(text.to_owned());
        let id = ManagerId {
            manager: owned(&id.manager),
            operation: id.operation,
            api_version: owned(&id.api_version),
            subresource: owned(&id.subresource),
        };
        self.0.push((id, fields.into_owned()));
        self.0.sort_by(|(left, _), (right, _)| left.cmp(right));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Without the fields of `allowed`.
    pub(super) fn without(self, allowed: &FieldSet<'_>) -> Self {
        let rest = self.0.into_iter().map(|(id, fields)| (id, fields.difference(allowed)));
        Self(rest.filter(|(_, fields)| !fields.is_empty()).collect())
    }
}

/// 409 with a cause for each field.
impl From<Conflicts> for ApiError {
    fn from(conflicts: Conflicts) -> Self {
        let mut causes: Vec<Value> = Vec::new();
        let mut lines = Vec::new();
        for (id, fields) in &conflicts.0 {
            let manager = shown(id);
            lines.push(format!("conflicts with {manager}:"));
            for path in fields.paths() {
                lines.push(format!("- {path}"));
                let message = format!("conflict with {manager}");
                causes.push(json!({"reason": "FieldManagerConflict", "message": message, "field": path}));
            }
        }
        let message = match causes.as_slice() {
            [only] => format!(
                "Apply failed with 1 conflict: {}: {}",
                only["message"].as_str().unwrap_or_default(),
                only["field"].as_str().unwrap_or_default()
            ),
            several => format!("Apply failed with {} conflicts: {}", several.len(), lines.join("\n")),
        };
        Self { code: 409, reason: "Conflict", message, details: Some(json!({"causes": causes})) }
    }
}

fn shown(id: &ManagerId<'_>) -> String {
    let mut shown = go_quote(&id.manager);
    if !id.subresource.is_empty() {
        shown = format!("{shown} with subresource {}", go_quote(&id.subresource));
    }
    match id.operation {
        Operation::Apply => shown,
        Operation::Update => format!("{shown} using {}", id.api_version),
    }
}
