//! The peer of a pod: a container of the same image, by podman and runc.
//!
//! It has a network and a mount namespace of its own, so its bridge and its rules are nobody else's and go with it, and keeps its
//! images and containers in the benchmark's directory.

use super::{
    BenchError,
    interrupt::{Children, Kept},
    note, pause,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Run first in the new namespaces: what podman needs there, then its own arguments.
const ENTER: &str = "ip link set lo up && mount -t tmpfs none /run && exec \"$@\"";
/// Limits below those of this process: raising them needs a right that a container of tests may lack.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"];

/// How long a container may take to start.
const START: Duration = Duration::from_secs(60);

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
        let pid_file = self.directory.join(format!("{name}.pid"));
        let mut command = self.command(&["run", "--rm", "--network", "bridge", "--name", name, "--pidfile"]);
        command.arg(&pid_file).args(LIMITS).arg(&self.image).stdout(Stdio::piped()).stderr(Stdio::null());
        let began = Instant::now();
        let mut running = children.start(&mut command).map_err(BenchError::io(doing))?;
        let stdout = running.child.stdout.as_mut().expect("standard output is piped");
        let said = stdout.read(&mut [0; 1]).map_err(BenchError::io(doing))?;
        let took = began.elapsed();
        if said == 0 {
            return Err(BenchError::answer("podman run", "the container said nothing"));
        }
        kill(&pid_file)?;
        running.child.wait().map_err(BenchError::io(doing))?;
        Ok(took)
    }

    /// Runs a program in a container without a network until this is dropped; returns when it has started.
    pub(super) fn keep(&self, children: &Children, name: &str, program: &[&str]) -> Result<Container<'_>, BenchError> {
        let doing = "run a container with podman";
        let pid_file = self.directory.join(format!("{name}.pid"));
        let mut command = self.command(&["run", "--network", "none", "--log-driver", "k8s-file", "--name", name]);
        command.arg("--pidfile").arg(&pid_file).args(LIMITS).arg(&self.image).args(program);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = children.start(&mut command).map_err(BenchError::io(doing))?;
        let mut stdout = running.child.stdout.take().expect("standard output is piped");
        // All of it, or the container would wait for us.
        thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
        let began = Instant::now();
        while !pid_file.exists() {
            if running.child.try_wait().map_err(BenchError::io(doing))?.is_some() || began.elapsed() > START {
                return Err(BenchError::answer("podman run", "the container did not start"));
            }
            pause(Duration::from_millis(50));
        }
        Ok(Container { podman: self, name: name.to_owned(), running, pid_file })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--propagation", "private", "sh", "-ec", ENTER, "sh"]);
        self.podman(&mut command, arguments);
        command
    }

    /// What follows the way into podman's namespaces.
    fn podman(&self, command: &mut Command, arguments: &[&str]) {
        let place = |name: &str| self.directory.join(name);
        command.args(["podman", "--root"]).arg(place("root")).arg("--runroot").arg(place("run"));
        command.arg("--tmpdir").arg(place("tmp"));
        command.args(["--runtime", "/usr/sbin/runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        command.args(["--storage-driver", "overlay"]).args(arguments).stdin(Stdio::null());
    }
}

/// A container that runs; it ends when this is dropped.
pub(super) struct Container<'a> {
    podman: &'a Podman,
    name: String,
    running: Kept,
    pid_file: PathBuf,
}

impl Container<'_> {
    /// `podman ACTION CONTAINER REST`, where podman finds the runtime's notes of it.
    pub(super) fn command(&self, action: &[&str], rest: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.running.child.id().to_string()).args(["--mount", "--net"]);
        self.podman.podman(&mut command, action);
        command.arg(&self.name).args(rest);
        command
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if let Err(error) = kill(&self.pid_file) {
            note(&error.to_string());
        }
    }
}

/// Ends the container: its program is the first of its process namespace and heeds no other signal. `podman kill` would look for
/// the runtime's notes in a `/run` of its own.
fn kill(pid_file: &Path) -> Result<(), BenchError> {
    let doing = "end podman's container";
    let text = fs::read_to_string(pid_file).map_err(BenchError::io(doing))?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| BenchError::answer(pid_file.display().to_string(), text))?;
    kill_process(pid, Signal::KILL).map_err(|error| BenchError::io(doing)(error.into()))
}
