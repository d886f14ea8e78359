//! What is remembered of a pod between two plans and is not published.

use crate::pull::Pulls;
use orrery_api::k8s::jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// The first wait between two starts of a crashing container.
pub(super) const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(10);
/// The longest wait between two starts of a crashing container.
pub(super) const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(300);
/// A container that ran this long is no longer seen as crashing.
pub(super) const HEALTHY_RUN: SignedDuration = SignedDuration::from_secs(600);

/// What is remembered of a pod. The default is what is known after a fresh start; losing it costs waits, not safety.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// How long the next restart of each container waits.
    pub waits: BTreeMap<String, SignedDuration>,
    /// The newest start of each container that was asked for since the process began.
    pub starts: BTreeMap<String, StartRecord>,
    /// Why the host will not take the pod's machine.
    pub refusal: Option<Refusal>,
    /// Boots that failed or ended at once, one after another.
    pub failed_boots: Option<FailedBoots>,
    /// The pulls of its images.
    pub pulls: Pulls,
    /// How far the end of each container has come that was asked to end.
    pub endings: BTreeMap<String, Ending>,
    /// The attempt of each container whose hook after its start failed.
    pub failed_starts: BTreeMap<String, u32>,
}

/// A start that was asked for. It closes the gap between a start and the first time that it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRecord {
    /// The attempt.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
    /// Why the guest refused it, for people; none when it was carried out.
    pub refused: Option<String>,
}

/// The host will not take the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One CamelCase word, as the kubelet has it: `OutOfmemory`.
    pub reason: String,
    /// What is missing and what would help, for people.
    pub message: String,
}

/// Boots that failed, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedBoots {
    /// How many.
    pub count: u32,
    /// When the last one failed.
    pub at: Timestamp,
    /// Why, for people.
    pub message: String,
}

/// How far the end of an attempt of a container has come.
///
/// ```text
///   runs --Action::Stop--> asked --deadline--> Action::Kill --> killed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// The attempt.
    pub attempt: u32,
    /// When it is killed at the latest.
    pub deadline: Timestamp,
    /// When it was killed.
    pub killed: Option<Timestamp>,
}

impl Memory {
    /// Remembers a start of a container; `after` is as [`crate::pod::Action::Start`] has it.
    pub fn started(&mut self, container: &str, start: StartRecord, after: Option<SignedDuration>) {
        if let Some(run) = after {
            self.restarted(container, run);
        } else if start.refused.is_some() {
            self.restarted(container, SignedDuration::ZERO);
        }
        self.starts.insert(container.to_owned(), start);
    }

    /// Remembers that attempt `attempt` of a container was asked to end by `deadline`.
    pub fn asked_to_end(&mut self, container: &str, attempt: u32, deadline: Timestamp) {
        self.endings.insert(container.to_owned(), Ending { attempt, deadline, killed: None });
    }

    /// Remembers that attempt `attempt` of a container was killed.
    pub fn killed(&mut self, container: &str, attempt: u32, at: Timestamp) {
        self.endings.insert(container.to_owned(), Ending { attempt, deadline: at, killed: Some(at) });
    }

    /// Remembers that the machine did not boot.
    pub fn boot_failed(&mut self, message: String, at: Timestamp) {
        let count = self.failed_boots.as_ref().map_or(0, |failed| failed.count).saturating_add(1);
        self.failed_boots = Some(FailedBoots { count, at, message });
    }

    /// When the machine may be booted again.
    #[must_use]
    pub fn next_boot(&self) -> Option<Timestamp> {
        self.failed_boots.as_ref().map(|failed| {
            let doublings = failed.count.saturating_sub(1).min(5);
            failed.at + FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT)
        })
    }

    /// How long container `name` waits after an end, by `run` how long it had run. None before the second start in a row.
    #[must_use]
    pub fn wait_after(&self, name: &str, run: SignedDuration) -> Option<SignedDuration> {
        if run >= HEALTHY_RUN { None } else { self.waits.get(name).copied() }
    }

    /// Remembers a restart of container `name`, so that the next one waits longer.
    pub fn restarted(&mut self, name: &str, run: SignedDuration) {
        let next = match self.wait_after(name, run) {
            None => FIRST_WAIT,
            Some(wait) => wait.saturating_mul(2).min(LONGEST_WAIT),
        };
        self.waits.insert(name.to_owned(), next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_five_minutes_and_begin_anew_after_a_healthy_run() {
        let mut memory = Memory::default();
        let crash = SignedDuration::from_secs(1);
        let mut waits = Vec::new();
        for _ in 0..8 {
            waits.push(memory.wait_after("a", crash).map(|wait| wait.as_secs()));
            memory.restarted("a", crash);
        }
        assert_eq!(waits, [None, Some(10), Some(20), Some(40), Some(80), Some(160), Some(300), Some(300)]);
        assert_eq!(memory.wait_after("a", HEALTHY_RUN), None);
        memory.restarted("a", HEALTHY_RUN);
        assert_eq!(memory.wait_after("a", crash), Some(FIRST_WAIT));
        assert_eq!(memory.wait_after("b", crash), None);
    }

    #[test]
    fn boots_that_fail_are_tried_less_and_less_often() {
        let mut memory = Memory::default();
        assert_eq!(memory.next_boot(), None);
        for expected in [10, 20, 40, 80, 160, 300, 300] {
            memory.boot_failed("QEMU ended".into(), Timestamp::UNIX_EPOCH);
            assert_eq!(memory.next_boot().unwrap().as_second(), expected);
        }
    }
}
