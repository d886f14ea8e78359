//! Writes a cpio archive in the form that the kernel unpacks (`newc`).

/// An archive in memory.
#[derive(Debug, Default)]
pub(super) struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

impl Cpio {
    pub(super) fn directory(&mut self, name: &str, mode: u32) {
        self.entry(name, DIRECTORY | mode, (0, 0), &[]);
    }

    pub(super) fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, REGULAR | mode, (0, 0), content);
    }

    pub(super) fn character_device(&mut self, name: &str, mode: u32, (major, minor): (u32, u32)) {
        self.entry(name, CHARACTER_DEVICE | mode, (major, minor), &[]);
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        // Archives are made of blocks of 512 bytes.
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("files of an initial file system are below 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("names are short");
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        self.bytes.extend_from_slice(b"070701");
        // inode, mode, uid, gid, links, time, size, device, the node's device, name size, checksum (unused)
        for field in [self.entries, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0] {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
