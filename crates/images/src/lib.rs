//! What guests start from: OCI images as read-only erofs files, and a kernel with an initial file system.
//!
//! [`ImageStore`] imports image archives and finds images by name; [`registry`] pulls images from OCI registries into it.
//! Each image becomes one erofs file, which all machines of this host share; the layers are applied once and not kept.
//!
//! [`guest_boot`] keeps Debian's cloud kernel in a cache and builds the small initial file system around the guest's init.
//!
//! What it is not: it builds and pushes no images, decides not when to pull, and never mounts anything.
//!
//! Everything but [`registry`] blocks and starts no tasks or threads; callers on a runtime use a blocking thread. Several processes may use
//! the same directories: changes are made under file locks and take effect by renames.
//!
//! Archives and registries are hostile input. The way in: `archive` finds members, `contents` verifies documents,
//! `import` verifies and unpacks layers, `layer` reads one layer's entries, `rootfs` is the only module that writes
//! where an archive says, and cannot leave its directory. Start reading at `import`.
#![forbid(unsafe_code)]

mod access;
mod archive;
mod collect;
mod contents;
mod digest;
mod erofs;
pub mod guest_boot;
mod image;
mod import;
mod layer;
mod manifest;
mod reference;
pub mod registry;
mod rootfs;
mod store;

pub use access::Access;
pub use digest::{Digest, DigestError};
pub use erofs::BuildError;
pub use image::{Image, ImageConfig};
pub use import::{ImportError, ImportedImage, Progress};
pub use layer::LayerError;
pub use reference::{Reference, ReferenceError};
pub use store::{ImageStore, IndexError, OpenStoreError, Removed};
