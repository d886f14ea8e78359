//! The image that a warm machine rehearses with: the guest's init as a program of a container.

use crate::digest::Digest;
use crate::erofs::{self, BuildError};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The guest's init or the cache cannot be read or written.
    #[error("cannot use {}: check permissions and free space", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file system was not built.
    #[error("cannot build the image that warm machines rehearse with")]
    Build(#[source] BuildError),
}

/// Provides the image in the cache: an erofs with the static program `init` as `/crx-init`. Needs root, and `mkfs.erofs` unless
/// the cache has it.
///
/// # Errors
///
/// [`RehearsalError`]: says what is missing.
pub fn rehearsal(cache: &Path, init: &Path) -> Result<PathBuf, RehearsalError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RehearsalError::File { path, source }
    };
    let program = fs::read(init).map_err(failed(init))?;
    let (id, directory) = (Digest::of(&program), cache.join("rehearsals"));
    let path = directory.join(format!("{}.erofs", id.hex()));
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(&directory).map_err(failed(&directory))?;
    let work = tempfile::tempdir_in(&directory).map_err(failed(&directory))?;
    let tree = work.path().join("tree");
    // Where a container's root has its mounts.
    for part in ["dev", "etc", "proc", "sys"] {
        fs::create_dir_all(tree.join(part)).map_err(failed(&tree))?;
    }
    let copy = tree.join("crx-init");
    fs::write(&copy, &program).map_err(failed(&copy))?;
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).map_err(failed(&copy))?;
    let built = work.path().join("image");
    erofs::build(&tree, &built, &id).map_err(RehearsalError::Build)?;
    fs::rename(&built, &path).map_err(failed(&path))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_built_once_for_each_init() {
        if !rustix::process::geteuid().is_root() {
            return orrery_testing::skipped("taking rights away needs root");
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let init = directory.path().join("init");
        let cache = directory.path().join("cache");
        assert!(matches!(rehearsal(&cache, &init), Err(RehearsalError::File { .. })));
        fs::write(&init, "one").expect("write");
        let one = rehearsal(&cache, &init).expect("built");
        let made = fs::metadata(&one).and_then(|file| file.modified()).expect("it is there");
        assert_eq!(rehearsal(&cache, &init).expect("there"), one);
        assert_eq!(fs::metadata(&one).and_then(|file| file.modified()).expect("still"), made);
        fs::write(&init, "two").expect("write");
        assert_ne!(rehearsal(&cache, &init).expect("built"), one);
        assert_eq!(fs::read_dir(cache.join("rehearsals")).expect("read").count(), 2, "nothing else is left");
    }
}
