//! Reading a path.

use super::{End, Filter, MAX_DEPTH, Operand, Operator, ParseError, Path, Step};
use serde_json::Value;

/// Reads `text`, without braces around it.
pub(super) fn path(text: &str, depth: usize) -> Result<Path, ParseError> {
    if depth > MAX_DEPTH {
        return Err(ParseError::TooLong);
    }
    let mut parser = Parser { rest: text, depth, steps: Vec::new() };
    while let Some(c) = parser.rest.chars().next() {
        parser.step(c)?;
    }
    Ok(Path { steps: parser.steps })
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
    steps: Vec<Step>,
}

impl<'a> Parser<'a> {
    fn step(&mut self, c: char) -> Result<(), ParseError> {
        if let Some(rest) = self.rest.strip_prefix("[?(") {
            return self.filter(rest);
        }
        if let Some(rest) = self.rest.strip_prefix("..") {
            if self.steps.last() == Some(&Step::Recursive) {
                return Err(ParseError::MultipleRecursive);
            }
            self.steps.push(Step::Recursive);
            self.rest = rest;
            if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                self.field();
            }
            return Ok(());
        }
        match c {
            ' ' | '@' | '$' => self.rest = &self.rest[1..],
            '[' => return self.array(),
            '.' => {
                self.rest = &self.rest[1..];
                self.field();
            }
            // Without its dot only the first field is one; client-go's callers add the dot.
            c if (c.is_alphanumeric() || c == '_') && self.steps.is_empty() => self.field(),
            c if c.is_alphanumeric() || c == '_' => {
                let word: String = self.rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                return Err(ParseError::BadIdentifier(word));
            }
            c => return Err(ParseError::BadCharacter(c)),
        }
        Ok(())
    }

    fn field(&mut self) {
        let mut escaped = false;
        let end = self.rest.find(|c: char| {
            let ends = !escaped && is_terminator(c);
            escaped = !escaped && c == '\\';
            ends
        });
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        self.steps.push(if name == "*" { Step::Wildcard } else { Step::Field(name.replace('\\', "")) });
    }

    fn array(&mut self) -> Result<(), ParseError> {
        let end = self.rest.find([']', '\n']).filter(|end| self.rest.as_bytes()[*end] == b']');
        let end = end.ok_or(ParseError::UnterminatedArray)?;
        let text = &self.rest[1..end];
        self.rest = &self.rest[end + 1..];
        let text = if text == "*" { ":" } else { text };
        if text.contains(',') {
            let parts = text.split(',').map(|part| path(&format!("[{}]", part.trim_matches(' ')), self.depth + 1));
            self.steps.push(Step::Union(parts.collect::<Result<_, _>>()?));
            return Ok(());
        }
        let quoted = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).filter(|key| !key.contains('\''));
        if let Some(key) = quoted {
            self.steps.extend(path(&format!(".{key}"), self.depth + 1)?.steps);
            return Ok(());
        }
        self.steps.push(slice(text)?);
        Ok(())
    }

    fn filter(&mut self, inside: &'a str) -> Result<(), ParseError> {
        let end = filter_end(inside).ok_or(ParseError::UnterminatedFilter)?;
        let text = &inside[..end];
        let rest = &inside[end + 1..];
        self.rest = rest.strip_prefix(']').ok_or(ParseError::UnclosedFilter)?;
        let is_operator = |c: char| "!<>=".contains(c);
        let operand = |text: &str| operand(text, self.depth + 1);
        let start = text.find(is_operator).filter(|start| *start > 0);
        let filter = match start {
            None => Filter { left: operand(text)?, right: None },
            Some(start) => {
                let (left, tail) = text.split_at(start);
                let length = tail.find(|c| !is_operator(c)).unwrap_or(tail.len());
                let (word, right) = tail.split_at(length);
                Filter { left: operand(left)?, right: Some((operator(word)?, operand(right)?)) }
            }
        };
        self.steps.push(Step::Filter(Box::new(filter)));
        Ok(())
    }
}

/// Where the `)` stands that ends a filter: not within a quoted text.
fn filter_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut previous = ' ';
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (_, '\n') => return None,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open && previous != '\\' => quote = None,
            (None, ')') => return Some(i),
            _ => {}
        }
        previous = c;
    }
    None
}

fn operator(word: &str) -> Result<Operator, ParseError> {
    Ok(match word {
        "<" => Operator::Less,
        ">" => Operator::Greater,
        "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        "<=" => Operator::LessOrEqual,
        ">=" => Operator::GreaterOrEqual,
        other => return Err(ParseError::BadOperator(other.to_owned())),
    })
}

fn operand(text: &str, depth: usize) -> Result<Operand, ParseError> {
    let text = text.trim_matches(' ');
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let inner = text[1..].strip_suffix(quote).ok_or(ParseError::UnterminatedQuote)?;
            Ok(Operand::Literal(unescape(inner).into()))
        }
        Some(c) if c == '+' || c == '-' || c.is_ascii_digit() => {
            let bad = || ParseError::BadNumber(text.to_owned());
            let value = match text.strip_prefix('+').unwrap_or(text).parse::<i64>() {
                Ok(whole) => Value::from(whole),
                Err(_) => Value::from(text.parse::<f64>().ok().filter(|f| f.is_finite()).ok_or_else(bad)?),
            };
            Ok(Operand::Literal(value))
        }
        Some(_) if text == "true" || text == "false" => Ok(Operand::Literal((text == "true").into())),
        Some('@' | '$' | '.' | '[') => path(text, depth).map(Operand::Path),
        Some(_) => Err(ParseError::BadIdentifier(text.to_owned())),
        None => Ok(Operand::Path(Path { steps: Vec::new() })),
    }
}

/// A backslash takes the next character as it is, but for the usual letters.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some(other) => other,
                None => '\\',
            },
            c => c,
        });
    }
    out
}

fn slice(text: &str) -> Result<Step, ParseError> {
    let bad = || ParseError::BadIndex(text.to_owned());
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(bad());
    }
    let number = |part: &str| if part.is_empty() { Ok(None) } else { part.parse::<i64>().map(Some).map_err(|_| bad()) };
    let start = number(parts[0])?;
    let end = match parts.get(1) {
        None if start.is_none() => return Err(bad()),
        None => End::AfterOne,
        Some(part) => number(part)?.map_or(End::Open, End::At),
    };
    Ok(Step::Slice { start, end, step: parts.get(2).map(|part| number(part)).transpose()?.flatten() })
}

fn is_terminator(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}
