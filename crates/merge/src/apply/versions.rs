//! The versions of a kind.

use orrery_machinery::shape::Shape;
use serde_json::Value;

/// Converts between the versions of a kind: an entry's fields are those of the version that it was written in.
pub trait Versions {
    /// `object` in the version `to` (group and version), and the type there.
    ///
    /// # Errors
    /// When there is no such version, or the conversion fails.
    fn convert(&self, object: Value, from: &str, to: &str) -> Result<(Value, Shape), ConvertError>;
}

/// Why an object cannot be had in a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The version is not served any more: entries in it are dropped.
    #[error("no corresponding type for {0}")]
    NoSuchVersion(String),
    /// The conversion failed: the write fails.
    #[error("{0}")]
    Failed(String),
}

/// For a kind with one version only.
#[derive(Debug, Clone, Copy, Default)]
pub struct OneVersion;

impl Versions for OneVersion {
    fn convert(&self, _: Value, _: &str, to: &str) -> Result<(Value, Shape), ConvertError> {
        Err(ConvertError::NoSuchVersion(to.to_owned()))
    }
}
