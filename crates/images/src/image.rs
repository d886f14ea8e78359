//! An image as the rest of the system sees it.

use crate::access::Access;
use crate::digest::Digest;
use crate::manifest::RunConfig;
use crate::reference::Reference;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An image that is ready to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest of the image's configuration, which covers its layers.
    pub id: Digest,
    /// What its name stood for in its registry or archive: the digest of a manifest, or of an index of several platforms.
    pub manifest: Option<Digest>,
    /// The complete name under which it was found, such as `docker.io/library/busybox:latest`.
    pub reference: String,
    /// The read-only root file system.
    pub erofs_path: PathBuf,
    /// Size of that file in bytes.
    pub size_bytes: u64,
    /// How to run it.
    pub config: ImageConfig,
    /// Who may use it by this name.
    pub access: Access,
}

impl Image {
    /// Its name by its digest, such as `docker.io/library/busybox@sha256:...`; its id when the archive gave none.
    #[must_use]
    pub fn pinned(&self) -> String {
        match (&self.manifest, Reference::parse(&self.reference)) {
            (Some(digest), Ok(name)) => name.pinned(digest),
            (Some(_) | None, _) => self.id.to_string(),
        }
    }
}

/// How an image wants to be run. Empty means that the image says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// More arguments; the program too when there is no entry point.
    pub cmd: Vec<String>,
    /// The environment, as `NAME=value`.
    pub env: Vec<String>,
    /// The directory to start in.
    pub working_dir: String,
    /// `user`, `uid`, `user:group` or `uid:gid`.
    pub user: String,
    /// Ports that the image listens on, as `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// The signal that asks it to stop, such as `SIGQUIT`.
    pub stop_signal: Option<String>,
    /// The image's labels.
    pub labels: BTreeMap<String, String>,
}

impl From<RunConfig> for ImageConfig {
    fn from(run: RunConfig) -> Self {
        Self {
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            env: run.env.unwrap_or_default(),
            working_dir: run.working_dir.unwrap_or_default(),
            user: run.user.unwrap_or_default(),
            exposed_ports: run.exposed_ports.unwrap_or_default().into_keys().collect(),
            stop_signal: run.stop_signal.filter(|signal| !signal.is_empty()),
            labels: run.labels.unwrap_or_default(),
        }
    }
}
