//! Kernels in the cache: an image, its release, and the modules that guests load, in order.

use super::KernelSource;
use super::apt::{self, AptError};
use super::modules::{self, ModuleError};
use crate::digest::{Digest, HashingReader};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const META_PACKAGE: &str = "linux-image-cloud-amd64";
const PACKAGE_PREFIX: &str = "linux-image-";
/// Names the kernel that apt gave.
const APT_POINTER: &str = "apt-cloud";
/// Names the lean kernel that was built last.
const LEAN_POINTER: &str = "lean";

/// A kernel of the cache.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) vmlinuz: PathBuf,
    /// A directory of modules; loaded in the order of their names.
    pub(super) modules: PathBuf,
    pub(super) release: String,
}

/// Why a kernel could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The package could not be had or unpacked.
    #[error(transparent)]
    Apt(AptError),
    /// The package is no kernel package.
    #[error("the package {package} has no kernel in it: {missing}")]
    NoKernel {
        /// The package.
        package: String,
        /// What it lacks.
        missing: &'static str,
    },
    /// The package's modules cannot be used.
    #[error("cannot take the modules out of the package {package}")]
    Modules {
        /// The package.
        package: String,
        /// Why.
        #[source]
        source: ModuleError,
    },
    /// Nobody has built it here.
    #[error("there is no lean kernel on this machine; build one with: orrery kernel build")]
    NotBuilt,
    /// A file cannot be read or written.
    #[error("cannot use {}: check permissions and free space", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The kernel, if the cache has it.
pub(super) fn cached(kernels: &Path, source: &KernelSource) -> Option<Kernel> {
    let name = match source {
        KernelSource::AptCloud => fs::read_to_string(kernels.join(APT_POINTER)).ok()?,
        KernelSource::Lean => fs::read_to_string(kernels.join(LEAN_POINTER)).ok()?,
        KernelSource::Package(path) => package_name(path).ok()?,
    };
    open(&kernels.join(name.trim()))
}

/// Brings the kernel into the cache. The cache is locked.
pub(super) fn fetch(kernels: &Path, source: &KernelSource) -> Result<Kernel, KernelError> {
    // Another process may have been faster.
    if let Some(kernel) = cached(kernels, source) {
        return Ok(kernel);
    }
    let in_cache = file_error(kernels);
    sweep(kernels, STAGING).map_err(&in_cache)?;
    let staging = tempfile::Builder::new().prefix(STAGING).tempdir_in(kernels).map_err(&in_cache)?;
    let name = match source {
        KernelSource::AptCloud => {
            let package = apt::dependency(META_PACKAGE, PACKAGE_PREFIX).map_err(KernelError::Apt)?;
            tracing::info!(package, "downloading a kernel for the guests");
            let file = apt::download(&package, staging.path()).map_err(KernelError::Apt)?;
            unpack(kernels, &file, staging.path())?
        }
        KernelSource::Package(file) => unpack(kernels, file, staging.path())?,
        KernelSource::Lean => return Err(KernelError::NotBuilt),
    };
    if *source == KernelSource::AptCloud {
        point(kernels, APT_POINTER, &name, staging.path()).map_err(in_cache)?;
    }
    let missing = KernelError::NoKernel { package: name.clone(), missing: "it vanished from the cache" };
    open(&kernels.join(&name)).ok_or(missing)
}

/// Names a kernel, whole or not at all.
fn point(kernels: &Path, pointer: &str, name: &str, staging: &Path) -> io::Result<()> {
    let new = staging.join(pointer);
    fs::write(&new, name).and_then(|()| File::open(&new)?.sync_all())?;
    fs::rename(&new, kernels.join(pointer))
}

/// A directory to work in, gone when it is dropped.
pub(super) fn staging(kernels: &Path) -> Result<tempfile::TempDir, KernelError> {
    tempfile::Builder::new().prefix(BUILDING).tempdir_in(kernels).map_err(file_error(kernels))
}

