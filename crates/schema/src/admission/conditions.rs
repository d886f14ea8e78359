//! `matchConditions`: whether a webhook or policy is asked at all.

use super::compiler::{Compiler, Expected};
use super::input::Input;
use orrery_cel::{Budget, EvalError, PER_CALL_LIMIT, Program, Val};
use serde_json::Value;

/// What all conditions together may cost; `RuntimeCELCostBudgetMatchConditions`.
pub const MATCH_CONDITIONS_BUDGET: u64 = 2_500_000;

/// What happens when an expression has no value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// The request is refused.
    #[default]
    Fail,
    /// As if the webhook or policy were not there.
    Ignore,
}

impl FailurePolicy {
    /// Reads `failurePolicy`.
    #[must_use]
    pub fn read(spec: &Value) -> Self {
        if spec["failurePolicy"] == "Ignore" { Self::Ignore } else { Self::Fail }
    }
}

/// Compiled conditions.
#[derive(Debug, Clone, Default)]
pub struct MatchConditions(Vec<Compiled>);

/// An expression and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    pub(super) source: String,
    pub(super) program: Result<Program, String>,
}

impl Compiled {
    pub(super) fn new(compiler: &Compiler, source: &str, expected: Expected) -> Self {
        Self { source: source.to_owned(), program: compiler.compile(source, expected) }
    }

    /// What it gives; an error reads as upstream tells it. Of the errors, only a used up budget ends everything.
    pub(super) fn evaluate<'a>(
        &'a self,
        input: &Input<'a>,
        variables: &'a [(String, Program)],
        budget: &mut Budget,
    ) -> Result<Val<'a>, String> {
        let program = self.program.as_ref().map_err(|error| format!("compilation error: {error}"))?;
        let result = input.activation(variables).and_then(|activation| program.evaluate(&activation, budget));
        result.map_err(|error| match error {
            EvalError::BudgetExhausted => {
                "validation failed due to running out of cost budget, no further validation rules will be run"
                    .to_owned()
            }
            error => format!("expression '{}' resulted in error: {error}", self.source),
        })
    }
}

impl MatchConditions {
    /// Compiles a list of `matchConditions`. What does not compile is an error of every request.
    #[must_use]
    pub fn compile(conditions: &Value, compiler: &Compiler) -> Self {
        let sources = conditions.as_array().into_iter().flatten().map(|c| c["expression"].as_str().unwrap_or_default());
        Self(sources.map(|source| Compiled::new(compiler, source, Expected::Bool)).collect())
    }

    /// Whether all conditions hold. One that is false decides it, whatever the others are.
    ///
    /// # Errors
    /// When a condition has no value, none is false, and the policy is to fail.
    pub fn matches(&self, input: &Input<'_>, policy: FailurePolicy) -> Result<bool, String> {
        let mut budget = Budget::new(MATCH_CONDITIONS_BUDGET, PER_CALL_LIMIT);
        let mut errors = Vec::new();
        for condition in &self.0 {
            match condition.evaluate(input, &[], &mut budget) {
                Ok(Val::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(error) => errors.push(error),
            }
        }
        match (errors.len(), policy) {
            (0, _) => Ok(true),
            (_, FailurePolicy::Ignore) => Ok(false),
            (1, FailurePolicy::Fail) => Err(errors.remove(0)),
            (_, FailurePolicy::Fail) => Err(format!("[{}]", errors.join(", "))),
        }
    }
}
