//! The interpreter: a walk through the tree with a meter (`cel-go/interpreter`).

use super::ast::{Call, Comprehension, Expr, FieldInit, Fold, Literal, Node, Select};
use super::error::EvalError;
use super::function::Meter;
use super::program::Program;
use super::value::{Object, Text, Val};
use super::{PER_CALL_LIMIT, PER_OBJECT_BUDGET};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

mod fold;

use fold::{Elements, Folded, insert};

/// What evaluations may still cost, together and each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    remaining: u64,
    per_call: u64,
}

impl Default for Budget {
    /// Kubernetes' limits: [`PER_OBJECT_BUDGET`] and [`PER_CALL_LIMIT`].
    fn default() -> Self {
        Self::new(PER_OBJECT_BUDGET, PER_CALL_LIMIT)
    }
}

impl Budget {
    /// `total` for everything, `per_call` for one evaluation.
    #[must_use]
    pub fn new(total: u64, per_call: u64) -> Self {
        Self { remaining: total, per_call }
    }

    /// What is left.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Leaves nothing.
    pub fn exhaust(&mut self) {
        self.remaining = 0;
    }
}

/// What the names in an expression stand for.
#[derive(Debug, Default)]
pub struct Activation<'a> {
    values: Vec<(&'a str, Val<'a>)>,
    /// Expressions behind `variables.NAME`, evaluated when they are first needed.
    lazy: &'a [(String, Program)],
    known: RefCell<HashMap<usize, Result<Val<'a>, EvalError>>>,
}

impl<'a> Activation<'a> {
    /// Nothing has a name yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `name` stands for `value`.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: Val<'a>) -> Self {
        self.values.push((name, value));
        self
    }

    /// `variables.NAME` stands for what each expression gives.
    #[must_use]
    pub fn with_variables(mut self, variables: &'a [(String, Program)]) -> Self {
        self.lazy = variables;
        self
    }

    fn get(&self, name: &str) -> Option<&Val<'a>> {
        self.values.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// How deep evaluation may nest: the tree's height, and variables that use variables.
const MAX_NESTING: usize = 300;

/// Evaluates `expr`, taking from `budget` what it costs.
pub(super) fn evaluate<'a>(
    expr: &'a Expr,
    activation: &Activation<'a>,
    budget: &mut Budget,
) -> Result<Val<'a>, EvalError> {
    let limit = budget.remaining.min(budget.per_call);
    let mut machine =
        Machine { activation, meter: Meter::new(limit), depth: 0, per_call: budget.per_call, total: budget.remaining };
    let result = machine.expr(expr, None);
    machine.total = machine.total.saturating_sub(limit - machine.meter.remaining);
    budget.remaining = machine.total;
    match result {
        // Which of the two limits it was: what is left for everything, or what one evaluation may cost.
        Err(EvalError::CostExceeded) if limit < budget.per_call || budget.remaining == 0 => {
            budget.exhaust();
            Err(EvalError::BudgetExhausted)
        }
        result => result,
    }
}

struct Machine<'m, 'a> {
    activation: &'m Activation<'a>,
    meter: Meter,
    depth: usize,
    per_call: u64,
    /// What is left for everything, beside what this evaluation has spent so far.
    total: u64,
}

/// A variable of a comprehension, and those around it.
struct Scope<'s, 'a> {
    name: &'a str,
    value: Val<'a>,
    outer: Option<&'s Scope<'s, 'a>>,
}

type Ran<'a> = Result<Val<'a>, EvalError>;
type Outer<'s, 'a> = Option<&'s Scope<'s, 'a>>;

/// What can't be made good by another operand.
fn is_fatal(error: &EvalError) -> bool {
    matches!(error, EvalError::CostExceeded | EvalError::BudgetExhausted | EvalError::TooDeep)
}

fn truth(value: &Val<'_>) -> Result<bool, EvalError> {
    match value {
        Val::Bool(flag) => Ok(*flag),
        _ => Err(EvalError::no_such_overload()),
    }
}

