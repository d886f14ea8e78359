//! The volumes of a pod: what kinds there are, and what their files hold.
//!
//! A volume is either an empty directory or a set of files that is put together from ConfigMaps, Secrets, fields of the pod and
//! tokens of its service account ([`files`]). Everything else is not built and refused before ([`crate::pod::Unsupported`]).

mod files;

pub use files::{File, FileError, Known, resolve};

use crate::env::Source;
use orrery_api::k8s::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, KeyToPath, PodSpec, ProjectedVolumeSource, SecretVolumeSource, Volume,
};
use orrery_api::units::{Bytes, InvalidQuantity};
use std::collections::BTreeSet;

/// Permission bits of files whose volume says nothing.
const DEFAULT_MODE: u32 = 0o644;
/// How long a token is good for when the volume does not say, in seconds.
const DEFAULT_TOKEN_SECONDS: i64 = 3600;

/// A volume of a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeView {
    /// Its name, unique in the pod.
    pub name: String,
    /// What it is.
    pub kind: VolumeKind,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq)]
pub enum VolumeKind {
    /// An empty directory.
    EmptyDir {
        /// Whether it lies in memory.
        memory: bool,
        /// The most that it may hold.
        limit: Option<Bytes>,
    },
    /// Files that containers may only read.
    Files {
        /// Permission bits of those that say nothing.
        mode: u32,
        /// Where they come from; of files with the same path the last one counts.
        parts: Vec<Part>,
    },
}

/// Where some of a volume's files come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Keys of a ConfigMap or a Secret.
    Object {
        /// Which.
        source: Source,
        /// Which of its keys, and where; all of them by their names when there are none.
        items: Vec<KeyToPath>,
        /// Whether it may be missing.
        optional: bool,
    },
    /// Fields of the pod.
    Downward(Vec<DownwardAPIVolumeFile>),
    /// A token of the pod's service account.
    Token {
        /// What the token is.
        token: TokenAsk,
        /// The file's path.
        path: String,
    },
}

/// A token of the pod's service account, as a volume asks for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenAsk {
    /// Who is to accept it; the API server when there is none.
    pub audience: Option<String>,
    /// How long it is to be good for, in seconds.
    pub expiration_seconds: i64,
}

impl VolumeView {
    /// Everything outside of the pod that its files are made from.
    #[must_use]
    pub fn sources(&self) -> BTreeSet<&Source> {
        self.parts()
            .iter()
            .filter_map(|part| if let Part::Object { source, .. } = part { Some(source) } else { None })
            .collect()
    }

    /// The tokens that it holds.
    #[must_use]
    pub fn tokens(&self) -> BTreeSet<&TokenAsk> {
        self.parts()
            .iter()
            .filter_map(|part| if let Part::Token { token, .. } = part { Some(token) } else { None })
            .collect()
    }

    fn parts(&self) -> &[Part] {
        match &self.kind {
            VolumeKind::EmptyDir { .. } => &[],
            VolumeKind::Files { parts, .. } => parts,
        }
    }
}

/// The volumes of `spec` that are built, by an order of their own.
///
/// # Errors
/// When a limit is not a quantity.
pub(crate) fn project(spec: &PodSpec) -> Result<Vec<VolumeView>, InvalidQuantity> {
    let volumes = spec.volumes.iter().flatten();
    let mut views = Vec::new();
    for volume in volumes {
        if let Some(kind) = kind(volume)? {
            views.push(VolumeView { name: volume.name.clone(), kind });
        }
    }
    Ok(views)
}

/// Whether volumes of this kind are built.
pub(crate) fn is_built(volume: &Volume) -> bool {
    // A limit that is no quantity is told elsewhere.
    kind(volume).is_ok_and(|kind| kind.is_some())
}

fn kind(volume: &Volume) -> Result<Option<VolumeKind>, InvalidQuantity> {
    if let Some(empty) = &volume.empty_dir {
        let memory = match empty.medium.as_deref() {
            None | Some("") => false,
            Some("Memory") => true,
            Some(_) => return Ok(None),
        };
        let limit = empty.size_limit.as_ref().map(|limit| Bytes::from_quantity(&limit.0)).transpose()?;
        return Ok(Some(VolumeKind::EmptyDir { memory, limit: limit.filter(|limit| limit.0 > 0) }));
    }
    let files = |mode: Option<i32>, parts| Some(VolumeKind::Files { mode: bits(mode).unwrap_or(DEFAULT_MODE), parts });
    if let Some(ConfigMapVolumeSource { default_mode, items, name, optional }) = &volume.config_map {
        let part = object(Source::ConfigMap(name.clone()), items.as_deref(), *optional);
        return Ok(files(*default_mode, vec![part]));
    }
    if let Some(SecretVolumeSource { default_mode, items, secret_name, optional }) = &volume.secret {
        let part = object(Source::Secret(secret_name.clone().unwrap_or_default()), items.as_deref(), *optional);
        return Ok(files(*default_mode, vec![part]));
    }
    if let Some(downward) = &volume.downward_api {
        let part = Part::Downward(downward.items.clone().unwrap_or_default());
        return Ok(files(downward.default_mode, vec![part]));
    }
    let projected = volume.projected.as_ref();
    Ok(projected.and_then(|projected| files(projected.default_mode, parts(projected)?)))
}

/// The parts of a projected volume; none when one of them is not built.
fn parts(projected: &ProjectedVolumeSource) -> Option<Vec<Part>> {
    let parts = projected.sources.iter().flatten().map(|source| {
        if let Some(map) = &source.config_map {
            return Some(object(Source::ConfigMap(map.name.clone()), map.items.as_deref(), map.optional));
        }
        if let Some(secret) = &source.secret {
            return Some(object(Source::Secret(secret.name.clone()), secret.items.as_deref(), secret.optional));
        }
        if let Some(downward) = &source.downward_api {
            return Some(Part::Downward(downward.items.clone().unwrap_or_default()));
        }
        let token = source.service_account_token.as_ref()?;
        let ask = TokenAsk {
            audience: token.audience.clone().filter(|audience| !audience.is_empty()),
            expiration_seconds: token.expiration_seconds.unwrap_or(DEFAULT_TOKEN_SECONDS),
        };
        Some(Part::Token { token: ask, path: token.path.clone() })
    });
    parts.collect()
}

fn object(source: Source, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Part {
    Part::Object { source, items: items.unwrap_or_default().to_vec(), optional: optional == Some(true) }
}

fn bits(mode: Option<i32>) -> Option<u32> {
    mode.and_then(|mode| u32::try_from(mode).ok())
}
