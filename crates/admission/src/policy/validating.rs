//! `ValidatingAdmissionPolicy`.

use super::{
    binding::{Bound, Policies},
    handles,
};
use crate::{
    forbidden,
    matching::{Subject, namespace_of},
    reason,
    review::{convert, describe},
    rights::{self, Rights},
};
use orrery_apiserver::{AdmissionRequest, Plugin, Review};
use orrery_machinery::status::ApiError;
use orrery_schema::{
    admission::{Decision, FailurePolicy, Input, ValidatingOutcome, ValidatingPolicy},
    cel::{Budget, PER_CALL_LIMIT, PER_OBJECT_BUDGET},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How long the value of an annotation may be, in bytes.
const LONGEST_ANNOTATION: usize = 10 * 1024;

/// The plugin.
pub(crate) struct ValidatingAdmissionPolicy(Policies<ValidatingPolicy>);

impl Default for ValidatingAdmissionPolicy {
    fn default() -> Self {
        let (policies, bindings) = ("validatingadmissionpolicies", "validatingadmissionpolicybindings");
        Self(Policies::new(policies, bindings, ValidatingPolicy::compile))
    }
}

#[async_trait::async_trait]
impl Plugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        handles(request)
    }

    async fn check(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        review: &mut Review,
    ) -> Result<(), ApiError> {
        let Some(present) = self.0.present(request).await? else { return Ok(()) };
        let namespace = namespace_of(request).await?;
        let subject = Subject::new(request, object, namespace.as_ref());
        let mut verdict = Verdict::default();
        for bound in present.about(request, &subject).await? {
            match &bound.params {
                Ok(params) => {
                    for param in params {
                        let about = (&subject, namespace.as_ref());
                        let outcome = evaluate(request, about, &bound, param.as_ref()).await?;
                        verdict.take(&bound, outcome, review);
                    }
                }
                Err(why) if bound.policy.failure == FailurePolicy::Fail => {
                    verdict.refuse(&bound, &format!("failed to configure binding: {why}"), "Invalid");
                }
                Err(_) => {}
            }
        }
        verdict.end(request, review)
    }
}

async fn evaluate(
    request: &AdmissionRequest<'_>,
    (subject, namespace): (&Subject<'_>, Option<&Value>),
    bound: &Bound<'_, ValidatingPolicy>,
    params: Option<&Value>,
) -> Result<ValidatingOutcome, ApiError> {
    let shown = |object: Option<&Value>| object.map(|object| convert(request, object, bound.form)).transpose();
    let (object, old) = (shown(subject.object)?, shown(subject.old)?);
    let described = describe(request, subject.object, bound.form);
    let rights = Rights::of(request);
    let input = Input {
        object: object.as_ref(),
        old_object: old.as_ref(),
        request: &described,
        params,
        namespace,
        authorizer: rights::shown(rights.as_ref()),
    };
    loop {
        let mut budget = Budget::new(PER_OBJECT_BUDGET, PER_CALL_LIMIT);
        let outcome = bound.policy.compiled.evaluate(&input, &mut budget);
        if !rights::settle(rights.as_ref()).await {
            return Ok(outcome);
        }
    }
}

/// What all policies say together.
#[derive(Default)]
struct Verdict {
    /// The first refusal: message and reason.
    refusal: Option<(String, String)>,
    /// Failures that are only noted.
    noted: Vec<Value>,
    /// Annotations by policy and key.
    annotations: BTreeMap<String, Vec<String>>,
}

impl Verdict {
    fn take(&mut self, bound: &Bound<'_, ValidatingPolicy>, outcome: ValidatingOutcome, review: &mut Review) {
        let (policy, binding) = (&bound.policy.name, &bound.binding.name);
        for decision in outcome.denials {
            for action in &bound.binding.actions {
                match action.as_str() {
                    "Deny" => self.refuse(bound, &decision.message, &decision.reason),
                    "Warn" => review.warnings.push(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {}",
                        decision.message
                    )),
                    "Audit" => self.noted.push(note(bound, &decision)),
                    _ => {}
                }
            }
        }
        for annotation in outcome.annotations {
            match annotation.value {
                Ok(value) => {
                    let values = self.annotations.entry(format!("{policy}/{}", annotation.key)).or_default();
                    let value = shortened(value);
                    if !values.contains(&value) {
                        values.push(value);
                    }
                }
                Err(why) => self.refuse(bound, &why, "Invalid"),
            }
        }
    }

    fn refuse(&mut self, bound: &Bound<'_, ValidatingPolicy>, why: &str, reason: &str) {
        let (policy, binding) = (&bound.policy.name, &bound.binding.name);
        let text = || {
            let message =
                format!("ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}");
            (message, reason.to_owned())
        };
        self.refusal.get_or_insert_with(text);
    }

    fn end(self, request: &AdmissionRequest<'_>, review: &mut Review) -> Result<(), ApiError> {
        if !self.noted.is_empty() {
            let key = "validation.policy.admission.k8s.io/validation_failure".to_owned();
            review.annotations.push((key, Value::Array(self.noted).to_string()));
        }
        review.annotations.extend(self.annotations.into_iter().map(|(key, values)| (key, values.join(", "))));
        let Some((message, reason)) = self.refusal else { return Ok(()) };
        let mut error = forbidden(request, &message);
        error.code = reason::policy_code(&reason);
        error.reason = reason::known(&reason).unwrap_or("Invalid");
        if let Some(details) = &mut error.details {
            details["causes"] = json!([{"message": message}]);
        }
        Err(error)
    }
}

fn note(bound: &Bound<'_, ValidatingPolicy>, decision: &Decision) -> Value {
    json!({
        "message": decision.message,
        "policy": bound.policy.name,
        "binding": bound.binding.name,
        "expressionIndex": decision.index.unwrap_or_default(),
        "validationActions": bound.binding.actions,
    })
}

fn shortened(mut value: String) -> String {
    if value.len() > LONGEST_ANNOTATION {
        let end = (0..=LONGEST_ANNOTATION).rev().find(|at| value.is_char_boundary(*at)).unwrap_or_default();
        value.truncate(end);
    }
    value
}
