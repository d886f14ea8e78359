//! What is in an archive or a registry: images, read from an OCI image layout, a docker-archive, or manifests that came
//! from elsewhere. Nothing is unpacked here.

use crate::archive::Archive;
use crate::digest::{Digest, DigestError};
use crate::import::ImportError;
use crate::manifest::{ConfigFile, Descriptor, DockerImage, Index, Manifest, Platform};
use crate::reference::Reference;
use serde::de::DeserializeOwned;

/// The platform that is looked for.
const ARCHITECTURE: &str = "amd64";
const OS: &str = "linux";
/// Indexes inside indexes are followed so deep.
const DEPTH: usize = 4;
/// Layers of an image, at most.
const LAYERS: usize = 1000;

/// Where blobs are in a layout.
pub(crate) const BLOBS: &str = "blobs/sha256";

/// An image of an archive or a registry.
#[derive(Debug)]
pub(crate) struct Found {
    /// What the archive calls it.
    pub(crate) names: Vec<Reference>,
    /// Digest of its manifest; a docker-archive has none.
    pub(crate) manifest: Option<Digest>,
    /// Digest of its configuration, which is verified.
    pub(crate) id: Digest,
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Layer>,
}

/// A layer, bottom first.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Its name in the archive.
    pub(crate) member: String,
    /// Digest of the member as it is; a docker-archive has none.
    pub(crate) blob: Option<Digest>,
    /// Digest of the member, uncompressed.
    pub(crate) content: Digest,
}

/// Lists the images of an archive.
pub(crate) fn images(archive: &Archive) -> Result<Vec<Found>, ImportError> {
    // Newer `docker save` writes both; the layout says more.
    if archive.has("oci-layout") && archive.has("index.json") {
        let index: Index = parse("index.json", &document(archive, "index.json")?)?;
        let mut found = Vec::new();
        for descriptor in index.manifests {
            found.extend(oci_image(archive, descriptor)?);
        }
        return Ok(found);
    }
    if archive.has("manifest.json") {
        let images: Vec<DockerImage> = parse("manifest.json", &document(archive, "manifest.json")?)?;
        return images.into_iter().map(|image| docker_image(archive, image)).collect();
    }
    Err(ImportError::UnknownFormat)
}

fn oci_image(archive: &Archive, mut descriptor: Descriptor) -> Result<Option<Found>, ImportError> {
    if descriptor.platform.as_ref().is_some_and(|platform| !suits(platform)) {
        return Ok(None);
    }
    let names = descriptor_names(&descriptor)?;
    for _ in 0..DEPTH {
        let (member, digest) = blob(&descriptor.digest)?;
        let content = verified(archive, &member, &digest)?;
        descriptor = match choose(&descriptor.media_type, &content)? {
            Chosen::Manifest(manifest) => return oci_manifest(archive, names, digest, &manifest).map(Some),
            Chosen::Inner(inner) => inner,
        };
    }
    Err(ImportError::BadArchive { what: "its indexes are nested too deeply".to_owned() })
}

/// What a document turned out to be.
pub(crate) enum Chosen {
    /// The manifest of an image.
    Manifest(Manifest),
    /// An index; this of it is for our platform.
    Inner(Descriptor),
}

/// Reads a manifest, or an index and chooses from it.
pub(crate) fn choose(media_type: &str, content: &[u8]) -> Result<Chosen, ImportError> {
    if !is_index(media_type, content) {
        return parse("the manifest", content).map(Chosen::Manifest);
    }
    let index: Index = parse("the index", content)?;
    let platforms: Vec<String> = index.manifests.iter().filter_map(|inner| inner.platform.as_ref()).map(text).collect();
    let mut inner = index.manifests.into_iter();
    let suitable = inner.find(|inner| inner.platform.as_ref().is_none_or(suits));
    suitable.map(Chosen::Inner).ok_or(ImportError::WrongPlatform { found: platforms.join(", ") })
}

/// The image of a manifest whose configuration was read elsewhere, and verified.
pub(crate) fn of_manifest(
    name: Reference,
    digest: Digest,
    manifest: &Manifest,
    config: Vec<u8>,
) -> Result<Found, ImportError> {
    let (_, id) = blob(&manifest.config.digest)?;
    let layers = blobs(manifest)?;
    let layers = with_contents("the configuration", &config, layers)?;
    Ok(Found { names: vec![name], manifest: Some(digest), id, config, layers })
}

