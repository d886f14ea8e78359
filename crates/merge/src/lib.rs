//! What a write makes of an object, pure: patches, server-side apply, and who owns which field.
//!
//! * [`patch`]: JSON Patch, JSON merge patch and strategic merge patch.
//! * [`apply`]: server-side apply, and who owns which field after any write.
//! * [`fields`]: sets of fields, as `managedFields` keeps them.
//!
//! What merging has to know of a type's structure is a shape ([`orrery_machinery::shape`]). Time is an argument.
//!
//! What this crate is not: it reads and writes no store, and knows no resource by name.
//!
//! There are no tasks and no channels. Start reading at [`apply`].
#![forbid(unsafe_code)]

pub mod apply;
pub mod fields;
pub mod patch;
mod typed;
