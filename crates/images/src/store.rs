//! The images of this machine: a directory that several processes may use at a time.
//!
//! ```text
//! ROOT/lock                   taken while the index is changed
//! ROOT/index.json             names and what they stand for
//! ROOT/blobs/sha256/HEX       configurations of the images; their times say when the images were last used
//! ROOT/erofs/HEX.erofs        their root file systems; HEX is the image's id
//! ROOT/staging/X/             an import at work; locked by it
//! ```

use crate::access::Access;
use crate::digest::Digest;
use crate::image::{Image, ImageConfig};
use crate::import::{self, ImportError, ImportedImage, Progress};
use crate::layer::Limits;
use crate::manifest::ConfigFile;
use crate::reference::Reference;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

mod prune;

pub use prune::Removed;

/// Version of `index.json`. A higher one is refused.
const FORMAT: u32 = 2;

/// The images of this machine. Cheap to clone; all its calls block.
#[derive(Debug, Clone)]
pub struct ImageStore {
    root: PathBuf,
}

/// Why the store's directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the image store {}: check permissions and free space", path.display())]
pub struct OpenStoreError {
    /// The directory, or what in it could not be used.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Why the index could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A file of the store cannot be read or written.
    #[error("cannot use {}: check permissions and free space", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the store cannot be understood.
    #[error("{} is damaged; remove the image store's directory and import the images again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A newer version wrote the index.
    #[error("{} has format {found}, this program knows up to {FORMAT}; run the newer version", path.display())]
    Newer {
        /// The index.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The image was removed by another process just now.
    #[error("the image {0} was removed meanwhile; import it again")]
    Vanished(Digest),
}

#[derive(Debug, Serialize, Deserialize)]
struct Index {
    format: u32,
    images: BTreeMap<String, Named>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Named {
    id: String,
    /// The manifest's digest, by which a name may ask for exactly this image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    /// Who may use it by this name. Indexes from before this was kept have none that was pulled.
    #[serde(default)]
    access: Access,
    /// Whether a registry gave it, and would give it again.
    #[serde(default)]
    pulled: bool,
}

impl Index {
    /// Keeps an image whose name goes to another under its digest: machines that were made with it look for it so.
    fn keep(&mut self, name: &str, before: Named) {
        let digest = before.manifest.as_ref().and_then(|digest| Digest::parse(digest).ok());
        if let (Ok(name), Some(digest)) = (Reference::parse(name), digest) {
            self.images.entry(name.pinned(&digest)).or_insert(before);
        }
    }
}

/// What an import or a pull gives to the store.
pub(crate) struct Published {
    pub(crate) id: Digest,
    pub(crate) manifest: Option<Digest>,
    pub(crate) config: Vec<u8>,
    pub(crate) names: Vec<String>,
    /// Who may use the image by these names.
    pub(crate) access: Access,
    /// Whether a registry gave it.
    pub(crate) pulled: bool,
    /// The file system, to be moved in; none if the store was seen to have it.
    pub(crate) built: Option<PathBuf>,
}

/// A staging directory: locked, and removed in the end.
pub(crate) struct Staging {
    directory: tempfile::TempDir,
    _lock: File,
}

impl Staging {
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl ImageStore {
    /// Opens the store, making its directories, and removes what imports and pulls that were killed have left.
    ///
    /// # Errors
    ///
    /// [`OpenStoreError`] if the directory cannot be used.
    pub fn open(root: &Path) -> Result<Self, OpenStoreError> {
        let store = Self { root: root.to_owned() };
        for directory in [store.blobs(), store.erofs_directory(), store.staging_directory()] {
            fs::create_dir_all(&directory).map_err(|source| OpenStoreError { path: directory, source })?;
        }
        store.sweep().map_err(|source| OpenStoreError { path: store.staging_directory(), source })?;
        Ok(store)
    }

    /// Imports the images of an archive: an OCI image layout in a tar file, which may be gzipped, or the output of
    /// `docker save`. `name_override` replaces the name that the archive gives.
    ///
    /// # Errors
    ///
    /// [`ImportError`]; nothing of the image that failed is left behind.
    pub fn import_archive(
        &self,
        path: &Path,
        name_override: Option<&str>,
        progress: &dyn Fn(Progress),
    ) -> Result<Vec<ImportedImage>, ImportError> {
        import::import(self, path, name_override, Limits::default(), progress)
    }

    /// Finds an image by its name, completed as Docker does it (`busybox` is `docker.io/library/busybox:latest`), by
    /// the digest of its manifest (`busybox@sha256:...`), or by its id (`sha256:...`).
    ///
    /// A store that cannot be read has no images; that is logged.
    #[must_use]
    pub fn resolve(&self, reference: &str) -> Option<Image> {
        let found = self.find(reference);
        found.unwrap_or_else(|error| {
            tracing::error!(reference, %error, "cannot look for an image");
            None
        })
    }

    /// All images, one for each name.
    ///
    /// # Errors
    ///
    /// [`IndexError`] if the store cannot be read.
    pub fn list(&self) -> Result<Vec<Image>, IndexError> {
        self.read_index()?.images.iter().map(|(name, named)| self.image(name, named)).collect()
    }

    /// Takes a name away, and the image too when it was its last name. A machine that has the image's file open keeps
    /// it. Gives whether the name was there.
    ///
    /// # Errors
    ///
    /// [`IndexError`] if the store cannot be read or written.
    pub fn remove(&self, reference: &str) -> Result<bool, IndexError> {
        let Ok(reference) = Reference::parse(reference) else { return Ok(false) };
        let _lock = self.lock()?;
        let mut index = self.read_index()?;
        let Some(named) = index.images.remove(&reference.to_string()) else { return Ok(false) };
        self.write_index(&mut index)?;
        if let (false, Ok(id)) = (index.images.values().any(|other| other.id == named.id), Digest::parse(&named.id)) {
            self.remove_files(&id)?;
        }
        Ok(true)
    }

    fn remove_files(&self, id: &Digest) -> Result<(), IndexError> {
        for file in [self.erofs(id), self.blob(id)] {
            match fs::remove_file(&file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|source| IndexError::File { path: file, source })?,
            }
        }
        Ok(())
    }

