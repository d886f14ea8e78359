//! Running rules on an object.

use super::compile::{self, Node, Rule};
use crate::path::{child, index, key, or_nil};
use crate::structural::{Structural, ValidationRule};
use crate::validate::{Outcome, list_map_old};
use orrery_cel::{Activation, Budget, EvalError, Program, Val};
use orrery_machinery::status::FieldError;
use serde_json::Value;
use std::sync::Arc;

/// How long a message may be that an expression makes, in bytes.
const MAX_MESSAGE_BYTES: usize = 5 * 1024;

/// The compiled rules of a schema.
#[derive(Debug, Clone)]
pub struct Rules(Option<Arc<Node>>);

impl Rules {
    /// Compiles the rules of a whole object's schema. What does not compile is an error of every object.
    #[must_use]
    pub fn new(schema: &Structural) -> Self {
        Self(compile::node(schema, true).map(Arc::new))
    }

    /// Whether there are any.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Runs the rules on `new`. What fails in a part that is as it was only warns, unless the rule looks at `oldSelf`.
    #[must_use]
    pub fn run(&self, new: &Value, old: Option<&Value>, budget: &mut Budget) -> Outcome {
        self.0.as_ref().map_or_else(Outcome::default, |node| run(node, new, old, "", budget))
    }
}

/// Runs the rules of `node` on a value that stands at `path`.
pub(super) fn run(node: &Node, new: &Value, old: Option<&Value>, path: &str, budget: &mut Budget) -> Outcome {
    let mut runner = Runner { outcome: Outcome::default(), budget };
    let _ = runner.node(node, new, old, path, Same { current: old.map(|old| (new, old)), parent: None });
    runner.outcome
}

/// What a value and the nearest value around it were before, to know whether they changed.
#[derive(Clone, Copy)]
struct Same<'v> {
    current: Option<(&'v Value, &'v Value)>,
    parent: Option<(&'v Value, &'v Value)>,
}

impl<'v> Same<'v> {
    fn is_unchanged(self) -> bool {
        self.current.or(self.parent).is_some_and(|(new, old)| new == old)
    }

    /// The same for a value within, whose old self is `old`.
    fn below(self, new: &'v Value, old: Option<&'v Value>) -> Self {
        match self.current {
            None => self,
            Some(_) => Self { current: old.map(|old| (new, old)), parent: self.current },
        }
    }
}

/// The budget is used up; nothing further is run.
struct Stop;

type Ran = Result<(), Stop>;

struct Runner<'b> {
    outcome: Outcome,
    budget: &'b mut Budget,
}