/// Moves the lean kernel in `made` into the cache; it is what [`KernelSource::Lean`] means from then on.
pub(super) fn keep_lean(kernels: &Path, made: &Path, name: &str) -> Result<Kernel, KernelError> {
    let work = staging(kernels)?;
    let target = kernels.join(name);
    // The same source and tools give the same kernel.
    if open(&target).is_none() {
        keep(made, &target)?;
    }
    point(kernels, LEAN_POINTER, name, work.path()).map_err(file_error(kernels))?;
    open(&target)
        .ok_or_else(|| KernelError::NoKernel { package: name.to_owned(), missing: "it vanished from the cache" })
}

const STAGING: &str = "staging-";
/// Under a lock of its own: it is worked on for minutes.
pub(super) const BUILDING: &str = "building-";

/// Removes what a killed process left under names that begin so. A lock is held, so nobody is at work there.
pub(super) fn sweep(kernels: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(kernels)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn open(directory: &Path) -> Option<Kernel> {
    let release = fs::read_to_string(directory.join("release")).ok()?.trim().to_owned();
    let (vmlinuz, modules) = (directory.join("vmlinuz"), directory.join("modules"));
    (vmlinuz.is_file() && modules.is_dir()).then_some(Kernel { vmlinuz, modules, release })
}

/// The name of a package's kernel in the cache: the file's name and what is in it.
fn package_name(file: &Path) -> Result<String, KernelError> {
    let error = file_error(file);
    let content = File::open(file).map_err(&error)?;
    let (digest, _): (Digest, _) = HashingReader::new(content).finish().map_err(&error)?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    Ok(format!("{stem}-{}", &digest.hex()[..12]))
}

/// Unpacks a package and moves what guests need into the cache; gives its name there.
fn unpack(kernels: &Path, file: &Path, staging: &Path) -> Result<String, KernelError> {
    let name = package_name(file)?;
    let (tree, kernel) = (staging.join("tree"), staging.join("kernel"));
    let error = file_error(staging);
    fs::create_dir(&tree).map_err(&error)?;
    fs::create_dir(&kernel).map_err(&error)?;
    apt::unpack(file, &tree).map_err(KernelError::Apt)?;

    let no_kernel = |missing| KernelError::NoKernel { package: name.clone(), missing };
    let library = ["lib/modules", "usr/lib/modules"].map(|path| tree.join(path)).into_iter().find(|path| path.is_dir());
    let library = library.ok_or_else(|| no_kernel("no directory lib/modules"))?;
    let release = fs::read_dir(&library).map_err(&error)?.next().transpose().map_err(&error)?;
    let release = release.ok_or_else(|| no_kernel("lib/modules is empty"))?.file_name();
    let release = release.to_str().ok_or_else(|| no_kernel("its release is not text"))?.to_owned();
    let vmlinuz = tree.join("boot").join(format!("vmlinuz-{release}"));
    if !vmlinuz.is_file() {
        return Err(no_kernel("no boot/vmlinuz"));
    }
    fs::rename(&vmlinuz, kernel.join("vmlinuz")).map_err(&error)?;
    fs::write(kernel.join("release"), &release).map_err(&error)?;
    let selected = modules::select(&library.join(&release), &kernel.join("modules"));
    selected.map_err(|source| KernelError::Modules { package: name.clone(), source })?;
    keep(&kernel, &kernels.join(&name))?;
    Ok(name)
}

/// Moves a whole kernel to the place where it is found.
fn keep(kernel: &Path, target: &Path) -> Result<(), KernelError> {
    // A half-made one of an older version; a whole one would have been found.
    if target.exists() {
        fs::remove_dir_all(target).map_err(file_error(target))?;
    }
    // Everything is on disk before it gets the name under which it is found.
    let synced = File::open(kernel).and_then(|directory| Ok(rustix::fs::syncfs(directory)?));
    synced.and_then(|()| fs::rename(kernel, target)).map_err(file_error(target))
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> KernelError {
    let path = path.to_owned();
    move |source| KernelError::File { path: path.clone(), source }
}
