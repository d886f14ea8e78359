//! Downloads a package with Debian's own tools, without installing anything.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why a package could not be had.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// A program is not there.
    #[error("{program} is not installed; the kernel is fetched with the tools of Debian (packages apt and dpkg)")]
    Missing {
        /// The program.
        program: &'static str,
    },
    /// A program cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// apt knows no such package.
    #[error("apt does not know the package {package}: run `apt-get update`, or give a kernel package as a file")]
    Unknown {
        /// The package.
        package: String,
    },
    /// The package cannot be downloaded.
    #[error(
        "cannot download {package}: check the network and the free space, run `apt-get update`, and try again ({output})"
    )]
    Download {
        /// The package.
        package: String,
        /// The end of what apt wrote.
        output: String,
    },
    /// The package cannot be unpacked.
    #[error("cannot unpack {}: check the free space; remove the file if it is damaged ({output})", package.display())]
    Unpack {
        /// The file.
        package: PathBuf,
        /// The end of what dpkg-deb wrote.
        output: String,
    },
}

/// The package that a meta-package stands for: its first dependency whose name starts with `prefix`.
pub(super) fn dependency(package: &str, prefix: &str) -> Result<String, AptError> {
    let output = run("apt-cache", &["depends", "--important", package], Path::new("/"))?;
    let unknown = || AptError::Unknown { package: package.to_owned() };
    let output = output.map_err(|_| unknown())?;
    let dependencies = output.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    dependencies.map(str::trim).find(|name| name.starts_with(prefix)).map(str::to_owned).ok_or_else(unknown)
}

/// Downloads a package into a directory, which is to be empty, and gives the file.
pub(super) fn download(package: &str, directory: &Path) -> Result<PathBuf, AptError> {
    // As root: the user that apt would become cannot write into this directory.
    let arguments = ["-q", "-o", "APT::Sandbox::User=root", "download", package];
    let failed = |output: String| AptError::Download { package: package.to_owned(), output };
    run("apt-get", &arguments, directory)?.map_err(failed)?;
    let files = std::fs::read_dir(directory).map_err(|error| failed(error.to_string()))?;
    let mut files = files.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let found = files.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    found.ok_or_else(|| failed("apt wrote no file".to_owned()))
}

/// Unpacks a package's files into a directory.
pub(super) fn unpack(package: &Path, directory: &Path) -> Result<(), AptError> {
    let failed = |output: String| AptError::Unpack { package: package.to_owned(), output };
    let (Some(file), Some(to)) = (package.to_str(), directory.to_str()) else {
        return Err(failed("the path is not text".to_owned()));
    };
    run("dpkg-deb", &["-x", file, to], Path::new("/"))?.map(|_| ()).map_err(failed)
}

/// Runs a program: its output, or the end of its complaints.
fn run(program: &'static str, arguments: &[&str], directory: &Path) -> Result<Result<String, String>, AptError> {
    let run = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output();
    let output = run.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => AptError::Missing { program },
        _ => AptError::Run { program, source },
    })?;
    if output.status.success() {
        return Ok(Ok(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(Err(text.trim().lines().next_back().unwrap_or("no message").to_owned()))
}
