//! What goes wrong with expressions.

use std::fmt;

/// Why an expression does not compile, as cel-go prints its issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    issues: Vec<Issue>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Issue {
    line: usize,
    column: usize,
    message: String,
    /// The line of the source.
    source: String,
}

impl CompileError {
    /// Messages with where they belong, in characters of `source`.
    pub(super) fn new(source: &str, mistakes: Vec<(u32, String)>) -> Self {
        let issue = |(at, message): (u32, String)| {
            let before: Vec<char> = source.chars().take(at as usize).collect();
            let line = before.iter().filter(|c| **c == '\n').count();
            let column = before.iter().rev().take_while(|c| **c != '\n').count();
            Issue { line, column, message, source: source.lines().nth(line).unwrap_or_default().to_owned() }
        };
        Self { issues: mistakes.into_iter().map(issue).collect() }
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, issue) in self.issues.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            let Issue { line, column, message, source } = issue;
            write!(f, "ERROR: <input>:{}:{}: {message}", line + 1, column + 1)?;
            // A very long line would make a very long error.
            if source.chars().count() > 1000 {
                continue;
            }
            let source = source.replace('\t', " ");
            let dots: String =
                source.chars().take(*column).map(|c| if c.len_utf8() > 1 { '．' } else { '.' }).collect();
            let wide = source.chars().nth(*column).is_some_and(|c| c.len_utf8() > 1);
            write!(f, "\n | {source}\n | {dots}{}", if wide { '＾' } else { '^' })?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileError {}

/// Why an evaluation has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// An error of the language, such as `no such key: a` or `division by zero`.
    #[error("{0}")]
    Failed(String),
    /// It costs more than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostExceeded,
    /// What is left for the whole object or request does not suffice.
    #[error("evaluation failed due to running out of cost budget")]
    BudgetExhausted,
    /// Expressions and variables that refer to each other are nested too deep.
    #[error("operation cancelled: evaluation nested too deep")]
    TooDeep,
}

impl EvalError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    pub(crate) fn no_such_overload() -> Self {
        Self::new("no such overload")
    }

    pub(crate) fn no_such_key(key: impl fmt::Display) -> Self {
        Self::new(format!("no such key: {key}"))
    }

    pub(crate) fn overflow() -> Self {
        Self::new("integer overflow")
    }
}
