//! The guest's initial file system.

use super::cpio::Cpio;
use crate::digest::Digest;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Puts the init and the modules into an archive. The same input gives the same bytes.
pub(super) fn build(init: &[u8], modules: &Path) -> io::Result<Vec<u8>> {
    let mut archive = Cpio::default();
    for directory in ["dev", "proc", "sys", "run", "modules"] {
        archive.directory(directory, 0o755);
    }
    // The kernel opens the console for init before init can mount anything.
    archive.character_device("dev/console", 0o600, (5, 1));
    archive.character_device("dev/null", 0o666, (1, 3));
    archive.file("init", 0o755, init);
    let mut names = fs::read_dir(modules)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    for name in names {
        let content = fs::read(modules.join(&name))?;
        archive.file(&format!("modules/{}", name.to_string_lossy()), 0o644, &content);
    }
    Ok(archive.finish())
}

/// Puts the archive into the cache, unless it is there, and gives its path.
pub(super) fn keep(directory: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let path = directory.join(format!("{}.cpio", Digest::of(content).hex()));
    // A file of another size was damaged from outside: renames leave whole files only.
    if fs::metadata(&path).is_ok_and(|present| present.len() == content.len() as u64) {
        return Ok(path);
    }
    fs::create_dir_all(directory)?;
    // Readable by all: a guest's QEMU runs as a user of its own.
    let readable = fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(readable).tempfile_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(path)
}