fn blobs(manifest: &Manifest) -> Result<Vec<(String, Option<Digest>)>, ImportError> {
    manifest.layers.iter().map(|layer| blob(&layer.digest).map(|(member, blob)| (member, Some(blob)))).collect()
}

fn oci_manifest(
    archive: &Archive,
    names: Vec<Reference>,
    digest: Digest,
    manifest: &Manifest,
) -> Result<Found, ImportError> {
    let (member, id) = blob(&manifest.config.digest)?;
    let config = verified(archive, &member, &id)?;
    let layers = with_contents(&member, &config, blobs(manifest)?)?;
    Ok(Found { names, manifest: Some(digest), id, config, layers })
}

fn docker_image(archive: &Archive, image: DockerImage) -> Result<Found, ImportError> {
    let config = document(archive, &image.config)?;
    let names = image.repo_tags.unwrap_or_default();
    let names = names.iter().map(|name| name_of(name)).collect::<Result<_, _>>()?;
    let layers = with_contents(&image.config, &config, image.layers.into_iter().map(|layer| (layer, None)).collect())?;
    Ok(Found { names, manifest: None, id: Digest::of(&config), config, layers })
}

/// Pairs the layers with the digests that the configuration gives for their contents.
fn with_contents(
    member: &str,
    config: &[u8],
    layers: Vec<(String, Option<Digest>)>,
) -> Result<Vec<Layer>, ImportError> {
    let config: ConfigFile = parse(member, config)?;
    let platform = Platform { architecture: config.architecture, os: config.os };
    if !suits(&platform) {
        return Err(ImportError::WrongPlatform { found: text(&platform) });
    }
    let contents = config.rootfs.diff_ids.unwrap_or_default();
    if contents.len() != layers.len() || layers.len() > LAYERS {
        let what = format!("it has {} layers, its configuration says {}", layers.len(), contents.len());
        return Err(ImportError::BadArchive { what });
    }
    let paired = layers.into_iter().zip(contents);
    paired
        .map(|((member, blob), content)| Ok(Layer { member, blob, content: digest(&content)? }))
        .collect::<Result<_, _>>()
}

/// The names that a layout's index gives: a complete one by containerd's or buildah's custom. A bare tag is none.
fn descriptor_names(descriptor: &Descriptor) -> Result<Vec<Reference>, ImportError> {
    let complete = descriptor.annotations.get("io.containerd.image.name");
    let reference = descriptor.annotations.get("org.opencontainers.image.ref.name");
    let name = complete.or(reference.filter(|name| name.contains(['/', ':'])));
    name.map(|name| name_of(name)).into_iter().collect()
}

fn name_of(text: &str) -> Result<Reference, ImportError> {
    Reference::parse(text).map_err(|source| ImportError::BadName { name: text.to_owned(), source })
}

fn is_index(media_type: &str, content: &[u8]) -> bool {
    match media_type {
        "" | "application/json" | "application/octet-stream" => serde_json::from_slice::<Index>(content).is_ok(),
        kind => kind.ends_with("image.index.v1+json") || kind.ends_with("manifest.list.v2+json"),
    }
}

fn suits(platform: &Platform) -> bool {
    platform.architecture == ARCHITECTURE && platform.os == OS
}

fn text(platform: &Platform) -> String {
    format!("{}/{}", platform.os, platform.architecture)
}

pub(crate) fn digest(text: &str) -> Result<Digest, ImportError> {
    Digest::parse(text).map_err(|error: DigestError| ImportError::BadArchive { what: error.to_string() })
}

/// A blob's digest and its place in a layout.
fn blob(text: &str) -> Result<(String, Digest), ImportError> {
    let digest = digest(text)?;
    Ok((format!("{BLOBS}/{}", digest.hex()), digest))
}

fn document(archive: &Archive, member: &str) -> Result<Vec<u8>, ImportError> {
    let content = archive.document(member).map_err(ImportError::Read)?;
    content.ok_or_else(|| ImportError::BadArchive { what: format!("{member} is missing") })
}

fn verified(archive: &Archive, member: &str, digest: &Digest) -> Result<Vec<u8>, ImportError> {
    let content = document(archive, member)?;
    let found = Digest::of(&content);
    if found != *digest {
        return Err(ImportError::Mismatch { what: member.to_owned(), expected: digest.clone(), found });
    }
    Ok(content)
}

fn parse<T: DeserializeOwned>(member: &str, content: &[u8]) -> Result<T, ImportError> {
    serde_json::from_slice(content).map_err(|source| ImportError::Json { member: member.to_owned(), source })
}
