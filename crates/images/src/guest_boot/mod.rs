//! What a guest boots from: a kernel, and an initial file system with the guest's init and the modules that it loads.
//!
//! ```text
//! CACHE/lock                          taken while something is made
//! CACHE/kernels/apt-cloud             the name of the kernel that was fetched with apt
//! CACHE/kernels/lean                  the name of the kernel that was built here
//! CACHE/kernels/NAME/vmlinuz, release, modules/NN-NAME.ko
//! CACHE/initrds/HEX.cpio              by the digest of what is in it
//! CACHE/rehearsals/HEX.erofs          by the digest of the guest's init
//! ```
//!
//! With a filled cache nothing is run and nothing is written. The kernel is never installed on this machine.

mod apt;
mod cpio;
mod initrd;
mod kernel;
mod lean;
mod modules;
mod rehearsal;

pub use apt::AptError;
pub use kernel::KernelError;
pub use lean::{BuildStep, KernelTree, LeanError, build_lean};
pub use modules::ModuleError;
pub use rehearsal::{RehearsalError, rehearsal};

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Files to boot a guest from. They stay as they are; a change makes new ones beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestBoot {
    /// The kernel, as QEMU's `-kernel` takes it.
    pub kernel: PathBuf,
    /// The initial file system, an uncompressed cpio archive.
    pub initrd: PathBuf,
    /// The kernel's release, such as `6.1.0-56-cloud-amd64`.
    pub kernel_release: String,
}

/// Where the kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelSource {
    /// Debian's cloud kernel, downloaded with apt if the cache has none.
    AptCloud,
    /// The lean kernel that was built on this machine last, by [`build_lean`].
    Lean,
    /// A kernel package that is at hand, for machines without a network.
    Package(PathBuf),
}

/// Why a guest cannot be booted.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The guest's init is not where it should be.
    #[error("cannot read the guest's init {}; build or install it first", path.display())]
    Init {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The cache cannot be read or written.
    #[error("cannot use the cache {}: check permissions and free space", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel cannot be had.
    #[error("cannot get a kernel for the guests")]
    Kernel(#[source] KernelError),
}

/// The release of a kernel that the cache has.
#[must_use]
pub fn cached_release(cache: &Path, kernel: &KernelSource) -> Option<String> {
    kernel::cached(&cache.join("kernels"), kernel).map(|kernel| kernel.release)
}

/// Provides kernel and initial file system; `init` is a static program that becomes `/init`. Blocks, for a download of
/// some 30 MB the first time.
///
/// # Errors
///
/// [`PrepareError`]: says what is missing and how to come by it.
pub fn prepare(cache: &Path, kernel: &KernelSource, init: &Path) -> Result<GuestBoot, PrepareError> {
    let program = fs::read(init).map_err(|source| PrepareError::Init { path: init.to_owned(), source })?;
    let kernels = cache.join("kernels");
    let kernel = match kernel::cached(&kernels, kernel) {
        Some(kernel) => kernel,
        None => {
            let _lock = lock(cache)?;
            fs::create_dir_all(&kernels).map_err(|source| PrepareError::Cache { path: kernels.clone(), source })?;
            kernel::fetch(&kernels, kernel).map_err(PrepareError::Kernel)?
        }
    };
    let failed = |path: &Path, source| PrepareError::Cache { path: path.to_owned(), source };
    let content = initrd::build(&program, &kernel.modules).map_err(|source| failed(&kernel.modules, source))?;
    let directory = cache.join("initrds");
    let initrd = initrd::keep(&directory, &content).map_err(|source| failed(&directory, source))?;
    Ok(GuestBoot { kernel: kernel.vmlinuz, initrd, kernel_release: kernel.release })
}

fn lock(cache: &Path) -> Result<File, PrepareError> {
    let path = cache.join("lock");
    let take = || {
        fs::create_dir_all(cache)?;
        let file = File::options().write(true).create(true).truncate(false).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    take().map_err(|source| PrepareError::Cache { path: path.clone(), source })
}
