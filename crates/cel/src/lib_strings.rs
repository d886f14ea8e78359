//! Texts: the language's own functions, cel-go's string extension (version 2), Kubernetes' regular expressions.

use super::ast::Call;
use super::error::EvalError;
use super::function::{Cost, Function, Meter, T, global, member};
use super::lib_core::function;
use super::value::Val;
use regex::Regex;
use std::borrow::Cow;

mod format;

const TEXTS: T = T::List(&T::String);

pub(super) static FUNCTIONS: &[Function] = &[
    function!("contains", Cost::Substring, contains, &[member(&[T::String, T::String], T::Bool)]),
    function!("startsWith", Cost::Text(1), starts_with, &[member(&[T::String, T::String], T::Bool)]),
    function!("endsWith", Cost::Text(1), ends_with, &[member(&[T::String, T::String], T::Bool)]),
    function!(
        "matches",
        Cost::Regex,
        matches,
        &[member(&[T::String, T::String], T::Bool), global(&[T::String, T::String], T::Bool),]
    ),
    function!("find", Cost::Regex, find, &[member(&[T::String, T::String], T::String)]),
    function!(
        "findAll",
        Cost::Regex,
        find_all,
        &[member(&[T::String, T::String], TEXTS), member(&[T::String, T::String, T::Int], TEXTS),]
    ),
    function!("charAt", Cost::Text(1), char_at, &[member(&[T::String, T::Int], T::String)]),
    function!("lowerAscii", Cost::Text(1), lower_ascii, &[member(&[T::String], T::String)]),
    function!("upperAscii", Cost::Text(1), upper_ascii, &[member(&[T::String], T::String)]),
    function!("trim", Cost::Text(1), trim, &[member(&[T::String], T::String)]),
    function!(
        "substring",
        Cost::Text(1),
        substring,
        &[member(&[T::String, T::Int], T::String), member(&[T::String, T::Int, T::Int], T::String),]
    ),
    function!(
        "replace",
        Cost::Text(2),
        replace,
        &[
            member(&[T::String, T::String, T::String], T::String),
            member(&[T::String, T::String, T::String, T::Int], T::String),
        ]
    ),
    function!(
        "split",
        Cost::Text(2),
        split,
        &[member(&[T::String, T::String], TEXTS), member(&[T::String, T::String, T::Int], TEXTS),]
    ),
    function!("join", Cost::Fixed(1), join, &[member(&[TEXTS], T::String), member(&[TEXTS, T::String], T::String)]),
    function!("format", Cost::Text(1), format_text, &[member(&[T::String, T::List(&T::Dyn)], T::String)]),
    function!("strings.quote", Cost::Text(1), quote, &[global(&[T::String], T::String)]),
    function!("jsonpatch.escapeKey", Cost::Text(1), escape_key, &[global(&[T::String], T::String)]),
];

type Ran<'a> = Result<Val<'a>, EvalError>;

fn text<'r>(args: &'r [Val<'_>], index: usize) -> Result<&'r str, EvalError> {
    args.get(index).and_then(Val::as_text).ok_or_else(EvalError::no_such_overload)
}

/// A whole number among the arguments; nothing when it is not given.
fn whole(args: &[Val<'_>], index: usize) -> Result<Option<i64>, EvalError> {
    match args.get(index) {
        None => Ok(None),
        Some(Val::Int(value)) => Ok(Some(*value)),
        Some(_) => Err(EvalError::no_such_overload()),
    }
}

fn contains<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(text(args, 0)?.contains(text(args, 1)?)))
}

fn starts_with<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(text(args, 0)?.starts_with(text(args, 1)?)))
}

fn ends_with<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(text(args, 0)?.ends_with(text(args, 1)?)))
}

/// The regular expression of a call: known beforehand, or made now.
fn regex<'c>(meter: &mut Meter, call: &'c Call, source: &str) -> Result<Cow<'c, Regex>, EvalError> {
    match &call.pattern {
        Some(pattern) => pattern.regex().map(Cow::Borrowed).map_err(EvalError::new),
        None => meter.regex(source).map(Cow::Owned),
    }
}

fn matches<'a>(meter: &mut Meter, call: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(regex(meter, call, text(args, 1)?)?.is_match(text(args, 0)?)))
}

fn find<'a>(meter: &mut Meter, call: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let regex = regex(meter, call, text(args, 1)?)?;
    Ok(Val::text(regex.find(text(args, 0)?).map_or("", |found| found.as_str())))
}

fn find_all<'a>(meter: &mut Meter, call: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let regex = regex(meter, call, text(args, 1)?)?;
    let limit = whole(args, 2)?.filter(|limit| *limit >= 0).and_then(|limit| usize::try_from(limit).ok());
    let mut found = Vec::new();
    for part in regex.find_iter(text(args, 0)?).take(limit.unwrap_or(usize::MAX)) {
        meter.charge(1)?;
        found.push(Val::text(part.as_str()));
    }
    Ok(Val::list(found))
}

fn out_of_range(index: i64) -> EvalError {
    EvalError::new(format!("index out of range: {index}"))
}

