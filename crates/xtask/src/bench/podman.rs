//! The peer of a pod's start: `podman run` of the same image, by runc, with a bridge.
//!
//! It has a network and a mount namespace of its own, so its bridge and its rules are nobody else's and go with it, and keeps its
//! images and containers in the benchmark's directory.

use super::{BenchError, interrupt::Children};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Run first in the new namespaces: what podman needs there, then its own arguments.
const ENTER: &str = "ip link set lo up && mount -t tmpfs none /run && exec \"$@\"";
/// Limits below those of this process: raising them needs a right that a container of tests may lack.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"];

/// podman with one image.
pub(super) struct Podman {
    directory: PathBuf,
    image: String,
}

impl Podman {
    /// Loads `image` from `archive` into a store below `directory`.
    pub(super) fn with_image(directory: &Path, archive: &Path, image: &str) -> Result<Self, BenchError> {
        let podman = Self { directory: directory.join("podman"), image: image.to_owned() };
        fs::create_dir_all(&podman.directory).map_err(BenchError::io("make podman's directory"))?;
        let output = podman.command(&["load", "-q", "-i"]).arg(archive).output();
        let output = output.map_err(BenchError::io("run podman; install it with `apt-get install podman runc`"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(BenchError::Command { command: "podman load".to_owned(), said });
        }
        Ok(podman)
    }

    /// Starts a container, and removes it: the time until the first byte of its output.
    pub(super) fn start(&self, children: &Children, name: &str) -> Result<Duration, BenchError> {
        let doing = "run a container with podman";
        let mut command = self.command(&["run", "--rm", "--network", "bridge", "--name", name]);
        command.args(LIMITS).arg(&self.image).stdout(Stdio::piped()).stderr(Stdio::null());
        let began = Instant::now();
        let mut running = children.start(&mut command).map_err(BenchError::io(doing))?;
        let stdout = running.child.stdout.as_mut().expect("standard output is piped");
        let said = stdout.read(&mut [0; 1]).map_err(BenchError::io(doing))?;
        let took = began.elapsed();
        if said == 0 {
            return Err(BenchError::answer("podman run", "the container said nothing"));
        }
        // The program is the first of its process namespace and heeds no other signal.
        let killed = self.command(&["kill", "--signal", "KILL", name]).output();
        killed.map_err(BenchError::io("end podman's container"))?;
        running.child.wait().map_err(BenchError::io(doing))?;
        Ok(took)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let place = |name: &str| self.directory.join(name);
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--propagation", "private", "sh", "-ec", ENTER, "sh", "podman"]);
        command.arg("--root").arg(place("root")).arg("--runroot").arg(place("run")).arg("--tmpdir").arg(place("tmp"));
        command.args(["--runtime", "/usr/sbin/runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        command.args(["--storage-driver", "overlay"]).args(arguments).stdin(Stdio::null());
        command
    }
}
