//! A guest that booted once and was frozen, to go on as often as wanted.
//!
//! ```text
//!   create --> a guest boots in the memory --> freeze: device state written --> guest ended --> seal --> clones
//! ```
//! Both files lie in the host's memory and belong to no file system, so a template ends with the last process that holds
//! it. Sealed, nobody can change them: neither a clone, whatever its guest does to it, nor this process. A clone maps the
//! memory privately: pages that it does not write are shared by all, and those that it writes are its own.
//!
//! QEMU 7.2 opens a memory file for writing also when it maps it privately, and punches holes into it when a device
//! discards guest memory. The seals refuse both writing through a mapping and holes (tried as an unprivileged user), so no
//! device of ours may discard memory.

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create},
    io::Errno,
};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::Arc,
    time::Duration,
};

/// Nobody writes, shrinks, grows or unseals the file any more.
const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);
/// How long the kernel may take to let go of an ended process's memory.
const RELEASED_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// A template's two files. Cheap to clone; the files go with the last one who holds them.
#[derive(Debug, Clone)]
pub struct Template {
    memory: Arc<OwnedFd>,
    state: Arc<OwnedFd>,
}

impl Template {
    /// Empty files for a guest of `memory_bytes`.
    ///
    /// # Errors
    /// When the kernel has no memory files (older than Linux 3.17) or no descriptor is left.
    pub fn create(memory_bytes: u64) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("orrery-template-memory", flags)?;
        ftruncate(&memory, memory_bytes)?;
        let state = memfd_create("orrery-template-state", flags)?;
        Ok(Self { memory: Arc::new(memory), state: Arc::new(state) })
    }

    /// The template in two files that this process was started with: the memory's, then the state's.
    ///
    /// # Errors
    /// When one of the numbers is no open file, or one of a kind that cannot be sealed.
    pub fn inherited([memory, state]: [RawFd; 2]) -> io::Result<Self> {
        // Opened anew, the files belong to this value alone, whoever else knows the numbers.
        let open = |number: RawFd| -> io::Result<Arc<OwnedFd>> {
            let file = File::options().read(true).write(true).open(format!("/proc/self/fd/{number}"))?;
            fcntl_get_seals(&file)?;
            Ok(Arc::new(file.into()))
        };
        Ok(Self { memory: open(memory)?, state: open(state)? })
    }

    /// Makes the template unchangeable. The guest must have ended; its process may still be letting go of the memory.
    ///
    /// # Errors
    /// When somebody still can write to the memory after five seconds.
    pub async fn seal(&self) -> io::Result<()> {
        let began = std::time::Instant::now();
        for file in [&self.memory, &self.state] {
            loop {
                match fcntl_add_seals(file, SEALS) {
                    Ok(()) => break,
                    Err(Errno::BUSY) if began.elapsed() < RELEASED_WITHIN => {
                        tokio::time::sleep(PAUSE).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Whether nobody can change the template.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        [&self.memory, &self.state]
            .into_iter()
            .all(|file| fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SEALS)))
    }

    /// Bytes of the host's memory that the template takes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let blocks =
            |file: &OwnedFd| rustix::fs::fstat(file).map_or(0, |status| status.st_blocks.cast_unsigned() * 512);
        blocks(&self.memory) + blocks(&self.state)
    }

    /// The guest's memory, then the state of its devices, to be given to another process.
    #[must_use]
    pub fn files(&self) -> [BorrowedFd<'_>; 2] {
        [self.memory.as_fd(), self.state.as_fd()]
    }

    /// A descriptor of the memory of its own.
    pub(crate) fn memory(&self) -> io::Result<OwnedFd> {
        self.memory.try_clone()
    }

    /// The state, to be read from its beginning or written, without regard to who else does.
    pub(crate) fn state(&self, write: bool) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.state.as_raw_fd());
        File::options().read(true).write(write).open(path).map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[tokio::test]
    async fn a_sealed_template_is_read_by_many_and_written_by_nobody() {
        let template = Template::create(1 << 20).unwrap();
        assert!(!template.is_sealed());
        File::from(template.state(true).unwrap()).write_all(b"state").unwrap();
        template.seal().await.unwrap();
        assert!(template.is_sealed());
        for _ in 0..2 {
            let mut text = String::new();
            File::from(template.state(false).unwrap()).read_to_string(&mut text).unwrap();
            assert_eq!(text, "state");
        }
        assert!(File::from(template.state(true).unwrap()).write_all(b"x").is_err());
        assert!(File::from(template.memory().unwrap()).write_all(b"x").is_err());
    }

    #[tokio::test]
    async fn a_template_is_inherited_by_the_numbers_of_its_files_and_not_from_any_file() {
        let null = File::open("/dev/null").unwrap();
        assert!(Template::inherited([null.as_raw_fd(); 2]).is_err());
        assert!(Template::inherited([-1, -1]).is_err());
        let template = Template::create(4096).unwrap();
        let heir = Template::inherited(template.files().map(|file| file.as_raw_fd())).unwrap();
        template.seal().await.unwrap();
        assert!(heir.is_sealed());
    }
}
