//! The type checker (`cel-go/checker`). It finds what a name means, which overloads fit, and what type comes out; names
//! of functions in a namespace (`ip.isCanonical`) become one name on the way.

use super::ast::{Call, Comprehension, Entry, Expr, Fold, Item, Literal, Node};
use super::function::find;
use super::program::Environment;
use super::token::Mistake;
use super::types::Type;
use crate::pattern::Pattern;
use std::collections::BTreeSet;
use std::sync::Arc;

mod infer;

/// How many mistakes are told; cel-go's own limit.
const MAX_MISTAKES: usize = 100;

/// What is known of an expression that is well-typed.
pub(super) struct Checked {
    pub(super) ty: Type,
    /// Names of variables that are used, and `variables.NAME`.
    pub(super) uses: BTreeSet<String>,
}

/// Checks `expr`.
pub(super) fn check(expr: &mut Expr, environment: &Environment) -> Result<Checked, Vec<Mistake>> {
    let mut checker = Checker {
        environment,
        found: Vec::new(),
        scopes: Vec::new(),
        mistakes: Vec::new(),
        uses: BTreeSet::new(),
        mixed: false,
    };
    let ty = checker.expr(expr);
    let ty = checker.resolve(&ty);
    if checker.mistakes.is_empty() { Ok(Checked { ty, uses: checker.uses }) } else { Err(checker.mistakes) }
}

struct Checker<'e> {
    environment: &'e Environment,
    /// What type variables turned out to be.
    found: Vec<Option<Type>>,
    /// Variables of comprehensions.
    scopes: Vec<(String, Type)>,
    mistakes: Vec<Mistake>,
    uses: BTreeSet<String>,
    /// Within the arguments of `format`, where lists may hold anything.
    mixed: bool,
}

