//! `ValidatingAdmissionPolicy`.

use super::compiler::{Compiler, Expected, Options};
use super::conditions::{Compiled, FailurePolicy, MatchConditions};
use super::input::Input;
use orrery_cel::{Budget, Program, Val};
use serde_json::Value;

/// How long a message may be that an expression makes, in bytes.
const MAX_MESSAGE_BYTES: usize = 5 * 1024;

/// A compiled policy.
#[derive(Debug, Clone)]
pub struct ValidatingPolicy {
    failure: FailurePolicy,
    conditions: MatchConditions,
    variables: Vec<(String, Program)>,
    validations: Vec<Validation>,
    annotations: Vec<(String, Compiled)>,
}

#[derive(Debug, Clone)]
struct Validation {
    expression: Compiled,
    message: String,
    message_expression: Option<Compiled>,
    reason: String,
}

/// What a policy says of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValidatingOutcome {
    /// Why the request is refused; nothing when it is admitted. What a binding's actions make of it is for the caller.
    pub denials: Vec<Decision>,
    /// Annotations for the audit log.
    pub annotations: Vec<AuditAnnotation>,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// `metav1.StatusReason`, such as `Invalid` or `Forbidden`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Whether the expression had no value, rather than the value false.
    pub is_error: bool,
    /// Which of `validations` it is; none when it is the conditions.
    pub index: Option<usize>,
}

/// An annotation for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditAnnotation {
    /// The key within the policy.
    pub key: String,
    /// The value, or why there is none.
    pub value: Result<String, String>,
}

impl ValidatingPolicy {
    /// Compiles the `spec` of a policy. What does not compile is an error of every request.
    #[must_use]
    pub fn compile(spec: &Value) -> Self {
        let params = spec["paramKind"].is_object();
        let options = Options { params, authorizer: true, mutation: false };
        let conditions = MatchConditions::compile(&spec["matchConditions"], &Compiler::new(options));
        let mut compiler = Compiler::new(options);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for variable in spec["variables"].as_array().into_iter().flatten() {
            // An expression that uses one that does not compile fails, and says so.
            let _ = compiler.variable(&text(&variable["name"]), &text(&variable["expression"]));
        }
        let validations = spec["validations"].as_array().into_iter().flatten().map(|validation| Validation {
            expression: Compiled::new(&compiler, &text(&validation["expression"]), Expected::Bool),
            message: text(&validation["message"]).trim().to_owned(),
            message_expression: validation["messageExpression"]
                .as_str()
                .filter(|source| !source.trim().is_empty())
                .map(|source| Compiled::new(&compiler, source, Expected::String)),
            reason: validation["reason"].as_str().unwrap_or("Invalid").to_owned(),
        });
        let validations = validations.collect();
        let annotations = spec["auditAnnotations"].as_array().into_iter().flatten();
        let annotations = annotations
            .map(|a| (text(&a["key"]), Compiled::new(&compiler, &text(&a["valueExpression"]), Expected::StringOrNull)))
            .collect();
        Self {
            failure: FailurePolicy::read(spec),
            conditions,
            validations,
            annotations,
            variables: compiler.into_variables(),
        }
    }

    /// What the policy says of a request, if its conditions hold.
    #[must_use]
    pub fn evaluate(&self, input: &Input<'_>, budget: &mut Budget) -> ValidatingOutcome {
        let mut outcome = ValidatingOutcome::default();
        match self.conditions.matches(input, self.failure) {
            Ok(true) => {}
            Ok(false) => return outcome,
            Err(message) => {
                outcome.denials.push(Decision { reason: "Invalid".into(), message, is_error: true, index: None });
                return outcome;
            }
        }
        for (index, validation) in self.validations.iter().enumerate() {
            outcome.denials.extend(self.decide(index, validation, input, budget));
        }
        for (key, expression) in &self.annotations {
            let value = match expression.evaluate(input, &self.variables, budget) {
                Ok(Val::Null) => continue,
                Ok(value) => Ok(value.as_text().unwrap_or_default().trim().to_owned()),
                Err(_) if self.failure == FailurePolicy::Ignore => continue,
                Err(error) => Err(error),
            };
            if value.as_ref().is_ok_and(String::is_empty) {
                continue;
            }
            outcome.annotations.push(AuditAnnotation { key: key.clone(), value });
        }
        outcome
    }

    fn decide(
        &self,
        index: usize,
        validation: &Validation,
        input: &Input<'_>,
        budget: &mut Budget,
    ) -> Option<Decision> {
        let decision = |reason: &str, message: String, is_error: bool| {
            Some(Decision { reason: reason.to_owned(), message, is_error, index: Some(index) })
        };
        match validation.expression.evaluate(input, &self.variables, budget) {
            Ok(Val::Bool(true)) => None,
            Ok(_) => decision(&validation.reason, self.message(validation, input, budget), false),
            Err(_) if self.failure == FailurePolicy::Ignore => None,
            Err(error) => decision("Invalid", error, true),
        }
    }

    fn message(&self, validation: &Validation, input: &Input<'_>, budget: &mut Budget) -> String {
        // The authorizer is not there for messages.
        let input = Input { authorizer: None, ..*input };
        let made = validation.message_expression.as_ref().and_then(|expression| {
            let value = expression.evaluate(&input, &self.variables, budget).ok()?;
            let text = value.as_text()?.trim().to_owned();
            (!text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n')).then_some(text)
        });
        made.unwrap_or_else(|| match validation.message.as_str() {
            "" => format!("failed expression: {}", validation.expression.source.trim()),
            message => message.to_owned(),
        })
    }
}
