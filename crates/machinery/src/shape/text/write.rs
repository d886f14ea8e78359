//! Writes the text.

use super::Kind;
use crate::shape::{Atom, AtomId, Key, ListKind, Map, Patch, PatchStrategy, Scalar, Shapes};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

/// Writes the types that have a name, with what they refer to, and the kinds.
#[must_use]
pub fn write(shapes: &Shapes, names: &BTreeMap<&str, AtomId>, kinds: &[Kind]) -> String {
    let mut writer = Writer { shapes, names: HashMap::new(), unnamed: Vec::new(), text: String::new() };
    for (name, id) in names {
        writer.names.insert(*id, (*name).to_owned());
    }
    for (name, id) in names {
        writer.definition(name, shapes.get(*id));
    }
    while let Some((name, id)) = writer.unnamed.pop() {
        writer.definition(&name, shapes.get(id));
    }
    let mut kinds = kinds.to_vec();
    kinds.sort_unstable();
    for kind in kinds {
        let name = writer.names.get(&kind.atom).cloned().unwrap_or_default();
        let line = writeln!(writer.text, "kind {}/{} {} {name}", kind.group, kind.version, kind.kind);
        line.expect("a String takes everything");
    }
    writer.text
}

struct Writer<'a> {
    shapes: &'a Shapes,
    names: HashMap<AtomId, String>,
    /// Objects within types, which were given a name for being written.
    unnamed: Vec<(String, AtomId)>,
    text: String,
}

impl Writer<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn definition(&mut self, name: &str, atom: &Atom) {
        match atom {
            Atom { map: Some(map), scalar: None, list: None } if map.is_object() => {
                self.line(&format!("def {name}{}", if map.atomic { " atomic" } else { "" }));
                for field in &map.fields {
                    let kind = self.place(field.atom);
                    let patch = field.patch.as_deref().map(patch_text).unwrap_or_default();
                    self.line(&format!(" {}{} {kind}{patch}", field.name, if field.always { "+" } else { "" }));
                }
                if let Some(rest) = map.rest {
                    let rest = self.place(rest);
                    self.line(&format!(" * {rest}"));
                }
            }
            other => {
                let kind = self.type_text(other);
                self.line(&format!("def {name} = {kind}"));
            }
        }
    }

    fn place(&mut self, id: AtomId) -> String {
        if id == Shapes::DEDUCED {
            return "?".to_owned();
        }
        if id == Shapes::UNTYPED {
            return "!".to_owned();
        }
        if let Some(name) = self.names.get(&id) {
            return format!("@{name}");
        }
        let atom = self.shapes.get(id);
        match atom {
            Atom { map: Some(map), scalar: None, list: None } if map.is_object() => {
                let name = format!("_{}", id.0);
                self.names.insert(id, name.clone());
                self.unnamed.push((name.clone(), id));
                format!("@{name}")
            }
            other => self.type_text(other),
        }
    }

    fn type_text(&mut self, atom: &Atom) -> String {
        match atom {
            Atom { scalar: Some(scalar), list: None, map: None } => match scalar {
                Scalar::String => "s",
                Scalar::Numeric => "n",
                Scalar::Boolean => "b",
                Scalar::Untyped => "x",
            }
            .to_owned(),
            Atom { map: Some(Map { rest: Some(rest), atomic, .. }), scalar: None, list: None } => {
                let rest = self.place(*rest);
                format!("<{rest}>{}", if *atomic { "!" } else { "" })
            }
            Atom { list: Some(list), scalar: None, map: None } => {
                let element = self.place(list.element);
                match &list.kind {
                    ListKind::Atomic => format!("[{element}]"),
                    ListKind::Set => format!("[{element}]="),
                    ListKind::Map(keys) => {
                        let keys: Vec<String> = keys.iter().map(key_text).collect();
                        format!("[{element}]{{{}}}", keys.join(","))
                    }
                }
            }
            atom if atom == self.shapes.get(Shapes::UNTYPED) => "!".to_owned(),
            _ => "?".to_owned(),
        }
    }
}

fn key_text(key: &Key) -> String {
    key.default.as_ref().map_or_else(|| key.name.to_string(), |default| format!("{}={default}", key.name))
}

fn patch_text(patch: &Patch) -> String {
    let strategy = patch.strategy.map(|strategy| match strategy {
        PatchStrategy::Merge => "merge",
        PatchStrategy::Replace => "replace",
    });
    let words: Vec<&str> = strategy.into_iter().chain(patch.retain_keys.then_some("retainKeys")).collect();
    let key = patch.merge_key.as_ref().map(|key| format!("({key})")).unwrap_or_default();
    format!(" ~{}{key}", words.join(","))
}
