//! Which type can stand for which, and which overload fits.

use super::super::function::{Function, Overload, T};
use super::super::types::Type;
use super::Checker;
use std::sync::Arc;

impl Checker<'_> {
    pub(super) fn fresh(&mut self) -> Type {
        self.found.push(None);
        Type::Var(u32::try_from(self.found.len() - 1).unwrap_or(u32::MAX))
    }

    /// A type with everything that is known put in.
    pub(super) fn resolve(&self, ty: &Type) -> Type {
        let inner = |of: &Arc<Type>| Arc::new(self.resolve(of));
        match ty {
            Type::Var(index) => match self.found.get(*index as usize) {
                Some(Some(found)) => self.resolve(found),
                Some(None) | None => ty.clone(),
            },
            Type::List(of) => Type::List(inner(of)),
            Type::Map(key, value) => Type::Map(inner(key), inner(value)),
            Type::Optional(of) => Type::Optional(inner(of)),
            Type::Type(of) => Type::Type(inner(of)),
            other => other.clone(),
        }
    }

    /// Whether a value of type `from` can stand where `to` is expected.
    pub(super) fn assignable(&mut self, to: &Type, from: &Type) -> bool {
        let (to, from) = (self.resolve(to), self.resolve(from));
        match (&to, &from) {
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::Var(a), Type::Var(b)) if a == b => true,
            (Type::Var(index), other) | (other, Type::Var(index)) => {
                if mentions(other, *index) {
                    return false;
                }
                self.found[*index as usize] = Some(other.clone());
                true
            }
            (Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Duration | Type::Timestamp, Type::Null)
            | (Type::Null, Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Duration | Type::Timestamp) => {
                true
            }
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.assignable(a, b),
            (Type::Map(key_a, value_a), Type::Map(key_b, value_b)) => {
                self.assignable(key_a, key_b) && self.assignable(value_a, value_b)
            }
            (Type::Object(a), Type::Object(b)) => a.name == b.name,
            (Type::Type(_), Type::Type(_)) => true,
            (a, b) => a == b,
        }
    }

    fn declared(&mut self, ty: T, params: &mut [Option<Type>; 2]) -> Type {
        match ty {
            T::Dyn => Type::Dyn,
            T::Bool => Type::Bool,
            T::Int => Type::Int,
            T::Uint => Type::Uint,
            T::Double => Type::Double,
            T::String => Type::String,
            T::Bytes => Type::Bytes,
            T::Duration => Type::Duration,
            T::Timestamp => Type::Timestamp,
            T::A | T::B => {
                let index = usize::from(matches!(ty, T::B));
                if let Some(param) = &params[index] {
                    return param.clone();
                }
                let fresh = self.fresh();
                params[index] = Some(fresh.clone());
                fresh
            }
            T::List(of) => Type::list(self.declared(*of, params)),
            T::Map(key, value) => {
                let key = self.declared(*key, params);
                Type::Map(Arc::new(key), Arc::new(self.declared(*value, params)))
            }
            T::Optional(of) => Type::optional(self.declared(*of, params)),
            T::Opaque(name) => Type::Opaque(name),
            T::Type(of) => Type::Type(Arc::new(self.declared(*of, params))),
        }
    }

    /// What calling an overload with these types gives; nothing when they don't fit.
    fn try_overload(&mut self, overload: &Overload, args: &[Type]) -> Option<Type> {
        if overload.params.len() != args.len() {
            return None;
        }
        let before = self.found.clone();
        let mut params = [None, None];
        for (param, arg) in overload.params.iter().zip(args) {
            let param = self.declared(*param, &mut params);
            if !self.assignable(&param, arg) {
                self.found = before;
                return None;
            }
        }
        let result = self.declared(overload.result, &mut params);
        Some(self.resolve(&result))
    }

    /// Of two types that agree, the one that says more of what both have in common.
    pub(super) fn join(&self, a: &Type, b: &Type) -> Type {
        let (a, b) = (self.resolve(a), self.resolve(b));
        match (&a, &b) {
            (Type::Dyn, _) | (_, Type::Dyn) => Type::Dyn,
            (Type::Null, _) => b,
            _ => a,
        }
    }

    pub(super) fn homogeneous(&mut self, at: u32, so_far: Option<Type>, ty: Type) -> Type {
        match so_far {
            None => ty,
            Some(so_far) if self.assignable(&so_far, &ty) => self.join(&so_far, &ty),
            Some(_) if self.mixed => Type::Dyn,
            Some(so_far) => {
                self.mismatch(at, &so_far, &ty);
                so_far
            }
        }
    }

    pub(super) fn mismatch(&mut self, at: u32, expected: &Type, found: &Type) {
        let (expected, found) = (self.resolve(expected), self.resolve(found));
        self.mistake(at, format!("expected type '{expected}' but found '{found}'"));
    }

    /// What an optional holds, where one has to stand.
    pub(super) fn unwrapped(&mut self, at: u32, ty: &Type) -> Type {
        match self.resolve(ty) {
            Type::Optional(of) => (*of).clone(),
            Type::Dyn | Type::Var(_) => Type::Dyn,
            other => {
                self.mismatch(at, &Type::optional(other.clone()), &other);
                Type::Dyn
            }
        }
    }

    /// The type of all overloads that fit together; nothing when none does.
    pub(super) fn overloads(&mut self, function: &Function, member: bool, types: &[Type]) -> Option<Type> {
        let mut result: Option<Type> = None;
        let mut kept = None;
        for overload in function.overloads.iter().filter(|overload| overload.member == member) {
            let before = self.found.clone();
            let Some(ty) = self.try_overload(overload, types) else { continue };
            match &result {
                None => {
                    kept = Some(self.found.clone());
                    result = Some(ty);
                }
                // Of several that fit what is dynamic, the result may be any of theirs.
                Some(first) if *first != ty => result = Some(Type::Dyn),
                Some(_) => {}
            }
            self.found = before;
        }
        if let Some(kept) = kept {
            self.found = kept;
        }
        result
    }

    pub(super) fn no_overload(&mut self, at: u32, name: &str, member: bool, types: &[Type]) -> Type {
        let types: Vec<String> = types.iter().map(|ty| self.resolve(ty).to_string()).collect();
        let signature = match types.split_first() {
            Some((target, args)) if member => format!("{target}.({})", args.join(", ")),
            _ => format!("({})", types.join(", ")),
        };
        self.mistake(at, format!("found no matching overload for '{name}' applied to '{signature}'"))
    }
}

fn mentions(ty: &Type, index: u32) -> bool {
    match ty {
        Type::Var(other) => *other == index,
        Type::List(of) | Type::Optional(of) | Type::Type(of) => mentions(of, index),
        Type::Map(key, value) => mentions(key, index) || mentions(value, index),
        _ => false,
    }
}
