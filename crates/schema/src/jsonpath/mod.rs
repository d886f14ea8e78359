//! JSONPath as `k8s.io/client-go/util/jsonpath` has it, one path at a time: `.spec.replicas`, `['a.b']`, `[0]`, `[-1:]`,
//! `[0,2]`, `[*]`, `.*`, `..name`, `[?(@.type=="Ready")]`.
//!
//! Missing keys are no error but find nothing, as where the server prints columns. Templates (`{range}`, text between
//! braces) are the client's business and not here.

mod eval;
mod parse;
mod simple;

pub use simple::{SimplePath, SimplePathError};

use serde_json::{Number, Value};

/// How long a path may be, in bytes.
pub const MAX_LENGTH: usize = 4096;
/// How many values a path may find on its way.
pub const MAX_RESULTS: usize = 10_000;
/// How deep filters may be nested.
const MAX_DEPTH: usize = 8;

/// A path, read and ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Wildcard,
    Recursive,
    Slice { start: Option<i64>, end: End, step: Option<i64> },
    Union(Vec<Path>),
    Filter(Box<Filter>),
}

/// Where a slice ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// After one element: `[3]`.
    AfterOne,
    /// At the list's end: `[3:]`.
    Open,
    At(i64),
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    left: Operand,
    /// An operator and what is on its right; without, the left has to be there.
    right: Option<(Operator, Operand)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Path(Path),
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    Greater,
    Equal,
    NotEqual,
    LessOrEqual,
    GreaterOrEqual,
}

/// Why a path is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than [`MAX_LENGTH`], or filters nested too deep.
    #[error("JSONPath is too long or nested too deep")]
    TooLong,
    /// A bracket or brace that is not closed.
    #[error("unterminated array")]
    UnterminatedArray,
    /// A filter that is not closed.
    #[error("unterminated filter")]
    UnterminatedFilter,
    /// A filter's `)` without `]`.
    #[error("unclosed array expect ]")]
    UnclosedFilter,
    /// A text without its closing quote.
    #[error("unterminated quoted string")]
    UnterminatedQuote,
    /// `....`.
    #[error("invalid multiple recursive descent")]
    MultipleRecursive,
    /// Neither index, slice, key nor `*`.
    #[error("invalid array index {0}")]
    BadIndex(String),
    /// An operator that there is not.
    #[error("unrecognized filter operator {0}")]
    BadOperator(String),
    /// A number that is none.
    #[error("cannot parse number {0}")]
    BadNumber(String),
    /// A word other than a field's name.
    #[error("unrecognized identifier {0}")]
    BadIdentifier(String),
    /// Something else.
    #[error("unrecognized character in action: {0:?}")]
    BadCharacter(char),
}

/// Why a path can't be followed in an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// An index or slice of something else.
    #[error("{0} is not array or slice")]
    NotArray(&'static str),
    /// A filter on something else.
    #[error("{0} is not array or slice and cannot be filtered")]
    NotFilterable(&'static str),
    /// Beyond the list's end.
    #[error("array index out of bounds: index {index}, length {length}")]
    OutOfBounds {
        /// The index.
        index: i64,
        /// How many elements there are.
        length: usize,
    },
    /// A slice that ends before it starts.
    #[error("starting index is greater than ending index")]
    Backwards,
    /// A step of zero or less.
    #[error("step must be > 0")]
    BadStep,
    /// An operand that finds no value, or several.
    #[error("can only compare one element at a time")]
    NotOne,
    /// Operands that have no order or are of different types.
    #[error("incompatible types for comparison")]
    Incompatible,
    /// More than [`MAX_RESULTS`].
    #[error("JSONPath finds more than {MAX_RESULTS} values")]
    TooMany,
}

impl Path {
    /// Reads a path, with or without braces around it.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
        if inner.len() > MAX_LENGTH {
            return Err(ParseError::TooLong);
        }
        parse::path(inner, 0)
    }

    /// What the path finds in `object`, in order.
    ///
    /// # Errors
    /// When what is there is not what the path expects.
    pub fn find<'a>(&self, object: &'a Value) -> Result<Vec<&'a Value>, FindError> {
        eval::walk(self, vec![object])
    }

    /// What the path finds first, as `kubectl` prints it; nothing when there is nothing.
    #[must_use]
    pub fn text(&self, object: &Value) -> Option<String> {
        self.find(object).ok()?.first().map(|value| printed(value))
    }
}

