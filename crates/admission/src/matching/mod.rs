//! Whether a webhook, a policy or a binding is about a request (`k8s.io/apiserver/pkg/admission/plugin/webhook/predicates`,
//! `.../plugin/policy/matching`).
//!
//! * [`Subject`]: the request, as far as this is concerned.
//! * [`Match`]: rules and selectors, read once.
//! * [`Form`]: a version of the resource. With `matchPolicy: Equivalent` a rule may name the one in which objects are stored
//!   instead of the one that is requested; then the object is converted.

mod rule;
mod subject;

pub(crate) use subject::{Form, Subject, namespace_of};

use orrery_machinery::{meta, selector::LabelSelector};
use serde_json::Value;

/// The group of webhook configurations and policies.
pub(crate) const GROUP: &str = "admissionregistration.k8s.io";

/// Rules and selectors.
pub(crate) struct Match {
    rules: Vec<Value>,
    excluded: Vec<Value>,
    /// Whether no rules stand for all resources, as in a binding.
    open: bool,
    equivalent: bool,
    namespaces: LabelSelector,
    objects: LabelSelector,
}

impl Match {
    /// Of a webhook.
    pub(crate) fn webhook(hook: &Value) -> Self {
        Self::read(hook, "rules", false)
    }

    /// Of a policy's `matchConstraints`.
    pub(crate) fn constraints(constraints: &Value) -> Self {
        Self::read(constraints, "resourceRules", false)
    }

    /// Of a binding's `matchResources`, which narrow down what the policy matches.
    pub(crate) fn binding(resources: &Value) -> Self {
        Self::read(resources, "resourceRules", true)
    }

    fn read(matching: &Value, rules: &str, open: bool) -> Self {
        let list = |name: &str| matching[name].as_array().cloned().unwrap_or_default();
        // Unlike elsewhere, a selector that is not there picks everything.
        let selector = |name: &str| match &matching[name] {
            Value::Null => LabelSelector::new(Vec::new()),
            selector => LabelSelector::from_object(selector),
        };
        Self {
            rules: list(rules),
            excluded: list("excludeResourceRules"),
            open,
            equivalent: matching["matchPolicy"] != "Exact",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
        }
    }

    /// In which form the request is matched; none when it is not.
    pub(crate) fn form<'a>(&self, subject: &Subject<'a>) -> Option<Form<'a>> {
        if !self.selects_namespace(subject) || !self.selects_object(subject) {
            return None;
        }
        if self.by_rules(&self.excluded, subject).is_some() {
            return None;
        }
        if self.open && self.rules.is_empty() {
            return Some(subject.served);
        }
        self.by_rules(&self.rules, subject)
    }

    fn by_rules<'a>(&self, rules: &[Value], subject: &Subject<'a>) -> Option<Form<'a>> {
        let stored = subject.stored.filter(|_| self.equivalent);
        let mut forms = [Some(subject.served), stored].into_iter().flatten();
        forms.find(|form| rules.iter().any(|rule| rule::fits(rule, subject, *form)))
    }

    fn selects_namespace(&self, subject: &Subject<'_>) -> bool {
        // Objects without a namespace are never left out, but for namespaces themselves.
        let Some(namespace) = subject.namespace else { return true };
        self.namespaces.is_everything() || self.namespaces.matches(namespace)
    }

    fn selects_object(&self, subject: &Subject<'_>) -> bool {
        let picks = |object: Option<&Value>| {
            object.is_some_and(|object| object["metadata"].is_object() && self.objects.matches(object))
        };
        self.objects.is_everything() || picks(subject.object) || picks(subject.old)
    }
}

/// Whether objects of this kind decide on requests, and so are never decided on by others of them.
pub(crate) fn is_exempt(group: &str, plural: &str) -> bool {
    const EXEMPT: [&str; 6] = [
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    ];
    group == GROUP && EXEMPT.contains(&plural)
}

/// A text below an object; empty when there is none.
pub(crate) fn text<'v>(value: &'v Value, part: &str) -> &'v str {
    value[part].as_str().unwrap_or_default()
}

/// The name of an object, owned.
pub(crate) fn name(object: &Value) -> String {
    meta::name(object).to_owned()
}

#[cfg(test)]
mod tests;
