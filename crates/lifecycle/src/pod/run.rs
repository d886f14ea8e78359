//! Where a container really stands.
//!
//! Three witnesses are heard: the shim, the last start that was asked for, and what was published last. The newest attempt
//! is the truth; of the same attempt the shim knows best. A container that was published as running and that no machine
//! knows any more has ended with its machine.

use super::{Machine, memory::StartRecord};
use orrery_api::k8s::api::core::v1::{ContainerStateTerminated, ContainerStatus as Published};
use orrery_api::k8s::apimachinery::pkg::apis::meta::v1::Time;
use orrery_api::k8s::jiff::{SignedDuration, Timestamp};
use orrery_wire::shim::{ContainerStatus as Shimmed, MachinePhase, MachineStatus};

/// Begins the message of a container that ended because its machine did.
pub(super) const MACHINE_ENDED: &str = "The pod's machine ended: ";
/// Exit code of what was killed.
const KILLED: i32 = 137;
/// Exit code of what could not be started.
const NOT_STARTED: i32 = 128;

/// Where one container stands.
///
/// ```text
///   Never --start--> Running --its process ends, or its machine--> Ended --start of the next attempt--> Running
///     +---------------- the guest refuses the start -----------------^
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Run {
    Never,
    Running { attempt: u32, started: Timestamp },
    Ended(Ended),
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) attempt: u32,
    /// The boot of the machine that it ran in, when a shim told.
    pub(super) boot: Option<u32>,
    pub(super) code: i32,
    pub(super) reason: String,
    pub(super) message: Option<String>,
    pub(super) started: Option<Timestamp>,
    pub(super) finished: Timestamp,
    pub(super) machine_ended: bool,
}

impl Ended {
    /// How long the attempt ran.
    pub(super) fn ran(&self) -> SignedDuration {
        self.started.map_or(SignedDuration::ZERO, |started| self.finished.duration_since(started))
    }
}

impl Run {
    /// The newest attempt, when there was one.
    pub(super) fn attempt(&self) -> Option<u32> {
        match self {
            Self::Never => None,
            Self::Running { attempt, .. } => Some(*attempt),
            Self::Ended(ended) => Some(ended.attempt),
        }
    }

    /// The attempt that a start would be.
    pub(super) fn next_attempt(&self) -> u32 {
        self.attempt().map_or(0, |attempt| attempt.saturating_add(1))
    }
}

/// Hears the witnesses about container `name`.
pub(super) fn observe(
    name: &str,
    machine: &Machine,
    start: Option<&StartRecord>,
    published: Option<&Published>,
    now: Timestamp,
) -> Run {
    let shim = match machine {
        Machine::Present(status) => {
            status.containers.iter().find(|c| c.name == name).map(|c| from_shim(c, status, now))
        }
        Machine::Absent | Machine::Silent => None,
    };
    let (refused, asked) = match start.map(|start| (start, start.refused.as_deref())) {
        None => (None, None),
        Some((start, Some(message))) => (Some(from_refused_start(start, message)), None),
        Some((start, None)) => (None, Some(from_start(start, machine, now))),
    };
    let published = published.map(|status| from_published(status, now));
    // `max_by_key` keeps the last of equals, so the best witness comes last.
    let witnesses = [asked, published, refused, shim].into_iter().flatten();
    witnesses.max_by_key(Run::attempt).unwrap_or(Run::Never)
}

fn from_shim(container: &Shimmed, machine: &MachineStatus, now: Timestamp) -> Run {
    let started = timestamp(container.started_at);
    let attempt = container.attempt;
    let lost = |finished| {
        let why = machine.last_end.as_ref().map_or("it is no longer there", |end| end.message.as_str());
        Run::Ended(Ended { boot: Some(container.boot), ..machine_ended(attempt, Some(started), finished, why) })
    };
    let Some(end) = &container.exit else {
        if container.boot == machine.boot {
            return Run::Running { attempt, started };
        }
        return lost(machine.last_end.as_ref().map_or(now, |end| timestamp(end.at)));
    };
    let finished = timestamp(end.at).max(started);
    if end.machine_ended {
        return lost(finished);
    }
    let reason = match (end.exit.out_of_memory, end.exit.code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) => "Error",
    };
    Run::Ended(Ended {
        attempt,
        boot: Some(container.boot),
        code: end.exit.code,
        reason: reason.to_owned(),
        message: end.exit.message.clone(),
        started: Some(started),
        finished,
        machine_ended: false,
    })
}

/// A start that was carried out and that no shim has shown yet.
fn from_start(start: &StartRecord, machine: &Machine, now: Timestamp) -> Run {
    let (attempt, started) = (start.attempt, whole_seconds(start.at));
    let runs = match machine {
        Machine::Silent => true,
        Machine::Present(status) => status.phase == MachinePhase::Running,
        Machine::Absent => false,
    };
    if runs {
        return Run::Running { attempt, started };
    }
    let why = "the host no longer holds it";
    Run::Ended(machine_ended(attempt, Some(started), whole_seconds(now).max(started), why))
}

fn from_refused_start(start: &StartRecord, message: &str) -> Run {
    Run::Ended(Ended {
        attempt: start.attempt,
        boot: None,
        code: NOT_STARTED,
        reason: "StartError".to_owned(),
        message: Some(message.to_owned()),
        started: Some(whole_seconds(start.at)),
        finished: whole_seconds(start.at),
        machine_ended: false,
    })
}

fn from_published(status: &Published, now: Timestamp) -> Run {
    let attempt = u32::try_from(status.restart_count).unwrap_or(0);
    let state = status.state.clone().unwrap_or_default();
    if let Some(running) = state.running {
        let why = "the host no longer holds it";
        return Run::Ended(machine_ended(attempt, running.started_at.map(|at| at.0), whole_seconds(now), why));
    }
    let last = status.last_state.clone().unwrap_or_default();
    match state.terminated.or(last.terminated) {
        Some(terminated) => Run::Ended(from_terminated(attempt, terminated, now)),
        None => Run::Never,
    }
}

fn from_terminated(attempt: u32, terminated: ContainerStateTerminated, now: Timestamp) -> Ended {
    Ended {
        attempt,
        boot: None,
        code: terminated.exit_code,
        reason: terminated.reason.unwrap_or_default(),
        machine_ended: terminated.message.as_deref().is_some_and(|message| message.starts_with(MACHINE_ENDED)),
        message: terminated.message,
        started: terminated.started_at.map(|at| at.0),
        finished: terminated.finished_at.map_or(whole_seconds(now), |at| at.0),
    }
}

fn machine_ended(attempt: u32, started: Option<Timestamp>, finished: Timestamp, why: &str) -> Ended {
    Ended {
        attempt,
        boot: None,
        code: KILLED,
        reason: "Error".to_owned(),
        message: Some(format!("{MACHINE_ENDED}{why}")),
        started,
        finished,
        machine_ended: true,
    }
}

/// Kubernetes keeps whole seconds; what is published must read back as it was written.
pub(super) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

pub(super) fn time(at: Timestamp) -> Time {
    Time(whole_seconds(at))
}

fn timestamp(unix_nanos: u64) -> Timestamp {
    i64::try_from(unix_nanos / 1_000_000_000).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or_default()
}
