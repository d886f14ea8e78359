//! Fields that a write cannot set.

use crate::fields::{FieldSet, Pattern};

/// Fields that a write to a path leaves alone whatever the request says of them; nobody owns them by such a write.
#[derive(Debug, Clone, Default)]
pub enum Ignored<'a> {
    /// None.
    #[default]
    Nothing,
    /// These with all that is below them (`status` for the main resource of a kind that has the sub-resource).
    Fields(FieldSet<'a>),
    /// All but these with all that is below them (the resources of containers for `pods/resize`).
    AllBut(&'a [Pattern]),
}

impl Ignored<'_> {
    /// `set` without what is ignored.
    pub(super) fn filter<'s>(&self, set: FieldSet<'s>) -> FieldSet<'s> {
        match self {
            Self::Nothing => set,
            Self::Fields(fields) => set.recursive_difference(fields),
            Self::AllBut(patterns) => set.matching(patterns),
        }
    }
}
