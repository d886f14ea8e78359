//! A QEMU that runs: the task that owns its process, and the handle on it.

use super::{
    arguments::{disk_node, slot_id},
    launch::memory_is_shared,
    qmp::{Qmp, QmpError},
};
use crate::{
    machine::{Disk, ExitWatch, FreezeError, Guest, InsertError, MachineExit, QuitError},
    template::Template,
};
use async_trait::async_trait;
use serde_json::json;
use std::{
    fs::OpenOptions, os::fd::OwnedFd, os::unix::process::ExitStatusExt, process::ExitStatus, sync::Arc, time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStderr},
    sync::{Notify, watch},
    task::JoinHandle,
};

/// How long the state of a guest's devices may take to be written; it is less than a megabyte.
const FREEZES_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Descriptor sets of disks that come later begin here; those of disks that are there at the start are below.
const LATER_SETS: u64 = 256;
/// Bytes of QEMU's standard error that are kept.
const MAX_STDERR: usize = 4096;

/// The process, before and after its monitor answers.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: Option<u32>,
    pub(crate) exit: ExitWatch,
    kill: Arc<Notify>,
    monitor: watch::Sender<Option<Qmp>>,
}

impl Process {
    /// Takes charge of `child`: it is waited for whatever happens to the handle.
    pub(crate) fn keep(mut child: Child) -> Self {
        let pid = child.id();
        let stderr = child.stderr.take().map(|stderr| tokio::spawn(last_words(stderr)));
        let (publisher, exit) = ExitWatch::channel();
        let kill = Arc::new(Notify::new());
        let (monitor, monitor_known) = watch::channel(None);
        tokio::spawn(keeper(child, stderr, Arc::clone(&kill), monitor_known, publisher));
        Self { pid, exit, kill, monitor }
    }

    pub(crate) fn kill(&self) {
        self.kill.notify_one();
    }

    /// The process with its monitor is a guest.
    pub(crate) fn into_guest(self, monitor: Qmp) -> QemuGuest {
        self.monitor.send_replace(Some(monitor.clone()));
        QemuGuest { process: self, monitor }
    }
}

async fn keeper(
    mut child: Child,
    stderr: Option<JoinHandle<String>>,
    kill: Arc<Notify>,
    monitor: watch::Receiver<Option<Qmp>>,
    publisher: watch::Sender<Option<MachineExit>>,
) {
    let status = loop {
        tokio::select! {
            // Cancel-safe: the status is kept by the child until it was returned.
            status = child.wait() => break status,
            // Cancel-safe: a notification that was not taken stays.
            () = kill.notified() => {
                if let Err(error) = child.start_kill() {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot kill QEMU");
                }
            }
        }
    };
    // Ends with QEMU, which has no children that could hold the pipe.
    let words = match stderr {
        Some(task) => task.await.unwrap_or_default(),
        None => String::new(),
    };
    let reason = monitor.borrow().as_ref().and_then(Qmp::shutdown_reason);
    publisher.send_replace(Some(describe(status.ok(), reason, &words)));
}

fn describe(status: Option<ExitStatus>, reason: Option<String>, words: &str) -> MachineExit {
    // A warning, such as that of an interface without cable, explains no end.
    let telling = |line: &&str| !line.trim().is_empty() && !line.contains(": warning: ");
    let said = words.lines().rfind(telling).map(|line| line.trim().to_owned());
    MachineExit {
        code: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()),
        detail: reason.into_iter().chain(said).collect::<Vec<_>>().join("; "),
    }
}

/// The last part of what QEMU wrote to its standard error.
async fn last_words(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(length @ 1..) = stderr.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..length]);
        let surplus = kept.len().saturating_sub(MAX_STDERR);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The handle on a running QEMU.
pub(crate) struct QemuGuest {
    process: Process,
    monitor: Qmp,
}

impl QemuGuest {
    /// Waits until the state is written.
    async fn saved(&self) -> Result<(), FreezeError> {
        let failed = |source| FreezeError::Monitor { doing: "tell how far the state is saved", source };
        let saved = async {
            loop {
                let progress = self.monitor.execute("query-migrate", json!({})).await.map_err(failed)?;
                match progress["status"].as_str() {
                    Some("completed") => return Ok(()),
                    Some("failed" | "cancelled") => return Err(FreezeError::Failed(progress.to_string())),
                    _ => tokio::time::sleep(LOOK_EVERY).await,
                }
            }
        };
        tokio::time::timeout(FREEZES_WITHIN, saved).await.map_err(|_elapsed| failed(QmpError::TimedOut))?
    }
}

#[async_trait]
impl Guest for QemuGuest {
    fn pid(&self) -> Option<u32> {
        self.process.pid
    }

    async fn wait(&self) -> MachineExit {
        self.process.exit.wait().await
    }

    async fn freeze(&self, template: &Template) -> Result<(), FreezeError> {
        let failed = |doing| move |source| FreezeError::Monitor { doing, source };
        let qmp = &self.monitor;
        let shared = qmp.execute("migrate-set-capabilities", memory_is_shared()).await;
        shared.map_err(failed("leave the memory out of the state"))?;
        let open = failed("take the file for the state");
        let state = template.state(true).map_err(|error| open(QmpError::Socket(error)))?;
        let taken = qmp.execute_with("getfd", json!({"fdname": "state"}), Some(state)).await;
        taken.map_err(failed("take the file for the state"))?;
        let begun = qmp.execute("migrate", json!({"uri": "fd:state"})).await;
        begun.map_err(failed("save the state of the guest"))?;
        self.saved().await
    }

    async fn insert(&self, disk: &Disk) -> Result<(), InsertError> {
        let file = OpenOptions::new().read(true).write(!disk.read_only).open(&disk.path);
        let file = file.map_err(|source| InsertError::OpenFile { path: disk.path.clone(), source })?;
        let failed = |source| InsertError::Monitor { slot: disk.slot, source };
        let set = LATER_SETS + u64::from(disk.slot);
        let qmp = &self.monitor;
        qmp.execute_with("add-fd", json!({"fdset-id": set}), Some(OwnedFd::from(file))).await.map_err(failed)?;
        let node = disk_node(disk, set);
        qmp.execute("blockdev-add", node.clone()).await.map_err(failed)?;
        let device = format!("/machine/peripheral/{}", slot_id(disk.slot));
        let put = json!({"path": device, "property": "drive", "value": node["node-name"]});
        qmp.execute("qom-set", put).await.map(drop).map_err(failed)
    }

    async fn quit(&self) -> Result<(), QuitError> {
        self.monitor.execute("quit", json!({})).await.map(drop).map_err(QuitError::Monitor)
    }

    fn kill(&self) {
        self.process.kill();
    }
}