    fn find(&self, text: &str) -> Result<Option<Image>, IndexError> {
        let index = self.read_index()?;
        let entry = |wanted: &dyn Fn(&str, &Named) -> bool| {
            index.images.iter().find(|(name, named)| wanted(name, named)).map(|(name, named)| self.image(name, named))
        };
        if let Ok(id) = Digest::parse(text) {
            return entry(&|_, named| named.id == id.as_str()).transpose();
        }
        let Ok(reference) = Reference::parse(text) else { return Ok(None) };
        let Some(digest) = reference.digest() else {
            let name = reference.to_string();
            return index.images.get(&name).map(|named| self.image(&name, named)).transpose();
        };
        let same = |name: &str| Reference::parse(name).is_ok_and(|name| name.same_repository(&reference));
        entry(&|name, named| named.manifest.as_deref() == Some(digest.as_str()) && same(name)).transpose()
    }

    fn image(&self, name: &str, named: &Named) -> Result<Image, IndexError> {
        let damaged = |path: PathBuf| move |source| IndexError::Damaged { path, source };
        let digest = |text: &String| {
            Digest::parse(text).map_err(|error| damaged(self.index_file())(serde::de::Error::custom(error)))
        };
        let (id, manifest) = (digest(&named.id)?, named.manifest.as_ref().map(digest).transpose()?);
        let (blob, erofs_path) = (self.blob(&id), self.erofs(&id));
        let config = read(&blob)?;
        let config: ConfigFile = serde_json::from_slice(&config).map_err(damaged(blob))?;
        let size = fs::metadata(&erofs_path);
        let size_bytes = size.map_err(|source| IndexError::File { path: erofs_path.clone(), source })?.len();
        let config = ImageConfig::from(config.config.unwrap_or_default());
        let (reference, access) = (name.to_owned(), named.access.clone());
        Ok(Image { id, manifest, reference, erofs_path, size_bytes, config, access })
    }

    /// Whether the file system of an image is there.
    pub(crate) fn has(&self, id: &Digest) -> bool {
        self.erofs(id).exists() && self.blob(id).exists()
    }

    /// Whether the layers of an image need not come for `reference`: it is here, and everybody may use it or the same
    /// repository gave it. Else a registry could call another's image its own by naming its configuration.
    pub(crate) fn vouches(&self, id: &Digest, reference: &Reference) -> bool {
        let same = |name: &str| Reference::parse(name).is_ok_and(|name| name.same_repository(reference));
        let fits =
            |(name, named): (&String, &Named)| named.id == id.as_str() && (named.access.allows(&[]) || same(name));
        self.has(id) && self.read_index().is_ok_and(|index| index.images.iter().any(fits))
    }

