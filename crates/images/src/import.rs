//! From an archive to an erofs file: read, verify, unpack layer by layer, build, publish.
//!
//! Everything happens in a staging directory of its own. What is in the store is complete: the erofs file is renamed
//! into place when it is on disk, and the name is written last.

use crate::access::Access;
use crate::archive::Archive;
use crate::contents::{self, Found, Layer};
use crate::digest::{Digest, HashingReader};
use crate::erofs::{self, BuildError};
use crate::layer::{self, LayerError, Limits};
use crate::reference::{Reference, ReferenceError};
use crate::rootfs::Rootfs;
use crate::store::{ImageStore, IndexError, Published, Staging};
use flate2::read::MultiGzDecoder;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// How far an import or a pull is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The archive's list of images, or the registry's manifest, is being read.
    Reading,
    /// Layers come from a registry.
    Downloading {
        /// What came, in bytes. What had to come again is counted again.
        bytes: u64,
        /// What is to come, in bytes.
        of: u64,
    },
    /// A layer is being verified and unpacked.
    Layer {
        /// Which one, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// The file system is being built.
    Building,
    /// The image is there.
    Done {
        /// Its name.
        reference: String,
    },
}

/// A name that now stands for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedImage {
    /// The complete name.
    pub reference: String,
    /// The image's id.
    pub id: Digest,
    /// Size of its file system in bytes.
    pub size_bytes: u64,
    /// Whether the image was there already, so that only the name was set.
    pub was_present: bool,
}

