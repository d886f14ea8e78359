//! What an authorizer is asked.

use crate::User;

/// A term of a request's field selector, as far as authorizers look at them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTerm {
    /// Such as `spec.nodeName`.
    pub field: String,
    /// Whether the field has to be `value`, or something else.
    pub equal: bool,
    /// The value.
    pub value: String,
}

/// The terms of a field selector's text. Empty when it is malformed: a selector only ever widens what is allowed.
#[must_use]
pub fn field_terms(selector: &str) -> Vec<FieldTerm> {
    let term = |text: &str| {
        let (field, operator, value) = ["!=", "==", "="]
            .iter()
            .find_map(|operator| text.split_once(operator).map(|(field, value)| (field, *operator, value)))?;
        Some(FieldTerm { field: field.trim().to_owned(), equal: operator != "!=", value: value.to_owned() })
    };
    let texts = selector.split(',').filter(|text| !text.is_empty());
    texts.map(term).collect::<Option<_>>().unwrap_or_default()
}

/// A question to the authorizer. Empty texts mean "none".
#[derive(Debug, Clone)]
pub struct Attributes {
    /// Who wants it.
    pub user: User,
    /// Such as `get`; a text, because reviews may ask about verbs of later use.
    pub verb: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The plural.
    pub resource: String,
    /// Such as `status`.
    pub subresource: String,
    /// Where; empty for all namespaces, and for resources without.
    pub namespace: String,
    /// Which object; empty for a collection.
    pub name: String,
    /// The request's field selector.
    pub fields: Vec<FieldTerm>,
    /// Set for a path that is no resource; then the fields above but `user` and `verb` are empty.
    pub path: Option<String>,
}

impl Attributes {
    /// A question about a path that is no resource.
    #[must_use]
    pub fn path(user: User, verb: &str, path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..Self::resource(user, verb, "", "", "", "") }
    }

    /// A question about a resource.
    #[must_use]
    pub fn resource(user: User, verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Self {
        Self {
            user,
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: String::new(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            fields: Vec::new(),
            path: None,
        }
    }

    /// [`field_terms`], for who has only this type.
    #[must_use]
    pub fn terms(selector: &str) -> Vec<FieldTerm> {
        field_terms(selector)
    }

    /// `pods` or `pods/status`.
    #[must_use]
    pub fn full_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// Whether the field selector pins `field` to `value`.
    #[must_use]
    pub fn selects(&self, field: &str, value: &str) -> bool {
        self.fields.iter().any(|term| term.equal && term.field == field && term.value == value)
    }

    /// The refusal in upstream's words, such as `User "a" cannot get resource "pods" in API group "" in the namespace "b"`.
    #[must_use]
    pub fn refusal(&self) -> String {
        let user = self.user.name();
        if let Some(path) = &self.path {
            return format!("User {user:?} cannot {} path {path:?}", self.verb);
        }
        let scope = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", self.namespace)
        };
        let resource = self.full_resource();
        format!("User {user:?} cannot {} resource {resource:?} in API group {:?} {scope}", self.verb, self.group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_pins_a_field_by_either_equality() {
        let mut asked = Attributes::resource(User::anonymous(), "list", "", "pods", "", "");
        for (selector, expected) in [
            ("spec.nodeName=a", true),
            ("spec.nodeName==a", true),
            ("status.phase!=Failed,spec.nodeName=a", true),
            ("spec.nodeName!=a", false),
            ("spec.nodeName=b", false),
            ("spec.nodeName", false),
            ("spec.nodeName=a,broken", false),
            ("", false),
        ] {
            asked.fields = field_terms(selector);
            assert_eq!(asked.selects("spec.nodeName", "a"), expected, "{selector}");
        }
    }
}
