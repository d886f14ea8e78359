//! What lists, maps and objects hold.

use super::super::decl::{Kind, ListKind};
use super::super::error::EvalError;
use super::{Key, List, MapVal, Object, Text, Val, json_val};

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(values, _) => values.len(),
            Self::Made(values) => values.len(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Result<Val<'a>, EvalError>> {
        match self {
            Self::Json(values, decl) => values.get(index).map(|value| json_val(value, decl.map(|(items, _)| items))),
            Self::Made(values) => values.get(index).cloned().map(Ok),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<Val<'a>, EvalError>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub(crate) fn to_vec(&self) -> Result<Vec<Val<'a>>, EvalError> {
        self.iter().collect()
    }

    pub(crate) fn kind(&self) -> &'a ListKind {
        match self {
            Self::Json(_, Some((_, kind))) => kind,
            Self::Json(_, None) | Self::Made(_) => &ListKind::Atomic,
        }
    }
}

/// Keys and values of a map.
pub(crate) type Entries<'r, 'a> = Box<dyn Iterator<Item = (Val<'a>, Result<Val<'a>, EvalError>)> + 'r>;

impl<'a> MapVal<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(map, _) => map.len(),
            Self::Made(map) => map.len(),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Result<Val<'a>, EvalError>> {
        match (self, key) {
            (Self::Json(map, decl), Key::String(key)) => map.get(&**key).map(|value| json_val(value, *decl)),
            (Self::Json(..), Key::Bool(_) | Key::Int(_)) => None,
            (Self::Made(map), key) => map.get(key).cloned().map(Ok),
        }
    }

    pub(crate) fn get_text(&self, key: &str) -> Option<Result<Val<'a>, EvalError>> {
        match self {
            Self::Json(map, decl) => map.get(key).map(|value| json_val(value, *decl)),
            Self::Made(map) => map.get(&Key::String(key.into())).cloned().map(Ok),
        }
    }

    /// Keys and values, one by one and uncopied.
    pub(crate) fn entries(&self) -> Entries<'_, 'a> {
        match self {
            Self::Json(map, decl) => {
                let (map, decl) = (*map, *decl);
                Box::new(map.iter().map(move |(key, value)| (Val::String(Text::Borrowed(key)), json_val(value, decl))))
            }
            Self::Made(map) => Box::new(map.iter().map(|(key, value)| (key.to_val(), Ok(value.clone())))),
        }
    }

    pub(crate) fn keys(&self) -> Box<dyn Iterator<Item = Key> + '_> {
        match self {
            Self::Json(map, _) => Box::new(map.keys().map(|key| Key::String(key.as_str().into()))),
            Self::Made(map) => Box::new(map.keys().cloned()),
        }
    }
}

impl Key {
    pub(crate) fn to_val<'a>(&self) -> Val<'a> {
        match self {
            Self::Bool(flag) => Val::Bool(*flag),
            Self::Int(value) => match i64::try_from(*value) {
                Ok(value) => Val::Int(value),
                Err(_) => Val::Uint(u64::try_from(*value).unwrap_or(u64::MAX)),
            },
            Self::String(text) => Val::String(Text::Shared(text.clone())),
        }
    }
}

impl<'a> Object<'a> {
    /// The value of a field, by the name that expressions write; nothing when it is not set, an error when there is none.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Val<'a>>, EvalError> {
        match self {
            Self::Json(map, decl) => {
                let Kind::Object(fields) = &decl.kind else { return Err(no_such_field(name)) };
                let field = fields.get(name).ok_or_else(|| no_such_field(name))?;
                map.get(&field.name).map(|value| Val::declared(value, &field.decl)).transpose()
            }
            Self::Made(_, fields) => Ok(fields.get(name).cloned()),
        }
    }
}

fn no_such_field(name: &str) -> EvalError {
    EvalError::new(format!("no such field '{name}'"))
}
