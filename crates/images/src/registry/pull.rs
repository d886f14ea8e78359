//! Pulls one image: manifest, configuration, layers, and into the store.

use super::blob::{self, Wanted};
use super::error::{PullError, RegistryError};
use super::keyring::{Credential, Keyring};
use super::session::{Answer, Session};
use super::settings::Settings;
use super::transport::{Origin, Transport};
use crate::access::Access;
use crate::contents::{self, Chosen, Found};
use crate::digest::Digest;
use crate::import::{self, ImportError, Progress};
use crate::manifest::{Descriptor, Manifest};
use crate::reference::Reference;
use crate::store::{ImageStore, Published, Staging};
use futures::{StreamExt as _, TryStreamExt as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Manifests and configurations may be so long, in bytes.
const DOCUMENT_BYTES: usize = 8 << 20;
/// Indexes inside indexes are followed so deep.
const DEPTH: usize = 4;
/// Layers of one image that come at a time.
const PARALLEL_LAYERS: usize = 3;
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
const DIGEST_HEADER: &str = "docker-content-digest";

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledImage {
    /// The complete name.
    pub reference: String,
    /// The image's id.
    pub id: Digest,
    /// The digest that the name stands for: the manifest's, or that of an index of several platforms.
    pub digest: Digest,
    /// Size of its file system in bytes.
    pub size_bytes: u64,
    /// Bytes that came from the registry.
    pub downloaded_bytes: u64,
    /// Whether the image was there already, so that no layers came.
    pub was_present: bool,
}

/// A manifest that was found, and where.
struct Resolved<'a> {
    session: Session<'a>,
    access: Access,
    /// What the name stands for.
    digest: Digest,
    manifest: Manifest,
}

/// Pulls the linux/amd64 image `reference` into `store`, with what `keyring` has for it and what is set for its registry.
///
/// # Errors
///
/// [`PullError`]; nothing of the image is left behind. Dropping the future leaves nothing behind either, but for an
/// unpacking that has begun, which ends by itself.
pub async fn pull(
    store: &ImageStore,
    settings: &Settings,
    reference: &Reference,
    keyring: &Keyring,
    progress: Arc<dyn Fn(Progress) + Send + Sync>,
) -> Result<PulledImage, PullError> {
    if !rustix::process::geteuid().is_root() {
        return Err(ImportError::NotRoot.into());
    }
    progress(Progress::Reading);
    let transport = Transport::new(settings.clone());
    let resolved = resolve(&transport, settings, reference, keyring).await?;
    let fail = |source| PullError::Registry {
        reference: reference.to_string(),
        mirrors: Vec::new(),
        source: Box::new(source),
    };
    let (wanted, layers) = wanted(&resolved.manifest)?;
    let of_config = format!("blobs/{}", wanted.digest);
    let config = document(&resolved.session, &of_config, "the configuration").await.map_err(fail)?;
    verify("the configuration", &config, &wanted).map_err(fail)?;
    let found = contents::of_manifest(reference.clone(), resolved.digest.clone(), &resolved.manifest, config)?;
    let mut pulled = PulledImage {
        reference: reference.to_string(),
        id: found.id.clone(),
        digest: resolved.digest.clone(),
        size_bytes: 0,
        downloaded_bytes: wanted.size,
        was_present: store.vouches(&found.id, reference),
    };
    let staging = if pulled.was_present {
        None
    } else {
        let total = check_size(store, settings, &layers)?;
        let staging = store.staging().map_err(ImportError::Staging)?;
        let came = layers_into(&staging, &resolved.session, &layers, total, &*progress).await.map_err(fail)?;
        pulled.downloaded_bytes += came;
        Some(staging)
    };
    let (store, access, limit) = (store.clone(), resolved.access, settings.max_image_bytes);
    let unpacked = tokio::task::spawn_blocking(move || unpack(&store, found, access, staging, limit, &*progress));
    pulled.size_bytes = unpacked.await.map_err(PullError::Interrupted)??;
    Ok(pulled)
}

