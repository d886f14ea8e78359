//! Objects walked along their [`Shape`](orrery_machinery::shape::Shape): what server-side apply is made of.
//!
//! * [`extract`]: the set of fields that an object mentions.
//! * [`compare`]: what was added, modified and removed between two objects.
//! * [`merge`]: an object with an applied configuration in it.
//! * [`remove`]: an object without a set of fields.
//! * [`validate`]: whether a configuration is of its type.
//! * [`reconcile`]: a set of fields as the type is now, when lists and maps have become atomic.
//!
//! The rules are those of `sigs.k8s.io/structured-merge-diff/v6/typed`. Nothing here panics or recurses without bound
//! whatever the objects are: deeper than [`DEPTH_LIMIT`] is an error.

pub(crate) mod compare;
pub(crate) mod extract;
mod golang;
mod index;
pub(crate) mod merge;
pub(crate) mod named;
mod narrow;
pub(crate) mod reconcile;
pub(crate) mod remove;
pub(crate) mod validate;
mod value;

pub(crate) use value::is_equal;

use narrow::Part;

/// Objects may be nested so deep. JSON that comes over the network is refused at half of it.
pub(crate) const DEPTH_LIMIT: usize = 256;

/// So many problems of one object are said.
const PROBLEMS_SHOWN: usize = 100;

/// What is wrong with an object, field by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Problems(Vec<Problem>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    /// Such as `.spec.containers[name="web"]`; empty for the object itself.
    path: String,
    what: String,
}

impl Problems {
    pub(crate) fn one(what: impl Into<String>) -> Self {
        Self(vec![Problem { path: String::new(), what: what.into() }])
    }

    fn too_deep() -> Self {
        Self::one(format!("nested deeper than {DEPTH_LIMIT} levels"))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, what: impl Into<String>) {
        self.0.push(Problem { path: String::new(), what: what.into() });
    }

    /// Takes over `other`, which was found below `step`.
    fn extend_below(&mut self, step: &dyn std::fmt::Display, other: Self) {
        self.0.extend(other.0.into_iter().map(|p| Problem { path: format!("{step}{}", p.path), what: p.what }));
    }

    fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// One problem on one line, several as a list.
impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |problem: &Problem| match problem.path.as_str() {
            "" => problem.what.clone(),
            path => format!("{path}: {}", problem.what),
        };
        match self.0.as_slice() {
            [only] => f.write_str(&show(only)),
            several => {
                f.write_str("errors:")?;
                let shown = several.iter().take(PROBLEMS_SHOWN);
                shown.into_iter().try_for_each(|problem| write!(f, "\n  {}", show(problem)))?;
                match several.len().saturating_sub(PROBLEMS_SHOWN) {
                    0 => Ok(()),
                    more => write!(f, "\n  and {more} more"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
