//! Named formats: `format.dns1123Label().validate("a")`.

use super::super::ast::Call;
use super::super::error::EvalError;
use super::super::function::{Meter, tenth};
use super::super::value::{Opaque, Val};
use crate::format::is_valid;
use orrery_machinery::meta;

type Ran<'a> = Result<Val<'a>, EvalError>;

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatVal(&'static NamedFormat);

#[derive(Debug, PartialEq, Eq)]
struct NamedFormat {
    name: &'static str,
    rule: Rule,
    /// How long upstream takes its regular expression to be.
    regex_size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Label,
    Subdomain,
    Label1035,
    QualifiedName,
    LabelPrefix,
    SubdomainPrefix,
    Label1035Prefix,
    LabelValue,
    /// One of the formats of schemas, with what is said when a text has not got it.
    Schema(&'static str, &'static str),
}

const fn format(name: &'static str, rule: Rule, regex_size: u64) -> NamedFormat {
    NamedFormat { name, rule, regex_size }
}

static FORMATS: [NamedFormat; 13] = [
    format("dns1123Label", Rule::Label, 30),
    format("dns1123Subdomain", Rule::Subdomain, 60),
    format("dns1035Label", Rule::Label1035, 30),
    format("qualifiedName", Rule::QualifiedName, 60),
    format("dns1123LabelPrefix", Rule::LabelPrefix, 30),
    format("dns1123SubdomainPrefix", Rule::SubdomainPrefix, 60),
    format("dns1035LabelPrefix", Rule::Label1035Prefix, 30),
    format("labelValue", Rule::LabelValue, 40),
    format("uri", Rule::Schema("uri", "invalid URI for request"), 1000),
    format("uuid", Rule::Schema("uuid", "does not match the UUID format"), 80),
    format("byte", Rule::Schema("byte", "invalid base64"), 80),
    format("date", Rule::Schema("date", "invalid date"), 90),
    format("datetime", Rule::Schema("datetime", "invalid datetime"), 90),
];

fn find(name: &str) -> Option<FormatVal> {
    FORMATS.iter().find(|format| format.name == name).map(FormatVal)
}

pub(super) fn named<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let found = find(super::text(args, 0)?);
    Ok(found.map_or(Val::Optional(None), |format| Val::some(Val::Opaque(Opaque::Format(format)))))
}

/// `format.NAME()`, where the name is the function's.
pub(super) fn constant<'a>(_: &mut Meter, call: &Call, _: &[Val<'a>]) -> Ran<'a> {
    let name = call.name.strip_prefix("format.").unwrap_or_default();
    find(name).map(|format| Val::Opaque(Opaque::Format(format))).ok_or_else(EvalError::no_such_overload)
}

pub(super) fn validate<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let Val::Opaque(Opaque::Format(FormatVal(format))) = &args[0] else { return Err(EvalError::no_such_overload()) };
    let text = super::text(args, 1)?;
    meter.charge(tenth(text.len() as u64 + 1).saturating_mul(format.regex_size.div_ceil(4)))?;
    // Of a prefix the end is not known, so it may be what a name may not end in.
    let prefix = || format!("{}a", text.trim_end_matches('-'));
    let problems = match format.rule {
        Rule::Label => meta::dns_label_problems(text),
        Rule::Subdomain => meta::dns_subdomain_problems(text),
        Rule::Label1035 => label_1035(text),
        Rule::QualifiedName => meta::qualified_name_problems(text),
        Rule::LabelPrefix => meta::dns_label_problems(&prefix()),
        Rule::SubdomainPrefix => meta::dns_subdomain_problems(&prefix()),
        Rule::Label1035Prefix => label_1035(&prefix()),
        Rule::LabelValue => meta::label_value_problems(text),
        Rule::Schema(name, _) if is_valid(name, text) == Some(true) => Vec::new(),
        Rule::Schema(_, problem) => vec![problem.to_owned()],
    };
    if problems.is_empty() {
        return Ok(Val::Optional(None));
    }
    Ok(Val::some(Val::list(problems.into_iter().map(Val::text).collect())))
}

fn label_1035(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > 63 {
        problems.push("must be no more than 63 bytes".to_owned());
    }
    let fits = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits || !text.starts_with(|c: char| c.is_ascii_lowercase()) || text.ends_with('-') {
        problems.push(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation \
             is '[a-z]([-a-z0-9]*[a-z0-9])?')"
                .to_owned(),
        );
    }
    problems
}
