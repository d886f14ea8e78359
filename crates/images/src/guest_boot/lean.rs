//! The lean kernel: built on this machine out of Debian's kernel source, with what a pod's machine uses and nothing else.
//!
//! ```text
//!   tools there? -> source -> configure, every wish honoured? -> compile -> into the cache
//! ```
//! No module is left out of the image, so the first file system has none. Who and when is not in it: the same source and tools
//! give the same kernel.

use super::apt::{self, AptError};
use super::kernel::{self, Kernel, KernelError};
use crate::digest::{Digest, HashingReader};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the kernel has to have, for `make allnoconfig` (`KCONFIG_ALLCONFIG`).
const CONFIG: &str = include_str!("lean.config");
const META_PACKAGE: &str = "linux-source";
const PACKAGE_PREFIX: &str = "linux-source-";
/// What is run, and Debian's package that has it.
const TOOLS: [(&str, &str); 9] = [
    ("make", "make"),
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("perl", "perl"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
];
/// A header that the kernel's own tools are built with, and its package.
const HEADER: (&str, &str) = ("/usr/include/libelf.h", "libelf-dev");
/// Lines of the compiler's output that an error shows.
const LAST_LINES: usize = 12;

/// Where the kernel's source comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelTree {
    /// Debian's package `linux-source`, downloaded with apt.
    Debian,
    /// A directory that is built in, and changed by that.
    Directory(PathBuf),
    /// An archive of a source tree, as tar reads it.
    Archive(PathBuf),
}

/// What the build is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildStep {
    /// Getting the source.
    Source,
    /// Choosing what is in the kernel.
    Configure,
    /// Compiling it. Most of the time.
    Compile,
}