/// Where an image is looked for, as registry and repository: mirrors first.
fn places(settings: &Settings, reference: &Reference) -> Vec<(String, String)> {
    let registry = settings.registry(reference.registry());
    let mirrors = registry.mirrors.into_iter().map(|m| (m.host, format!("{}{}", m.prefix, reference.repository())));
    mirrors.chain([(reference.registry().to_owned(), reference.repository().to_owned())]).collect()
}

/// What stands for the credentials of `keyring` that fit an image: with one of them it may have been pulled before.
#[must_use]
pub fn fingerprints(settings: &Settings, reference: &Reference, keyring: &Keyring) -> Vec<Digest> {
    let mut found = Vec::new();
    for (host, repository) in places(settings, reference) {
        found.extend(keyring.lookup(&host, &repository).iter().map(|credential| credential.fingerprint(&host)));
    }
    found
}

/// Asks the mirrors and then the registry, with each credential that fits, for the manifest.
async fn resolve<'a>(
    transport: &'a Transport,
    settings: &Settings,
    reference: &Reference,
    keyring: &Keyring,
) -> Result<Resolved<'a>, PullError> {
    let mut said: Vec<(String, RegistryError)> = Vec::new();
    for (host, repository) in places(settings, reference) {
        let own = keyring.lookup(&host, &repository);
        let of_pod = own.into_iter().map(|credential| {
            let access = Access::with(&credential.fingerprint(&host));
            (Some(credential), access)
        });
        let mut tries: Vec<(Option<Credential>, Access)> = of_pod.collect();
        tries.extend(settings.registry(&host).credential.map(|credential| (Some(credential), Access::open())));
        if tries.is_empty() {
            tries.push((None, Access::open()));
        }
        let origin = transport.origin(&host);
        let mut last = None;
        for (credential, access) in tries {
            let session = Session::new(transport, origin.clone(), repository.clone(), credential);
            match manifest(&session, reference).await {
                Ok(Ok((digest, manifest))) => return Ok(Resolved { session, access, digest, manifest }),
                Ok(Err(error)) => return Err(error.into()),
                Err(error) => {
                    let others = error.depends_on_credentials();
                    last = Some(error);
                    if !others {
                        break;
                    }
                }
            }
        }
        said.extend(last.map(|error| (host, error)));
    }
    let (_, source) = said.pop().expect("the registry itself is always asked");
    let mirrors = said.into_iter().map(|(_, error)| error.to_string()).collect();
    Err(PullError::Registry { reference: reference.to_string(), mirrors, source: Box::new(source) })
}

/// The manifest for this platform, and the digest that the name stands for.
async fn manifest(
    session: &Session<'_>,
    reference: &Reference,
) -> Result<Result<(Digest, Manifest), ImportError>, RegistryError> {
    let asked = reference.digest().map(Digest::as_str).or(reference.tag()).unwrap_or("latest");
    let path = format!("manifests/{asked}");
    let Answer { origin, response } = session.get(&path, ACCEPT, 0).await?;
    let announced = response.headers().get(DIGEST_HEADER).and_then(|value| Digest::parse(value.to_str().ok()?).ok());
    let kind = response.headers().get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_owned()).unwrap_or_default();
    let mut content = read(session, &origin, response, "the manifest").await?;
    let digest = Digest::of(&content);
    if let Some(expected) = reference.digest().cloned().or(announced).filter(|expected| *expected != digest) {
        return Err(RegistryError::Mismatch { what: path, expected, found: digest });
    }
    let mut kind = kind;
    for _ in 0..DEPTH {
        let descriptor = match contents::choose(&kind, &content) {
            Ok(Chosen::Manifest(manifest)) => return Ok(Ok((digest, manifest))),
            Ok(Chosen::Inner(descriptor)) => descriptor,
            Err(error) => return Ok(Err(error)),
        };
        let wanted = match wanted_of(&descriptor) {
            Ok(wanted) => wanted,
            Err(error) => return Ok(Err(error)),
        };
        content = document(session, &format!("manifests/{}", wanted.digest), "the manifest").await?;
        verify("the manifest", &content, &wanted)?;
        kind.clone_from(&descriptor.media_type);
    }
    Ok(Err(ImportError::BadArchive { what: "its indexes are nested too deeply".to_owned() }))
}

