//! Images as the Spherelet needs them.

use crate::config::RunError;
use orrery_images::ImageStore;
use std::{path::Path, path::PathBuf, sync::Arc};

/// An image that is on this host, with what its containers run by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// `sha256:` and 64 hexadecimal digits.
    pub id: String,
    /// The file system that the guest mounts.
    pub erofs_path: PathBuf,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments after the entry point.
    pub cmd: Vec<String>,
    /// Variables as `NAME=value`.
    pub env: Vec<String>,
    /// Working directory; empty is `/`.
    pub working_dir: String,
    /// `user[:group]`; empty is root.
    pub user: String,
    /// The signal that asks its containers to end.
    pub stop_signal: Option<String>,
}

impl ResolvedImage {
    /// What the guest finds the image's disk by: the first 20 digits of its digest.
    #[must_use]
    pub fn serial(&self) -> String {
        let digits = self.id.rsplit(':').next().unwrap_or_default();
        digits.chars().take(20).collect()
    }
}

/// Why an image could not be looked up.
#[derive(Debug, thiserror::Error)]
#[error("image {reference} cannot be looked up")]
pub struct ImageLookupError {
    /// What was looked up.
    pub reference: String,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Finds images on this host.
pub trait ImageSource: Send + Sync + 'static {
    /// The image of this reference, or none when it is not here. May read files; it is called off the runtime's threads.
    ///
    /// # Errors
    /// When the reference is malformed or the store cannot be read.
    fn resolve(&self, reference: &str) -> Result<Option<ResolvedImage>, ImageLookupError>;
}

/// The image store of this host.
struct Store(ImageStore);

/// Opens the image store in the directory `root`.
pub(crate) fn open_store(root: &Path) -> Result<Arc<dyn ImageSource>, RunError> {
    let store = ImageStore::open(root);
    let store = store.map_err(|source| RunError::Images { path: root.to_owned(), source: Box::new(source) })?;
    Ok(Arc::new(Store(store)))
}

impl ImageSource for Store {
    fn resolve(&self, reference: &str) -> Result<Option<ResolvedImage>, ImageLookupError> {
        Ok(self.0.resolve(reference).map(|image| ResolvedImage {
            id: image.id.to_string(),
            erofs_path: image.erofs_path,
            entrypoint: image.config.entrypoint,
            cmd: image.config.cmd,
            env: image.config.env,
            working_dir: image.config.working_dir,
            user: image.config.user,
            stop_signal: image.config.stop_signal,
        }))
    }
}
