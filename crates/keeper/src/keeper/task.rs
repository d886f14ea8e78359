//! The task that owns one role's process.

use super::initial_status;
use crate::{
    process::{Process, recall, remember},
    protocol::{RoleSpec, RoleState, RoleStatus},
    role::{Action, Role},
};
use nix::sys::signal::Signal;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

/// What a role's task can be told.
pub(super) enum Command {
    Hold,
    Release,
    Replace(Box<RoleSpec>),
    /// Stop the process and end the task.
    End,
}

/// The keeper's end of a role's task.
pub(super) struct RoleHandle {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<RoleStatus>,
    spec: watch::Receiver<RoleSpec>,
    task: JoinHandle<()>,
}

impl RoleHandle {
    pub(super) fn spawn(spec: &RoleSpec, wanted: bool, directory: &Path) -> Self {
        let (commands, receiver) = mpsc::channel(16);
        let (status_sender, status) = watch::channel(initial_status(spec, wanted));
        let (spec_sender, spec_receiver) = watch::channel(spec.clone());
        let task = Task {
            pid_file: directory.join(format!("{}.pid", spec.name.replace('/', "--"))),
            role: Role::new(wanted),
            process: None,
            kill_at: None,
            ending: false,
            epoch: Instant::now(),
            status: status_sender,
            spec: spec_sender,
        };
        Self { commands, status, spec: spec_receiver, task: tokio::spawn(task.run(receiver)) }
    }

    pub(super) fn spec(&self) -> RoleSpec {
        self.spec.borrow().clone()
    }

    pub(super) fn status(&self) -> RoleStatus {
        self.status.borrow().clone()
    }

    pub(super) async fn send(&self, command: Command) {
        // A closed channel means that the task has ended, which is what every command leads to at last.
        let _ = self.commands.send(command).await;
    }

    pub(super) async fn until(&mut self, reached: impl FnMut(&RoleStatus) -> bool) {
        let _ = self.status.wait_for(reached).await;
    }

    pub(super) async fn end(self) {
        self.send(Command::End).await;
        let _ = self.task.await;
    }
}

struct Task {
    pid_file: PathBuf,
    role: Role,
    process: Option<Process>,
    kill_at: Option<Instant>,
    ending: bool,
    epoch: Instant,
    status: watch::Sender<RoleStatus>,
    spec: watch::Sender<RoleSpec>,
}

/// What a task woke up for.
enum Woken {
    Command(Option<Command>),
    Ended(String),
    Timer,
}

impl Task {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        if let Some(process) = recall(&self.pid_file).and_then(Process::adopt) {
            tracing::info!(role = %self.spec.borrow().name, pid = process.id().pid, "adopted");
            self.running(process);
        }
        loop {
            let pause = match self.role.action(self.epoch.elapsed()) {
                Action::Start => {
                    self.start();
                    continue;
                }
                Action::Stop => {
                    self.stop();
                    continue;
                }
                Action::Wait(pause) => Some(pause),
                Action::Nothing => None,
            };
            self.publish();
            if self.ending && self.process.is_none() {
                let _ = fs::remove_file(&self.pid_file);
                return;
            }
            match self.wait(&mut commands, pause).await {
                Woken::Command(Some(command)) => self.obey(command),
                Woken::Command(None) => return, // the keeper is gone; the process stays for the next one
                Woken::Ended(how) => self.ended(how),
                Woken::Timer => self.kill_if_due(),
            }
        }
    }

    async fn wait(&mut self, commands: &mut mpsc::Receiver<Command>, pause: Option<Duration>) -> Woken {
        let until = pause.map(|pause| Instant::now() + pause).into_iter().chain(self.kill_at).min();
        let process = &mut self.process;
        let ended = async {
            match process {
                Some(process) => process.wait().await,
                None => std::future::pending().await,
            }
        };
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Cancel-safe: an unreceived command stays queued, an unreaped child stays to be waited for.
            command = commands.recv() => Woken::Command(command),
            how = ended => Woken::Ended(how),
            () = timer => Woken::Timer,
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Hold => self.role.hold(),
            Command::Release => self.role.release(self.epoch.elapsed()),
            Command::Replace(spec) => {
                self.spec.send_replace(*spec);
                if self.process.is_some() && self.kill_at.is_none() {
                    self.stop(); // started again with the new specification once it has ended
                }
            }
            Command::End => {
                self.ending = true;
                self.role.hold();
            }
        }
    }

    fn start(&mut self) {
        let spec = self.spec.borrow().clone();
        match Process::start(&spec) {
            Ok(process) => {
                tracing::info!(role = %spec.name, pid = process.id().pid, "started");
                if let Err(error) = remember(&self.pid_file, process.id()) {
                    tracing::warn!(role = %spec.name, %error, "cannot remember the process; the next keeper won't know it");
                }
                self.running(process);
            }
            Err(error) => {
                self.role.started(self.epoch.elapsed());
                self.ended(format!("cannot start {}: {error}", spec.argv.first().map_or("", String::as_str)));
            }
        }
    }

    fn running(&mut self, process: Process) {
        self.process = Some(process);
        self.role.started(self.epoch.elapsed());
    }

    fn stop(&mut self) {
        if let Some(process) = &self.process {
            process.signal(Signal::SIGTERM);
            let grace = u64::from(self.spec.borrow().stop_grace_seconds);
            self.kill_at = Some(Instant::now() + Duration::from_secs(grace));
        }
        self.role.stopping();
    }

    fn kill_if_due(&mut self) {
        if self.kill_at.is_some_and(|at| at <= Instant::now()) {
            self.kill_at = None;
            if let Some(process) = &self.process {
                tracing::warn!(role = %self.spec.borrow().name, "did not end in time; killing it");
                process.signal(Signal::SIGKILL);
            }
        }
    }

    fn ended(&mut self, how: String) {
        let name = self.spec.borrow().name.clone();
        tracing::info!(role = %name, %how, "ended");
        self.process = None;
        self.kill_at = None;
        let _ = fs::remove_file(&self.pid_file);
        self.role.ended(self.epoch.elapsed());
        self.status.send_modify(|status| {
            status.last_end = Some(how);
            if self.role.is_wanted() {
                status.restarts += 1;
            }
        });
    }

    fn publish(&self) {
        let pid = self.process.as_ref().map(|process| process.id().pid);
        let state = match (pid, self.role.is_wanted()) {
            (Some(_), _) => RoleState::Running,
            (None, true) => RoleState::BackingOff,
            (None, false) => RoleState::Stopped,
        };
        self.status.send_modify(|status| {
            status.pid = pid;
            status.state = state;
            status.log.clone_from(&self.spec.borrow().log);
        });
    }
}
