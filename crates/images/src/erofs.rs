//! Builds a read-only file system out of a directory, with mkfs.erofs.
//!
//! The program reads trees that strangers made, so it has as little as it can do with: a user of its own, of root's rights
//! only that to read every file (owners of an image's files are whoever the image says), no network, no way to more
//! rights, and bounds on its memory, its time and what it writes, which is one file.

use crate::digest::Digest;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;
use uuid::Uuid;

/// The user that builds. Machines' users begin behind it.
const USER: u32 = 999_999;
/// Bounds on one build, as prlimit has them: bytes written, seconds of CPU, bytes of memory.
const LIMITS: [&str; 4] = ["--fsize=137438953472", "--cpu=3600", "--as=8589934592", "--core=0"];
/// How a shell and its like say that a program is not there.
const NOT_FOUND: i32 = 127;

/// Written into the superblock, where the time of the build would be. Files keep the times that the archive gives them,
/// up to this one (the year 2100); the option for a fixed time would take them away.
const LATEST_TIME: &str = "4102444800";

/// Why a file system was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The program is not there.
    #[error("mkfs.erofs is not installed; install the package erofs-utils")]
    Missing,
    /// The program cannot be run, or its result cannot be made durable.
    #[error("cannot run mkfs.erofs")]
    Run(#[source] io::Error),
    /// The program failed.
    #[error("mkfs.erofs failed: {output}; check the free space of the image store")]
    Failed {
        /// The end of what it wrote.
        output: String,
    },
}

/// Builds `file` from `tree`. The same tree of the same image gives the same bytes. On disk when this returns.
pub(crate) fn build(tree: &Path, file: &Path, id: &Digest) -> Result<(), BuildError> {
    let uuid = Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_str().as_bytes());
    File::create_new(file).and_then(|_| chown(file, Some(USER), Some(USER))).map_err(BuildError::Run)?;
    let run = confined("mkfs.erofs")
        .env("SOURCE_DATE_EPOCH", LATEST_TIME)
        .args(["--quiet", &format!("-U{uuid}")])
        .args([file, tree])
        .output();
    let output = run.map_err(BuildError::Run)?;
    if output.status.code() == Some(NOT_FOUND) {
        return Err(BuildError::Missing);
    }
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let end = text.trim().lines().rev().take(3).collect::<Vec<_>>();
        let output = end.into_iter().rev().collect::<Vec<_>>().join("; ");
        return Err(BuildError::Failed { output });
    }
    let settle = || {
        chown(file, Some(0), Some(0))?;
        std::fs::set_permissions(file, Permissions::from_mode(0o644))?;
        File::open(file)?.sync_all()
    };
    settle().map_err(BuildError::Run)
}

/// A program without what it does not need, by programs of util-linux that every Debian has.
fn confined(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .args(["--net", "--ipc", "setpriv"]);
    command.args([format!("--reuid={USER}"), format!("--regid={USER}")]);
    command.args(["--clear-groups", "--no-new-privs"]);
    for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        command.arg(format!("{set}=-all,+dac_read_search"));
    }
    command.arg("prlimit").args(LIMITS).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_builds_can_read_files_and_nothing_else() {
        if !rustix::process::geteuid().is_root() {
            return orrery_testing::skipped("taking rights away needs root");
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let hidden = directory.path().join("hidden");
        std::fs::write(&hidden, "content").expect("write");
        std::fs::set_permissions(&hidden, Permissions::from_mode(0o000)).expect("chmod");
        let script = "id -u; grep -E 'NoNewPrivs|CapEff|CapBnd' /proc/self/status; \
            grep -c : /proc/net/dev; cat hidden; touch made || echo refused; env | grep -c CARGO; ulimit -t";
        let run = confined("sh").args(["-c", &format!("cd {}; {script}", directory.path().display())]).output();
        let output = run.expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let expected = [
            "999999",
            "CapEff:\t0000000000000004",
            "CapBnd:\t0000000000000004",
            "NoNewPrivs:\t1",
            "1",
            "contentrefused",
            "0",
            "3600",
        ];
        let said: Vec<_> = said.lines().collect();
        assert_eq!(said, expected, "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!directory.path().join("made").exists());
        let missing = confined("orrery-no-such-program").output().expect("it runs");
        assert_eq!(missing.status.code(), Some(NOT_FOUND));
    }
}
