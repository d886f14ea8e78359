//! A script's text as words and operators, with variables put in.

use super::arithmetic;
use std::collections::BTreeMap;

/// One piece of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word; `quoted` when any part of it was, so that it is no keyword.
    Word { text: String, quoted: bool },
    /// `;` or the end of a line.
    Next,
    /// `&&`
    And,
    /// `||`
    Or,
}

/// Splits `text`; none when it holds what is not understood, such as pipes and redirections.
pub(super) fn split(text: &str, variables: &BTreeMap<String, String>) -> Option<Vec<Token>> {
    let mut reader = Reader { rest: text.chars().peekable(), variables };
    let mut tokens = Vec::new();
    while let Some(&next) = reader.rest.peek() {
        match next {
            ';' | '\n' => {
                reader.rest.next();
                tokens.push(Token::Next);
            }
            '&' | '|' => {
                reader.rest.next();
                // A single one is a background job or a pipe.
                reader.rest.next_if_eq(&next)?;
                tokens.push(if next == '&' { Token::And } else { Token::Or });
            }
            space if space.is_whitespace() => {
                reader.rest.next();
            }
            '<' | '>' | '(' | ')' | '`' | '{' | '}' | '#' => return None,
            _ => tokens.push(reader.word()?),
        }
    }
    Some(tokens)
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    variables: &'a BTreeMap<String, String>,
}

impl Reader<'_> {
    fn word(&mut self) -> Option<Token> {
        let (mut text, mut quoted) = (String::new(), false);
        while let Some(&next) = self.rest.peek() {
            match next {
                ';' | '&' | '|' | '<' | '>' | '(' | ')' | '`' => break,
                space if space.is_whitespace() => break,
                '\'' => {
                    quoted = true;
                    self.rest.next();
                    text.push_str(&self.until('\'')?);
                }
                '"' => {
                    quoted = true;
                    self.rest.next();
                    self.double_quoted(&mut text)?;
                }
                '\\' => {
                    self.rest.next();
                    text.push(self.rest.next()?);
                }
                '$' => {
                    self.rest.next();
                    text.push_str(&self.reference()?);
                }
                other => {
                    self.rest.next();
                    text.push(other);
                }
            }
        }
        Some(Token::Word { text, quoted })
    }

    fn double_quoted(&mut self, text: &mut String) -> Option<()> {
        loop {
            match self.rest.next()? {
                '"' => return Some(()),
                '\\' => text.push(self.rest.next()?),
                '$' => text.push_str(&self.reference()?),
                '`' => return None,
                other => text.push(other),
            }
        }
    }

    /// What stands for a reference; its `$` was read.
    fn reference(&mut self) -> Option<String> {
        match self.rest.peek() {
            Some('{') => {
                self.rest.next();
                let name = self.until('}')?;
                let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                plain.then(|| self.variables.get(&name).cloned().unwrap_or_default())
            }
            Some('(') => {
                self.rest.next();
                let body = self.until(')')?;
                match body.strip_prefix('(') {
                    Some(expression) => {
                        self.rest.next_if_eq(&')')?;
                        arithmetic::value(expression, self.variables).map(|value| value.to_string())
                    }
                    None => {
                        let expression = body.trim().strip_prefix("expr ")?;
                        arithmetic::value(expression, self.variables).map(|value| value.to_string())
                    }
                }
            }
            _ => {
                let mut name = String::new();
                while let Some(next) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(next);
                }
                (!name.is_empty()).then(|| self.variables.get(&name).cloned().unwrap_or_default())
            }
        }
    }

    /// The text before `end`, which is read too; none when it does not come.
    fn until(&mut self, end: char) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                next if next == end => return Some(text),
                next => text.push(next),
            }
        }
    }
}