impl Checker<'_> {
    /// Notes a mistake; what it stands for can be anything, so that it is told once.
    fn mistake(&mut self, at: u32, text: String) -> Type {
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push((at, text));
        }
        Type::Dyn
    }

    fn expr(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        match &mut expr.node {
            Node::Literal(literal) => literal_type(literal),
            Node::Ident(name) => {
                let name = name.clone();
                self.ident(at, &name)
            }
            Node::Select(_) => self.select(expr),
            Node::Call(_) => self.call(expr),
            Node::Logic { and, terms } => self.logic(at, if *and { "_&&_" } else { "_||_" }, terms),
            Node::Conditional(parts) => self.conditional(at, parts),
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Struct { .. } => self.object(expr),
            Node::Comprehension(comprehension) => self.comprehension(at, comprehension),
        }
    }

    fn logic(&mut self, at: u32, name: &str, terms: &mut [Expr]) -> Type {
        let types: Vec<Type> = terms.iter_mut().map(|term| self.expr(term)).collect();
        if !types.iter().all(|ty| self.assignable(&Type::Bool, ty)) {
            return self.no_overload(at, name, false, &types);
        }
        Type::Bool
    }

    fn conditional(&mut self, at: u32, parts: &mut [Expr; 3]) -> Type {
        let types: Vec<Type> = parts.iter_mut().map(|part| self.expr(part)).collect();
        if !self.assignable(&Type::Bool, &types[0]) || !self.assignable(&types[1], &types[2]) {
            return self.no_overload(at, "_?_:_", false, &types);
        }
        self.join(&types[1], &types[2])
    }

    fn list(&mut self, items: &mut [Item]) -> Type {
        let mut of: Option<Type> = None;
        for item in items {
            let mut ty = self.expr(&mut item.value);
            if item.optional {
                ty = self.unwrapped(item.value.at, &ty);
            }
            of = Some(self.homogeneous(item.value.at, of, ty));
        }
        Type::list(of.unwrap_or_else(|| self.fresh()))
    }

    fn map(&mut self, entries: &mut [Entry]) -> Type {
        let (mut keys, mut values): (Option<Type>, Option<Type>) = (None, None);
        for entry in entries {
            let key = self.expr(&mut entry.key);
            keys = Some(self.homogeneous(entry.key.at, keys, key));
            let mut value = self.expr(&mut entry.value);
            if entry.optional {
                value = self.unwrapped(entry.value.at, &value);
            }
            values = Some(self.homogeneous(entry.value.at, values, value));
        }
        let keys = keys.unwrap_or_else(|| self.fresh());
        Type::Map(Arc::new(keys), Arc::new(values.unwrap_or_else(|| self.fresh())))
    }

    fn ident(&mut self, at: u32, name: &str) -> Type {
        if let Some((_, ty)) = self.scopes.iter().rev().find(|(scoped, _)| scoped == name) {
            return ty.clone();
        }
        if let Some(variable) = self.environment.variable(name) {
            self.uses.insert(name.to_owned());
            return variable.ty.clone();
        }
        match named_type(name) {
            Some(ty) => Type::Type(Arc::new(ty)),
            None => self.undeclared(at, name),
        }
    }

    fn undeclared(&mut self, at: u32, name: &str) -> Type {
        self.mistake(at, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn is_variable(&self, name: &str) -> bool {
        self.scopes.iter().any(|(scoped, _)| scoped == name) || self.environment.variable(name).is_some()
    }

    fn select(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        // A variable's name may have a dot in it, as that of the requested resource's authorizer.
        if let Some(name) = expr.qualified()
            && let Some(variable) = self.environment.variable(&name)
        {
            let ty = variable.ty.clone();
            self.uses.insert(name.clone());
            expr.node = Node::Ident(name);
            return ty;
        }
        // A type's name with dots in it, unless a variable is called like its first part.
        if let Some(name) = expr.qualified()
            && let Some(ty) = named_type(&name)
            && !name.split('.').next().is_some_and(|first| self.is_variable(first))
        {
            expr.node = Node::Ident(name);
            return Type::Type(Arc::new(ty));
        }
        let Node::Select(select) = &mut expr.node else { return Type::Dyn };
        if let Node::Ident(name) = &select.operand.node
            && name == "variables"
        {
            self.uses.insert(format!("variables.{}", select.field));
        }
        let operand = self.expr(&mut select.operand);
        let operand = self.resolve(&operand);
        let (inner, chained) = match &operand {
            Type::Optional(of) => (self.resolve(of), true),
            other => (other.clone(), select.optional),
        };
        let field = match &inner {
            Type::Dyn | Type::Var(_) => Type::Dyn,
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => match object.fields.get(&select.field) {
                Some(field) => field.clone(),
                None if object.open => Type::Dyn,
                None => self.mistake(at, format!("undefined field '{}'", select.field)),
            },
            other => self.mistake(at, format!("type '{other}' does not support field selection")),
        };
        match (select.test, chained) {
            (true, _) => Type::Bool,
            (false, true) => Type::optional(field),
            (false, false) => field,
        }
    }

    /// `ip.isCanonical(x)` calls one function, if nothing is called `ip`.
    fn take_namespace(&self, call: &mut Call) {
        let Some(namespace) = call.args.first().filter(|_| call.member).and_then(Expr::qualified) else { return };
        let name = format!("{namespace}.{}", call.name);
        let first = namespace.split('.').next().unwrap_or_default();
        if find(&name).is_some() && !self.is_variable(first) {
            call.args.remove(0);
            call.name = name;
            call.member = false;
        }
    }

    fn call(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        let Node::Call(call) = &mut expr.node else { return Type::Dyn };
        self.take_namespace(call);
        let Some(function) = find(&call.name) else {
            let name = call.name.clone();
            call.args.iter_mut().for_each(|arg| {
                self.expr(arg);
            });
            return self.undeclared(at, &name);
        };
        let outside = self.mixed;
        self.mixed |= call.name == "format";
        let types: Vec<Type> = call.args.iter_mut().map(|arg| self.expr(arg)).collect();
        self.mixed = outside;
        call.function = Some(function);
        self.literals(call);
        let (name, member) = (call.name.clone(), call.member);
        let result = self.overloads(function, member, &types);
        result.unwrap_or_else(|| self.no_overload(at, &name, member, &types))
    }

    /// Regular expressions, durations and timestamps that are written out have to be good ones.
    fn literals(&mut self, call: &mut Call) {
        let index = match call.name.as_str() {
            "matches" | "find" | "findAll" => 1,
            "duration" | "timestamp" => 0,
            _ => return,
        };
        let Some(arg) = call.args.get(index) else { return };
        let (at, Some(text)) = (arg.at, arg.literal_text()) else { return };
        let good = match call.name.as_str() {
            "duration" => crate::format::go_duration(text).is_some(),
            "timestamp" => super::lib_time::parse_timestamp(text).is_some(),
            _ => {
                let pattern = Pattern::new(text);
                let good = pattern.regex().is_ok();
                call.pattern = Some(pattern);
                good
            }
        };
        if !good {
            let text = format!("invalid {} argument", call.name);
            self.mistake(at, text);
        }
    }

    fn object(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        let Node::Struct { name, fields } = &mut expr.node else { return Type::Dyn };
        let Some(known) = self.environment.object_type(name) else {
            let name = name.clone();
            return self.undeclared(at, &name);
        };
        for field in fields {
            let mut ty = self.expr(&mut field.value);
            if field.optional {
                ty = self.unwrapped(field.value.at, &ty);
            }
            let Type::Object(object) = &known else { continue };
            match object.fields.get(&field.name) {
                Some(expected) => {
                    if !self.assignable(expected, &ty) {
                        let (expected, ty) = (expected.clone(), self.resolve(&ty));
                        let text = format!(
                            "expected type of field '{}' is '{expected}' but provided type is '{ty}'",
                            field.name
                        );
                        self.mistake(field.at, text);
                    }
                }
                None if object.open => {}
                None => {
                    let text = format!("undefined field '{}'", field.name);
                    self.mistake(field.at, text);
                }
            }
        }
        known
    }

    fn comprehension(&mut self, at: u32, comprehension: &mut Comprehension) -> Type {
        let range_at = comprehension.range.at;
        let range = self.expr(&mut comprehension.range);
        let range = self.resolve(&range);
        if let Fold::OptMap | Fold::OptFlatMap = comprehension.fold {
            return self.opt_map(comprehension, &range);
        }
        let vars: Vec<Type> = match &range {
            Type::List(of) if comprehension.vars.len() == 1 => vec![(**of).clone()],
            Type::List(of) => vec![Type::Int, (**of).clone()],
            Type::Map(key, _) if comprehension.vars.len() == 1 => vec![(**key).clone()],
            Type::Map(key, value) => vec![(**key).clone(), (**value).clone()],
            Type::Dyn | Type::Var(_) => vec![Type::Dyn; 2],
            other => {
                let text = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.mistake(range_at, text);
                vec![Type::Dyn; 2]
            }
        };
        let depth = self.scopes.len();
        self.scopes.extend(comprehension.vars.iter().cloned().zip(vars.clone()));
        if let Some(filter) = &mut comprehension.filter {
            let ty = self.expr(filter);
            self.must_be_bool(at, "_?_:_", &ty);
        }
        let body = self.expr(&mut comprehension.body);
        self.scopes.truncate(depth);
        match comprehension.fold {
            Fold::All | Fold::Exists => {
                self.must_be_bool(at, if comprehension.fold == Fold::All { "_&&_" } else { "_||_" }, &body);
                Type::Bool
            }
            Fold::ExistsOne => {
                self.must_be_bool(at, "_?_:_", &body);
                Type::Bool
            }
            Fold::Filter => {
                self.must_be_bool(at, "_?_:_", &body);
                match (&range, vars.len()) {
                    (Type::List(_), _) => range,
                    (Type::Map(key, _), _) => Type::List(key.clone()),
                    _ => Type::list(Type::Dyn),
                }
            }
            Fold::Map => Type::list(body),
            Fold::TransformMap => Type::Map(Arc::new(vars[0].clone()), Arc::new(body)),
            Fold::TransformMapEntry => match self.resolve(&body) {
                map @ Type::Map(..) => map,
                Type::Dyn | Type::Var(_) => Type::Dyn,
                other => self.no_overload(at, "cel.@mapInsert", false, &[Type::Dyn, other]),
            },
            Fold::OptMap | Fold::OptFlatMap => Type::Dyn,
        }
    }

    fn opt_map(&mut self, comprehension: &mut Comprehension, range: &Type) -> Type {
        let of = self.unwrapped(comprehension.range.at, range);
        let depth = self.scopes.len();
        self.scopes.extend(comprehension.vars.first().cloned().map(|var| (var, of)));
        let body = self.expr(&mut comprehension.body);
        self.scopes.truncate(depth);
        if comprehension.fold == Fold::OptMap {
            return Type::optional(body);
        }
        let inner = self.unwrapped(comprehension.body.at, &body);
        Type::optional(inner)
    }

    fn must_be_bool(&mut self, at: u32, operator: &str, ty: &Type) {
        if !self.assignable(&Type::Bool, ty) {
            let ty = ty.clone();
            self.no_overload(at, operator, false, &[Type::Bool, ty]);
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

/// A type by its name in expressions.
pub(super) fn named_type(name: &str) -> Option<Type> {
    const OPAQUE: [&str; 6] =
        ["net.IP", "net.CIDR", "kubernetes.URL", "kubernetes.Quantity", "kubernetes.Semver", "kubernetes.NamedFormat"];
    Some(match name {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "null_type" => Type::Null,
        "list" => Type::list(Type::Dyn),
        "map" => Type::Map(Arc::new(Type::Dyn), Arc::new(Type::Dyn)),
        "type" => Type::Type(Arc::new(Type::Dyn)),
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        other => Type::Opaque(OPAQUE.into_iter().find(|known| *known == other)?),
    })
}
