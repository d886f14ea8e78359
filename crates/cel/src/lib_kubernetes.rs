//! Kubernetes' libraries of quantities, versions, named formats and authorization.

use super::ast::Call;
use super::error::EvalError;
use super::function::{Cost, Function, Meter, T, global, member};
use super::lib_core::function;
use super::value::{Opaque, OpaqueQuantity, Val};
use crate::quantity::Quantity;
use std::cmp::Ordering;
use std::sync::Arc;

mod authorizer;
mod format;
mod semver;

pub(super) use authorizer::AuthorizerVal;
pub use authorizer::{Authorizer, Check, Decision};
pub(super) use format::FormatVal;
pub(super) use semver::Semver;

const QUANTITY: T = T::Opaque("kubernetes.Quantity");
const SEMVER: T = T::Opaque("kubernetes.Semver");
const FORMAT: T = T::Opaque("kubernetes.NamedFormat");
const AUTHORIZER: T = T::Opaque("kubernetes.authorization.Authorizer");
const PATH_CHECK: T = T::Opaque("kubernetes.authorization.PathCheck");
const GROUP_CHECK: T = T::Opaque("kubernetes.authorization.GroupCheck");
const RESOURCE_CHECK: T = T::Opaque("kubernetes.authorization.ResourceCheck");
const DECISION: T = T::Opaque("kubernetes.authorization.Decision");

/// An authorization check may ask another server; upstream lets two of them fit into one expression.
const CHECK_COST: u64 = 350_000;

macro_rules! named_format {
    ($name:expr) => {
        function!($name, Cost::Fixed(1), format::constant, &[global(&[], FORMAT)])
    };
}

macro_rules! of_resource {
    ($name:expr, $cost:expr) => {
        function!($name, $cost, authorizer::narrow, &[member(&[RESOURCE_CHECK, T::String], RESOURCE_CHECK)])
    };
}

pub(super) static FUNCTIONS: &[Function] = &[
    function!("quantity", Cost::Text(1), quantity, &[global(&[T::String], QUANTITY)]),
    function!("isQuantity", Cost::Text(1), is_quantity, &[global(&[T::String], T::Bool)]),
    function!("sign", Cost::Fixed(1), sign, &[member(&[QUANTITY], T::Int), global(&[QUANTITY], T::Int)]),
    function!("isInteger", Cost::Fixed(1), is_integer, &[member(&[QUANTITY], T::Bool)]),
    function!("asInteger", Cost::Fixed(1), as_integer, &[member(&[QUANTITY], T::Int)]),
    function!("asApproximateFloat", Cost::Fixed(1), as_float, &[member(&[QUANTITY], T::Double)]),
    function!(
        "add",
        Cost::Fixed(1),
        add,
        &[member(&[QUANTITY, QUANTITY], QUANTITY), member(&[QUANTITY, T::Int], QUANTITY),]
    ),
    function!(
        "sub",
        Cost::Fixed(1),
        sub,
        &[member(&[QUANTITY, QUANTITY], QUANTITY), member(&[QUANTITY, T::Int], QUANTITY),]
    ),
    function!(
        "isGreaterThan",
        Cost::Fixed(1),
        is_greater,
        &[member(&[QUANTITY, QUANTITY], T::Bool), member(&[SEMVER, SEMVER], T::Bool),]
    ),
    function!(
        "isLessThan",
        Cost::Fixed(1),
        is_less,
        &[member(&[QUANTITY, QUANTITY], T::Bool), member(&[SEMVER, SEMVER], T::Bool),]
    ),
    function!(
        "compareTo",
        Cost::Fixed(1),
        compare_to,
        &[member(&[QUANTITY, QUANTITY], T::Int), member(&[SEMVER, SEMVER], T::Int),]
    ),
    function!(
        "semver",
        Cost::Text(1),
        semver_of,
        &[global(&[T::String], SEMVER), global(&[T::String, T::Bool], SEMVER),]
    ),
    function!(
        "isSemver",
        Cost::Text(1),
        is_semver,
        &[global(&[T::String], T::Bool), global(&[T::String, T::Bool], T::Bool),]
    ),
    function!("major", Cost::Fixed(1), major, &[member(&[SEMVER], T::Int)]),
    function!("minor", Cost::Fixed(1), minor, &[member(&[SEMVER], T::Int)]),
    function!("patch", Cost::Fixed(1), patch, &[member(&[SEMVER], T::Int)]),
    function!("format.named", Cost::Fixed(1), format::named, &[global(&[T::String], T::Optional(&FORMAT))]),
    function!(
        "validate",
        Cost::Fixed(1),
        format::validate,
        &[member(&[FORMAT, T::String], T::Optional(&T::List(&T::String))),]
    ),
    named_format!("format.dns1123Label"),
    named_format!("format.dns1123Subdomain"),
    named_format!("format.dns1035Label"),
    named_format!("format.qualifiedName"),
    named_format!("format.dns1123LabelPrefix"),
    named_format!("format.dns1123SubdomainPrefix"),
    named_format!("format.dns1035LabelPrefix"),
    named_format!("format.labelValue"),
    named_format!("format.uri"),
    named_format!("format.uuid"),
    named_format!("format.byte"),
    named_format!("format.date"),
    named_format!("format.datetime"),
    function!("path", Cost::Fixed(1), authorizer::path, &[member(&[AUTHORIZER, T::String], PATH_CHECK)]),
    function!("group", Cost::Fixed(1), authorizer::group, &[member(&[AUTHORIZER, T::String], GROUP_CHECK)]),
    function!(
        "serviceAccount",
        Cost::Fixed(1),
        authorizer::service_account,
        &[member(&[AUTHORIZER, T::String, T::String], AUTHORIZER),]
    ),
    function!("resource", Cost::Fixed(1), authorizer::resource, &[member(&[GROUP_CHECK, T::String], RESOURCE_CHECK)]),
    of_resource!("subresource", Cost::Fixed(1)),
    of_resource!("namespace", Cost::Fixed(1)),
    of_resource!("name", Cost::Fixed(1)),
    of_resource!("fieldSelector", Cost::Fixed(25)),
    of_resource!("labelSelector", Cost::Fixed(25)),
    function!(
        "check",
        Cost::Fixed(CHECK_COST),
        authorizer::check,
        &[member(&[PATH_CHECK, T::String], DECISION), member(&[RESOURCE_CHECK, T::String], DECISION),]
    ),
    function!("allowed", Cost::Fixed(1), authorizer::allowed, &[member(&[DECISION], T::Bool)]),
    function!("errored", Cost::Fixed(1), authorizer::errored, &[member(&[DECISION], T::Bool)]),
    function!("reason", Cost::Fixed(1), authorizer::reason, &[member(&[DECISION], T::String)]),
    function!("error", Cost::Fixed(1), authorizer::error, &[member(&[DECISION], T::String)]),
];

