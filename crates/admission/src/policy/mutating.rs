//! `MutatingAdmissionPolicy`.

use super::{
    binding::{Bound, Policies},
    handles,
};
use crate::{
    forbidden,
    matching::{Form, Subject, namespace_of},
    reason,
    review::{convert, convert_back, describe},
    rights::{self, Rights},
};
use orrery_apiserver::{AdmissionRequest, Plugin, Review};
use orrery_machinery::{meta, status::ApiError};
use orrery_merge::{
    apply::{self, Apply, Ignored, OneVersion, Resource, Writer},
    patch::{self, PatchKind},
};
use orrery_schema::{
    admission::{FailurePolicy, Input, Memory, MutatingPolicy, Patch},
    cel::{Budget, PER_CALL_LIMIT, PER_OBJECT_BUDGET},
};
use serde_json::{Value, json};

/// The plugin.
pub(crate) struct MutatingAdmissionPolicy(Policies<MutatingPolicy>);

impl Default for MutatingAdmissionPolicy {
    fn default() -> Self {
        let (policies, bindings) = ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings");
        Self(Policies::new(policies, bindings, MutatingPolicy::compile))
    }
}

#[async_trait::async_trait]
impl Plugin for MutatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "MutatingAdmissionPolicy"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        handles(request)
    }

    async fn change(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        review: &mut Review,
    ) -> Result<bool, ApiError> {
        let Some(present) = self.0.present(request).await? else { return Ok(false) };
        let namespace = namespace_of(request).await?;
        let original = object.clone();
        // What is about the request is decided once, before anything is changed.
        let subject = Subject::new(request, Some(&original), namespace.as_ref());
        let bound = present.about(request, &subject).await?;
        let memory = review.rounds.begin(self.name(), Some(object));
        let rights = Rights::of(request);
        let run = loop {
            let (memory, refusals) = (memory.clone(), Vec::new());
            let object = object.clone();
            let mut run =
                Run { request, rights: rights.as_ref(), namespace: namespace.as_ref(), object, memory, refusals };
            run.all(&bound);
            if !rights::settle(rights.as_ref()).await {
                break run;
            }
        };
        review.rounds.end(self.name(), run.memory.clone(), Some(&run.object));
        run.end(object)
    }
}

/// A policy that could not be evaluated.
struct Refusal {
    message: String,
    reason: &'static str,
}

/// One round of an object through all policies.
struct Run<'a> {
    request: &'a AdmissionRequest<'a>,
    rights: Option<&'a Rights<'a>>,
    namespace: Option<&'a Value>,
    object: Value,
    memory: Memory,
    refusals: Vec<Refusal>,
}

