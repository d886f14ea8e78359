//! Macros: calls that become something else.

use super::super::ast::{Comprehension, Expr, Fold, Node};
use super::{Parsed, Parser};

impl Parser {
    pub(super) fn global_call(&self, at: u32, name: &str, mut args: Vec<Expr>) -> Parsed {
        if name != "has" || args.len() != 1 {
            return self.call(at, name, false, args);
        }
        match args.remove(0).node {
            Node::Select(mut select) if !select.test => {
                select.test = true;
                self.made(at, Node::Select(select))
            }
            _ => Err((at, "invalid argument to has() macro".to_owned())),
        }
    }

    pub(super) fn member_call(&self, at: u32, target: Expr, name: &str, mut args: Vec<Expr>) -> Parsed {
        let Some((fold, vars, filtered)) = fold_of(name, args.len()) else {
            args.insert(0, target);
            return self.call(at, name, true, args);
        };
        let names = args.drain(..vars).map(|arg| match arg.node {
            Node::Ident(name) => Ok(name),
            _ => Err((arg.at, "argument must be a simple name".to_owned())),
        });
        let names = names.collect::<Result<Vec<_>, _>>()?;
        if vars == 2 && names[0] == names[1] {
            return Err((at, format!("duplicate variable name: {}", names[0])));
        }
        let filter = filtered.then(|| args.remove(0));
        let body = args.remove(0);
        let comprehension = Comprehension { fold, range: target, vars: names, filter, body };
        self.made(at, Node::Comprehension(Box::new(comprehension)))
    }
}

/// What macro `name` is with so many arguments: its fold, how many of these are variables, and whether one filters.
fn fold_of(name: &str, args: usize) -> Option<(Fold, usize, bool)> {
    Some(match (name, args) {
        ("all", 2) => (Fold::All, 1, false),
        ("all", 3) => (Fold::All, 2, false),
        ("exists", 2) => (Fold::Exists, 1, false),
        ("exists", 3) => (Fold::Exists, 2, false),
        ("exists_one" | "existsOne", 2) => (Fold::ExistsOne, 1, false),
        ("existsOne", 3) => (Fold::ExistsOne, 2, false),
        ("map", 2) => (Fold::Map, 1, false),
        ("map", 3) => (Fold::Map, 1, true),
        ("filter", 2) => (Fold::Filter, 1, false),
        ("transformList", 3) => (Fold::Map, 2, false),
        ("transformList", 4) => (Fold::Map, 2, true),
        ("transformMap", 3) => (Fold::TransformMap, 2, false),
        ("transformMap", 4) => (Fold::TransformMap, 2, true),
        ("transformMapEntry", 3) => (Fold::TransformMapEntry, 2, false),
        ("transformMapEntry", 4) => (Fold::TransformMapEntry, 2, true),
        ("optMap", 2) => (Fold::OptMap, 1, false),
        ("optFlatMap", 2) => (Fold::OptFlatMap, 1, false),
        _ => return None,
    })
}
