//! What an expression costs at most, before it runs (`cel-go/checker/cost.go`): given how large values may be, as schemas
//! say it, the longest way through it.

use super::ast::{Call, Comprehension, Expr, Fold, Literal, Node};
use super::decl::Decl;
use super::function::{Cost, tenth};
use super::program::Environment;
use super::types::Type;
use std::sync::Arc;

/// What is known of a value that is not there yet.
#[derive(Debug, Clone, Default)]
struct Shape {
    /// How large it is at most.
    size: u64,
    decl: Option<Arc<Decl>>,
    /// What is known of elements, when there is no declaration.
    element: Option<Arc<Shape>>,
}

/// A cost with what comes out.
struct Estimate {
    cost: u64,
    shape: Shape,
}

impl Shape {
    fn sized(size: u64) -> Self {
        Self { size, ..Self::default() }
    }

    fn unknown() -> Self {
        Self::sized(u64::MAX)
    }

    fn declared(decl: &Arc<Decl>) -> Self {
        Self { size: decl.max_elements, decl: Some(decl.clone()), element: None }
    }

    fn element(&self) -> Self {
        match (&self.element, &self.decl) {
            (Some(element), _) => (**element).clone(),
            (None, Some(decl)) => decl.element().map_or_else(Self::unknown, Self::declared),
            (None, None) => Self::unknown(),
        }
    }

    fn field(&self, name: &str) -> Self {
        let decl = self.decl.as_ref().and_then(|decl| decl.field(name));
        decl.map_or_else(Self::unknown, Self::declared)
    }

    fn is_list(&self) -> bool {
        self.element.is_some() || self.decl.as_ref().is_some_and(|decl| decl.element().is_some())
    }

    /// The larger of two.
    fn or(self, other: Self) -> Self {
        let size = self.size.max(other.size);
        if self.decl.is_some() { Self { size, ..self } } else { Self { size, ..other } }
    }
}

/// The most that `expr` costs; `u64::MAX` when there is no bound.
pub(super) fn max_cost(expr: &Expr, environment: &Environment) -> u64 {
    Estimator { environment, scopes: Vec::new() }.expr(expr).cost
}

struct Estimator<'e> {
    environment: &'e Environment,
    scopes: Vec<(String, Shape)>,
}

