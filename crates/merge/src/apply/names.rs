//! Names of managers.

use orrery_machinery::status::FieldError;
use serde_json::Value;

/// A manager's name may have so many bytes.
pub const MANAGER_LIMIT_BYTES: usize = 128;

/// A sub-resource's name in an entry may have so many bytes.
const SUBRESOURCE_LIMIT_BYTES: usize = 256;

/// The manager's name for a write that gives none: the first part of the user agent, as far as it can be printed.
///
/// ```
/// assert_eq!(orrery_machinery::apply::manager_of("kubectl/v1.36.0 (linux/amd64)"), "kubectl");
/// ```
#[must_use]
pub fn manager_of(user_agent: &str) -> String {
    let mut name = String::new();
    for c in user_agent.split('/').next().unwrap_or_default().chars().filter(|c| is_printable(*c)) {
        if name.len() + c.len_utf8() > MANAGER_LIMIT_BYTES {
            break;
        }
        name.push(c);
    }
    name
}

/// What is wrong with a manager's name at `field`. An empty one is fine: it means that none was given.
#[must_use]
pub fn validate_manager(name: &str, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if name.len() > MANAGER_LIMIT_BYTES {
        errors.push(FieldError::too_long(field, MANAGER_LIMIT_BYTES));
    }
    for (place, c) in name.char_indices().filter(|(_, c)| !is_printable(*c)) {
        let shown = if c.is_control() { format!("U+{:04X}", c as u32) } else { format!("U+{:04X} '{c}'", c as u32) };
        let detail = format!("invalid character {shown} (at position {place})");
        errors.push(FieldError::invalid(field, &name.into(), &detail));
    }
    errors
}

/// What is wrong with the options of a patch: `force` is for apply only, and apply needs a manager.
#[must_use]
pub fn validate_patch_options(is_apply: bool, force: Option<bool>, manager: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !is_apply && force.is_some() {
        errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
    }
    if is_apply && manager.is_empty() {
        errors.push(FieldError::required("fieldManager", "is required for apply patch"));
    }
    errors.extend(validate_manager(manager, "fieldManager"));
    errors
}

/// What is wrong with `metadata.managedFields` as a client sent it.
#[must_use]
pub fn validate_managed_fields(entries: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (place, entry) in entries.as_array().into_iter().flatten().enumerate() {
        let at = |name: &str| format!("metadata.managedFields[{place}].{name}");
        let text = |name: &str| entry[name].as_str().unwrap_or_default();
        if !matches!(text("operation"), "Apply" | "Update") {
            let operation = text("operation").into();
            errors.push(FieldError::invalid(at("operation"), &operation, "must be `Apply` or `Update`"));
        }
        if !matches!(text("fieldsType"), "" | "FieldsV1") {
            errors.push(FieldError::invalid(at("fieldsType"), &entry["fieldsType"], "must be `FieldsV1`"));
        }
        errors.extend(validate_manager(text("manager"), &at("manager")));
        if text("subresource").len() > SUBRESOURCE_LIMIT_BYTES {
            errors.push(FieldError::too_long(at("subresource"), SUBRESOURCE_LIMIT_BYTES));
        }
    }
    errors
}

/// Letters, marks, numbers, punctuation, symbols and the plain space; no controls, no other spaces.
fn is_printable(c: char) -> bool {
    c == ' ' || !(c.is_control() || c.is_whitespace() || is_unprinted(c))
}

/// Formatting and private characters, which `char` has no question for.
fn is_unprinted(c: char) -> bool {
    matches!(c as u32, 0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfeff | 0xe000..=0xf8ff | 0xfff0..=0xfffb
        | 0xf0000..=0x0010_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn managers_have_names_of_printable_characters() {
        assert_eq!(manager_of("kubectl/v1.36 (linux)"), "kubectl");
        assert_eq!(manager_of("a\u{7}b\u{a0}c/1"), "abc");
        assert_eq!(manager_of(&"ä".repeat(100)).len(), 128);
        assert_eq!(validate_manager("kubectl edit-é", "fieldManager"), []);
        let errors = validate_manager("a\nb", "fieldManager");
        assert_eq!(errors[0].message, r#"Invalid value: "a\nb": invalid character U+000A (at position 1)"#);
        assert_eq!(validate_manager(&"x".repeat(129), "fieldManager").len(), 1);
        assert_eq!(validate_patch_options(true, None, "")[0].message, "Required value: is required for apply patch");
        assert_eq!(validate_patch_options(false, Some(true), "").len(), 1);
        assert_eq!(validate_patch_options(true, Some(false), "me"), []);
        let bad = json!([{"operation": "Apply", "manager": "ok"}, {"operation": "X", "fieldsType": "FieldsV2"}]);
        assert_eq!(validate_managed_fields(&bad).len(), 2);
    }
}