impl<'a> Machine<'_, 'a> {
    fn expr(&mut self, expr: &'a Expr, scope: Outer<'_, 'a>) -> Ran<'a> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(EvalError::TooDeep);
        }
        let result = match &expr.node {
            Node::Literal(literal) => self.literal(literal),
            Node::Ident(name) => self.ident(name, scope),
            Node::Select(select) => self.select(select, scope),
            Node::Call(call) => self.call(call, scope),
            Node::Logic { and, terms } => self.logic(*and, terms, scope),
            Node::Conditional(parts) => self.conditional(parts, scope),
            Node::List(_) => self.list(expr, scope),
            Node::Map(_) => self.map(expr, scope),
            Node::Struct { name, fields } => self.object(name, fields, scope),
            Node::Comprehension(comprehension) => self.comprehension(comprehension, scope),
        };
        self.depth -= 1;
        result
    }

    fn literal(&mut self, literal: &'a Literal) -> Ran<'a> {
        if let Literal::Bytes(bytes) = literal {
            self.meter.charge_made(bytes.len())?;
        }
        Ok(literal_val(literal))
    }

    fn ident(&mut self, name: &'a str, scope: Outer<'_, 'a>) -> Ran<'a> {
        self.meter.charge(1)?;
        let mut next = scope;
        while let Some(scope) = next {
            if scope.name == name {
                return Ok(scope.value.clone());
            }
            next = scope.outer;
        }
        if let Some(value) = self.activation.get(name) {
            return Ok(value.clone());
        }
        match super::check::named_type(name) {
            Some(_) => Ok(Val::Type(name.into())),
            None => Err(EvalError::new(format!("no such attribute(s): {name}"))),
        }
    }

    /// `variables.NAME`.
    fn variable(&mut self, name: &str) -> Option<Ran<'a>> {
        let activation = self.activation;
        let index = activation.lazy.iter().position(|(known, _)| known == name)?;
        if let Some(known) = activation.known.borrow().get(&index) {
            return Some(known.clone());
        }
        let result = self.apart(activation.lazy[index].1.expr());
        if !result.as_ref().is_err_and(is_fatal) {
            let result = result
                .clone()
                .map_err(|error| EvalError::new(format!("composited variable {name:?} fails to evaluate: {error}")));
            activation.known.borrow_mut().insert(index, result.clone());
            return Some(result);
        }
        Some(result)
    }

    /// Evaluates a variable's expression, which may cost as much as any other: it has a limit of its own.
    fn apart(&mut self, expr: &'a Expr) -> Ran<'a> {
        let own = self.meter.remaining;
        let limit = self.per_call.min(self.total.saturating_sub(self.per_call.saturating_sub(own)));
        self.meter.remaining = limit;
        let result = self.expr(expr, None);
        self.total = self.total.saturating_sub(limit - self.meter.remaining);
        self.meter.remaining = own.min(self.total);
        result
    }

    fn select(&mut self, select: &'a Select, scope: Outer<'_, 'a>) -> Ran<'a> {
        if let (Node::Ident(name), false) = (&select.operand.node, select.test)
            && name == "variables"
        {
            self.meter.charge(2)?;
            if let Some(result) = self.variable(&select.field) {
                return result;
            }
        }
        let operand = self.expr(&select.operand, scope)?;
        if !select.test {
            self.meter.charge(1)?;
        }
        let (inner, chained) = match operand {
            Val::Optional(None) if select.test => return Ok(Val::Bool(false)),
            Val::Optional(None) => return Ok(Val::Optional(None)),
            Val::Optional(Some(inner)) => ((*inner).clone(), true),
            other => (other, select.optional),
        };
        let found = match &inner {
            Val::Map(map) => map.get_text(&select.field).transpose()?,
            Val::Object(object) => object.get(&select.field)?,
            other if select.test || chained => {
                return Err(EvalError::new(format!("unsupported type for field selection: {}", other.type_name())));
            }
            _ => return Err(EvalError::no_such_overload()),
        };
        match (select.test, chained, found) {
            (true, _, found) => Ok(Val::Bool(found.is_some())),
            (false, true, found) => Ok(Val::Optional(found.map(Arc::new))),
            (false, false, Some(value)) => Ok(value),
            (false, false, None) => Err(EvalError::no_such_key(&select.field)),
        }
    }

    fn call(&mut self, call: &'a Call, scope: Outer<'_, 'a>) -> Ran<'a> {
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.expr(arg, scope)?);
        }
        let function = call.function.ok_or_else(EvalError::no_such_overload)?;
        self.meter.charge_call(function.cost, &args)?;
        (function.run)(&mut self.meter, call, &args)
    }

    fn logic(&mut self, and: bool, terms: &'a [Expr], scope: Outer<'_, 'a>) -> Ran<'a> {
        let mut failed = None;
        for term in terms {
            match self.expr(term, scope).and_then(|value| truth(&value)) {
                // False decides an `and`, true an `or`, whatever the others are.
                Ok(flag) if flag != and => return Ok(Val::Bool(flag)),
                Ok(_) => {}
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Val::Bool(and)), Err)
    }

    fn conditional(&mut self, parts: &'a [Expr; 3], scope: Outer<'_, 'a>) -> Ran<'a> {
        let condition = self.expr(&parts[0], scope)?;
        self.expr(&parts[if truth(&condition)? { 1 } else { 2 }], scope)
    }

    /// The value of an entry: of one that is optional, what it holds.
    fn entry(&mut self, value: &'a Expr, optional: bool, scope: Outer<'_, 'a>) -> Result<Option<Val<'a>>, EvalError> {
        match self.expr(value, scope)? {
            Val::Optional(inner) if optional => Ok(inner.map(|inner| (*inner).clone())),
            _ if optional => Err(EvalError::new("cannot initialize optional entry from non-optional value")),
            value => Ok(Some(value)),
        }
    }

    fn list(&mut self, expr: &'a Expr, scope: Outer<'_, 'a>) -> Ran<'a> {
        let Node::List(items) = &expr.node else { return Err(EvalError::no_such_overload()) };
        // cel-go takes ten whatever the list holds; a long one is paid for by its elements.
        self.meter.charge(10 + items.len() as u64)?;
        let mut made = Vec::with_capacity(items.len());
        for item in items {
            made.extend(self.entry(&item.value, item.optional, scope)?);
        }
        Ok(Val::list(made))
    }

    fn map(&mut self, expr: &'a Expr, scope: Outer<'_, 'a>) -> Ran<'a> {
        let Node::Map(entries) = &expr.node else { return Err(EvalError::no_such_overload()) };
        self.meter.charge(30 + entries.len() as u64)?;
        let mut made = BTreeMap::new();
        for entry in entries {
            let key = self.expr(&entry.key, scope)?;
            let Some(value) = self.entry(&entry.value, entry.optional, scope)? else { continue };
            insert(&mut made, &key, value)?;
        }
        Ok(Val::map(made))
    }

    fn object(&mut self, name: &'a str, fields: &'a [FieldInit], scope: Outer<'_, 'a>) -> Ran<'a> {
        self.meter.charge(40 + fields.len() as u64)?;
        let mut made = BTreeMap::new();
        for field in fields {
            if let Some(value) = self.entry(&field.value, field.optional, scope)? {
                made.insert(field.name.clone(), value);
            }
        }
        Ok(Val::Object(Object::Made(name.into(), Arc::new(made))))
    }

    fn comprehension(&mut self, comprehension: &'a Comprehension, scope: Outer<'_, 'a>) -> Ran<'a> {
        let range = self.expr(&comprehension.range, scope)?;
        if let Fold::OptMap | Fold::OptFlatMap = comprehension.fold {
            return self.opt_map(comprehension, range, scope);
        }
        let mut elements = Elements::of(&range)?;
        let mut folded = Folded::new(comprehension.fold);
        while let Some((first, second)) = elements.next(comprehension.vars.len())? {
            self.meter.charge(comprehension.fold.step_cost())?;
            let Some(name) = comprehension.vars.first() else { return Err(EvalError::no_such_overload()) };
            let inner = Scope { name, value: first, outer: scope };
            let second_scope = match (comprehension.vars.get(1), second) {
                (Some(name), Some(value)) => Some(Scope { name, value, outer: Some(&inner) }),
                _ => None,
            };
            let here = second_scope.as_ref().unwrap_or(&inner);
            if let Some(filter) = &comprehension.filter
                && !truth(&self.expr(filter, Some(here))?)?
            {
                continue;
            }
            let body = self.expr(&comprehension.body, Some(here));
            if folded.take(body, &inner.value)? {
                break;
            }
        }
        folded.finish()
    }

    fn opt_map(&mut self, comprehension: &'a Comprehension, range: Val<'a>, scope: Outer<'_, 'a>) -> Ran<'a> {
        let value = match range {
            Val::Optional(None) => return Ok(Val::Optional(None)),
            Val::Optional(Some(value)) => (*value).clone(),
            _ => return Err(EvalError::no_such_overload()),
        };
        let name = comprehension.vars.first().map_or("", String::as_str);
        let body = self.expr(&comprehension.body, Some(&Scope { name, value, outer: scope }))?;
        match (comprehension.fold, body) {
            (Fold::OptMap, body) => Ok(Val::some(body)),
            (_, body @ Val::Optional(_)) => Ok(body),
            _ => Err(EvalError::no_such_overload()),
        }
    }
}

fn literal_val(literal: &Literal) -> Val<'_> {
    match literal {
        Literal::Null => Val::Null,
        Literal::Bool(flag) => Val::Bool(*flag),
        Literal::Int(value) => Val::Int(*value),
        Literal::Uint(value) => Val::Uint(*value),
        Literal::Double(value) => Val::Double(*value),
        Literal::String(text) => Val::String(Text::Borrowed(text)),
        Literal::Bytes(bytes) => Val::Bytes(bytes.as_slice().into()),
    }
}
