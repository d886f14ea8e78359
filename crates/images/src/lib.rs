//! What guests start from: OCI images as read-only erofs files, and a kernel with an initial file system.
//!
//! [`ImageStore`] imports image archives and finds images by name. Each image becomes one erofs file, which all machines
//! of this host share; the layers are applied once, at import, and not kept.
//!
//! [`guest_boot`] keeps Debian's cloud kernel in a cache and builds the small initial file system around the guest's init.
//!
//! What it is not: it does not fetch images from registries, builds no images, and never mounts anything.
//!
//! Everything blocks and starts no tasks or threads; callers on a runtime use a blocking thread. Several processes may use
//! the same directories: changes are made under file locks and take effect by renames.
//!
//! Archives are hostile input. The way in: `archive` finds members, `contents` verifies documents,
//! `import` verifies and unpacks layers, `layer` reads one layer's entries, `rootfs` is the only module that writes
//! where an archive says, and cannot leave its directory. Start reading at `import`.
#![forbid(unsafe_code)]

mod archive;
mod contents;
mod digest;
mod erofs;
pub mod guest_boot;
mod image;
mod import;
mod layer;
mod manifest;
mod reference;
mod rootfs;
mod store;

pub use digest::{Digest, DigestError};
pub use erofs::BuildError;
pub use image::{Image, ImageConfig};
pub use import::{ImportError, ImportedImage, Progress};
pub use layer::LayerError;
pub use reference::{Reference, ReferenceError};
pub use store::{ImageStore, IndexError, OpenStoreError};
