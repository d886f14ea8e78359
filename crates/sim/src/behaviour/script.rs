//! The part of the shell's language that hollow containers understand.
//!
//! ```text
//!   list     := and-or ((';' | newline) and-or)*
//!   and-or   := command (('&&' | '||') command)*
//!   command  := '!' command | 'if' list 'then' list ('elif' list 'then' list)* ['else' list] 'fi' | word word*
//! ```
//!
//! Commands: `true`, `:`, `false`, `exit`, `sleep`, `echo`, `mkdir`, `touch`, `test`, `[`, `[[`. A script with anything
//! else in it is not understood, and its container runs for ever.

use super::words::{Token, split};
use orrery_api::k8s::jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// How a script ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) after: SignedDuration,
    pub(super) code: i32,
}

/// Runs a script; none when it does not end or is not understood.
pub(super) fn run(text: &str, variables: &BTreeMap<String, String>, files: &mut BTreeSet<String>) -> Option<Ended> {
    evaluate(&split(text, variables)?, files)
}

/// Runs one command whose words are known.
pub(super) fn run_words(words: &[String], files: &mut BTreeSet<String>) -> Option<Ended> {
    let tokens: Vec<Token> = words.iter().map(|text| Token::Word { text: text.clone(), quoted: false }).collect();
    evaluate(&tokens, files)
}

fn evaluate(tokens: &[Token], files: &mut BTreeSet<String>) -> Option<Ended> {
    let mut shell = Shell { tokens, at: 0, depth: 0, after: SignedDuration::ZERO, exited: None, files };
    let code = shell.list(true)?;
    (shell.at == tokens.len()).then(|| Ended { after: shell.after, code: shell.exited.unwrap_or(code) })
}

/// A script whose commands are nested deeper is not understood.
const DEEPEST: usize = 50;

const KEYWORDS: [&str; 5] = ["then", "elif", "else", "fi", "do"];

struct Shell<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    after: SignedDuration,
    /// Set by `exit`: nothing after it is carried out.
    exited: Option<i32>,
    files: &'a mut BTreeSet<String>,
}

impl Shell<'_> {
    /// The next word, when it is a bare one.
    fn bare(&self) -> Option<&str> {
        match self.tokens.get(self.at)? {
            Token::Word { text, quoted: false } => Some(text),
            Token::Word { .. } | Token::Next | Token::And | Token::Or => None,
        }
    }

    fn keyword(&mut self, word: &str) -> Option<()> {
        let found = self.bare() == Some(word);
        self.at += usize::from(found);
        found.then_some(())
    }

    /// Each part is read; it is carried out when `live`. Gives the last code.
    fn list(&mut self, live: bool) -> Option<i32> {
        let mut code = 0;
        loop {
            while self.tokens.get(self.at) == Some(&Token::Next) {
                self.at += 1;
            }
            if self.at == self.tokens.len() || self.bare().is_some_and(|word| KEYWORDS.contains(&word)) {
                return Some(code);
            }
            code = self.and_or(live)?;
        }
    }

    fn and_or(&mut self, live: bool) -> Option<i32> {
        let mut code = self.command(live)?;
        loop {
            let wanted = match self.tokens.get(self.at) {
                Some(Token::And) => code == 0,
                Some(Token::Or) => code != 0,
                Some(Token::Next | Token::Word { .. }) | None => return Some(code),
            };
            self.at += 1;
            let next = self.command(live && wanted)?;
            code = if wanted { next } else { code };
        }
    }

    fn command(&mut self, live: bool) -> Option<i32> {
        (self.depth < DEEPEST).then_some(())?;
        self.depth += 1;
        let code = self.shallow_command(live);
        self.depth -= 1;
        code
    }

    fn shallow_command(&mut self, live: bool) -> Option<i32> {
        if self.keyword("!").is_some() {
            return Some(i32::from(self.command(live)? == 0));
        }
        if self.keyword("if").is_some() {
            return self.conditional(live);
        }
        let mut words = Vec::new();
        while let Some(Token::Word { text, .. }) = self.tokens.get(self.at) {
            words.push(text.clone());
            self.at += 1;
        }
        if live && self.exited.is_none() { self.simple(&words) } else { Some(0) }
    }

    fn conditional(&mut self, live: bool) -> Option<i32> {
        let (mut taken, mut code) = (false, 0);
        loop {
            let holds = self.list(live && !taken)? == 0;
            self.keyword("then")?;
            let this = live && !taken && holds;
            let result = self.list(this)?;
            if this {
                (taken, code) = (true, result);
            }
            if self.keyword("elif").is_none() {
                break;
            }
        }
        if self.keyword("else").is_some() {
            let result = self.list(live && !taken)?;
            code = if taken { code } else { result };
        }
        self.keyword("fi")?;
        Some(code)
    }

    fn simple(&mut self, words: &[String]) -> Option<i32> {
        let (name, arguments) = words.split_first()?;
        match name.as_str() {
            "true" | ":" | "echo" => Some(0),
            "false" => Some(1),
            "exit" => {
                let code = arguments.first().map_or(Some(0), |code| code.parse::<i32>().ok())?.rem_euclid(256);
                self.exited = Some(code);
                Some(code)
            }
            "sleep" => {
                let seconds: f64 = arguments.first()?.trim_end_matches('s').parse().ok()?;
                (seconds >= 0.0).then_some(())?;
                self.after = self.after.checked_add(SignedDuration::try_from_secs_f64(seconds).ok()?)?;
                Some(0)
            }
            "touch" | "mkdir" => {
                self.files.extend(arguments.iter().filter(|argument| !argument.starts_with('-')).cloned());
                Some(0)
            }
            "test" => self.test(arguments).map(|holds| i32::from(!holds)),
            "[" | "[[" => {
                let (last, inner) = arguments.split_last()?;
                matches!(last.as_str(), "]" | "]]").then_some(())?;
                self.test(inner).map(|holds| i32::from(!holds))
            }
            _ => None,
        }
    }

    fn test(&self, words: &[String]) -> Option<bool> {
        let negated = words.iter().take_while(|word| *word == "!").count();
        let words: Vec<&str> = words[negated..].iter().map(String::as_str).collect();
        self.plain_test(&words).map(|holds| holds == negated.is_multiple_of(2))
    }

    fn plain_test(&self, words: &[&str]) -> Option<bool> {
        match words {
            ["-e" | "-f" | "-r" | "-d", file] => Some(self.files.contains(*file)),
            ["-z", text] => Some(text.is_empty()),
            ["-n", text] => Some(!text.is_empty()),
            [left, "=" | "==", right] => Some(left == right),
            [left, "!=", right] => Some(left != right),
            [left, operator, right] => {
                let (left, right): (i64, i64) = (left.parse().ok()?, right.parse().ok()?);
                match *operator {
                    "-eq" => Some(left == right),
                    "-ne" => Some(left != right),
                    "-lt" => Some(left < right),
                    "-le" => Some(left <= right),
                    "-gt" => Some(left > right),
                    "-ge" => Some(left >= right),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}