/// A value as Go prints it.
pub(crate) fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number_text(number),
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn number_text(number: &Number) -> String {
    match (number.as_i64(), number.as_f64()) {
        (None, Some(float)) => orrery_cel::go_float(float),
        (Some(_), _) | (None, None) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn object() -> Value {
        json!({
            "spec": {"replicas": 3, "a.b": "dotted", "list": [1, 2, 3, 4], "names": ["x", "y"], "ratio": 1.5},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "n": 1},
                {"type": "Other", "status": "False", "n": 2, "extra": {"deep": "d"}},
            ]},
        })
    }

    #[test]
    fn paths_find_what_client_go_finds() {
        let table: Vec<(&str, Vec<Value>)> = vec![
            (".spec.replicas", vec![json!(3)]),
            ("{.spec.replicas}", vec![json!(3)]),
            ("spec.replicas", vec![json!(3)]),
            ("$.spec.replicas", vec![json!(3)]),
            (".spec.missing.deeper", vec![]),
            (r".spec.a\.b", vec![json!("dotted")]),
            (".spec['a.b']", vec![]),
            (r".spec['a\.b']", vec![json!("dotted")]),
            (".spec.list[0]", vec![json!(1)]),
            (".spec.list[-1]", vec![json!(4)]),
            (".spec.list[1:3]", vec![json!(2), json!(3)]),
            (".spec.list[:2]", vec![json!(1), json!(2)]),
            (".spec.list[-2:]", vec![json!(3), json!(4)]),
            (".spec.list[0:4:2]", vec![json!(1), json!(3)]),
            (".spec.list[*]", vec![json!(1), json!(2), json!(3), json!(4)]),
            (".spec.list[0,2]", vec![json!(1), json!(3)]),
            (".spec['replicas','ratio']", vec![json!(3), json!(1.5)]),
            (".spec.names.*", vec![json!("x"), json!("y")]),
            (r#".status.conditions[?(@.type=="Ready")].status"#, vec![json!("True")]),
            (".status.conditions[?(@.type=='Ready')].status", vec![json!("True")]),
            (".status.conditions[?(@.n>=2)].type", vec![json!("Other")]),
            (".status.conditions[?(@.type!='Ready')].type", vec![json!("Other")]),
            (".status.conditions[?(@.extra)].type", vec![json!("Other")]),
            (".status.conditions[?(@.extra.deep=='d')].n", vec![]),
            (".status.conditions[*].type", vec![json!("Ready"), json!("Other")]),
            ("..deep", vec![json!("d")]),
        ];
        let object = object();
        for (path, expected) in table {
            let found = Path::parse(path).unwrap_or_else(|e| panic!("{path}: {e}")).find(&object);
            if path.contains("extra.deep") {
                assert_eq!(found, Err(FindError::NotOne), "{path}");
                continue;
            }
            let found: Vec<Value> = found.unwrap_or_else(|e| panic!("{path}: {e}")).into_iter().cloned().collect();
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_says_why() {
        let table = [
            (".a[", "unterminated array"),
            (".a[x]", "invalid array index x"),
            (".a[?(@.b==1", "unterminated filter"),
            (".a[?(@.b==1)", "unclosed array expect ]"),
            (".a[?(@.b=<1)]", "unrecognized filter operator =<"),
            (".a[?(@.b=='x)]", "unterminated filter"),
            (".a[0](b)", "unrecognized character in action: '('"),
        ];
        for (path, expected) in table {
            let error = Path::parse(path).err().map(|e| e.to_string());
            assert_eq!(error.as_deref(), Some(expected), "{path}");
        }
        let errors = [
            (".spec.list[9]", "array index out of bounds: index 9, length 4"),
            (".spec.replicas[0]", "number is not array or slice"),
            (".status.conditions[?(@.n=='1')]", "incompatible types for comparison"),
        ];
        for (path, expected) in errors {
            assert_eq!(Path::parse(path).unwrap().find(&object()).unwrap_err().to_string(), expected, "{path}");
        }
    }

    #[test]
    fn values_print_as_columns_do() {
        assert_eq!(Path::parse(".spec.replicas").unwrap().text(&object()).as_deref(), Some("3"));
        assert_eq!(Path::parse(".spec.names").unwrap().text(&object()).as_deref(), Some("[\"x\",\"y\"]"));
        assert_eq!(Path::parse(".spec.none").unwrap().text(&object()), None);
    }

    #[test]
    fn a_path_that_finds_ever_more_is_stopped() {
        let mut value = json!(1);
        for _ in 0..40 {
            value = json!({"a": value, "b": 1});
        }
        let path = Path::parse("..a..a..a..a..a..a").unwrap();
        assert_eq!(path.find(&value), Err(FindError::TooMany));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in r#"[{}.a-c\[\]()?@$*:,'"=<>!0-9\\ -]{0,30}"#) {
            if let Ok(path) = Path::parse(&text) {
                let _ = path.find(&json!({"a": [{"b": 1, "c": [1, "x", null]}, {"b": "2"}], "b": {"a": {"c": 1}}}));
            }
        }
    }
}