/// Where character `index` starts, in bytes; the end counts as one more.
fn byte_of(text: &str, index: i64) -> Result<usize, EvalError> {
    let wanted = usize::try_from(index).map_err(|_| out_of_range(index))?;
    let mut places = text.char_indices().map(|(place, _)| place).chain([text.len()]);
    places.nth(wanted).ok_or_else(|| out_of_range(index))
}

fn char_at<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let whole_text = text(args, 0)?;
    let place = byte_of(whole_text, whole(args, 1)?.unwrap_or_default())?;
    Ok(Val::text(whole_text[place..].chars().next().map(String::from).unwrap_or_default()))
}

fn lower_ascii<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::text(text(args, 0)?.to_ascii_lowercase()))
}

fn upper_ascii<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::text(text(args, 0)?.to_ascii_uppercase()))
}

fn trim<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::text(text(args, 0)?.trim()))
}

fn substring<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let whole_text = text(args, 0)?;
    let start = whole(args, 1)?.unwrap_or_default();
    let from = byte_of(whole_text, start)?;
    let to = match whole(args, 2)? {
        None => whole_text.len(),
        Some(end) if end < start => {
            return Err(EvalError::new(format!("invalid substring range. start: {start}, end: {end}")));
        }
        Some(end) => byte_of(whole_text, end)?,
    };
    Ok(Val::text(&whole_text[from..to]))
}

/// `indexOf` of texts, in characters.
pub(super) fn index_of<'a>(args: &[Val<'a>]) -> Ran<'a> {
    let (whole_text, part) = (text(args, 0)?, text(args, 1)?);
    let start = whole(args, 2)?.unwrap_or(0);
    let from = byte_of(whole_text, start)?;
    let found = whole_text[from..].find(part).map(|place| whole_text[..from + place].chars().count());
    Ok(Val::Int(found.map_or(-1, |place| place as i64)))
}

/// `lastIndexOf` of texts, in characters.
pub(super) fn last_index_of<'a>(args: &[Val<'a>]) -> Ran<'a> {
    let (whole_text, part) = (text(args, 0)?, text(args, 1)?);
    let end = match whole(args, 2)? {
        None => whole_text.len(),
        // The part may start at this character but not behind it.
        Some(last) => (byte_of(whole_text, last)? + part.len()).min(whole_text.len()),
    };
    let end = (end..=whole_text.len()).find(|end| whole_text.is_char_boundary(*end)).unwrap_or(whole_text.len());
    let found = whole_text[..end].rfind(part).map(|place| whole_text[..place].chars().count());
    Ok(Val::Int(found.map_or(-1, |place| place as i64)))
}

fn replace<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let (whole_text, from, to) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    let limit = whole(args, 3)?.filter(|limit| *limit >= 0).and_then(|limit| usize::try_from(limit).ok());
    let count = whole_text.matches(from).take(limit.unwrap_or(usize::MAX)).count();
    // What comes out may be far larger than what went in, so it is paid for before it is made.
    meter.charge_made(count.saturating_mul(to.len()))?;
    Ok(Val::text(match limit {
        Some(limit) => whole_text.replacen(from, to, limit),
        None => whole_text.replace(from, to),
    }))
}

fn split<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let (whole_text, separator) = (text(args, 0)?, text(args, 1)?);
    let limit = whole(args, 2)?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let parts: Vec<&str> = match (limit, separator) {
        (0, _) => Vec::new(),
        (limit, "") => {
            let ends: Vec<usize> = whole_text.char_indices().map(|(place, _)| place).skip(1).take(limit - 1).collect();
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let ends = ends.iter().copied().chain([whole_text.len()]);
            if whole_text.is_empty() { Vec::new() } else { starts.zip(ends).map(|(a, b)| &whole_text[a..b]).collect() }
        }
        (limit, separator) => whole_text.splitn(limit, separator).collect(),
    };
    meter.charge_made(parts.len().saturating_mul(10))?;
    Ok(Val::list(parts.into_iter().map(Val::text).collect()))
}

fn join<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let Val::List(list) = &args[0] else { return Err(EvalError::no_such_overload()) };
    let separator = if args.len() > 1 { text(args, 1)? } else { "" };
    let mut size = list.len().saturating_mul(separator.len());
    let mut parts = Vec::new();
    for item in list.iter() {
        meter.charge(1)?;
        let item = item?;
        size = size.saturating_add(item.as_text().ok_or_else(EvalError::no_such_overload)?.len());
        parts.push(item);
    }
    meter.charge_made(size.saturating_mul(2))?;
    let parts: Vec<&str> = parts.iter().filter_map(Val::as_text).collect();
    Ok(Val::text(parts.join(separator)))
}

fn format_text<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let Some(Val::List(values)) = args.get(1) else { return Err(EvalError::no_such_overload()) };
    format::format(meter, text(args, 0)?, values).map(Val::text)
}

fn quote<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::text(quoted(text(args, 0)?)))
}

/// A text between quotes, with everything escaped that has to be.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            '\\' | '"' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn escape_key<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::text(text(args, 0)?.replace('~', "~0").replace('/', "~1")))
}
