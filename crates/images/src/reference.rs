//! Image names, read and completed as Docker does it.

use crate::digest::{Digest, DigestError};
use std::fmt;

/// A complete image name: registry, repository, and a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("the image name is empty")]
    Empty,
    /// The repository has characters that it may not have.
    #[error("{0:?} is no repository name: use lower-case letters, digits and single separators (. _ - /)")]
    Repository(String),
    /// The registry's name is not a host name with an optional port.
    #[error("{0:?} is no registry: use a host name, with a port if need be")]
    Registry(String),
    /// The tag has characters that it may not have.
    #[error("{0:?} is no tag: use up to 128 letters, digits and . _ -")]
    Tag(String),
    /// The digest is not one.
    #[error("the image name has a bad digest")]
    Digest(#[source] DigestError),
    /// The name is longer than registries take.
    #[error("the image name has more than 255 characters")]
    TooLong,
}

const DEFAULT_REGISTRY: &str = "docker.io";
const LONGEST: usize = 255;

impl Reference {
    /// Reads a name: `busybox` is `docker.io/library/busybox:latest`.
    ///
    /// # Errors
    ///
    /// [`ReferenceError`], naming the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(Digest::parse(digest).map_err(ReferenceError::Digest)?)),
            None => (text, None),
        };
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name[last..].find(':') {
            Some(colon) => (&name[..last + colon], Some(name[last + colon + 1..].to_owned())),
            None => (name, None),
        };
        if let Some(bad) = tag.as_ref().filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag(bad.clone()));
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if is_registry_part(first) => (first, rest),
            Some(_) | None => (DEFAULT_REGISTRY, name),
        };
        let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
        if !is_host(registry) {
            return Err(ReferenceError::Registry(registry.to_owned()));
        }
        if !path.split('/').all(is_component) {
            return Err(ReferenceError::Repository(path.to_owned()));
        }
        let official = registry == DEFAULT_REGISTRY && !path.contains('/');
        let repository = if official { format!("library/{path}") } else { path.to_owned() };
        if registry.len() + 1 + repository.len() > LONGEST {
            return Err(ReferenceError::TooLong);
        }
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }

    /// The registry's host name, with its port if there is one.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name inside the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` when the text gave neither a tag nor a digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, which outranks the tag.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The name of what `digest` stands for in this repository.
    pub(crate) fn pinned(&self, digest: &Digest) -> String {
        format!("{}/{}@{digest}", self.registry, self.repository)
    }

    /// Whether both name the same repository of the same registry.
    pub(crate) fn same_repository(&self, other: &Self) -> bool {
        self.registry == other.registry && self.repository == other.repository
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Whether the part before the first slash is a registry, and not the first part of a repository.
fn is_registry_part(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|byte| byte.is_ascii_uppercase())
}

pub(crate) fn is_host(text: &str) -> bool {
    let (host, port) = match text.rfind(':').filter(|_| !text.ends_with(']')) {
        Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
        None => (text, None),
    };
    let port_fine = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fine = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    port_fine && host_fine
}

fn is_tag(tag: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=128).contains(&tag.len()) && tag.bytes().all(fine) && !tag.starts_with(['.', '-'])
}

/// Lower-case letters and digits, with one `.`, one or two `_`, or any number of `-` between them.
pub(crate) fn is_component(part: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    word(*first)
        && word(*last)
        && part
            .split(|char: char| char.is_ascii() && word(char as u8))
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_does() {
        let digest = Digest::of(b"x");
        let table = [
            ("busybox", "docker.io/library/busybox:latest".to_owned()),
            ("busybox:1.36", "docker.io/library/busybox:1.36".to_owned()),
            ("team/app", "docker.io/team/app:latest".to_owned()),
            ("docker.io/busybox", "docker.io/library/busybox:latest".to_owned()),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest".to_owned()),
            ("localhost/x:1", "localhost/x:1".to_owned()),
            ("localhost:5000/x", "localhost:5000/x:latest".to_owned()),
            ("registry.example:443/a/b/c:v1.2_3", "registry.example:443/a/b/c:v1.2_3".to_owned()),
            ("Registry/x", "Registry/x:latest".to_owned()),
            ("[::1]:5000/x", "[::1]:5000/x:latest".to_owned()),
            (&format!("busybox@{digest}"), format!("docker.io/library/busybox@{digest}")),
            (&format!("a.b/c:1@{digest}"), format!("a.b/c:1@{digest}")),
        ];
        for (text, expected) in table {
            assert_eq!(Reference::parse(text).map(|name| name.to_string()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a/".repeat(130) + "a";
        let bad =
            ["", "/", "a//b", "UPPER", "a/B", "a:", "a:-x", "a..b", "a___b", "-a", "a@sha256:1", "a b", "é", "x.y:z/a"];
        for text in bad.into_iter().chain([long.as_str()]) {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }
}
