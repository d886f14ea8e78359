//! An expression as a tree.

use super::function::Function;
use crate::pattern::Pattern;

/// A part of an expression and where it stands in the source, in characters.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) at: u32,
    /// How many levels there are below, and this one.
    pub(crate) height: u16,
    pub(crate) node: Node,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Literal(Literal),
    Ident(String),
    Select(Box<Select>),
    Call(Box<Call>),
    /// `&&` and `||`, as many terms as there are.
    Logic {
        and: bool,
        terms: Vec<Expr>,
    },
    Conditional(Box<[Expr; 3]>),
    List(Vec<Item>),
    Map(Vec<Entry>),
    Struct {
        name: String,
        fields: Vec<FieldInit>,
    },
    Comprehension(Box<Comprehension>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}

/// `operand.field`, `operand.?field`, `has(operand.field)`.
#[derive(Debug, Clone)]
pub(crate) struct Select {
    pub(crate) operand: Expr,
    pub(crate) field: String,
    pub(crate) optional: bool,
    pub(crate) test: bool,
}

/// A function or operator with its arguments; a target is the first of these.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) member: bool,
    pub(crate) args: Vec<Expr>,
    /// What the checker found behind the name.
    pub(crate) function: Option<&'static Function>,
    /// A regular expression among the arguments that is known beforehand.
    pub(crate) pattern: Option<Pattern>,
}

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct FieldInit {
    pub(crate) at: u32,
    pub(crate) name: String,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// What a macro makes of a list or map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fold {
    All,
    Exists,
    ExistsOne,
    /// `map` and `transformList`.
    Map,
    Filter,
    TransformMap,
    TransformMapEntry,
    /// `optMap`: the body for the value of an optional.
    OptMap,
    /// `optFlatMap`: the same, where the body is an optional itself.
    OptFlatMap,
}

/// A macro over a list, a map or an optional.
#[derive(Debug, Clone)]
pub(crate) struct Comprehension {
    pub(crate) fold: Fold,
    pub(crate) range: Expr,
    /// One variable, or two: index and element, or key and value.
    pub(crate) vars: Vec<String>,
    pub(crate) filter: Option<Expr>,
    /// The predicate, or what each element becomes.
    pub(crate) body: Expr,
}

impl Expr {
    pub(crate) fn new(at: u32, node: Node) -> Self {
        let height = node.children().iter().map(|child| child.height).max().unwrap_or(0).saturating_add(1);
        Self { at, height, node }
    }

    /// `a.b.c` as one name.
    pub(crate) fn qualified(&self) -> Option<String> {
        match &self.node {
            Node::Ident(name) => Some(name.clone()),
            Node::Select(select) if !select.test && !select.optional => {
                Some(format!("{}.{}", select.operand.qualified()?, select.field))
            }
            _ => None,
        }
    }

    pub(crate) fn literal_text(&self) -> Option<&str> {
        match &self.node {
            Node::Literal(Literal::String(text)) => Some(text),
            _ => None,
        }
    }
}

impl Node {
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match self {
            Self::Literal(_) | Self::Ident(_) => Vec::new(),
            Self::Select(select) => vec![&select.operand],
            Self::Call(call) => call.args.iter().collect(),
            Self::Logic { terms, .. } => terms.iter().collect(),
            Self::Conditional(parts) => parts.iter().collect(),
            Self::List(items) => items.iter().map(|item| &item.value).collect(),
            Self::Map(entries) => entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect(),
            Self::Struct { fields, .. } => fields.iter().map(|field| &field.value).collect(),
            Self::Comprehension(c) => {
                [Some(&c.range), c.filter.as_ref(), Some(&c.body)].into_iter().flatten().collect()
            }
        }
    }
}
