//! Why something was not got from a registry.

use super::settings::SettingsError;
use crate::digest::Digest;
use crate::import::ImportError;
use crate::store::IndexError;
use std::io;
use std::path::PathBuf;

/// Why one thing was not got from one registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The file with the registry's authority cannot be used.
    #[error("cannot use the certificates in {}; give PEM", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry cannot be reached, or not securely.
    #[error("cannot reach {host}{}", hint(*plain))]
    Connect {
        /// Host and port.
        host: String,
        /// Whether plain HTTP was spoken.
        plain: bool,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry sends nothing.
    #[error("{host} sent nothing for {seconds} s while {doing}")]
    Idle {
        /// Host and port.
        host: String,
        /// How long it was waited.
        seconds: u64,
        /// What was waited for.
        doing: &'static str,
    },
    /// The connection broke while something came.
    #[error("the connection to {host} broke off")]
    Broken {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry wants credentials, or others.
    #[error("{host} refuses access to {repository} (401): {}", if *anonymous { "credentials are needed" } else { "the credentials are not valid" })]
    Unauthorized {
        /// Host and port.
        host: String,
        /// The repository.
        repository: String,
        /// Whether no credentials were shown.
        anonymous: bool,
    },
    /// The registry refuses access, whoever asks.
    #[error("{host} refuses access to {repository} (403){detail}")]
    Denied {
        /// Host and port.
        host: String,
        /// The repository.
        repository: String,
        /// What it says, if it says something.
        detail: String,
    },
    /// It is not there, or not for us.
    #[error("{what} is not at {host} (404){detail}")]
    NotFound {
        /// Host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// What it says, if it says something.
        detail: String,
    },
    /// The registry answers with a failure.
    #[error("{host} answers {status} for {what}{detail}")]
    Status {
        /// Host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What it says, if it says something.
        detail: String,
    },
    /// What it answers makes no sense.
    #[error("{host} does not speak the protocol of registries: {what}")]
    Protocol {
        /// Host and port.
        host: String,
        /// What is wrong.
        what: String,
    },
    /// A document is longer than is allowed.
    #[error("{what} of {host} is longer than {limit} bytes")]
    TooLong {
        /// Host and port.
        host: String,
        /// The document.
        what: &'static str,
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// It has another size than was announced.
    #[error("{what} has another size than its manifest says: {expected} bytes were announced, {found}")]
    Size {
        /// The digest.
        what: Digest,
        /// What the manifest says, in bytes.
        expected: u64,
        /// What came, for people.
        found: String,
    },
    /// It has another digest than was announced.
    #[error("{what} is damaged or false: it should be {expected}, it is {found}")]
    Mismatch {
        /// What it is.
        what: String,
        /// What was announced.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// What came cannot be written.
    #[error("cannot write {}: check the free space of the image store", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn hint(plain: bool) -> &'static str {
    if plain {
        ""
    } else {
        " over TLS; a registry without it, or with an authority of its own, is set in registries.toml"
    }
}

impl RegistryError {
    /// Whether the same may succeed a moment later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Idle { .. } | Self::Broken { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            Self::Authority { .. }
            | Self::Unauthorized { .. }
            | Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Protocol { .. }
            | Self::TooLong { .. }
            | Self::Size { .. }
            | Self::Mismatch { .. }
            | Self::Write { .. } => false,
        }
    }

    /// Whether other credentials may be told something else. Registries say "not found" of what one may not see.
    pub(super) fn depends_on_credentials(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Denied { .. } | Self::NotFound { .. })
    }
}

/// Why an image was not pulled. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The settings cannot be used.
    #[error("the settings of registries cannot be used")]
    Settings(#[source] SettingsError),
    /// The registry, and every mirror, did not give it.
    #[error("cannot pull {reference}{}", others(mirrors))]
    Registry {
        /// The image.
        reference: String,
        /// What the mirrors that were tried before said.
        mirrors: Vec<String>,
        /// Why not.
        #[source]
        source: Box<RegistryError>,
    },
    /// The image is larger than is allowed, or than the disk has room for.
    #[error("the image takes {bytes} bytes, {why}")]
    TooLarge {
        /// What its manifest announces, in bytes.
        bytes: u64,
        /// What it exceeds, and what to do.
        why: String,
    },
    /// What came is no image that can be used here.
    #[error(transparent)]
    Image(#[from] ImportError),
    /// The store cannot be read or written.
    #[error("the image store cannot take the image in")]
    Store(#[source] IndexError),
    /// The work was broken off by a fault of this program.
    #[error("unpacking was broken off")]
    Interrupted(#[source] tokio::task::JoinError),
}

fn others(mirrors: &[String]) -> String {
    if mirrors.is_empty() { String::new() } else { format!(" (mirrors before: {})", mirrors.join("; ")) }
}