    /// Takes an image in and gives the size of its file system in bytes.
    pub(crate) fn publish(&self, published: Published) -> Result<u64, IndexError> {
        let _lock = self.lock()?;
        let (erofs, blob) = (self.erofs(&published.id), self.blob(&published.id));
        match &published.built {
            Some(built) => {
                write_durably(&blob, &published.config)?;
                let moved = fs::rename(built, &erofs).and_then(|()| sync_directory(&self.erofs_directory()));
                moved.map_err(|source| IndexError::File { path: erofs.clone(), source })?;
            }
            None if !self.has(&published.id) => return Err(IndexError::Vanished(published.id)),
            None => {}
        }
        let mut index = self.read_index()?;
        let manifest = published.manifest.map(|manifest| manifest.to_string());
        let id = published.id.to_string();
        for name in published.names {
            let mut access = published.access.clone();
            match index.images.remove(&name) {
                Some(before) if before.id == id => access.join(before.access),
                // Who could see that one has not shown that they may see this.
                Some(before) => index.keep(&name, before),
                None => {}
            }
            let pulled = published.pulled;
            index.images.insert(name, Named { id: id.clone(), manifest: manifest.clone(), access, pulled });
        }
        self.write_index(&mut index)?;
        let size = fs::metadata(&erofs).map_err(|source| IndexError::File { path: erofs, source })?;
        Ok(size.len())
    }

    /// Makes a staging directory.
    pub(crate) fn staging(&self) -> io::Result<Staging> {
        // Under the lock, so that a sweep cannot see the directory before it is locked.
        let _lock = self.lock_file()?;
        let directory = tempfile::Builder::new().prefix("import-").tempdir_in(self.staging_directory())?;
        let lock = File::open(directory.path())?;
        lock.lock()?;
        Ok(Staging { directory, _lock: lock })
    }

    /// Removes staging directories that nobody holds.
    fn sweep(&self) -> io::Result<()> {
        let _lock = self.lock_file()?;
        for entry in fs::read_dir(self.staging_directory())? {
            let path = entry?.path();
            if File::open(&path)?.try_lock().is_ok() {
                tracing::info!(path = %path.display(), "removing what an interrupted import left");
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }

    fn read_index(&self) -> Result<Index, IndexError> {
        let path = self.index_file();
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Index { format: FORMAT, images: BTreeMap::new() });
            }
            Err(source) => return Err(IndexError::File { path, source }),
        };
        let index: Index =
            serde_json::from_slice(&content).map_err(|source| IndexError::Damaged { path: path.clone(), source })?;
        if index.format > FORMAT { Err(IndexError::Newer { path, found: index.format }) } else { Ok(index) }
    }

    fn write_index(&self, index: &mut Index) -> Result<(), IndexError> {
        index.format = FORMAT;
        let content = serde_json::to_vec_pretty(index).expect("an index of strings can be written");
        write_durably(&self.index_file(), &content)
    }

    fn lock_file(&self) -> io::Result<File> {
        let file = File::options().write(true).create(true).truncate(false).open(self.root.join("lock"))?;
        file.lock()?;
        Ok(file)
    }

    fn lock(&self) -> Result<File, IndexError> {
        self.lock_file().map_err(|source| IndexError::File { path: self.root.join("lock"), source })
    }

    fn index_file(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    fn blob(&self, id: &Digest) -> PathBuf {
        self.blobs().join(id.hex())
    }

    fn erofs_directory(&self) -> PathBuf {
        self.root.join("erofs")
    }

    fn erofs(&self, id: &Digest) -> PathBuf {
        self.erofs_directory().join(format!("{}.erofs", id.hex()))
    }

    fn staging_directory(&self) -> PathBuf {
        self.root.join("staging")
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IndexError> {
    fs::read(path).map_err(|source| IndexError::File { path: path.to_owned(), source })
}

/// Replaces a file as a whole: whoever reads it, even after a crash, sees the old content or the new one.
fn write_durably(path: &Path, content: &[u8]) -> Result<(), IndexError> {
    let directory = path.parent().expect("files of the store are in a directory");
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_directory(directory)
    };
    write().map_err(|source: io::Error| IndexError::File { path: path.to_owned(), source })
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
