//! `"%s of %d".format([a, b])`.

use super::super::error::EvalError;
use super::super::function::Meter;
use super::super::lib_core::as_string;
use super::super::value::{Key, List, MapVal, Val};
use super::quoted;
use crate::number::go_float;

/// How deep lists and maps may be nested that are printed.
const MAX_DEPTH: usize = 32;
/// How many digits a number may be asked for.
const MAX_PRECISION: usize = 100;

/// Puts `values` into `text`.
pub(super) fn format(meter: &mut Meter, text: &str, values: &List<'_>) -> Result<String, EvalError> {
    let mut out = String::new();
    let mut next = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut precision = None;
        if chars.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let bad = || EvalError::new(format!("error while formatting: invalid precision {digits:?}"));
            precision = Some(digits.parse::<usize>().ok().filter(|p| *p <= MAX_PRECISION).ok_or_else(bad)?);
        }
        let verb = chars.next().ok_or_else(|| EvalError::new("unexpected end of string"))?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = values.get(next).ok_or_else(|| EvalError::new(format!("index {next} out of range")))??;
        next += 1;
        let before = out.len();
        clause(&mut out, verb, precision, &value, meter)?;
        meter.charge_made(out.len() - before)?;
    }
    Ok(out)
}

fn clause(
    out: &mut String,
    verb: char,
    precision: Option<usize>,
    value: &Val<'_>,
    meter: &mut Meter,
) -> Result<(), EvalError> {
    let unfit = |what: &str| {
        let name = value.type_name();
        EvalError::new(format!("error during formatting: {what} clause can only be used on numbers, was given {name}"))
    };
    match verb {
        's' => return print(out, value, 0, meter),
        'd' => match value {
            Val::Int(_) | Val::Uint(_) => out.push_str(&as_string(value)?),
            Val::Double(value) => out.push_str(&go_float(*value)),
            _ => return Err(unfit("decimal")),
        },
        'f' | 'e' => {
            let number = match value {
                Val::Double(value) => *value,
                Val::Int(value) => *value as f64,
                Val::Uint(value) => *value as f64,
                _ => return Err(unfit(if verb == 'f' { "fixed-point" } else { "scientific" })),
            };
            let precision = precision.unwrap_or(6);
            if !number.is_finite() {
                out.push_str(&go_float(number));
            } else if verb == 'f' {
                out.push_str(&format!("{number:.precision$}"));
            } else {
                let text = format!("{number:.precision$e}");
                let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let exponent: i32 = exponent.parse().unwrap_or_default();
                let sign = if exponent < 0 { '-' } else { '+' };
                out.push_str(&format!("{digits}e{sign}{:02}", exponent.abs()));
            }
        }
        'b' => match value {
            Val::Bool(flag) => out.push_str(if *flag { "1" } else { "0" }),
            other => radix(out, other, 2, false).ok_or_else(|| unfit("binary"))?,
        },
        'o' => radix(out, value, 8, false).ok_or_else(|| unfit("octal"))?,
        'x' | 'X' => {
            let upper = verb == 'X';
            let bytes = match value {
                Val::String(text) => Some(text.as_bytes().to_vec()),
                Val::Bytes(bytes) => Some(bytes.to_vec()),
                _ => None,
            };
            match bytes {
                Some(bytes) => bytes.iter().for_each(|b| {
                    out.push_str(&if upper { format!("{b:02X}") } else { format!("{b:02x}") });
                }),
                None => radix(out, value, 16, upper).ok_or_else(|| unfit("hex"))?,
            }
        }
        other => {
            return Err(EvalError::new(format!(
                "could not parse formatting clause: unrecognized formatting clause \"{other}\""
            )));
        }
    }
    Ok(())
}

fn radix(out: &mut String, value: &Val<'_>, radix: u32, upper: bool) -> Option<()> {
    let (negative, magnitude) = match value {
        Val::Int(value) => (*value < 0, value.unsigned_abs()),
        Val::Uint(value) => (false, *value),
        _ => return None,
    };
    let digits = match (radix, upper) {
        (2, _) => format!("{magnitude:b}"),
        (8, _) => format!("{magnitude:o}"),
        (_, false) => format!("{magnitude:x}"),
        (_, true) => format!("{magnitude:X}"),
    };
    if negative {
        out.push('-');
    }
    out.push_str(&digits);
    Some(())
}

/// A value for people. Within lists and maps, texts are quoted.
fn print(out: &mut String, value: &Val<'_>, depth: usize, meter: &mut Meter) -> Result<(), EvalError> {
    meter.charge(1)?;
    if depth > MAX_DEPTH {
        return Err(EvalError::TooDeep);
    }
    match value {
        Val::Null => out.push_str("null"),
        Val::String(text) => {
            meter.charge_made(text.len())?;
            if depth == 0 {
                out.push_str(text);
            } else {
                out.push_str(&quoted(text));
            }
        }
        Val::Timestamp(_) if depth > 0 => out.push_str(&format!("timestamp({:?})", as_string(value)?)),
        Val::Duration(_) if depth > 0 => out.push_str(&format!("duration({:?})", as_string(value)?)),
        Val::Double(number) if depth > 0 => out.push_str(&format!("{number:.6}")),
        Val::Type(name) => out.push_str(name),
        Val::List(list) => {
            out.push('[');
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                print(out, &item?, depth + 1, meter)?;
            }
            out.push(']');
        }
        Val::Map(map) => entries(out, map, depth, meter)?,
        Val::Object(_) | Val::Optional(_) => {
            let name = value.type_name();
            return Err(EvalError::new(format!(
                "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, \
                 lists, types, durations, and timestamps, was given {name}"
            )));
        }
        other => out.push_str(&as_string(other)?),
    }
    Ok(())
}

fn entries(out: &mut String, map: &MapVal<'_>, depth: usize, meter: &mut Meter) -> Result<(), EvalError> {
    out.push('{');
    for (i, key) in map.keys().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        match &key {
            Key::String(text) => out.push_str(&quoted(text)),
            Key::Int(value) => out.push_str(&value.to_string()),
            Key::Bool(flag) => out.push_str(&flag.to_string()),
        }
        out.push_str(": ");
        if let Some(value) = map.get(&key) {
            print(out, &value?, depth + 1, meter)?;
        }
    }
    out.push('}');
    Ok(())
}