impl Run<'_> {
    fn all(&mut self, bound: &[Bound<'_, MutatingPolicy>]) {
        let mut invocations = Vec::new();
        for bound in bound {
            match &bound.params {
                Ok(params) => invocations.extend(params.iter().map(|params| (bound, params.as_ref()))),
                Err(why) => self.refuse(bound, &format!("failed to configure binding: {why}"), "Forbidden"),
            }
        }
        for (index, (bound, params)) in invocations.into_iter().enumerate() {
            let part = format!("{index}:{}/{}", bound.policy.name, bound.binding.name);
            if !self.memory.is_due(&part) {
                continue;
            }
            match self.one(bound, params) {
                Ok(Some(is_changed)) => self.memory.asked(part, is_changed, bound.policy.reinvoke),
                Ok(None) => {}
                Err(why) => self.refuse(bound, &why, "Invalid"),
            }
        }
    }

    /// Makes all mutations of a policy, and tells whether the object is another afterwards; none when the policy's conditions
    /// do not hold. A mutation that fails is passed over.
    fn one(&mut self, bound: &Bound<'_, MutatingPolicy>, params: Option<&Value>) -> Result<Option<bool>, String> {
        let policy = &bound.policy.compiled;
        if !self.with_input(bound, params, |input| policy.matches(input))? {
            return Ok(None);
        }
        let before = self.object.clone();
        for index in 0..policy.mutations() {
            let mut budget = Budget::new(PER_OBJECT_BUDGET, PER_CALL_LIMIT);
            let patch = self.with_input(bound, params, |input| policy.patch(index, input, &mut budget));
            match patch.and_then(|patch| self.patched(&patch, bound.form)) {
                Ok(object) => self.object = object,
                Err(why) => self.refuse(bound, &why, "Invalid"),
            }
        }
        Ok(Some(before != self.object))
    }

    /// Evaluates something on the object as it is now.
    fn with_input<T>(
        &self,
        bound: &Bound<'_, MutatingPolicy>,
        params: Option<&Value>,
        evaluate: impl FnOnce(&Input<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let shown = |object: &Value| convert(self.request, object, bound.form).map_err(|error| error.message);
        let object = shown(&self.object)?;
        let old = self.request.old.map(shown).transpose()?;
        let described = describe(self.request, Some(&self.object), bound.form);
        evaluate(&Input {
            object: Some(&object),
            old_object: old.as_ref(),
            request: &described,
            params,
            namespace: self.namespace,
            authorizer: rights::shown(self.rights),
        })
    }

    fn patched(&self, patch: &Patch, form: Form<'_>) -> Result<Value, String> {
        let told = |error: ApiError| error.message;
        let object = convert(self.request, &self.object, form).map_err(told)?;
        let made = match patch {
            Patch::Json(operations) => patch::apply(PatchKind::Json, &object, operations, None),
            Patch::Apply(fields) => merged(self.request, &object, fields),
        };
        convert_back(self.request, made.map_err(|error| format!("error applying patch: {}", error.message))?, form)
            .map_err(told)
    }

    fn refuse(&mut self, bound: &Bound<'_, MutatingPolicy>, why: &str, reason: &'static str) {
        if bound.policy.failure == FailurePolicy::Ignore {
            tracing::debug!(policy = %bound.policy.name, why, "a policy failed; it is ignored");
            return;
        }
        let (policy, binding) = (&bound.policy.name, &bound.binding.name);
        let message = format!("policy '{policy}' with binding '{binding}' denied request: {why}");
        self.refusals.push(Refusal { message, reason });
    }

    fn end(self, object: &mut Value) -> Result<bool, ApiError> {
        let Some(first) = self.refusals.first() else {
            let is_changed = *object != self.object;
            *object = self.object;
            return Ok(is_changed);
        };
        let mut error = forbidden(self.request, &first.message);
        error.message.clone_from(&first.message);
        error.reason = reason::known(first.reason).unwrap_or("Forbidden");
        if let Some(details) = &mut error.details {
            details["causes"] = self.refusals.iter().map(|refusal| json!({"message": refusal.message})).collect();
        }
        Err(error)
    }
}

/// The object with fields merged in as server-side apply merges them. Who owns which field stays as it was: that is settled
/// when the object is stored.
fn merged(request: &AdmissionRequest<'_>, object: &Value, fields: &Value) -> Result<Value, ApiError> {
    let mut live = object.clone();
    let owners = meta::metadata_mut(&mut live).remove("managedFields");
    let mut config = fields.clone();
    if !config.is_object() {
        return Err(ApiError::bad_request("the fields to apply are no object"));
    }
    for part in ["apiVersion", "kind"] {
        config[part] = object[part].clone();
    }
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let applied = apply::apply(&Apply {
        live: Some(&live),
        config: &config,
        force: true,
        resource: Resource {
            api_version,
            kind: object["kind"].as_str().unwrap_or_default(),
            shape: &request.resource.shape,
            ignored: &Ignored::Nothing,
            versions: &OneVersion,
        },
        writer: Writer { manager: "admission", subresource: request.subresource, now: &now },
    })?;
    let mut made = applied.object;
    let metadata = meta::metadata_mut(&mut made);
    metadata.remove("managedFields");
    if let Some(owners) = owners {
        metadata.insert("managedFields".to_owned(), owners);
    }
    Ok(made)
}