impl Runner<'_> {
    fn node<'v>(&mut self, node: &Node, new: &'v Value, old: Option<&'v Value>, path: &str, same: Same<'v>) -> Ran {
        if new.is_null() {
            return Ok(());
        }
        let old = old.filter(|old| !old.is_null());
        self.rules(node, new, old, path, same)?;
        match new {
            Value::Array(list) => {
                let Some(items) = &node.items else { return Ok(()) };
                let before = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let plain = Structural::default();
                let old_of = list_map_old(node.keys.as_ref().unwrap_or(&plain), before);
                for (i, item) in list.iter().enumerate() {
                    let old = old_of(item);
                    self.node(items, item, old, &index(path, i), same.below(item, old))?;
                }
            }
            Value::Object(map) => {
                for (name, value) in map {
                    let old = old.and_then(|old| old.get(name));
                    match (node.properties.get(name), &node.additional) {
                        (Some(property), _) => {
                            self.node(property, value, old, &child(path, name), same.below(value, old))?;
                        }
                        (None, Some(additional)) => {
                            self.node(additional, value, old, &key(path, name), same.below(value, old))?;
                        }
                        (None, None) => {}
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Ok(())
    }

    fn rules(&mut self, node: &Node, new: &Value, old: Option<&Value>, path: &str, same: Same<'_>) -> Ran {
        let show = |detail: &str| FieldError::invalid(or_nil(path.to_owned()), &node.kind.as_str().into(), detail);
        for rule in &node.rules {
            if self.budget.remaining() == 0 {
                let why =
                    "validation failed due to running out of cost budget, no further validation rules will be run";
                self.outcome.errors.push(show(why));
                return Err(Stop);
            }
            let program = match &rule.program {
                Ok(Some(program)) => program,
                Ok(None) => continue,
                Err(why) => {
                    self.outcome.errors.push(show(&format!("rule compile error: {why}")));
                    continue;
                }
            };
            let optional = rule.source.optional_old_self == Some(true);
            if rule.uses_old && old.is_none() && !optional {
                continue;
            }
            match self.evaluate(node, program, new, old, optional) {
                Ok(Val::Bool(true)) => {}
                Ok(_) => self.failed(node, rule, new, old, path, same)?,
                Err(error) => {
                    let (detail, stop) = explain(&error, &rule.source);
                    self.outcome.errors.push(show(&detail));
                    if stop {
                        return Err(Stop);
                    }
                }
            }
        }
        Ok(())
    }

    fn evaluate<'v>(
        &mut self,
        node: &'v Node,
        program: &'v Program,
        new: &'v Value,
        old: Option<&'v Value>,
        optional: bool,
    ) -> Result<Val<'v>, EvalError> {
        let old = old.map(|old| Val::declared(old, &node.decl)).transpose()?;
        let old = if optional { Some(Val::Optional(old.map(Arc::new))) } else { old };
        let activation = Activation::new().with("self", Val::declared(new, &node.decl)?);
        let activation = match old {
            Some(old) => activation.with("oldSelf", old),
            None => activation,
        };
        program.evaluate(&activation, self.budget)
    }

    fn failed(
        &mut self,
        node: &Node,
        rule: &Rule,
        new: &Value,
        old: Option<&Value>,
        path: &str,
        same: Same<'_>,
    ) -> Ran {
        let source = &rule.source;
        let mut stop = false;
        let made = match &rule.message {
            Ok(Some(message)) => match self.message(node, rule, message, new, old) {
                Message::Made(text) => Some(text),
                Message::Unusable => None,
                Message::Stop(text) => {
                    stop = true;
                    Some(text)
                }
            },
            Ok(None) | Err(_) => None,
        };
        let detail = made.unwrap_or_else(|| match source.message.trim() {
            "" => format!("failed rule: {}", source.rule.trim()),
            message => message.to_owned(),
        });
        let field = or_nil(rule.field.as_ref().map_or_else(|| path.to_owned(), |field| child(path, field)));
        let shown = node.kind.as_str().into();
        let error = match source.reason.as_deref().filter(|_| !stop) {
            Some("FieldValueForbidden") => FieldError::forbidden(field, &detail),
            Some("FieldValueRequired") => FieldError::required(field, &detail),
            Some("FieldValueDuplicate") => FieldError::duplicate(field, &shown),
            Some(_) | None => FieldError::invalid(field, &shown, &detail),
        };
        if !rule.uses_old && same.is_unchanged() {
            self.outcome.warnings.push(error);
        } else {
            self.outcome.errors.push(error);
        }
        if stop { Err(Stop) } else { Ok(()) }
    }

    fn message(&mut self, node: &Node, rule: &Rule, message: &Program, new: &Value, old: Option<&Value>) -> Message {
        let source = &rule.source.message_expression;
        let optional = rule.source.optional_old_self == Some(true);
        match self.evaluate(node, message, new, old, optional) {
            Ok(value) => {
                let text = value.as_text().unwrap_or_default().trim().to_owned();
                if text.is_empty() || text.len() > MAX_MESSAGE_BYTES || text.contains('\n') {
                    Message::Unusable
                } else {
                    Message::Made(text)
                }
            }
            Err(EvalError::BudgetExhausted) => Message::Stop(
                "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be \
                 run"
                .to_owned(),
            ),
            Err(EvalError::CostExceeded) => Message::Stop(format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {source:?}"
            )),
            Err(EvalError::Failed(_) | EvalError::TooDeep) => Message::Unusable,
        }
    }
}

/// What a message's expression came to.
enum Message {
    Made(String),
    /// It failed, or made what is no message; the rule's own is taken.
    Unusable,
    /// The budget is used up.
    Stop(String),
}

/// What is said of a rule that has no value, and whether that ends everything.
fn explain(error: &EvalError, rule: &ValidationRule) -> (String, bool) {
    let shown = if rule.message.is_empty() { rule.rule.trim() } else { rule.message.trim() };
    match error {
        EvalError::BudgetExhausted => (
            "validation failed due to running out of cost budget, no further validation rules will be run".to_owned(),
            true,
        ),
        EvalError::CostExceeded | EvalError::TooDeep => (
            format!(
                "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
            ),
            true,
        ),
        EvalError::Failed(text) if text.starts_with("no such overload") => (
            format!(
                "'{text}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
            ),
            false,
        ),
        EvalError::Failed(text) => (format!("{text} evaluating rule: {shown}"), false),
    }
}
