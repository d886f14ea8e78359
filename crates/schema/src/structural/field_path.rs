//! Paths such as `.spec.labels['a.b']` that name a field of a schema: `fieldPath` of rules, `selectableFields`.

use super::Structural;
use crate::path::{child, key};

/// Why a path names no field. Texts are upstream's (`ValidFieldPath` in `schema/cel/validation.go`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldPathError {
    /// There is no such field.
    #[error("does not refer to a valid field")]
    NoSuchField,
    /// The path ends where more has to follow.
    #[error("unexpected end of JSON path")]
    UnexpectedEnd,
    /// `['name']` is not for this use.
    #[error("array notation is not allowed")]
    NoBrackets,
    /// Between brackets stands something else.
    #[error("expected single quoted string but got {0}")]
    NotQuoted(String),
    /// A bracket is not closed.
    #[error("expected ] but got {0}")]
    NotClosed(String),
    /// Neither `.` nor `[`.
    #[error("expected [ or . but got: {0}")]
    Unexpected(String),
    /// An escape that there is not.
    #[error("invalid string literal: invalid escape char {0}")]
    BadEscape(String),
}

/// Finds what `path` names in `schema`; answers with the field's path as errors write it, and its schema. `['name']`
/// is read only when `brackets` are allowed.
///
/// # Errors
/// When the path is malformed or leads nowhere.
pub fn find_field<'a>(
    schema: &'a Structural,
    path: &str,
    brackets: bool,
) -> Result<(String, &'a Structural), FieldPathError> {
    let mut tokens = tokens(path).into_iter();
    let mut found = (String::new(), schema);
    while let Some(token) = tokens.next() {
        let name = match token {
            "." => tokens.next().ok_or(FieldPathError::UnexpectedEnd)?.to_owned(),
            "[" if !brackets => return Err(FieldPathError::NoBrackets),
            "[" => {
                let quoted = tokens.next().ok_or(FieldPathError::UnexpectedEnd)?;
                let inner = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
                let name = unescape(inner.ok_or_else(|| FieldPathError::NotQuoted(quoted.to_owned()))?)?;
                match tokens.next().ok_or(FieldPathError::UnexpectedEnd)? {
                    "]" => name,
                    other => return Err(FieldPathError::NotClosed(other.to_owned())),
                }
            }
            other => return Err(FieldPathError::Unexpected(other.to_owned())),
        };
        found = step(found, &name)?;
    }
    Ok(found)
}

fn step<'a>((path, schema): (String, &'a Structural), name: &str) -> Result<(String, &'a Structural), FieldPathError> {
    if schema.properties.is_empty() {
        let next = schema.additional_schema().ok_or(FieldPathError::NoSuchField)?;
        return Ok((key(&path, name), next));
    }
    let next = schema.properties.get(name).ok_or(FieldPathError::NoSuchField)?;
    Ok((child(&path, name), next))
}

/// Splits at `.`, `[` and `]`, which are tokens themselves, but not within quotes.
fn tokens(path: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '.' | '[' | ']' => 1,
            '\'' => quoted_end(rest),
            _ => rest.find(['.', '[', ']']).unwrap_or(rest.len()),
        };
        let (token, tail) = rest.split_at(end);
        tokens.push(token);
        rest = tail;
    }
    tokens
}

/// Where the quoted text at the start of `text` ends.
fn quoted_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    (1..bytes.len()).find(|&i| bytes[i] == b'\'' && bytes[i - 1] != b'\\').map_or(text.len(), |i| i + 1)
}

fn unescape(text: &str) -> Result<String, FieldPathError> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next() {
            Some('a') => '\x07',
            Some('b') => '\x08',
            Some('f') => '\x0c',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\x0b',
            Some(c @ ('\'' | '\\')) => c,
            other => {
                return Err(FieldPathError::BadEscape(format!("\\{}", other.map(String::from).unwrap_or_default())));
            }
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_to_its_field_or_says_why_not() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"n": {"type": "integer"}, "a.b": {"type": "string"}}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
        }});
        let schema = Structural::read(&schema).unwrap();
        let good = [
            (".spec.n", "spec.n"),
            (".spec['a.b']", "spec.a.b"),
            (".map.x", "map[x]"),
            (".map['it\\'s']", "map[it's]"),
        ];
        for (path, expected) in good {
            assert_eq!(find_field(&schema, path, true).unwrap().0, expected, "{path}");
        }
        let bad = [
            (".spec.x", "does not refer to a valid field"),
            (".spec.", "unexpected end of JSON path"),
            ("spec", "expected [ or . but got: spec"),
            (".spec[n]", "expected single quoted string but got n"),
            (".spec['n'", "unexpected end of JSON path"),
            (".map['\\q']", "invalid string literal: invalid escape char \\q"),
        ];
        for (path, expected) in bad {
            assert_eq!(find_field(&schema, path, true).unwrap_err().to_string(), expected, "{path}");
        }
        assert_eq!(find_field(&schema, ".spec['n']", false).unwrap_err(), FieldPathError::NoBrackets);
    }
}
