//! Reads the text.

use crate::shape::{Atom, AtomId, Field, Key, List, ListKind, Map, Patch, PatchStrategy, Scalar, Shapes};
use serde_json::Value;
use std::collections::HashMap;

/// A group, version and kind with its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Such as `v1`.
    pub version: &'static str,
    /// Such as `Deployment`.
    pub kind: &'static str,
    /// Its type.
    pub atom: AtomId,
}

/// A table as it was read.
#[derive(Debug, Default)]
pub struct Table {
    /// The atoms.
    pub shapes: Shapes,
    /// What was defined by `def`.
    pub names: HashMap<&'static str, AtomId>,
    /// What was said by `kind`.
    pub kinds: Vec<Kind>,
}

/// Why a text is no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct TextError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// Reads a table.
///
/// # Errors
/// The first line that is not as described at [`crate::shape::text`].
pub fn parse(text: &'static str) -> Result<Table, TextError> {
    let mut reader = Reader { table: Table { shapes: Shapes::new(), ..Table::default() }, simple: HashMap::new() };
    let lines = || (1usize..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    for (_, line) in lines() {
        if let Some(rest) = line.strip_prefix("def ") {
            let name = rest.split(' ').next().unwrap_or(rest);
            let id = reader.table.shapes.add(Atom::default());
            reader.table.names.insert(name, id);
        }
    }
    let mut open: Option<(AtomId, Vec<Field>)> = None;
    for (number, line) in lines() {
        let at = |what: String| TextError { line: number, what };
        if let Some(field) = line.strip_prefix(' ') {
            let (id, fields) = open.as_mut().ok_or_else(|| at("a field stands before any `def`".into()))?;
            reader.field(*id, fields, field).map_err(at)?;
            continue;
        }
        reader.close(open.take());
        if let Some(rest) = line.strip_prefix("def ") {
            open = reader.definition(rest).map_err(at)?;
        } else if let Some(rest) = line.strip_prefix("kind ") {
            let kind = reader.kind(rest).ok_or_else(|| at(format!("no kind: {rest}")))?;
            reader.table.kinds.push(kind);
        } else {
            return Err(at(format!("neither `def` nor `kind`: {line}")));
        }
    }
    reader.close(open);
    Ok(reader.table)
}

struct Reader {
    table: Table,
    /// Types without a name, so that each stands in the table once.
    simple: HashMap<&'static str, AtomId>,
}

impl Reader {
    fn definition(&mut self, text: &'static str) -> Result<Option<(AtomId, Vec<Field>)>, String> {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let id = self.table.names[name];
        if let Some(definition) = rest.strip_prefix("= ") {
            let atom = self.atom_of(definition)?;
            self.table.shapes.set(id, atom);
            return Ok(None);
        }
        let map = Map { atomic: rest == "atomic", ..Map::default() };
        self.table.shapes.set(id, Atom { map: Some(map), ..Atom::default() });
        Ok(Some((id, Vec::new())))
    }

    fn close(&mut self, open: Option<(AtomId, Vec<Field>)>) {
        let Some((id, mut fields)) = open else { return };
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(map) = &mut self.table.shapes.get_mut(id).map {
            map.fields = fields.into();
        }
    }

    fn field(&mut self, id: AtomId, fields: &mut Vec<Field>, line: &'static str) -> Result<(), String> {
        let mut words = line.split(' ');
        let (name, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let atom = self.place(kind)?;
        let patch = words.next().map(read_patch).transpose()?.map(Box::new);
        if name == "*" {
            if let Some(map) = &mut self.table.shapes.get_mut(id).map {
                map.rest = Some(atom);
            }
            return Ok(());
        }
        let (name, always) = name.strip_suffix('+').map_or((name, false), |name| (name, true));
        fields.push(Field { name: name.into(), atom, always, patch });
        Ok(())
    }

    fn kind(&self, text: &'static str) -> Option<Kind> {
        let mut words = text.split(' ');
        let (group, version) = words.next()?.split_once('/')?;
        let kind = words.next()?;
        let atom = *self.table.names.get(words.next()?)?;
        Some(Kind { group, version, kind, atom })
    }

    fn place(&mut self, text: &'static str) -> Result<AtomId, String> {
        match text {
            "?" => return Ok(Shapes::DEDUCED),
            "!" => return Ok(Shapes::UNTYPED),
            _ => {}
        }
        if let Some(name) = text.strip_prefix('@') {
            return self.table.names.get(name).copied().ok_or_else(|| format!("{name} is not defined"));
        }
        if let Some(id) = self.simple.get(text) {
            return Ok(*id);
        }
        let atom = self.atom_of(text)?;
        let id = self.table.shapes.add(atom);
        self.simple.insert(text, id);
        Ok(id)
    }

    fn atom_of(&mut self, text: &'static str) -> Result<Atom, String> {
        let scalar = |scalar| Ok(Atom { scalar: Some(scalar), ..Atom::default() });
        let broken = || format!("no type: {text}");
        match text {
            "s" => return scalar(Scalar::String),
            "n" => return scalar(Scalar::Numeric),
            "b" => return scalar(Scalar::Boolean),
            "x" => return scalar(Scalar::Untyped),
            "?" => return Ok(self.table.shapes.get(Shapes::DEDUCED).clone()),
            "!" => return Ok(self.table.shapes.get(Shapes::UNTYPED).clone()),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix('<') {
            let (inner, end) = rest.rsplit_once('>').ok_or_else(broken)?;
            let map = Map { fields: Box::default(), rest: Some(self.place(inner)?), atomic: end == "!" };
            return Ok(Atom { map: Some(map), ..Atom::default() });
        }
        let (inner, end) = text.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')).ok_or_else(broken)?;
        let element = self.place(inner)?;
        let kind = match end {
            "" => ListKind::Atomic,
            "=" => ListKind::Set,
            keys => {
                let keys = keys.strip_prefix('{').and_then(|keys| keys.strip_suffix('}')).ok_or_else(broken)?;
                ListKind::Map(keys.split(',').map(read_key).collect::<Result<_, _>>()?)
            }
        };
        Ok(Atom { list: Some(List { element, kind }), ..Atom::default() })
    }
}

fn read_key(text: &'static str) -> Result<Key, String> {
    match text.split_once('=') {
        None => Ok(Key { name: text.into(), default: None }),
        Some((name, default)) => {
            let default: Value = serde_json::from_str(default).map_err(|error| format!("{text}: {error}"))?;
            Ok(Key { name: name.into(), default: Some(default) })
        }
    }
}

fn read_patch(text: &'static str) -> Result<Patch, String> {
    let broken = || format!("no patch strategy: {text}");
    let text = text.strip_prefix('~').ok_or_else(broken)?;
    let (strategies, key) = text.split_once('(').map_or((text, None), |(left, key)| (left, key.strip_suffix(')')));
    let mut patch = Patch { merge_key: key.map(Into::into), ..Patch::default() };
    for strategy in strategies.split(',').filter(|strategy| !strategy.is_empty()) {
        match strategy {
            "merge" => patch.strategy = Some(PatchStrategy::Merge),
            "replace" => patch.strategy = Some(PatchStrategy::Replace),
            "retainKeys" => patch.retain_keys = true,
            _ => return Err(broken()),
        }
    }
    Ok(patch)
}
