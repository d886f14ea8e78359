//! What is in the store beside names: when images were used last, and the removal of those that nobody needs.

use super::{ImageStore, IndexError};
use crate::collect::{self, Candidate, Disk};
use crate::digest::Digest;
use crate::registry::CollectionSettings;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// An image that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Its id.
    pub id: Digest,
    /// The names that it had.
    pub names: Vec<String>,
    /// What its file system took, in bytes.
    pub size_bytes: u64,
}

/// What is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// What a registry would give again, by age and by how full the disk is.
    Automatic,
    /// Everything, by age.
    Asked,
}

impl ImageStore {
    /// Remembers that an image is used now. That it could not be remembered is logged.
    pub fn touch(&self, id: &Digest) {
        let touched =
            File::options().write(true).open(self.blob(id)).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!(%id, %error, "that an image is used could not be written down");
        }
    }

    /// The image whose file system is `path`.
    #[must_use]
    pub fn image_of(&self, path: &Path) -> Option<Digest> {
        let inside = path.parent() == Some(&self.erofs_directory());
        let hex = path.file_name()?.to_str()?.strip_suffix(".erofs")?;
        Digest::parse(&format!("sha256:{hex}")).ok().filter(|_| inside)
    }

    /// Removes images that are not `in_use`, by age and by how full the disk is. What was imported by hand stays: nobody
    /// would give it again. Images in use are remembered to be used now.
    ///
    /// # Errors
    ///
    /// [`IndexError`] if the store cannot be read or written.
    pub fn collect(
        &self,
        settings: &CollectionSettings,
        in_use: &BTreeSet<Digest>,
    ) -> Result<Vec<Removed>, IndexError> {
        in_use.iter().for_each(|id| self.touch(id));
        self.remove_unused(settings, in_use, Reach::Automatic)
    }

    /// Removes images that are not `in_use` and were unused for as long as `settings` allow, imported ones too.
    ///
    /// # Errors
    ///
    /// [`IndexError`] if the store cannot be read or written.
    pub fn prune(&self, settings: &CollectionSettings, in_use: &BTreeSet<Digest>) -> Result<Vec<Removed>, IndexError> {
        self.remove_unused(settings, in_use, Reach::Asked)
    }

    fn remove_unused(
        &self,
        settings: &CollectionSettings,
        in_use: &BTreeSet<Digest>,
        reach: Reach,
    ) -> Result<Vec<Removed>, IndexError> {
        let _lock = self.lock()?;
        let mut index = self.read_index()?;
        let disk = match reach {
            Reach::Automatic => Some(self.disk()?),
            Reach::Asked => None,
        };
        let mut candidates = self.stored()?;
        for candidate in &mut candidates {
            let id = candidate.id.as_str();
            let by_hand = index.images.values().any(|named| named.id == id && !named.pulled);
            candidate.in_use = in_use.contains(&candidate.id) || (by_hand && reach == Reach::Automatic);
        }
        let sizes: Vec<_> = candidates.iter().map(|candidate| (candidate.id.clone(), candidate.size_bytes)).collect();
        let mut removed = Vec::new();
        for id in collect::choose(settings, disk, candidates, SystemTime::now()) {
            let size_bytes = sizes.iter().find(|(other, _)| *other == id).map_or(0, |(_, size)| *size);
            let of_image = |(name, _): (&String, _)| name.clone();
            let names = index.images.iter().filter(|(_, named)| named.id == id.as_str()).map(of_image).collect();
            removed.push(Removed { id, names, size_bytes });
        }
        if removed.is_empty() {
            return Ok(removed);
        }
        // The names go first: whoever finds one finds the image.
        index.images.retain(|_, named| removed.iter().all(|gone| gone.id.as_str() != named.id));
        self.write_index(&mut index)?;
        for gone in &removed {
            tracing::info!(image = %gone.id, names = gone.names.join(" "), bytes = gone.size_bytes, "removing an unused image");
            self.remove_files(&gone.id)?;
        }
        Ok(removed)
    }

    /// Every image that has files, with or without a name.
    fn stored(&self) -> Result<Vec<Candidate>, IndexError> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| IndexError::File { path, source }
        };
        let directory = self.erofs_directory();
        let mut found = Vec::new();
        for entry in fs::read_dir(&directory).map_err(fail(&directory))? {
            let path = entry.map_err(fail(&directory))?.path();
            let Some(id) = self.image_of(&path) else { continue };
            let file = fs::metadata(&path).map_err(fail(&path))?;
            // One whose configuration is not there is a removal that was broken off.
            let used = fs::metadata(self.blob(&id)).and_then(|blob| blob.modified());
            let last_used = used.unwrap_or(SystemTime::UNIX_EPOCH);
            found.push(Candidate { id, size_bytes: file.len(), last_used, in_use: false });
        }
        Ok(found)
    }

    fn disk(&self) -> Result<Disk, IndexError> {
        let disk = rustix::fs::statvfs(&self.root);
        let disk = disk.map_err(|error| IndexError::File { path: self.root.clone(), source: error.into() })?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(Disk { size: bytes(disk.f_blocks), free: bytes(disk.f_bavail) })
    }

    /// Free space on the disk of the store, in bytes.
    pub(crate) fn free_bytes(&self) -> Result<u64, IndexError> {
        self.disk().map(|disk| disk.free)
    }
}