/// Why there is no lean kernel.
#[derive(Debug, thiserror::Error)]
pub enum LeanError {
    /// Tools are missing.
    #[error("building a kernel needs tools that are missing; install them with: apt-get install {}", .0.join(" "))]
    Tools(Vec<&'static str>),
    /// Another process builds.
    #[error("another process builds a kernel here already")]
    Building,
    /// The source cannot be had.
    #[error("cannot get the kernel's source")]
    Source(#[source] AptError),
    /// There is no kernel's source where it should be.
    #[error("{} holds no source of a Linux kernel", .0.display())]
    NoTree(PathBuf),
    /// The source does not know an option, or refuses it.
    #[error("the kernel's source does not honour {}; use a source of Linux 6.1", .0.join(", "))]
    Dishonoured(Vec<String>),
    /// A program failed.
    #[error("{doing} failed:\n{output}\nthe whole output is in {}", log.display())]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// The last lines of its output.
        output: String,
        /// All of it.
        log: PathBuf,
    },
    /// The cache cannot be used.
    #[error("cannot use the cache of kernels")]
    Cache(#[source] KernelError),
    /// A file cannot be read or written, or a program cannot be run.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> LeanError {
    let path = path.to_owned();
    move |source| LeanError::File { path: path.clone(), source }
}

/// Builds the lean kernel with `jobs` processes and puts it into the cache, where [`super::KernelSource::Lean`] finds it; gives its
/// release. `step` is told what is being done. Blocks for minutes and needs some 2 GB below the cache meanwhile.
///
/// # Errors
///
/// [`LeanError`]: says what is missing. The kernel that was there before stays.
pub fn build_lean(
    cache: &Path,
    tree: &KernelTree,
    jobs: usize,
    step: &mut dyn FnMut(BuildStep),
) -> Result<String, LeanError> {
    check_tools()?;
    let kernels = cache.join("kernels");
    fs::create_dir_all(&kernels).map_err(file_error(&kernels))?;
    let _lock = only_build(&kernels)?;
    kernel::sweep(&kernels, kernel::BUILDING).map_err(file_error(&kernels))?;
    let work = kernel::staging(&kernels).map_err(LeanError::Cache)?;
    step(BuildStep::Source);
    let source = source(tree, work.path())?;
    let build = Build { source: &source, log: cache.join("kernel-build.log") };
    File::create(&build.log).map_err(file_error(&build.log))?;
    step(BuildStep::Configure);
    build.configure(&work.path().join("wanted.config"))?;
    step(BuildStep::Compile);
    build.make("compiling the kernel", &[&format!("-j{}", jobs.max(1)), "bzImage"])?;
    let release = build.make("asking for the release", &["kernelrelease"])?.trim().to_owned();
    let made = work.path().join("kernel");
    let image = made.join("vmlinuz");
    fs::create_dir_all(made.join("modules")).map_err(file_error(&made))?;
    // Not the uncompressed kernel, which boots faster: it is the decompressor that puts the kernel where nobody knows.
    fs::copy(source.join("arch/x86/boot/bzImage"), &image).map_err(file_error(&image))?;
    fs::write(made.join("release"), &release).map_err(file_error(&made))?;
    let content = File::open(&image).map_err(file_error(&image))?;
    let (digest, _): (Digest, _) = HashingReader::new(content).finish().map_err(file_error(&image))?;
    let kernel = kernel::keep_lean(&kernels, &made, &format!("lean-{}", &digest.hex()[..12]));
    kernel.map(|Kernel { release, .. }| release).map_err(LeanError::Cache)
}

/// Two builds at once would take twice the room and time, for the same.
fn only_build(kernels: &Path) -> Result<File, LeanError> {
    let path = kernels.join("build.lock");
    let open = File::options().write(true).create(true).truncate(false).open(&path);
    let file = open.map_err(file_error(&path))?;
    file.try_lock().map_err(|_| LeanError::Building)?;
    Ok(file)
}

/// The packages of what is missing, all at once.
fn check_tools() -> Result<(), LeanError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |tool: &str| std::env::split_paths(&path).any(|directory| directory.join(tool).is_file());
    let mut missing: Vec<&str> = TOOLS.iter().filter(|(tool, _)| !there(tool)).map(|(_, package)| *package).collect();
    missing.extend(Some(HEADER.1).filter(|_| !Path::new(HEADER.0).exists()));
    if missing.is_empty() { Ok(()) } else { Err(LeanError::Tools(missing)) }
}

/// The root of the source tree.
fn source(tree: &KernelTree, work: &Path) -> Result<PathBuf, LeanError> {
    let unpacked = work.join("source");
    let archive = match tree {
        KernelTree::Directory(directory) => return root_of(directory),
        KernelTree::Archive(archive) => archive.clone(),
        KernelTree::Debian => {
            let (download, package_tree) = (work.join("download"), work.join("package"));
            for directory in [&download, &package_tree] {
                fs::create_dir(directory).map_err(file_error(directory))?;
            }
            let package = apt::dependency(META_PACKAGE, PACKAGE_PREFIX).map_err(LeanError::Source)?;
            let file = apt::download(&package, &download).map_err(LeanError::Source)?;
            apt::unpack(&file, &package_tree).map_err(LeanError::Source)?;
            package_tree.join(format!("usr/src/{package}.tar.xz"))
        }
    };
    fs::create_dir(&unpacked).map_err(file_error(&unpacked))?;
    let tar = Path::new("tar");
    let status =
        Command::new(tar).arg("-xf").arg(&archive).arg("-C").arg(&unpacked).status().map_err(file_error(tar))?;
    if !status.success() {
        return Err(LeanError::NoTree(archive));
    }
    root_of(&unpacked)
}

/// The directory itself, or the only one in it.
fn root_of(directory: &Path) -> Result<PathBuf, LeanError> {
    let is_root = |path: &Path| path.join("Kconfig").is_file() && path.join("Makefile").is_file();
    if is_root(directory) {
        return Ok(directory.to_owned());
    }
    let entries = fs::read_dir(directory).map_err(file_error(directory))?;
    let mut below = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    below.find(|path| is_root(path)).ok_or_else(|| LeanError::NoTree(directory.to_owned()))
}

struct Build<'a> {
    source: &'a Path,
    log: PathBuf,
}

