//! Selectors: which objects a request is about.
//!
//! * [`LabelSelector`]: from a query parameter (`a=b,c in (d,e),!f`) or from an object (`matchLabels`,
//!   `matchExpressions`).
//! * [`FieldSelector`]: from a query parameter (`spec.nodeName=h,status.phase!=Failed`), over the fields that a
//!   descriptor lists.
//!
//! The empty selector of either sort picks everything.

mod field;
mod label;
mod lexer;
mod object;

pub use field::FieldSelector;
pub use label::{LabelSelector, Operator, Requirement};
pub use object::validate_label_selector;
