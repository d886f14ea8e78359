//! `authorizer.group('apps').resource('deployments').namespace('n').check('create').allowed()`.

use super::super::ast::Call;
use super::super::error::EvalError;
use super::super::function::Meter;
use super::super::value::{Opaque, Val};
use orrery_machinery::meta;
use std::sync::Arc;

type Ran<'a> = Result<Val<'a>, EvalError>;

/// Answers whether somebody may do something: the requester, or a service account. It is asked while an expression is
/// evaluated, so the answer has to be at hand without waiting.
pub trait Authorizer: std::fmt::Debug + Sync {
    /// Decides on `check`.
    fn decide(&self, check: &Check) -> Decision;
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// Namespace and name of a service account, when it is not the requester.
    pub service_account: Option<(String, String)>,
    /// A path that is no resource.
    pub path: Option<String>,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name.
    pub resource: String,
    /// Empty for none.
    pub subresource: String,
    /// Empty for all, or for what has none.
    pub namespace: String,
    /// Empty for all.
    pub name: String,
    /// Empty for none.
    pub field_selector: String,
    /// Empty for none.
    pub label_selector: String,
    /// Such as `create`.
    pub verb: String,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// Why it could not be decided; empty when it could.
    pub error: String,
}

/// An authorizer on the way to a decision.
#[derive(Debug, Clone)]
pub struct AuthorizerVal<'a> {
    stage: Stage,
    check: Arc<Check>,
    authorizer: &'a dyn Authorizer,
    decision: Option<Arc<Decision>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
    Decision,
}

impl PartialEq for AuthorizerVal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.stage == other.stage && self.check == other.check && self.decision == other.decision
    }
}

impl<'a> Val<'a> {
    /// `authorizer`: asks for the requester.
    #[must_use]
    pub fn authorizer(authorizer: &'a dyn Authorizer) -> Self {
        Self::Opaque(Opaque::Authorizer(AuthorizerVal::new(authorizer)))
    }

    /// `authorizer.requestResource`: asks about the resource of the request, which `check` names.
    #[must_use]
    pub fn resource_check(authorizer: &'a dyn Authorizer, check: Check) -> Self {
        Self::Opaque(Opaque::Authorizer(AuthorizerVal::of_resource(authorizer, check)))
    }
}

impl<'a> AuthorizerVal<'a> {
    /// The requester's.
    pub(crate) fn new(authorizer: &'a dyn Authorizer) -> Self {
        Self { stage: Stage::Authorizer, check: Arc::default(), authorizer, decision: None }
    }

    pub(crate) fn of_resource(authorizer: &'a dyn Authorizer, check: Check) -> Self {
        Self { stage: Stage::Resource, check: Arc::new(check), authorizer, decision: None }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self.stage {
            Stage::Authorizer => "kubernetes.authorization.Authorizer",
            Stage::Path => "kubernetes.authorization.PathCheck",
            Stage::Group => "kubernetes.authorization.GroupCheck",
            Stage::Resource => "kubernetes.authorization.ResourceCheck",
            Stage::Decision => "kubernetes.authorization.Decision",
        }
    }

    fn next(&self, stage: Stage, change: impl FnOnce(&mut Check)) -> Val<'a> {
        let mut check = (*self.check).clone();
        change(&mut check);
        Val::Opaque(Opaque::Authorizer(Self { stage, check: Arc::new(check), ..self.clone() }))
    }
}

fn at<'r, 'a>(args: &'r [Val<'a>], stages: &[Stage]) -> Result<&'r AuthorizerVal<'a>, EvalError> {
    match &args[0] {
        Val::Opaque(Opaque::Authorizer(authorizer)) if stages.contains(&authorizer.stage) => Ok(authorizer),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn filled<'r>(args: &'r [Val<'_>], what: &str) -> Result<&'r str, EvalError> {
    let text = super::text(args, 1)?;
    if text.trim().is_empty() { Err(EvalError::new(format!("{what} must not be empty"))) } else { Ok(text) }
}

pub(super) fn path<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let (authorizer, path) = (at(args, &[Stage::Authorizer])?, filled(args, "path")?);
    Ok(authorizer.next(Stage::Path, |check| check.path = Some(path.to_owned())))
}

pub(super) fn group<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let (authorizer, group) = (at(args, &[Stage::Authorizer])?, super::text(args, 1)?);
    Ok(authorizer.next(Stage::Group, |check| check.group = group.to_owned()))
}

pub(super) fn service_account<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let authorizer = at(args, &[Stage::Authorizer])?;
    let (namespace, name) = (super::text(args, 1)?, super::text(args, 2)?);
    if !meta::dns_subdomain_problems(name).is_empty() {
        return Err(EvalError::new("Invalid service account name"));
    }
    if !meta::dns_label_problems(namespace).is_empty() {
        return Err(EvalError::new("Invalid service account namespace"));
    }
    Ok(authorizer.next(Stage::Authorizer, |check| {
        check.service_account = Some((namespace.to_owned(), name.to_owned()));
    }))
}

pub(super) fn resource<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let (authorizer, resource) = (at(args, &[Stage::Group])?, filled(args, "resource")?);
    Ok(authorizer.next(Stage::Resource, |check| check.resource = resource.to_owned()))
}

/// `subresource`, `namespace`, `name` and the selectors.
pub(super) fn narrow<'a>(_: &mut Meter, call: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let (authorizer, text) = (at(args, &[Stage::Resource])?, super::text(args, 1)?);
    Ok(authorizer.next(Stage::Resource, |check| {
        let part = match call.name.as_str() {
            "subresource" => &mut check.subresource,
            "namespace" => &mut check.namespace,
            "name" => &mut check.name,
            "fieldSelector" => &mut check.field_selector,
            _ => &mut check.label_selector,
        };
        *part = text.to_owned();
    }))
}

pub(super) fn check<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let (authorizer, verb) = (at(args, &[Stage::Path, Stage::Resource])?, super::text(args, 1)?);
    let check = Check { verb: verb.to_owned(), ..(*authorizer.check).clone() };
    let decision = authorizer.authorizer.decide(&check);
    Ok(Val::Opaque(Opaque::Authorizer(AuthorizerVal {
        stage: Stage::Decision,
        check: Arc::new(check),
        decision: Some(Arc::new(decision)),
        ..authorizer.clone()
    })))
}

fn decision<'r>(args: &'r [Val<'_>]) -> Result<&'r Decision, EvalError> {
    at(args, &[Stage::Decision])?.decision.as_deref().ok_or_else(EvalError::no_such_overload)
}

pub(super) fn allowed<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(decision(args)?.allowed))
}

pub(super) fn errored<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(!decision(args)?.error.is_empty()))
}

pub(super) fn reason<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::text(decision(args)?.reason.as_str()))
}

pub(super) fn error<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::text(decision(args)?.error.as_str()))
}
