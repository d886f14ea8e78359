//! Shapes as text, for tables that are part of a program: small, and a change of one field is a change of one line.
//!
//! ```text
//! def apps.v1.DeploymentSpec              an object with named fields; `def NAME atomic` where it is one value
//!  replicas n                             a field and its type
//!  selector+ @meta.v1.LabelSelector       `+`: always there (see `Field::always`)
//!  strategy+ @apps.v1.DeploymentStrategy ~retainKeys
//!  * s                                    other fields, and what they hold
//! def meta.v1.Time = x                    a name for another type
//! kind apps/v1 Deployment apps.v1.Deployment
//! ```
//!
//! | type | is |
//! |---|---|
//! | `s` `n` `b` `x` | text, number, truth, any scalar |
//! | `?` `!` | anything, deduced; anything, as one value |
//! | `@NAME` | what was defined as NAME |
//! | `<T>` `<T>!` | map, granular or atomic |
//! | `[T]` | list, atomic |
//! | `[T]=` | list of scalars that is a set |
//! | `[T]{port,protocol="TCP"}` | list whose elements are told apart by these keys, with their defaults |

mod read;
mod write;

pub use read::{Kind, Table, TextError, parse};
pub use write::write;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Shape, schema};
    use serde_json::json;
    use std::{collections::BTreeMap, sync::Arc};

    const TEXT: &str = "\
# A comment.
def a.Tree
 children [@a.Tree]{name,port=0,protocol=\"TCP\"} ~merge(name)
 colours <n>!
 free ?
 labels+ <s>
 raw !
 scalars+ [s]= ~merge
 when x
 words [s]
 * b
def a.Sealed atomic
 tree @a.Tree ~replace
def b.Time = x
def b.Times = [@b.Time]
kind /v1 Tree a.Tree
kind a/v1 Sealed a.Sealed
";

    #[test]
    fn a_table_is_written_as_it_was_read() {
        let table = parse(TEXT).unwrap();
        assert_eq!(table.kinds.len(), 2);
        let names: BTreeMap<&str, _> = table.names.iter().map(|(name, id)| (*name, *id)).collect();
        let written = write(&table.shapes, &names, &table.kinds);
        // Names stand in their order; a name for a scalar is not needed twice.
        let again = parse(String::leak(written.clone())).unwrap();
        assert_eq!(again.shapes.iter().count(), table.shapes.iter().count(), "{written}");
        let names: BTreeMap<&str, _> = again.names.iter().map(|(name, id)| (*name, *id)).collect();
        assert_eq!(write(&again.shapes, &names, &again.kinds), written);
        for line in TEXT.lines().filter(|line| line.starts_with(' ') || line.starts_with("kind")) {
            assert!(written.contains(line), "{line:?} in\n{written}");
        }
    }

    #[test]
    fn the_text_says_the_same_as_the_schema_it_was_made_of() {
        let definitions = json!({"Node": {"type": "object", "properties": {
            "next": {"$ref": "#/definitions/Node"},
            "list": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "inline": {"type": "object", "properties": {"a": {"type": "integer"}}, "x-kubernetes-map-type": "atomic"},
        }}});
        let mut builder = schema::Builder::new(definitions.as_object().unwrap());
        let root = builder.add("Node");
        let shapes = builder.finish().unwrap();
        let text = write(&shapes, &BTreeMap::from([("Node", root)]), &[]);
        let read = parse(String::leak(text)).unwrap();
        let root = read.names["Node"];
        let shape = Shape::new(Arc::new(read.shapes), root);
        let view = shape.view();
        assert_eq!(view.child("next").unwrap().atom(), view.atom());
        assert!(view.child("inline").unwrap().atom().map.as_ref().unwrap().atomic);
    }

    #[test]
    fn a_broken_table_is_refused_with_its_line() {
        for (text, line) in [
            ("def a\n x @nowhere\n", 2),
            (" x s\n", 1),
            ("def a\n x [s\n", 2),
            ("def a\n x s ~shred\n", 2),
            ("kind v1 A a\n", 1),
            ("def a\n x y\n", 2),
            ("what\n", 1),
        ] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
