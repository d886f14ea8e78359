//! Regular expressions in Go's syntax (RE2, <https://github.com/google/re2/wiki/Syntax>), run by the `regex` crate.
//!
//! Both have the same guarantee (time linear in the text), and nearly the same syntax. What differs is rewritten:
//! `\d`, `\w`, `\s` and `\b` are ASCII in Go, `{` that starts no repetition is a character, `\Q...\E` quotes, octal
//! escapes, and `[`, `&` and `~` have no meaning within a class.

use regex::{Regex, RegexBuilder};
use std::sync::{Arc, OnceLock};

/// How much memory a compiled expression may take, in bytes.
const SIZE_LIMIT_BYTES: usize = 2 << 20;
/// How long an expression may be, in bytes.
const SOURCE_LIMIT_BYTES: usize = 64 << 10;
/// The largest count of a repetition, Go's own.
const REPEAT_LIMIT: u32 = 1000;

/// A regular expression; compiled when it is first asked for.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    compiled: Arc<OnceLock<Result<Regex, String>>>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Pattern {
    /// The expression `source`, which need not be valid.
    #[must_use]
    pub fn new(source: &str) -> Self {
        Self { source: source.to_owned(), compiled: Arc::default() }
    }

    /// What was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The compiled expression.
    ///
    /// # Errors
    /// What is wrong with it, on one line.
    pub fn regex(&self) -> Result<&Regex, &str> {
        self.compiled.get_or_init(|| compile(&self.source)).as_ref().map_err(String::as_str)
    }
}

/// Compiles an expression in Go's syntax.
///
/// # Errors
/// What is wrong with it, on one line.
pub(crate) fn compile(source: &str) -> Result<Regex, String> {
    if source.len() > SOURCE_LIMIT_BYTES {
        return Err(format!("error parsing regexp: expression too large: more than {SOURCE_LIMIT_BYTES} bytes"));
    }
    let translated = Translator { chars: source.chars().collect(), at: 0, out: String::new() }.run()?;
    let built = RegexBuilder::new(&translated).size_limit(SIZE_LIMIT_BYTES).dfa_size_limit(SIZE_LIMIT_BYTES).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "error parsing regexp: expression too large".to_owned(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            // The commonest mistake, in Go's words.
            let last = match last.strip_prefix("error: ").unwrap_or(last) {
                "unclosed group" => "missing closing )",
                "unopened group" => "unexpected )",
                other => other,
            };
            format!("error parsing regexp: {last}: `{source}`")
        }
    })
}

struct Translator {
    chars: Vec<char>,
    at: usize,
    out: String,
}