/// Why an archive was not imported, or why what came from a registry is no image. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Owners of files can be set by root alone.
    #[error("importing an image needs root, to set the owners of its files")]
    NotRoot,
    /// The archive cannot be opened.
    #[error("cannot open the image archive {}", path.display())]
    Open {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive cannot be read.
    #[error("cannot read the image")]
    Read(#[source] io::Error),
    /// The file is something else.
    #[error(
        "the file is no image archive: give one made by `docker save`, `podman save` or `skopeo copy` to oci-archive"
    )]
    UnknownFormat,
    /// The image contradicts itself.
    #[error("the image is not valid: {what}")]
    BadArchive {
        /// What is wrong.
        what: String,
    },
    /// A document of the image cannot be understood.
    #[error("cannot understand {member} of the image")]
    Json {
        /// The document.
        member: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Something does not have the digest that it should have.
    #[error("{what} of the image is damaged: it should be {expected}, it is {found}")]
    Mismatch {
        /// The member.
        what: String,
        /// The digest that was announced.
        expected: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// The image is for other machines.
    #[error("the image is for {found}; linux/amd64 is needed")]
    WrongPlatform {
        /// What it is for.
        found: String,
    },
    /// The layer is compressed in a way that is not supported.
    #[error("the layer {member} is compressed with {method}, which is not supported; save the image with gzip layers")]
    Compression {
        /// The layer.
        member: String,
        /// The method.
        method: &'static str,
    },
    /// A name, in the archive or given, is not one.
    #[error("{name:?} is no image name")]
    BadName {
        /// The text.
        name: String,
        /// Why.
        #[source]
        source: ReferenceError,
    },
    /// The archive does not say how the image is called.
    #[error("the archive does not name its image; give a name")]
    NoName,
    /// One name cannot stand for several images.
    #[error("the archive has {0} images, so a name cannot be given; import it without")]
    SeveralImages(usize),
    /// The archive has no image for this platform.
    #[error("the archive has no image for linux/amd64")]
    NoImage,
    /// A layer cannot be applied.
    #[error("cannot apply layer {number} of {of}")]
    Layer {
        /// Which one, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// The staging directory cannot be used.
    #[error("cannot use the staging directory of the image store: check permissions and free space")]
    Staging(#[source] io::Error),
    /// The file system cannot be built.
    #[error("cannot build the image's file system")]
    Build(#[source] BuildError),
    /// The store cannot take the image in.
    #[error("cannot take the image into the store")]
    Publish(#[source] IndexError),
}

/// Imports an archive into a store.
pub(crate) fn import(
    store: &ImageStore,
    path: &Path,
    name_override: Option<&str>,
    limits: Limits,
    progress: &dyn Fn(Progress),
) -> Result<Vec<ImportedImage>, ImportError> {
    if !rustix::process::geteuid().is_root() {
        return Err(ImportError::NotRoot);
    }
    progress(Progress::Reading);
    let staging = store.staging().map_err(ImportError::Staging)?;
    let opened = Archive::open(path, staging.path());
    let archive = opened.map_err(|source| ImportError::Open { path: path.to_owned(), source })?;
    let mut found = contents::images(&archive)?;
    set_names(&mut found, name_override)?;

    let mut imported = Vec::new();
    for (number, image) in found.into_iter().enumerate() {
        let built = if store.has(&image.id) {
            None
        } else {
            let room = staging.path().join(number.to_string());
            Some(build_within(&archive, &image, &room, limits, progress)?)
        };
        let names = image.names.iter().map(Reference::to_string).collect();
        let published = Published {
            id: image.id,
            manifest: image.manifest,
            config: image.config,
            names,
            access: Access::open(),
            pulled: false,
            built,
        };
        let (id, was_present) = (published.id.clone(), published.built.is_none());
        let names: Vec<String> = published.names.clone();
        let size_bytes = store.publish(published).map_err(ImportError::Publish)?;
        for reference in names {
            progress(Progress::Done { reference: reference.clone() });
            imported.push(ImportedImage { reference, id: id.clone(), size_bytes, was_present });
        }
    }
    Ok(imported)
}

fn set_names(found: &mut [Found], name_override: Option<&str>) -> Result<(), ImportError> {
    match (found.len(), name_override) {
        (0, _) => return Err(ImportError::NoImage),
        (1, Some(name)) => {
            let source = |source| ImportError::BadName { name: name.to_owned(), source };
            found[0].names = vec![Reference::parse(name).map_err(source)?];
        }
        (several, Some(_)) => return Err(ImportError::SeveralImages(several)),
        (_, None) => {}
    }
    if found.iter().any(|image| image.names.is_empty()) { Err(ImportError::NoName) } else { Ok(()) }
}

/// Where the layers of an image are read from.
pub(crate) trait Layers {
    /// The content of a layer as it is; none when it is not there.
    fn open(&self, member: &str) -> io::Result<Option<Box<dyn Read + '_>>>;
}

impl Layers for Archive {
    fn open(&self, member: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        Ok(self.reader(member).map(|reader| Box::new(reader) as Box<dyn Read>))
    }
}

/// Layers that were downloaded.
impl Layers for Staging {
    fn open(&self, member: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        match std::fs::File::open(self.path().join(member)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => Ok(Some(Box::new(opened?))),
        }
    }
}

/// Unpacks an image of at most `limit` bytes and builds its file system inside `room`, a directory that is made for it.
pub(crate) fn build(
    layers: &dyn Layers,
    image: &Found,
    room: &Path,
    limit: u64,
    progress: &dyn Fn(Progress),
) -> Result<PathBuf, ImportError> {
    let limits = Limits { bytes: limit, ..Limits::default() };
    build_within(layers, image, room, limits, progress)
}

fn build_within(
    archive: &dyn Layers,
    image: &Found,
    room: &Path,
    mut limits: Limits,
    progress: &dyn Fn(Progress),
) -> Result<PathBuf, ImportError> {
    let tree = room.join("rootfs");
    std::fs::create_dir_all(&tree).map_err(ImportError::Staging)?;
    let mut rootfs = Rootfs::new(&tree).map_err(ImportError::Staging)?;
    let of = image.layers.len();
    for (index, layer) in image.layers.iter().enumerate() {
        let number = index + 1;
        progress(Progress::Layer { number, of });
        apply_layer(archive, layer, &mut rootfs, &mut limits, (number, of))?;
    }
    rootfs.finish().map_err(ImportError::Staging)?;
    progress(Progress::Building);
    let file = room.join("rootfs.erofs");
    erofs::build(&tree, &file, &image.id).map_err(ImportError::Build)?;
    // Given back at once: an archive may have several images.
    std::fs::remove_dir_all(&tree).map_err(ImportError::Staging)?;
    Ok(file)
}

/// Applies a layer and verifies it on the way; what was unpacked of a bad one is thrown away with the staging directory.
fn apply_layer(
    archive: &dyn Layers,
    layer: &Layer,
    rootfs: &mut Rootfs,
    limits: &mut Limits,
    (number, of): (usize, usize),
) -> Result<(), ImportError> {
    let missing = || ImportError::BadArchive { what: format!("{} is missing", layer.member) };
    let reader = archive.open(&layer.member).map_err(ImportError::Read)?.ok_or_else(missing)?;
    let mut blob = BufReader::with_capacity(256 << 10, HashingReader::new(reader));
    let magic = peek(&mut blob).map_err(ImportError::Read)?;
    let content: Box<dyn Read + '_> = match magic {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(&mut blob)),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            return Err(ImportError::Compression { member: layer.member.clone(), method: "zstd" });
        }
        _ => Box::new(&mut blob),
    };
    let mut content = HashingReader::new(content);
    let applied = layer::apply(rootfs, &mut content, limits);
    applied.map_err(|source| ImportError::Layer { number, of, source })?;
    let (found, content) = content.finish().map_err(ImportError::Read)?;
    drop(content);
    check(layer, &layer.content, found)?;
    if let Some(expected) = &layer.blob {
        let (found, _) = blob.into_inner().finish().map_err(ImportError::Read)?;
        check(layer, expected, found)?;
    }
    Ok(())
}

/// The first bytes; zeros where there are none.
fn peek(reader: &mut impl io::BufRead) -> io::Result<[u8; 4]> {
    let mut magic = [0; 4];
    let buffer = reader.fill_buf()?;
    let count = buffer.len().min(magic.len());
    magic[..count].copy_from_slice(&buffer[..count]);
    Ok(magic)
}

fn check(layer: &Layer, expected: &Digest, found: Digest) -> Result<(), ImportError> {
    if found == *expected {
        return Ok(());
    }
    Err(ImportError::Mismatch { what: layer.member.clone(), expected: expected.clone(), found })
}
