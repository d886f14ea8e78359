//! Ctrl-C and SIGTERM, so that a benchmark that is broken off still cleans up.
//!
//! The signal does not end this program. It is passed on to the children that run, no new one is started, and so the
//! step under way fails and everything is removed as after any failure.

use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    io,
    process::{Child, Command},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
};

/// Starts children that end when this program is told to.
#[derive(Debug, Clone, Default)]
pub(super) struct Children(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    stopping: bool,
    running: Vec<Weak<OwnedFd>>,
}

/// A child; killed, if it still runs, when this is dropped.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) child: Child,
    _process: Arc<OwnedFd>,
}

impl Children {
    /// From now on signals end children and not this program.
    pub(super) fn guard() -> io::Result<Self> {
        let children = Self::default();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let told = children.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            signals.forever().for_each(|_| told.stop());
        })?;
        Ok(children)
    }

    /// Starts a child, unless this program was told to end.
    pub(super) fn start(&self, command: &mut Command) -> io::Result<Kept> {
        let mut table = self.table();
        if table.stopping {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "told to end by a signal"));
        }
        let mut child = command.spawn()?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(process) => {
                let process = Arc::new(process);
                table.running.retain(|process| process.strong_count() > 0);
                table.running.push(Arc::downgrade(&process));
                Ok(Kept { child, _process: process })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    /// Whether this program was told to end.
    pub(super) fn told_to_end(&self) -> bool {
        self.table().stopping
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        let mut table = self.table();
        table.stopping = true;
        for process in table.running.drain(..).filter_map(|process| process.upgrade()) {
            // One that has ended needs no signal.
            // Not SIGINT: a program that was started in the background may ignore that one.
            let _ = pidfd_send_signal(&process, Signal::TERM);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn when_told_to_end_children_are_interrupted_and_no_more_are_started() {
        let children = Children::default();
        let mut sleeper = children.start(Command::new("sleep").arg("600")).unwrap();
        children.stop();
        assert_eq!(sleeper.child.wait().unwrap().signal(), Some(SIGTERM));
        let refused = children.start(&mut Command::new("true")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Interrupted);
        assert!(children.told_to_end() && !Children::default().told_to_end());
    }
}