impl Translator {
    fn run(mut self) -> Result<String, String> {
        while let Some(c) = self.next() {
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '{' => self.repetition()?,
                c => self.out.push(c),
            }
        }
        Ok(self.out)
    }

    fn next(&mut self) -> Option<char> {
        let c = self.chars.get(self.at).copied();
        self.at += usize::from(c.is_some());
        c
    }

    fn rest_starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(i, c)| self.chars.get(self.at + i) == Some(&c))
    }

    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let c = self.next().ok_or("error parsing regexp: trailing backslash at end of expression: ``")?;
        let (inside, outside) = match c {
            'd' => ("0-9", "[0-9]"),
            'D' => ("[^0-9]", "[^0-9]"),
            'w' => ("0-9A-Za-z_", "[0-9A-Za-z_]"),
            'W' => ("[^0-9A-Za-z_]", "[^0-9A-Za-z_]"),
            's' => (r"\t\n\f\r ", r"[\t\n\f\r ]"),
            'S' => (r"[^\t\n\f\r ]", r"[^\t\n\f\r ]"),
            'b' if !in_class => ("", r"(?-u:\b)"),
            'Q' if !in_class => {
                self.quoted();
                return Ok(());
            }
            'E' if !in_class => return Ok(()),
            '0'..='7' => return self.octal(c),
            // Go refuses escapes of letters that mean nothing; the `regex` crate knows some that Go does not.
            'b' | 'B' if in_class => return Err(bad_escape(c)),
            'Z' | 'C' | 'u' | 'U' | '<' | '>' | 'h' | 'H' | 'R' | 'X' | 'K' | 'G' => return Err(bad_escape(c)),
            other => {
                self.out.push('\\');
                self.out.push(other);
                return Ok(());
            }
        };
        self.out.push_str(if in_class { inside } else { outside });
        Ok(())
    }

    fn quoted(&mut self) {
        while self.at < self.chars.len() && !self.rest_starts_with("\\E") {
            if let Some(c) = self.next() {
                self.out.push_str(&regex::escape(&c.to_string()));
            }
        }
        self.at = (self.at + 2).min(self.chars.len());
    }

    /// `\0`, `\12`, `\123`; `\1` alone would be a back reference, which there is not.
    fn octal(&mut self, first: char) -> Result<(), String> {
        let mut value = first.to_digit(8).unwrap_or_default();
        let mut digits = 1;
        while let Some(digit) = self.chars.get(self.at).and_then(|c| c.to_digit(8)).filter(|_| digits < 3) {
            value = value * 8 + digit;
            digits += 1;
            self.at += 1;
        }
        if first != '0' && digits == 1 {
            return Err(bad_escape(first));
        }
        self.out.push_str(&format!("\\x{{{value:x}}}"));
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.chars.get(self.at) == Some(&'^') {
            self.at += 1;
            self.out.push('^');
        }
        let mut first = true;
        while let Some(c) = self.next() {
            match c {
                ']' if first => self.out.push_str("\\]"),
                ']' => {
                    self.out.push(']');
                    return Ok(());
                }
                '\\' => self.escape(true)?,
                '[' if self.rest_starts_with(":") => self.out.push('['),
                '[' | '&' | '~' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                ':' if self.rest_starts_with("]") && self.out_in_posix() => {
                    self.at += 1;
                    self.out.push_str(":]");
                }
                '-' if self.rest_starts_with("-") => self.out.push_str("\\-"),
                c => self.out.push(c),
            }
            first = false;
        }
        Err("error parsing regexp: missing closing ]".to_owned())
    }

    /// Whether what was written last is `[:name`.
    fn out_in_posix(&self) -> bool {
        let name = self.out.trim_end_matches(|c: char| c.is_ascii_lowercase() || c == '^');
        name.ends_with("[:")
    }

    fn repetition(&mut self) -> Result<(), String> {
        let tail: String = self.chars[self.at..].iter().take_while(|c| **c != '}').collect();
        let closed = self.at + tail.chars().count() < self.chars.len();
        let (low, high) = tail.split_once(',').unwrap_or((&tail, &tail));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if !closed || low.is_empty() || !digits(low) || !digits(high) {
            self.out.push_str("\\{");
            return Ok(());
        }
        for count in [low, high].into_iter().filter(|count| !count.is_empty()) {
            if count.parse::<u32>().map_or(true, |count| count > REPEAT_LIMIT) {
                return Err(format!("error parsing regexp: invalid repeat count: `{{{tail}}}`"));
            }
        }
        self.out.push('{');
        Ok(())
    }
}

fn bad_escape(c: char) -> String {
    format!("error parsing regexp: invalid escape sequence: `\\{c}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn expressions_mean_what_they_mean_in_go() {
        // expression, text, matches
        let table = [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^\w$", "é", false),
            (r"^[\w.-]+$", "a.b-c", true),
            (r"^[[]$", "[", true),
            (r"^[]a]$", "]", true),
            (r"^[[:alpha:]&&~]+$", "a&~", true),
            (r"^[^\s]$", " ", false),
            (r"^a{,2}$", "a{,2}", true),
            (r"^a{2}$", "aa", true),
            (r"^{$", "{", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^\101$", "A", true),
            (r"\bfoo\b", "a foo b", true),
            (r"(?i)^abc$", "ABC", true),
            (r"^\pL$", "é", true),
            (r"^(?P<x>a)$", "a", true),
        ];
        for (source, text, expected) in table {
            let regex = compile(source).unwrap_or_else(|e| panic!("{source}: {e}"));
            assert_eq!(regex.is_match(text), expected, "{source} on {text}");
        }
        for bad in [r"(", r"[a", r"a{1001}", r"\1", r"\C", r"(?=a)", r"a**b(", "\\"] {
            let error = compile(bad).unwrap_err();
            assert!(error.starts_with("error parsing regexp: ") && !error.contains('\n'), "{bad}: {error}");
        }
    }

    #[test]
    fn an_expression_that_would_take_too_much_memory_is_refused() {
        assert!(compile(r"((a{1000}){1000}){1000}").unwrap_err().contains("too large"));
        assert!(compile(&"a".repeat(SOURCE_LIMIT_BYTES + 1)).unwrap_err().contains("too large"));
    }

    proptest! {
        #[test]
        fn any_expression_compiles_or_is_refused_without_panic(source in "[\\[\\](){}|*+?^$.a-c\\\\dwsQE0-9:&~-]{0,30}") {
            let _ = compile(&source);
        }
    }
}
