//! Label selectors as they stand in a query parameter (`k8s.io/apimachinery/pkg/labels/selector.go`).
//!
//! ```text
//! selector    := requirement (',' requirement)*
//! requirement := '!' key | key | key ('=' | '==' | '!=') value? | key ('in' | 'notin') '(' values ')' | key ('<' | '>') integer
//! values      := value? (',' value?)*
//! ```

use super::lexer::{Token, tokens};
use crate::meta::{self, label_value_problems, qualified_name_problems};
use crate::status::ApiError;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What a label has to be. All requirements must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    /// Set by a selector object that is absent, which picks nothing.
    nothing: bool,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// The condition.
    pub operator: Operator,
}

/// The condition on a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// The label is there, with one of these values.
    In(BTreeSet<String>),
    /// The label is not there, or has none of these values.
    NotIn(BTreeSet<String>),
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
    /// The label is an integer greater than this.
    GreaterThan(i64),
    /// The label is an integer less than this.
    LessThan(i64),
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match &self.operator {
            Operator::In(set) => value.is_some_and(|v| set.contains(v)),
            Operator::NotIn(set) => value.is_none_or(|v| !set.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan(bound) => number().is_some_and(|n| n > *bound),
            Operator::LessThan(bound) => number().is_some_and(|n| n < *bound),
        }
    }
}

impl LabelSelector {
    /// Picks what meets all of `requirements`.
    #[must_use]
    pub fn new(requirements: Vec<Requirement>) -> Self {
        Self { requirements, nothing: false }
    }

    /// Picks nothing at all.
    #[must_use]
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Reads a query parameter.
    ///
    /// # Errors
    /// 400 when the text is no selector, in upstream's words.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let mut parser = Parser { tokens: tokens(text).map_err(|rest| unparsable(&rest, "identifier"))?, at: 0 };
        parser.selector().map(Self::new)
    }

    /// Whether it picks everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// The requirements, in their order.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether it picks `object`, by its `metadata.labels`.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.matches_labels(meta::labels(object))
    }

    /// Whether it picks an object with these labels.
    #[must_use]
    pub fn matches_labels(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.matches_by(|key| labels.and_then(|l| l.get(key)).and_then(Value::as_str))
    }

    /// Whether it picks an object whose labels `value` tells.
    #[must_use]
    pub fn matches_by<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(value(&r.key)))
    }
}

impl std::fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        for (index, Requirement { key, operator }) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match operator {
                Operator::In(values) if values.len() == 1 => write!(f, "{key}={}", set(values))?,
                Operator::In(values) => write!(f, "{key} in ({})", set(values))?,
                Operator::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", set(values))?,
                Operator::NotIn(values) => write!(f, "{key} notin ({})", set(values))?,
                Operator::Exists => f.write_str(key)?,
                Operator::DoesNotExist => write!(f, "!{key}")?,
                Operator::GreaterThan(bound) => write!(f, "{key}>{bound}")?,
                Operator::LessThan(bound) => write!(f, "{key}<{bound}")?,
            }
        }
        Ok(())
    }
}

fn unparsable(found: &str, expected: &str) -> ApiError {
    ApiError::bad_request(format!("unable to parse requirement: found '{found}', expected: {expected}"))
}

