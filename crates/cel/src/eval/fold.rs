//! Comprehensions: what they run over, and what they come to.

use super::super::ast::Fold;
use super::super::error::EvalError;
use super::super::value::{Entries, Key, List, Val};
use super::{Ran, is_fatal, truth};
use std::collections::BTreeMap;

impl Fold {
    /// What a step costs beside its predicate: looking at the accumulator, and adding to it.
    pub(in super::super) fn step_cost(self) -> u64 {
        match self {
            Self::All | Self::Exists => 3,
            Self::ExistsOne => 2,
            Self::Map | Self::Filter => 12,
            Self::TransformMap | Self::TransformMapEntry => 2,
            Self::OptMap | Self::OptFlatMap => 1,
        }
    }
}

/// What a comprehension runs over. Keys are made one by one: a comprehension that ends early has paid for no more.
pub(super) enum Elements<'r, 'a> {
    List(&'r List<'a>, std::ops::Range<usize>),
    Map(Entries<'r, 'a>),
}

impl<'r, 'a> Elements<'r, 'a> {
    pub(super) fn of(range: &'r Val<'a>) -> Result<Self, EvalError> {
        match range {
            Val::List(list) => Ok(Self::List(list, 0..list.len())),
            Val::Map(map) => Ok(Self::Map(map.entries())),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    /// The next values of one variable or two.
    pub(super) fn next(&mut self, vars: usize) -> Result<Option<(Val<'a>, Option<Val<'a>>)>, EvalError> {
        match self {
            Self::List(list, places) => {
                let Some(index) = places.next() else { return Ok(None) };
                let item = list.get(index).ok_or_else(|| EvalError::new("index out of bounds"))??;
                let place = Val::Int(i64::try_from(index).unwrap_or(i64::MAX));
                Ok(Some(if vars == 1 { (item, None) } else { (place, Some(item)) }))
            }
            Self::Map(entries) => {
                let Some((key, value)) = entries.next() else { return Ok(None) };
                Ok(Some((key, (vars > 1).then_some(value).transpose()?)))
            }
        }
    }
}

/// What a comprehension has come to.
pub(super) struct Folded<'a> {
    fold: Fold,
    count: usize,
    decided: bool,
    failed: Option<EvalError>,
    list: Vec<Val<'a>>,
    map: BTreeMap<Key, Val<'a>>,
}

impl<'a> Folded<'a> {
    pub(super) fn new(fold: Fold) -> Self {
        Self { fold, count: 0, decided: false, failed: None, list: Vec::new(), map: BTreeMap::new() }
    }

    /// Takes what the body gave for one element; answers whether that decides it.
    pub(super) fn take(&mut self, body: Ran<'a>, element: &Val<'a>) -> Result<bool, EvalError> {
        match self.fold {
            Fold::All | Fold::Exists => {
                match body.and_then(|value| truth(&value)) {
                    Ok(flag) => self.decided = flag == (self.fold == Fold::Exists),
                    Err(error) if is_fatal(&error) => return Err(error),
                    // A later element may decide it all the same.
                    Err(error) => self.failed = self.failed.take().or(Some(error)),
                }
                return Ok(self.decided);
            }
            Fold::ExistsOne => self.count += usize::from(truth(&body?)?),
            Fold::Filter => {
                if truth(&body?)? {
                    self.list.push(element.clone());
                }
            }
            Fold::Map => self.list.push(body?),
            Fold::TransformMap => insert(&mut self.map, element, body?)?,
            Fold::TransformMapEntry => match body? {
                Val::Map(entries) => {
                    for key in entries.keys() {
                        if let Some(value) = entries.get(&key) {
                            insert(&mut self.map, &key.to_val(), value?)?;
                        }
                    }
                }
                _ => return Err(EvalError::no_such_overload()),
            },
            Fold::OptMap | Fold::OptFlatMap => return Err(EvalError::no_such_overload()),
        }
        Ok(false)
    }

    pub(super) fn finish(self) -> Ran<'a> {
        match self.fold {
            Fold::All | Fold::Exists if self.decided => Ok(Val::Bool(self.fold == Fold::Exists)),
            Fold::All | Fold::Exists => self.failed.map_or(Ok(Val::Bool(self.fold == Fold::All)), Err),
            Fold::ExistsOne => Ok(Val::Bool(self.count == 1)),
            Fold::Map | Fold::Filter => Ok(Val::list(self.list)),
            Fold::TransformMap | Fold::TransformMapEntry => Ok(Val::map(self.map)),
            Fold::OptMap | Fold::OptFlatMap => Err(EvalError::no_such_overload()),
        }
    }
}

/// Adds an entry whose key must be new.
pub(super) fn insert<'a>(map: &mut BTreeMap<Key, Val<'a>>, key: &Val<'a>, value: Val<'a>) -> Result<(), EvalError> {
    let unsupported = || EvalError::new(format!("unsupported key type: {}", key.type_name()));
    let key = key.as_key().ok_or_else(unsupported)?;
    match map.insert(key.clone(), value) {
        None => Ok(()),
        Some(_) => Err(EvalError::new(format!("Failed with repeated key: {}", key_text(&key)))),
    }
}

fn key_text(key: &Key) -> String {
    match key {
        Key::Bool(flag) => flag.to_string(),
        Key::Int(value) => value.to_string(),
        Key::String(text) => text.to_string(),
    }
}
