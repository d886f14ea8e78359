//! Applies one layer, an archive of changes, to a directory.

use crate::rootfs::{Attributes, InnerPath, Rootfs};
use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Read};
use std::rc::Rc;
use tar::{Archive, Entry, EntryType};

/// What an image may take, unpacked. Bounds what a hostile or broken archive can do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of all files of all layers.
    pub(crate) bytes: u64,
    /// Entries of all layers.
    pub(crate) entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 4_000_000 }
    }
}

/// Headers of one entry (long names, attributes) may take so many bytes.
const HEADER_BYTES: u64 = 2 << 20;

/// Why a layer could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive cannot be read.
    #[error("cannot read the layer")]
    Read(#[source] io::Error),
    /// An entry is not acceptable.
    #[error("the layer's entry {path:?} is refused: {reason}")]
    Refused {
        /// The entry's path, as the archive has it.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry cannot be created.
    #[error("cannot create {path}")]
    Create {
        /// The path inside the image.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The image is larger than is allowed.
    #[error("the image is too large: more than {bytes} bytes or {entries} entries")]
    TooLarge {
        /// The bound on bytes.
        bytes: u64,
        /// The bound on entries.
        entries: u64,
    },
}

/// Applies a layer. `limits` is what the image may still take, and is lowered by what the layer took.
pub(crate) fn apply(rootfs: &mut Rootfs, layer: impl Read, limits: &mut Limits) -> Result<(), LayerError> {
    let bound = *limits;
    let allowance = Rc::new(Cell::new(HEADER_BYTES));
    let mut archive = Archive::new(Metered { inner: layer, allowance: Rc::clone(&allowance) });
    let mut entries = archive.entries().map_err(LayerError::Read)?;
    let mut made = HashSet::new();
    loop {
        allowance.set(HEADER_BYTES);
        let Some(entry) = entries.next() else { return Ok(()) };
        let mut entry = entry.map_err(LayerError::Read)?;
        let too_large = LayerError::TooLarge { bytes: bound.bytes, entries: bound.entries };
        let (Some(bytes), Some(count)) = (limits.bytes.checked_sub(entry.size()), limits.entries.checked_sub(1)) else {
            return Err(too_large);
        };
        *limits = Limits { bytes, entries: count };
        allowance.set(entry.size().saturating_add(HEADER_BYTES));
        apply_entry(rootfs, &mut entry, &mut made)?;
        // Skipped content is read here, where it is within the allowance.
        io::copy(&mut entry, &mut io::sink()).map_err(LayerError::Read)?;
    }
}

fn apply_entry<R: Read>(
    rootfs: &mut Rootfs,
    entry: &mut Entry<'_, R>,
    made: &mut HashSet<InnerPath>,
) -> Result<(), LayerError> {
    let raw = entry.path_bytes().into_owned();
    let refused = |reason| LayerError::Refused { path: String::from_utf8_lossy(&raw).into_owned(), reason };
    let kind = entry.header().entry_type();
    if kind == EntryType::XGlobalHeader {
        return Ok(());
    }
    let path = InnerPath::parse(&raw).ok_or_else(|| refused("it leads out of the image"))?;
    let create = |source| LayerError::Create { path: path.to_string(), source };
    if let Some((parent, name)) = path.split()
        && let Some(hidden) = name.strip_prefix(b".wh.")
    {
        return match hidden {
            b".wh..opq" => rootfs.empty(&parent, made).map_err(create),
            // Other files of the union file system that invented these names.
            _ if hidden.starts_with(b".wh.") => Ok(()),
            b"" | b"." | b".." => Err(refused("it hides nothing that can have a name")),
            _ => rootfs.white_out(&parent.join(hidden), made).map_err(create),
        };
    }
    let attributes = attributes(entry).map_err(|bad| match bad {
        Bad::Header(source) => LayerError::Read(source),
        Bad::Value(reason) => refused(reason),
    })?;
    match kind {
        EntryType::Directory => rootfs.directory(&path, &attributes, made).map_err(create),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            rootfs.file(&path, &attributes, made, |file| io::copy(entry, file).map(|_| ())).map_err(create)
        }
        EntryType::Symlink => {
            let target = entry.link_name_bytes().ok_or_else(|| refused("the link has no target"))?;
            rootfs.symlink(&path, &target, &attributes, made).map_err(create)
        }
        EntryType::Link => {
            let target = entry.link_name_bytes().ok_or_else(|| refused("the link has no target"))?;
            let target = InnerPath::parse(&target).ok_or_else(|| refused("its target leads out of the image"))?;
            rootfs.hard_link(&path, &target, made).map_err(create)
        }
        EntryType::Block | EntryType::Char | EntryType::Fifo => {
            tracing::debug!(%path, ?kind, "device node or pipe of an image left out");
            Ok(())
        }
        _ => Err(refused("its kind is not known")),
    }
}

enum Bad {
    Header(io::Error),
    Value(&'static str),
}

fn attributes<R: Read>(entry: &mut Entry<'_, R>) -> Result<Attributes, Bad> {
    let id = |number: io::Result<u64>| {
        let number = number.map_err(Bad::Header)?;
        // The highest number means "leave as it is" to the kernel.
        u32::try_from(number).ok().filter(|id| *id != u32::MAX).ok_or(Bad::Value("its owner's number is too high"))
    };
    let header = entry.header();
    let mode = header.mode().map_err(Bad::Header)?;
    let (uid, gid) = (id(header.uid())?, id(header.gid())?);
    let mtime = i64::try_from(header.mtime().map_err(Bad::Header)?).unwrap_or(0);
    let mut xattrs = Vec::new();
    for extension in entry.pax_extensions().map_err(Bad::Header)?.into_iter().flatten() {
        let extension = extension.map_err(Bad::Header)?;
        let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix("SCHILY.xattr.")) else { continue };
        // Others belong to the machine that the image was built on.
        if name == "security.capability" || name.starts_with("user.") {
            xattrs.push((name.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    Ok(Attributes { mode, uid, gid, mtime, xattrs })
}

/// Lets only so many bytes through, so that headers cannot fill the memory.
struct Metered<R> {
    inner: R,
    allowance: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.allowance.get();
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the headers of an entry are too long"));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        self.allowance.set(left - count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, Header};

    fn header(kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_path("entry").expect("a short path");
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        header
    }

    /// Applies a layer to a new directory, which needs no root as long as the layer has no entries to create.
    fn apply_to_new(layer: &[u8], mut limits: Limits) -> Result<(), LayerError> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        apply(&mut Rootfs::new(directory.path()).expect("open"), layer, &mut limits)
    }

    #[test]
    fn an_image_may_not_take_more_than_its_limits() {
        let mut layer = Builder::new(Vec::new());
        for _ in 0..3 {
            layer.append(&header(EntryType::Fifo, 600), &[0; 600][..]).expect("memory takes it");
        }
        let layer = layer.into_inner().expect("memory takes it");
        let limits = [(1800, 3, true), (1799, 3, false), (1800, 2, false)];
        for (bytes, entries, fits) in limits {
            let outcome = apply_to_new(&layer, Limits { bytes, entries });
            assert_eq!(outcome.is_ok(), fits, "{outcome:?}");
            assert!(fits || matches!(outcome, Err(LayerError::TooLarge { .. })));
        }
    }

    #[test]
    fn headers_cannot_fill_the_memory() {
        // A long name that is announced with 1 TiB, and goes on and on.
        let start = header(EntryType::GNULongName, 1 << 40);
        let endless = start.as_bytes().chain(io::repeat(b'a'));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut rootfs = Rootfs::new(directory.path()).expect("open");
        let outcome = apply(&mut rootfs, endless, &mut Limits::default());
        assert!(matches!(outcome, Err(LayerError::Read(_))), "{outcome:?}");
    }

    #[test]
    fn owners_that_the_kernel_would_misread_are_refused() {
        for id in [u64::from(u32::MAX), 1 << 40] {
            let mut header = header(EntryType::Regular, 0);
            header.set_uid(id);
            header.set_cksum();
            let mut layer = Builder::new(Vec::new());
            layer.append(&header, &[][..]).expect("memory takes it");
            let outcome = apply_to_new(&layer.into_inner().expect("memory takes it"), Limits::default());
            assert!(matches!(outcome, Err(LayerError::Refused { .. })), "{outcome:?}");
        }
    }
}