impl Estimator<'_> {
    fn expr(&mut self, expr: &Expr) -> Estimate {
        match &expr.node {
            Node::Literal(literal) => Estimate { cost: 0, shape: Shape::sized(literal_size(literal)) },
            Node::Ident(name) => Estimate { cost: 1, shape: self.ident(name) },
            Node::Select(select) => {
                let operand = self.expr(&select.operand);
                let cost = operand.cost.saturating_add(u64::from(!select.test));
                let shape = if select.test { Shape::sized(1) } else { operand.shape.field(&select.field) };
                Estimate { cost, shape }
            }
            Node::Call(call) => self.call(call),
            Node::Logic { terms, .. } => {
                let cost = terms.iter().fold(0, |cost: u64, term| cost.saturating_add(self.expr(term).cost));
                Estimate { cost, shape: Shape::sized(1) }
            }
            Node::Conditional(parts) => {
                let [condition, yes, no] = [&parts[0], &parts[1], &parts[2]].map(|part| self.expr(part));
                let cost = condition.cost.saturating_add(yes.cost.max(no.cost));
                Estimate { cost, shape: yes.shape.or(no.shape) }
            }
            Node::List(items) => {
                let mut cost: u64 = 10 + items.len() as u64;
                let mut element: Option<Shape> = None;
                for item in items {
                    let item = self.expr(&item.value);
                    cost = cost.saturating_add(item.cost);
                    element = Some(element.map_or(item.shape.clone(), |element| element.or(item.shape)));
                }
                let element = Some(Arc::new(element.unwrap_or_default()));
                Estimate { cost, shape: Shape { size: items.len() as u64, decl: None, element } }
            }
            Node::Map(entries) => {
                let mut cost: u64 = 30 + entries.len() as u64;
                for entry in entries {
                    cost = cost.saturating_add(self.expr(&entry.key).cost).saturating_add(self.expr(&entry.value).cost);
                }
                Estimate { cost, shape: Shape::sized(entries.len() as u64) }
            }
            Node::Struct { fields, .. } => {
                let cost = fields.iter().fold(40 + fields.len() as u64, |cost: u64, field| {
                    cost.saturating_add(self.expr(&field.value).cost)
                });
                Estimate { cost, shape: Shape::sized(1) }
            }
            Node::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    fn ident(&self, name: &str) -> Shape {
        if let Some((_, shape)) = self.scopes.iter().rev().find(|(scoped, _)| scoped == name) {
            return shape.clone();
        }
        match self.environment.variable(name) {
            Some(variable) => match (&variable.decl, &variable.ty) {
                (Some(decl), _) => Shape::declared(decl),
                (None, Type::Bool | Type::Int | Type::Uint | Type::Double) => Shape::sized(1),
                (None, _) => Shape::unknown(),
            },
            None => Shape::sized(1),
        }
    }

    fn call(&mut self, call: &Call) -> Estimate {
        let args: Vec<Estimate> = call.args.iter().map(|arg| self.expr(arg)).collect();
        let before = args.iter().fold(0, |cost: u64, arg| cost.saturating_add(arg.cost));
        let shapes: Vec<Shape> = args.into_iter().map(|arg| arg.shape).collect();
        let cost = call.function.map_or(Cost::Fixed(1), |function| function.cost);
        let own = own_cost(&call.name, cost, &shapes);
        Estimate { cost: before.saturating_add(own), shape: result_shape(call, &shapes) }
    }

    fn comprehension(&mut self, comprehension: &Comprehension) -> Estimate {
        let range = self.expr(&comprehension.range);
        let optional = matches!(comprehension.fold, Fold::OptMap | Fold::OptFlatMap);
        let element = if optional { range.shape.clone() } else { range.shape.element() };
        let times = if optional { 1 } else { range.shape.size };
        let depth = self.scopes.len();
        let is_map = range.shape.decl.as_ref().is_some_and(|decl| matches!(decl.kind, super::decl::Kind::Map(_)));
        // The keys of a map are texts of any length.
        let first = if is_map { Shape::sized(super::decl::LONGEST_TEXT) } else { element.clone() };
        match &comprehension.vars[..] {
            [one] => self.scopes.push((one.clone(), first)),
            [index, item] => {
                let index_shape = if is_map { first } else { Shape::sized(1) };
                self.scopes.extend([(index.clone(), index_shape), (item.clone(), element)]);
            }
            _ => {}
        }
        let filter = comprehension.filter.as_ref().map_or(0, |filter| self.expr(filter).cost);
        let body = self.expr(&comprehension.body);
        self.scopes.truncate(depth);
        let step = comprehension.fold.step_cost().saturating_add(filter).saturating_add(body.cost);
        let start = if is_map { tenth(times) } else { 0 };
        let cost = range.cost.saturating_add(start).saturating_add(times.saturating_mul(step));
        let shape = match comprehension.fold {
            Fold::All | Fold::Exists | Fold::ExistsOne => Shape::sized(1),
            Fold::Filter => range.shape,
            Fold::Map => Shape { size: times, decl: None, element: Some(Arc::new(body.shape)) },
            Fold::TransformMap | Fold::TransformMapEntry => {
                Shape { size: times, decl: None, element: Some(Arc::new(body.shape)) }
            }
            Fold::OptMap | Fold::OptFlatMap => body.shape,
        };
        Estimate { cost, shape }
    }
}

/// What a call costs beside its arguments.
fn own_cost(name: &str, cost: Cost, args: &[Shape]) -> u64 {
    let size = |i: usize| args.get(i).map_or(1, |shape| shape.size);
    match (name, cost) {
        ("@in", _) => size(1).max(1),
        (_, Cost::Fixed(amount)) => amount,
        (_, Cost::Text(times)) => tenth(size(0).saturating_mul(times)),
        (_, Cost::Smaller) => tenth(size(0).min(size(1))).max(1),
        (_, Cost::Sum) if args.first().is_some_and(Shape::is_list) => size(0).saturating_add(size(1)).max(1),
        (_, Cost::Sum) => tenth(size(0).saturating_add(size(1))).max(1),
        (_, Cost::Regex) => tenth(size(0).saturating_add(1)).saturating_mul(size(1).div_ceil(4)),
        (_, Cost::Substring) => tenth(size(0)).saturating_mul(tenth(size(1))),
        (_, Cost::Traversal) => {
            let element = args.first().map_or(1, |list| tenth(list.element().size)).max(1);
            size(0).saturating_mul(if element == u64::MAX.div_ceil(10) { 1 } else { element })
        }
        (_, Cost::Product) => size(0).saturating_mul(size(1)),
    }
}

/// What is known of a call's result.
fn result_shape(call: &Call, args: &[Shape]) -> Shape {
    let first = || args.first().cloned().unwrap_or_default();
    let size = |i: usize| args.get(i).map_or(0, |shape| shape.size);
    match call.name.as_str() {
        "_[_]" | "_[?_]" => first().element(),
        "_+_" => {
            let total = size(0).saturating_add(size(1));
            let element = first().is_list().then(|| Arc::new(first().element()));
            Shape { size: total, element, decl: None }
        }
        "lowerAscii"
        | "upperAscii"
        | "trim"
        | "substring"
        | "find"
        | "string"
        | "bytes"
        | "url"
        | "dyn"
        | "value"
        | "or"
        | "optional.of"
        | "optional.ofNonZeroValue"
        | "charAt"
        | "jsonpatch.escapeKey" => first(),
        "orValue" => first().or(args.get(1).cloned().unwrap_or_default()),
        "strings.quote" => Shape::sized(size(0).saturating_mul(2).saturating_add(2)),
        "min" | "max" => first().element(),
        "split" | "findAll" => Shape { size: size(0), decl: None, element: Some(Arc::new(Shape::sized(size(0)))) },
        "replace" => Shape::sized(size(0).saturating_add(size(0).saturating_add(1).saturating_mul(size(2)))),
        "join" => {
            let texts = size(0).saturating_mul(first().element().size);
            Shape::sized(texts.saturating_add(size(0).saturating_mul(size(1))))
        }
        "format" | "getScheme" | "getHost" | "getHostname" | "getPort" | "getEscapedPath" | "getQuery" | "validate"
        | "reason" | "error" => Shape::unknown(),
        // Numbers, booleans, and what libraries make.
        _ => Shape::sized(1),
    }
}

fn literal_size(literal: &Literal) -> u64 {
    match literal {
        Literal::String(text) => text.len() as u64,
        Literal::Bytes(bytes) => bytes.len() as u64,
        Literal::Null | Literal::Bool(_) | Literal::Int(_) | Literal::Uint(_) | Literal::Double(_) => 1,
    }
}
