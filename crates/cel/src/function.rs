//! Functions and operators: what they take and give, what they cost, and their code.

use super::ast::Call;
use super::error::EvalError;
use super::value::{List, Val};
use crate::pattern;
use regex::Regex;
use std::collections::HashMap;
use std::sync::LazyLock;

/// A type in a declaration; `A` and `B` stand for any.
#[derive(Debug, Clone, Copy)]
pub(crate) enum T {
    Dyn,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    A,
    B,
    List(&'static T),
    Map(&'static T, &'static T),
    Optional(&'static T),
    Opaque(&'static str),
    Type(&'static T),
}

/// One way to call a function.
#[derive(Debug)]
pub(crate) struct Overload {
    /// Whether the first parameter stands before the dot.
    pub(crate) member: bool,
    pub(crate) params: &'static [T],
    pub(crate) result: T,
}

/// The code of a function. It gets arguments of any types, since what is dynamic is not checked before.
pub(crate) type Run = for<'a> fn(&mut Meter, &Call, &[Val<'a>]) -> Result<Val<'a>, EvalError>;

/// A function with all its overloads.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) overloads: &'static [Overload],
    pub(crate) cost: Cost,
    pub(crate) run: Run,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What a call costs (`cel-go/interpreter/runtimecost.go`, `apiserver/pkg/cel/library/cost.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    /// Always the same.
    Fixed(u64),
    /// A walk through the first argument, so many times; the code charges for what it makes.
    Text(u64),
    /// Charged by the code as it compares; at most the size of the smaller of the two.
    Smaller,
    /// Both texts together.
    Sum,
    /// The text times the regular expression.
    Regex,
    /// The text times the text looked for.
    Substring,
    /// As many steps as there are values in the first argument.
    Traversal,
    /// Each element of the one with each of the other.
    Product,
}

pub(crate) const fn global(params: &'static [T], result: T) -> Overload {
    Overload { member: false, params, result }
}

pub(crate) const fn member(params: &'static [T], result: T) -> Overload {
    Overload { member: true, params, result }
}

/// All functions by name.
static BY_NAME: LazyLock<HashMap<&'static str, &'static Function>> = LazyLock::new(|| {
    let tables = [
        super::lib_core::FUNCTIONS,
        super::lib_time::FUNCTIONS,
        super::lib_strings::FUNCTIONS,
        super::lib_lists::FUNCTIONS,
        super::lib_net::FUNCTIONS,
        super::lib_kubernetes::FUNCTIONS,
    ];
    tables.into_iter().flatten().map(|function| (function.name, function)).collect()
});

/// The function called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    BY_NAME.get(name).copied()
}

/// What was spent and may still be, and the regular expressions that were made on the way.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) remaining: u64,
    regexes: HashMap<String, Regex>,
}

/// What it costs to compile a regular expression that is made while evaluating, beside what upstream charges for
/// matching it: a compiled one takes up to a millisecond.
const COMPILE_COST: u64 = 5_000;

impl Meter {
    pub(crate) fn new(remaining: u64) -> Self {
        Self { remaining, regexes: HashMap::new() }
    }

    /// Takes `amount`.
    pub(crate) fn charge(&mut self, amount: u64) -> Result<(), EvalError> {
        match self.remaining.checked_sub(amount) {
            Some(rest) => {
                self.remaining = rest;
                Ok(())
            }
            None => {
                self.remaining = 0;
                Err(EvalError::CostExceeded)
            }
        }
    }

    /// Charges for making a text or list of `size`.
    pub(crate) fn charge_made(&mut self, size: usize) -> Result<(), EvalError> {
        self.charge(tenth(size as u64))
    }

    /// Charges what a call with these arguments costs before it runs.
    pub(crate) fn charge_call(&mut self, cost: Cost, args: &[Val<'_>]) -> Result<(), EvalError> {
        let size = |i: usize| args.get(i).map_or(1, Val::size);
        let amount = match cost {
            Cost::Fixed(amount) => amount,
            Cost::Text(times) => tenth(size(0).saturating_mul(times)),
            Cost::Smaller => 0,
            Cost::Sum => tenth(size(0).saturating_add(size(1))).max(1),
            Cost::Regex => tenth(size(0) + 1).saturating_mul(size(1).div_ceil(4)),
            Cost::Substring => tenth(size(0)).saturating_mul(tenth(size(1))),
            Cost::Traversal => traversal(args.first().unwrap_or(&Val::Null), self.remaining),
            Cost::Product => size(0).saturating_mul(size(1)),
        };
        self.charge(amount)
    }

    /// The regular expression `source`, from this evaluation's store.
    pub(crate) fn regex(&mut self, source: &str) -> Result<Regex, EvalError> {
        if let Some(regex) = self.regexes.get(source) {
            return Ok(regex.clone());
        }
        self.charge(COMPILE_COST.saturating_add(source.len() as u64 * 10))?;
        let regex = pattern::compile(source).map_err(EvalError::new)?;
        if self.regexes.len() < 32 {
            self.regexes.insert(source.to_owned(), regex.clone());
        }
        Ok(regex)
    }
}

/// A tenth, rounded up: what cel-go charges for walking through a text.
pub(crate) fn tenth(size: u64) -> u64 {
    size.div_ceil(10)
}

/// How much there is to walk through; it stops where it gets more than `limit`.
fn traversal(value: &Val<'_>, limit: u64) -> u64 {
    match value {
        Val::String(_) | Val::Bytes(_) => tenth(value.size()),
        Val::List(List::Json(..) | List::Made(_)) => {
            let Val::List(list) = value else { return 1 };
            let mut total: u64 = 0;
            for item in list.iter() {
                total = total.saturating_add(
                    item.map_or(1, |item| if matches!(item, Val::List(_)) { 1 } else { tenth(item.size()).max(1) }),
                );
                if total > limit {
                    break;
                }
            }
            total
        }
        _ => value.size(),
    }
}