impl Build<'_> {
    fn configure(&self, wanted: &Path) -> Result<(), LeanError> {
        fs::write(wanted, CONFIG).map_err(file_error(wanted))?;
        let mut configure = self.command(&["allnoconfig"]);
        configure.env("KCONFIG_ALLCONFIG", wanted);
        self.run("configuring the kernel", &mut configure)?;
        let made = self.source.join(".config");
        let text = fs::read_to_string(&made).map_err(file_error(&made))?;
        let dishonoured = dishonoured(CONFIG, &text);
        if dishonoured.is_empty() { Ok(()) } else { Err(LeanError::Dishonoured(dishonoured)) }
    }

    fn make(&self, doing: &'static str, arguments: &[&str]) -> Result<String, LeanError> {
        self.run(doing, &mut self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("make");
        command.arg("-s").arg("-C").arg(self.source).args(arguments);
        // Of the surroundings nothing has a say but where programs are.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path))).env("LC_ALL", "C.UTF-8");
        let who_and_when =
            [("KBUILD_BUILD_TIMESTAMP", "@0"), ("KBUILD_BUILD_USER", "orrery"), ("KBUILD_BUILD_HOST", "orrery")];
        command.envs(who_and_when).env("KBUILD_BUILD_VERSION", "1");
        command
    }

    /// Runs a program to its end: its standard output. What it says beside goes to the log.
    fn run(&self, doing: &'static str, command: &mut Command) -> Result<String, LeanError> {
        let log = File::options().append(true).open(&self.log).map_err(file_error(&self.log))?;
        let program = PathBuf::from(command.get_program());
        let output = command.stdin(Stdio::null()).stderr(log).output().map_err(file_error(&program))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        Err(LeanError::Failed { doing, output: last, log: self.log.clone() })
    }
}

/// The lines of `wanted` that the configuration `made` has not.
fn dishonoured(wanted: &str, made: &str) -> Vec<String> {
    let made: std::collections::BTreeSet<&str> = made.lines().collect();
    let wishes = wanted.lines().filter(|line| line.starts_with("CONFIG_"));
    wishes.filter(|line| !made.contains(line)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_that_is_not_honoured_is_named() {
        let made = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_N=64\n";
        assert_eq!(dishonoured("# Words\nCONFIG_A=y\nCONFIG_N=64\n", made), [""; 0]);
        assert_eq!(
            dishonoured("CONFIG_B=y\nCONFIG_N=32\nCONFIG_C=y\n", made),
            ["CONFIG_B=y", "CONFIG_N=32", "CONFIG_C=y"]
        );
    }

    #[test]
    fn no_wish_is_there_twice() {
        let mut names: Vec<&str> =
            CONFIG.lines().filter_map(|line| line.split_once('=').map(|(name, _)| name)).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn a_tree_is_found_in_its_archives_directory_and_nothing_else_is_taken_for_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        assert!(matches!(root_of(directory.path()), Err(LeanError::NoTree(_))));
        let tree = directory.path().join("linux-6.1");
        fs::create_dir(&tree).expect("mkdir");
        for file in ["Kconfig", "Makefile"] {
            fs::write(tree.join(file), "").expect("write");
        }
        assert_eq!(root_of(directory.path()).expect("found"), tree);
        assert_eq!(root_of(&tree).expect("found"), tree);
    }

    #[test]
    fn what_is_no_archive_of_a_kernel_is_refused_with_its_name() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let archive = directory.path().join("archive.tar");
        fs::write(&archive, "no archive").expect("write");
        let refused = source(&KernelTree::Archive(archive.clone()), directory.path());
        assert!(matches!(refused, Err(LeanError::NoTree(path)) if path == archive));
    }
}