type Ran<'a> = Result<Val<'a>, EvalError>;

fn text<'r>(args: &'r [Val<'_>], index: usize) -> Result<&'r str, EvalError> {
    args.get(index).and_then(Val::as_text).ok_or_else(EvalError::no_such_overload)
}

fn made<'a>(quantity: Quantity) -> Val<'a> {
    Val::Opaque(Opaque::Quantity(OpaqueQuantity(quantity)))
}

fn number(value: &Val<'_>) -> Result<Quantity, EvalError> {
    match value {
        Val::Opaque(Opaque::Quantity(quantity)) => Ok(quantity.0),
        Val::Int(value) => Ok(Quantity::from_int(*value)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn quantity<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Quantity::parse(text(args, 0)?).map(made).map_err(EvalError::new)
}

fn is_quantity<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(Quantity::parse(text(args, 0)?).is_ok()))
}

fn sign<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Int(number(&args[0])?.sign()))
}

fn is_integer<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(number(&args[0])?.as_int().is_some()))
}

fn as_integer<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let value = number(&args[0])?.as_int();
    value.map(Val::Int).ok_or_else(|| EvalError::new("cannot convert value to integer"))
}

fn as_float<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Double(number(&args[0])?.as_float()))
}

fn sum<'a>(a: Quantity, b: Quantity) -> Ran<'a> {
    a.add(b).map(made).ok_or_else(|| EvalError::new("quantity overflow"))
}

fn add<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    sum(number(&args[0])?, number(&args[1])?)
}

fn sub<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    sum(number(&args[0])?, number(&args[1])?.negated())
}

/// The order of two quantities or two versions.
fn order(args: &[Val<'_>]) -> Result<Ordering, EvalError> {
    match (&args[0], &args[1]) {
        (Val::Opaque(Opaque::Semver(a)), Val::Opaque(Opaque::Semver(b))) => Ok(a.compare(b)),
        (Val::Opaque(Opaque::Quantity(a)), Val::Opaque(Opaque::Quantity(b))) => Ok(a.0.compare(b.0)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn is_greater<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(order(args)? == Ordering::Greater))
}

fn is_less<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(order(args)? == Ordering::Less))
}

fn compare_to<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Int(order(args)? as i64))
}

fn read_semver(args: &[Val<'_>]) -> Result<Result<Semver, String>, EvalError> {
    let normalize = match args.get(1) {
        None => false,
        Some(Val::Bool(flag)) => *flag,
        Some(_) => return Err(EvalError::no_such_overload()),
    };
    let text = text(args, 0)?;
    Ok(if normalize { Semver::parse_normalized(text) } else { Semver::parse(text) })
}

fn semver_of<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let version = read_semver(args)?.map_err(EvalError::new)?;
    Ok(Val::Opaque(Opaque::Semver(Arc::new(version))))
}

fn is_semver<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(read_semver(args)?.is_ok()))
}

fn version_part<'a>(args: &[Val<'a>], part: usize) -> Ran<'a> {
    match &args[0] {
        Val::Opaque(Opaque::Semver(version)) => Ok(Val::Int(i64::try_from(version.numbers[part]).unwrap_or(i64::MAX))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn major<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    version_part(args, 0)
}

fn minor<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    version_part(args, 1)
}

fn patch<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    version_part(args, 2)
}
