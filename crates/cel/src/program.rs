//! Environments and what is compiled in them.

use super::ast::Expr;
use super::check;
use super::decl::Decl;
use super::error::{CompileError, EvalError};
use super::estimate;
use super::eval::{self, Activation, Budget};
use super::parse::parse;
use super::types::{ObjectType, Type};
use super::value::Val;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is declared.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, Variable>,
    /// Whether `Object{...}` and `JSONPatch{...}` can be made.
    mutation: bool,
}

/// A variable with its type, and what is known of its size.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub(super) ty: Type,
    pub(super) decl: Option<Arc<Decl>>,
}

impl Environment {
    /// No variables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a variable of type `ty`.
    #[must_use]
    pub fn with(mut self, name: &str, ty: Type) -> Self {
        self.variables.insert(name.to_owned(), Variable { ty, decl: None });
        self
    }

    /// Declares a variable as a schema says it is.
    #[must_use]
    pub fn with_declared(mut self, name: &str, decl: Arc<Decl>) -> Self {
        let ty = decl.ty().clone();
        self.variables.insert(name.to_owned(), Variable { ty, decl: Some(decl) });
        self
    }

    /// Declares a variable that may be missing: an optional of what a schema says.
    #[must_use]
    pub fn with_optional(mut self, name: &str, decl: Arc<Decl>) -> Self {
        let ty = Type::optional(decl.ty().clone());
        self.variables.insert(name.to_owned(), Variable { ty, decl: Some(decl) });
        self
    }

    /// Lets expressions make `Object{...}` and `JSONPatch{...}`.
    #[must_use]
    pub fn with_mutation(mut self) -> Self {
        self.mutation = true;
        self
    }

    /// Declares `variables.NAME`, beside those that are declared.
    #[must_use]
    pub fn with_composed(mut self, name: &str, ty: Type) -> Self {
        let mut fields = match self.variables.get("variables").map(|variable| &variable.ty) {
            Some(Type::Object(object)) => object.fields.clone(),
            Some(_) | None => BTreeMap::new(),
        };
        fields.insert(name.to_owned(), ty);
        let object = ObjectType { name: "kubernetes.variables".into(), fields, open: false };
        let variable = Variable { ty: Type::Object(Arc::new(object)), decl: None };
        self.variables.insert("variables".to_owned(), variable);
        self
    }

    pub(super) fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.get(name)
    }

    /// The type behind `NAME{...}`.
    pub(super) fn object_type(&self, name: &str) -> Option<Type> {
        if !self.mutation {
            return None;
        }
        if name == "JSONPatch" {
            let text = ["op", "path", "from"].map(|field| (field, Type::String));
            return Some(Type::object(name, text.into_iter().chain([("value", Type::Dyn)])));
        }
        (name == "Object" || name.starts_with("Object.")).then(|| Type::open_object(name))
    }

    /// Compiles `source`.
    ///
    /// # Errors
    /// What does not parse, is not declared, or has no overload, as cel-go prints it.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        let mut expr = parse(source).map_err(|mistake| CompileError::new(source, vec![mistake]))?;
        let checked = check::check(&mut expr, self).map_err(|mistakes| CompileError::new(source, mistakes))?;
        let max_cost = estimate::max_cost(&expr, self);
        Ok(Program { source: source.into(), expr, ty: checked.ty, uses: checked.uses, max_cost })
    }
}

/// An expression that is well-formed and well-typed.
#[derive(Debug, Clone)]
pub struct Program {
    source: Arc<str>,
    expr: Expr,
    ty: Type,
    uses: BTreeSet<String>,
    max_cost: u64,
}

impl Program {
    /// What was compiled.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The type of its value.
    #[must_use]
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// Whether it uses the variable `name`; `variables.NAME` for a composed one.
    #[must_use]
    pub fn uses(&self, name: &str) -> bool {
        self.uses.contains(name)
    }

    /// What it costs at most, as far as the sizes of values are known; `u64::MAX` when they are not.
    #[must_use]
    pub fn max_cost(&self) -> u64 {
        self.max_cost
    }

    pub(super) fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Evaluates it and takes from `budget` what that costs.
    ///
    /// # Errors
    /// When it has no value, or costs more than it may.
    pub fn evaluate<'a>(&'a self, activation: &Activation<'a>, budget: &mut Budget) -> Result<Val<'a>, EvalError> {
        eval::evaluate(&self.expr, activation, budget)
    }
}
