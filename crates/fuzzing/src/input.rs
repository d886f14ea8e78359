//! Values out of bytes.
//!
//! Bytes below 0x80 at the beginning of a value are text: a JSON document up to the end of the line, so that seeds can be
//! read and written by people. Others are instructions that always make a value ([`Source::value`]), so that mutations of them
//! reach what lies behind the parser.

use serde_json::{Map, Value};

/// Names that mean something somewhere.
const WORDS: [&str; 64] = [
    "a",
    "b",
    "c",
    "name",
    "namespace",
    "metadata",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "uid",
    "kind",
    "apiVersion",
    "v1",
    "Pod",
    "spec",
    "status",
    "template",
    "containers",
    "image",
    "ports",
    "containerPort",
    "protocol",
    "env",
    "value",
    "valueFrom",
    "volumes",
    "emptyDir",
    "selector",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "In",
    "Exists",
    "replicas",
    "strategy",
    "type",
    "object",
    "array",
    "string",
    "integer",
    "properties",
    "items",
    "additionalProperties",
    "default",
    "required",
    "nullable",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "map",
    "set",
    "x-kubernetes-validations",
    "rule",
    "self == self",
    "$patch",
    "delete",
    "replace",
    "$setElementOrder/containers",
    "$retainKeys",
    "managedFields",
    "",
];
/// How deep values that instructions make are nested.
const DEPTH: usize = 8;
/// Most entries of a list or map that instructions make.
const ENTRIES: u8 = 6;

/// Bytes that are used up from the front. When there are no more, everything is zero or empty.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    /// Takes from `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all is used up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// One of `choices`, by the next byte, which may be a letter: `a` is the first. `choices` has at least one.
    pub fn choose<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        let byte = self.byte();
        let index = usize::from(if byte.is_ascii_lowercase() { byte - b'a' } else { byte });
        &choices[index % choices.len()]
    }

    /// Up to the end of the line, which is used up.
    pub fn line(&mut self) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        line
    }

    /// [`line`](Self::line) as text.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.line()).into_owned()
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// A JSON value.
    pub fn value(&mut self) -> Value {
        match self.rest.first() {
            Some(first) if *first < 0x80 => {
                let line = self.line();
                serde_json::from_slice(line).unwrap_or_else(|_| String::from_utf8_lossy(line).into_owned().into())
            }
            Some(_) | None => self.made(DEPTH),
        }
    }

    /// A JSON object: [`value`](Self::value), under the key `spec` when it is none.
    pub fn object(&mut self) -> Value {
        match self.value() {
            object @ Value::Object(_) => object,
            other => Value::Object(Map::from_iter([("spec".to_owned(), other)])),
        }
    }

    fn made(&mut self, depth: usize) -> Value {
        let instruction = self.byte();
        match instruction & 0x0f {
            0 => Value::Null,
            1 => (instruction & 0x10 != 0).into(),
            2 => i64::from(self.byte().cast_signed()).into(),
            3 => (f64::from(self.byte()) / 7.0).into(),
            4 => (i64::from(self.byte()) << 56).into(),
            5 => String::from_utf8_lossy(self.line()).into_owned().into(),
            6..=8 => self.word().into(),
            9..=10 if depth > 0 => {
                let count = self.byte() % ENTRIES;
                (0..count).map(|_| self.made(depth - 1)).collect()
            }
            _ if depth > 0 => {
                let count = self.byte() % ENTRIES;
                let entries = (0..count).map(|_| (self.word().to_owned(), self.made(depth - 1)));
                Value::Object(entries.collect())
            }
            _ => Value::Null,
        }
    }

    fn word(&mut self) -> &'static str {
        WORDS[usize::from(self.byte()) % WORDS.len()]
    }
}
