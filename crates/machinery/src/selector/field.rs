//! Field selectors (`k8s.io/apimachinery/pkg/fields/selector.go`).

use crate::descriptor::{FieldReader, ResourceDescriptor, SelectableField};
use crate::meta;
use crate::status::ApiError;
use serde_json::Value;

/// What fields have to be. All terms must hold.
#[derive(Clone, Default)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Clone)]
struct Term {
    field: FieldReader,
    equal: bool,
    value: String,
}

/// The fields that every kind can be selected by.
const COMMON: [SelectableField; 2] = [
    SelectableField { path: "metadata.name", value: |object| meta::name(object).to_owned() },
    SelectableField { path: "metadata.namespace", value: |object| meta::namespace(object).to_owned() },
];

impl FieldSelector {
    /// Reads a query parameter. Terms are joined by `,`, each `path=value`, `path==value` or `path!=value`; in a value,
    /// `\` goes before a `,`, `=` or `\` that is meant as such.
    ///
    /// # Errors
    /// 400 when the text is no selector or names a field that the resource cannot be selected by.
    pub fn parse(text: &str, descriptor: &ResourceDescriptor) -> Result<Self, ApiError> {
        let known = |path: &str| {
            let common = COMMON.iter().filter(|f| descriptor.namespaced || f.path != "metadata.namespace");
            let common = common.copied().find(|f| f.path == path).map(FieldReader::from);
            common.or_else(|| descriptor.selectable_fields.iter().find(|f| f.path == path).cloned())
        };
        let mut terms = Vec::new();
        for part in split_unescaped(text).into_iter().filter(|part| !part.is_empty()) {
            let malformed = || ApiError::bad_request(format!("invalid selector: '{text}'; can't understand '{part}'"));
            let (path, equal, raw) = split_term(part).ok_or_else(malformed)?;
            let value = unescape(raw).ok_or_else(malformed)?;
            let field = known(path).ok_or_else(|| unsupported(path, descriptor))?;
            terms.push(Term { field, equal, value });
        }
        Ok(Self { terms })
    }

    /// Whether it picks everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether it picks `object`.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| ((term.field.value)(object) == term.value) == term.equal)
    }

    /// Whether it picks an object whose fields `value` tells.
    #[must_use]
    pub fn matches_by<'a>(&self, value: impl Fn(&str) -> &'a str) -> bool {
        self.terms.iter().all(|term| (value(&term.field.path) == term.value) == term.equal)
    }

    /// The value that `path` must have, when the selector asks for exactly one: lets a request for one name be
    /// answered without looking at the others.
    #[must_use]
    pub fn requires(&self, path: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field.path == path).map(|term| term.value.as_str())
    }
}

fn unsupported(path: &str, descriptor: &ResourceDescriptor) -> ApiError {
    if descriptor.selectable_fields.is_empty() {
        let message = format!("{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
        return ApiError::bad_request(message);
    }
    ApiError::bad_request(format!("field label not supported: {path}"))
}

/// Splits at each `,` that has no `\` before it.
fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Path, whether equal, and the value as it stands.
fn split_term(part: &str) -> Option<(&str, bool, &str)> {
    let at = part.find('=').filter(|at| *at > 0)?;
    let (path, rest) = (&part[..at], &part[at + 1..]);
    if let Some(path) = path.strip_suffix('!') {
        return Some((path, false, rest));
    }
    Some((path, true, rest.strip_prefix('=').unwrap_or(rest)))
}

/// Takes the `\` away; none when a sign is not escaped that has to be, or `\` stands before something else.
fn unescape(raw: &str) -> Option<String> {
    let mut value = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => value.push(chars.next().filter(|next| matches!(next, '\\' | ',' | '='))?),
            ',' | '=' => return None,
            _ => value.push(c),
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::{FixedResource, test_descriptor};
    use serde_json::json;

    #[test]
    fn terms_pick_by_the_fields_of_the_descriptor() {
        let object = json!({"metadata": {"name": "a,b", "namespace": "n"}, "spec": {"size": "big"}});
        let table = [
            ("", true),
            ("metadata.namespace=n", true),
            ("metadata.namespace==n,spec.size=big", true),
            ("spec.size!=big", false),
            ("spec.size!=small,,", true),
            ("metadata.name=a\\,b", true),
            ("spec.size=", false),
        ];
        for (text, expected) in table {
            let selector =
                FieldSelector::parse(text, &test_descriptor().into()).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(selector.matches(&object), expected, "{text}");
        }
        let one = FieldSelector::parse("metadata.name=x,spec.size!=big", &test_descriptor().into()).unwrap();
        assert_eq!((one.requires("metadata.name"), one.requires("spec.size")), (Some("x"), None));
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let refused = |text: &str, d: &ResourceDescriptor| FieldSelector::parse(text, d).err().unwrap().message;
        let descriptor = test_descriptor().into();
        assert_eq!(refused("spec.x=1", &descriptor), "field label not supported: spec.x");
        assert!(refused("nonsense", &descriptor).contains("can't understand 'nonsense'"));
        assert!(refused("spec.size=a=b", &descriptor).contains("can't understand"));
        let bare = FixedResource { selectable_fields: &[], ..test_descriptor() }.into();
        assert!(refused("spec.x=1", &bare).contains("is not a known field selector"));
        let cluster = FixedResource { namespaced: false, ..test_descriptor() }.into();
        assert_eq!(refused("metadata.namespace=n", &cluster), "field label not supported: metadata.namespace");
    }
}