/// Reads tokens from left to right.
struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &str {
        self.tokens.get(self.at).map(Token::text).unwrap_or_default()
    }

    fn take_sign(&mut self, wanted: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Sign(sign)) if *sign == wanted);
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self) -> Option<String> {
        let Some(Token::Word(word)) = self.tokens.get(self.at) else { return None };
        self.at += 1;
        Some(word.clone())
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, ApiError> {
        let mut requirements = Vec::new();
        if self.tokens.is_empty() {
            return Ok(requirements);
        }
        loop {
            requirements.push(self.requirement()?);
            if self.at == self.tokens.len() {
                return Ok(requirements);
            }
            if !self.take_sign(",") {
                return Err(unparsable(self.peek(), "',' or 'end of string'"));
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, ApiError> {
        let absent = self.take_sign("!");
        let key = self.take_word().ok_or_else(|| unparsable(self.peek(), "identifier"))?;
        check("key", &key, &qualified_name_problems(&key))?;
        let operator = if absent { Operator::DoesNotExist } else { self.operator()? };
        Ok(Requirement { key, operator })
    }

    fn operator(&mut self) -> Result<Operator, ApiError> {
        if self.take_sign("=") || self.take_sign("==") {
            return Ok(Operator::In([self.value()?].into()));
        }
        if self.take_sign("!=") {
            return Ok(Operator::NotIn([self.value()?].into()));
        }
        if self.take_sign(">") {
            return self.integer().map(Operator::GreaterThan);
        }
        if self.take_sign("<") {
            return self.integer().map(Operator::LessThan);
        }
        match self.take_word().as_deref() {
            Some("in") => self.values().map(Operator::In),
            Some("notin") => self.values().map(Operator::NotIn),
            Some(other) => Err(unparsable(other, "in, notin, =, ==, !=, gt, lt")),
            None if self.at == self.tokens.len() || self.peek() == "," => Ok(Operator::Exists),
            None => Err(unparsable(self.peek(), "in, notin, =, ==, !=, gt, lt")),
        }
    }

    /// A value; it may be empty.
    fn value(&mut self) -> Result<String, ApiError> {
        let value = self.take_word().unwrap_or_default();
        check("values[0]", &value, &label_value_problems(&value))?;
        Ok(value)
    }

    fn integer(&mut self) -> Result<i64, ApiError> {
        let text = self.take_word().unwrap_or_default();
        let why = || ["for 'Gt', 'Lt' operators, the value must be an integer".to_owned()];
        text.parse().or_else(|_| check("values[0]", &text, &why()).map(|()| 0))
    }

    fn values(&mut self) -> Result<BTreeSet<String>, ApiError> {
        if !self.take_sign("(") {
            return Err(unparsable(self.peek(), "'('"));
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?);
            if self.take_sign(")") {
                return Ok(values);
            }
            if !self.take_sign(",") {
                return Err(unparsable(self.peek(), "',' or ')'"));
            }
        }
    }
}

fn check(field: &str, text: &str, problems: &[String]) -> Result<(), ApiError> {
    match problems.first() {
        None => Ok(()),
        Some(problem) => {
            let message = format!("unable to parse requirement: {field}: Invalid value: {text:?}: {problem}");
            Err(ApiError::bad_request(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn selectors_pick_as_upstream_does() {
        let object = json!({"metadata": {"labels": {"a": "b", "n": "7", "e": "", "x.io/y": "z"}}});
        let table = [
            ("", true),
            ("a=b", true),
            ("a==b", true),
            ("a = c", false),
            ("a!=b", false),
            ("a!=c,q!=c", true),
            ("a in (b, c)", true),
            ("a in(c)", false),
            ("a notin (c,d), q notin (c)", true),
            ("a notin (b)", false),
            ("a", true),
            ("q", false),
            ("!q", true),
            ("! a", false),
            ("n>6,n<8", true),
            ("n>7", false),
            ("a>1", false),
            ("e=", true),
            ("e in (,x)", true),
            ("a=", false),
            ("x.io/y=z,a=b,!q", true),
            ("in in (in)", false),
        ];
        for (text, expected) in table {
            let selector = LabelSelector::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(selector.matches(&object), expected, "{text}");
        }
        assert!(!LabelSelector::nothing().matches(&object));
    }

    #[test]
    fn what_is_no_selector_is_a_bad_request() {
        for text in ["a=b,", ",a", "a in", "a in (b", "a in b", "a b", "!", "a=b c", "a>x", "=b", "a!b", "a=%", "A/b/c"]
        {
            let error = LabelSelector::parse(text).expect_err(text);
            assert_eq!(error.code, 400, "{text}: {error}");
            assert!(error.message.starts_with("unable to parse requirement: "), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "[a-z=!<>(), é]{0,20}") {
            let _ = LabelSelector::parse(&text);
        }

        #[test]
        fn in_and_notin_are_opposites(key in "[a-z]{1,3}", values in proptest::collection::vec("[a-z]{1,2}", 1..4),
                                      label in proptest::option::of("[a-z]{1,2}")) {
            let object = json!({"metadata": {"labels": label.map(|l| json!({(key.clone()): l}))}});
            let list = values.join(",");
            let inside = LabelSelector::parse(&format!("{key} in ({list})")).unwrap().matches(&object);
            let outside = LabelSelector::parse(&format!("{key} notin ({list})")).unwrap().matches(&object);
            prop_assert_ne!(inside, outside);
        }
    }
}
