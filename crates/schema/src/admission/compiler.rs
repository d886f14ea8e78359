//! Which variables there are, and what an expression has to give.

use super::input::namespace_decl;
use orrery_cel::{Decl, Environment, Program, Type};
use std::sync::Arc;

/// Which variables there are beside `object`, `oldObject`, `request` and `namespaceObject`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// `params`: the policy has a `paramKind`.
    pub params: bool,
    /// `authorizer` and `authorizer.requestResource`.
    pub authorizer: bool,
    /// `Object{...}` and `JSONPatch{...}` can be made.
    pub mutation: bool,
}

/// What an expression has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// True or false.
    Bool,
    /// A text.
    String,
    /// A text, or null for none.
    StringOrNull,
    /// `Object{...}`: fields to apply.
    ApplyConfiguration,
    /// `[JSONPatch{...}]`: operations.
    JsonPatch,
    /// Anything.
    Any,
}

/// Compiles expressions that may use each other as `variables.NAME`.
#[derive(Debug, Clone)]
pub struct Compiler {
    environment: Environment,
    variables: Vec<(String, Program)>,
}

impl Compiler {
    /// For expressions of which the types of objects are not known.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::typed(options, None, None)
    }

    /// For expressions on objects of known types.
    #[must_use]
    pub fn typed(options: Options, object: Option<&Arc<Decl>>, params: Option<&Arc<Decl>>) -> Self {
        let declare = |environment: Environment, name: &str, decl: Option<&Arc<Decl>>| match decl {
            Some(decl) => environment.with_declared(name, decl.clone()),
            None => environment.with(name, Type::Dyn),
        };
        let mut environment = Environment::new()
            .with("request", request_type())
            .with_declared("namespaceObject", namespace_decl().clone());
        environment = declare(environment, "object", object);
        environment = declare(environment, "oldObject", object);
        if options.params {
            environment = declare(environment, "params", params);
        }
        if options.authorizer {
            environment = environment
                .with("authorizer", Type::Opaque("kubernetes.authorization.Authorizer"))
                .with("authorizer.requestResource", Type::Opaque("kubernetes.authorization.ResourceCheck"));
        }
        if options.mutation {
            environment = environment.with_mutation();
        }
        Self { environment, variables: Vec::new() }
    }

    /// Declares `variables.NAME`, which those after it may use.
    ///
    /// # Errors
    /// When its expression does not compile; it is declared all the same, of an unknown type.
    pub fn variable(&mut self, name: &str, expression: &str) -> Result<(), String> {
        match self.compile(expression, Expected::Any) {
            Ok(program) => {
                self.environment = self.environment.clone().with_composed(name, program.ty().clone());
                self.variables.push((name.to_owned(), program));
                Ok(())
            }
            Err(error) => {
                self.environment = self.environment.clone().with_composed(name, Type::Dyn);
                Err(error)
            }
        }
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// When it does not compile, or gives something else, in upstream's words.
    pub fn compile(&self, expression: &str, expected: Expected) -> Result<Program, String> {
        let program = self.environment.compile(expression).map_err(|error| format!("compilation failed: {error}"))?;
        if expected.fits(program.ty()) {
            return Ok(program);
        }
        let one = if expected == Expected::StringOrNull { "one of " } else { "" };
        Err(format!("must evaluate to {one}{} but got {}", expected.text(), program.ty()))
    }

    /// The variables that compile, in their order.
    #[must_use]
    pub fn into_variables(self) -> Vec<(String, Program)> {
        self.variables
    }
}

impl Expected {
    fn text(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::String => "string",
            Self::StringOrNull => "[string null_type]",
            Self::ApplyConfiguration => "Object",
            Self::JsonPatch => "list(JSONPatch)",
            Self::Any => "any",
        }
    }

    fn fits(self, ty: &Type) -> bool {
        let named = |ty: &Type, name: &str| matches!(ty, Type::Object(object) if object.name == name);
        match self {
            Self::Any => true,
            Self::Bool => *ty == Type::Bool,
            Self::String => *ty == Type::String,
            Self::StringOrNull => matches!(ty, Type::String | Type::Null),
            Self::ApplyConfiguration => named(ty, "Object"),
            // A list that is empty anyway is one of anything.
            Self::JsonPatch => {
                matches!(ty, Type::List(of) if named(of, "JSONPatch") || matches!(**of, Type::Var(_)))
            }
        }
    }
}

/// `admission/v1 AdmissionRequest`, without what is not needed within the server.
fn request_type() -> Type {
    let text = || Type::String;
    let kind = Type::object("kubernetes.GroupVersionKind", [("group", text()), ("version", text()), ("kind", text())]);
    let resource =
        Type::object("kubernetes.GroupVersionResource", [("group", text()), ("version", text()), ("resource", text())]);
    let user = Type::object(
        "kubernetes.UserInfo",
        [
            ("username", text()),
            ("uid", text()),
            ("groups", Type::list(text())),
            ("extra", Type::string_map(Type::list(text()))),
        ],
    );
    Type::object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", text()),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}
