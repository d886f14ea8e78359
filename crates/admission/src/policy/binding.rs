//! Policies with their bindings.

use super::params::{self, ParamKind};
use crate::{
    cache::Cache,
    matching::{Form, GROUP, Match, Subject, name, text},
};
use orrery_apiserver::AdmissionRequest;
use orrery_machinery::status::ApiError;
use orrery_schema::admission::FailurePolicy;
use serde_json::Value;
use std::sync::Arc;

/// A policy; `P` is its compiled part.
pub(super) struct Policy<P> {
    pub(super) name: String,
    pub(super) failure: FailurePolicy,
    /// Whether it is asked again when a later one changed the object.
    pub(super) reinvoke: bool,
    pub(super) compiled: P,
    matching: Match,
    params: Option<ParamKind>,
}

/// A binding.
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) actions: Vec<String>,
    policy: String,
    matching: Match,
    /// `paramRef`; null for none.
    params: Value,
}

impl Binding {
    fn read(binding: &Value) -> Self {
        let spec = &binding["spec"];
        let actions = spec["validationActions"].as_array().into_iter().flatten();
        Self {
            name: name(binding),
            actions: actions.filter_map(|action| Some(action.as_str()?.to_owned())).collect(),
            policy: text(spec, "policyName").to_owned(),
            matching: Match::binding(&spec["matchResources"]),
            params: spec["paramRef"].clone(),
        }
    }
}

/// A policy and a binding that are about a request.
pub(super) struct Bound<'a, P> {
    pub(super) policy: Arc<Policy<P>>,
    pub(super) binding: Arc<Binding>,
    /// As what the policy knows the resource.
    pub(super) form: Form<'a>,
    /// The parameters, with each of which the policy is evaluated; or why there are none.
    pub(super) params: Result<Vec<Option<Value>>, String>,
}

/// All policies of one kind.
pub(super) struct Policies<P> {
    policies: Cache<String, Policy<P>>,
    bindings: Cache<String, Binding>,
    plurals: (&'static str, &'static str),
    compile: fn(&Value) -> P,
}

/// The policies and bindings that are there.
pub(super) struct Present<P> {
    policies: Vec<Arc<Policy<P>>>,
    bindings: Vec<Arc<Binding>>,
}

impl<P> Policies<P> {
    /// Policies of the resource `policies`, with bindings of the resource `bindings`.
    pub(super) fn new(policies: &'static str, bindings: &'static str, compile: fn(&Value) -> P) -> Self {
        Self { policies: Cache::default(), bindings: Cache::default(), plurals: (policies, bindings), compile }
    }

    /// The policies and bindings that are there; none when there is no pair of them.
    pub(super) async fn present(&self, request: &AdmissionRequest<'_>) -> Result<Option<Present<P>>, ApiError> {
        let policies = request.reader.list(GROUP, self.plurals.0, "").await?;
        if policies.is_empty() {
            return Ok(None);
        }
        let bindings = request.reader.list(GROUP, self.plurals.1, "").await?;
        if bindings.is_empty() {
            return Ok(None);
        }
        let policies = self.policies.all(&policies, |policy| self.read(policy));
        Ok(Some(Present { policies, bindings: self.bindings.all(&bindings, Binding::read) }))
    }

    fn read(&self, policy: &Value) -> Policy<P> {
        let spec = &policy["spec"];
        Policy {
            name: name(policy),
            failure: FailurePolicy::read(spec),
            reinvoke: spec["reinvocationPolicy"] == "IfNeeded",
            compiled: (self.compile)(spec),
            matching: Match::constraints(&spec["matchConstraints"]),
            params: ParamKind::read(&spec["paramKind"]),
        }
    }
}

impl<P> Present<P> {
    /// Those that are about the request, policy by policy.
    pub(super) async fn about<'a>(
        &self,
        request: &AdmissionRequest<'_>,
        subject: &Subject<'a>,
    ) -> Result<Vec<Bound<'a, P>>, ApiError> {
        let mut found = Vec::new();
        for policy in &self.policies {
            let Some(form) = policy.matching.form(subject) else { continue };
            let bindings = self.bindings.iter().filter(|binding| binding.policy == policy.name);
            for binding in bindings.filter(|binding| binding.matching.form(subject).is_some()) {
                let params = params::collect(policy.params.as_ref(), &binding.params, request).await?;
                let (policy, binding) = (Arc::clone(policy), Arc::clone(binding));
                found.push(Bound { policy, binding, form, params });
            }
        }
        Ok(found)
    }
}