async fn document(session: &Session<'_>, path: &str, what: &'static str) -> Result<Vec<u8>, RegistryError> {
    let accept = if path.starts_with("manifests/") { ACCEPT } else { "*/*" };
    let Answer { origin, response } = session.get(path, accept, 0).await?;
    read(session, &origin, response, what).await
}

async fn read(
    session: &Session<'_>,
    origin: &Origin,
    response: http::Response<hyper::body::Incoming>,
    what: &'static str,
) -> Result<Vec<u8>, RegistryError> {
    session.transport.document(origin, response.into_body(), what, DOCUMENT_BYTES).await
}

fn verify(what: &str, content: &[u8], wanted: &Wanted) -> Result<(), RegistryError> {
    if content.len() as u64 != wanted.size {
        let found = format!("{} came", content.len());
        return Err(RegistryError::Size { what: wanted.digest.clone(), expected: wanted.size, found });
    }
    let found = Digest::of(content);
    if found == wanted.digest {
        return Ok(());
    }
    Err(RegistryError::Mismatch { what: what.to_owned(), expected: wanted.digest.clone(), found })
}

/// What a manifest names: the configuration, and each layer once.
fn wanted(manifest: &Manifest) -> Result<(Wanted, Vec<Wanted>), ImportError> {
    let mut layers = BTreeMap::new();
    for layer in &manifest.layers {
        let wanted = wanted_of(layer)?;
        layers.insert(wanted.digest.clone(), wanted);
    }
    Ok((wanted_of(&manifest.config)?, layers.into_values().collect()))
}

fn wanted_of(descriptor: &Descriptor) -> Result<Wanted, ImportError> {
    let digest = contents::digest(&descriptor.digest)?;
    let no_size = || ImportError::BadArchive { what: format!("{digest} has no size") };
    let size = descriptor.size.ok_or_else(no_size)?;
    Ok(Wanted { digest, size })
}

/// The size of all layers, which must be allowed and fit on the disk.
fn check_size(store: &ImageStore, settings: &Settings, layers: &[Wanted]) -> Result<u64, PullError> {
    let bytes = layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
    let limit = settings.max_image_bytes;
    if bytes > limit {
        let why = format!("and {limit} are allowed: see max_image_gib in registries.toml");
        return Err(PullError::TooLarge { bytes, why });
    }
    let free = store.free_bytes().map_err(PullError::Store)?;
    if bytes > free {
        let why = format!("and the disk of the image store has {free} free: remove images with orrery image prune");
        return Err(PullError::TooLarge { bytes, why });
    }
    Ok(bytes)
}

/// Gets layers into the staging directory and gives how many bytes came.
async fn layers_into(
    staging: &Staging,
    session: &Session<'_>,
    layers: &[Wanted],
    total: u64,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<u64, RegistryError> {
    let directory = staging.path().join(contents::BLOBS);
    let made = tokio::fs::create_dir_all(&directory).await;
    made.map_err(|source| RegistryError::Write { path: directory.clone(), source })?;
    let came = AtomicU64::new(0);
    let count = |bytes| {
        let done = came.fetch_add(bytes, Ordering::Relaxed) + bytes;
        progress(Progress::Downloading { bytes: done, of: total });
    };
    let downloads = layers.iter().cloned().map(|layer| {
        let (path, count) = (directory.join(layer.digest.hex()), &count);
        async move { blob::download(session, &layer, &path, count).await }
    });
    futures::stream::iter(downloads).buffer_unordered(PARALLEL_LAYERS).try_collect::<()>().await?;
    Ok(came.into_inner())
}

fn unpack(
    store: &ImageStore,
    found: Found,
    access: Access,
    staging: Option<Staging>,
    limit: u64,
    progress: &dyn Fn(Progress),
) -> Result<u64, PullError> {
    let built = match &staging {
        Some(staging) => Some(import::build(staging, &found, &staging.path().join("room"), limit, progress)?),
        None => None,
    };
    let names = found.names.iter().map(Reference::to_string).collect();
    let published =
        Published { id: found.id, manifest: found.manifest, config: found.config, names, access, pulled: true, built };
    let size = store.publish(published).map_err(PullError::Store);
    // What was downloaded goes once the file is in the store, or will not be.
    drop(staging);
    size
}
