//! What outlives a shim: `status.json` in the machine's state directory.

use orrery_wire::{
    guest::ProcessExit,
    shim::{ContainerExit, ContainerStatus, MachineEnd},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

const VERSION: u32 = 1;
const FILE: &str = "status.json";
/// As a shell reports SIGKILL, which is what happens to processes whose machine goes.
const KILLED_CODE: i32 = 137;
const SIGKILL: i32 = 9;

/// The boots of a machine and the newest attempts of its containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    pub(crate) boot: u32,
    pub(crate) booted_at: u64,
    /// Whether a boot has begun and its end was not noted.
    #[serde(default)]
    open: bool,
    /// How the newest boot that has ended did; none before the first end.
    pub(crate) last_end: Option<MachineEnd>,
    pub(crate) containers: Vec<ContainerStatus>,
}

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is damaged; delete it when the machine's history does not matter")]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{path} is of version {found}, this build reads {VERSION}; run the newer build")]
    Version { path: PathBuf, found: u32 },
}

impl Record {
    /// Reads what an earlier shim left. A boot that it left open has ended with it.
    pub(crate) fn load(state_directory: &Path, now: u64) -> Result<Self, RecordError> {
        let path = state_directory.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { version: VERSION, ..Self::default() });
            }
            Err(source) => return Err(RecordError::Read { path, source }),
        };
        let mut record: Self =
            serde_json::from_slice(&bytes).map_err(|source| RecordError::Damaged { path: path.clone(), source })?;
        if record.version != VERSION {
            return Err(RecordError::Version { path, found: record.version });
        }
        if record.open {
            record.end_boot(now, false, "the machine's shim ended, and the machine with it".into());
        }
        Ok(record)
    }

    /// Writes the record so that either the old or the new one is there after a crash.
    pub(crate) fn save(&self, state_directory: &Path) -> io::Result<()> {
        let temporary = state_directory.join("status.json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(temporary, state_directory.join(FILE))?;
        File::open(state_directory)?.sync_all()
    }

    /// A new boot begins.
    pub(crate) fn begin_boot(&mut self, now: u64) {
        self.boot += 1;
        self.booted_at = now;
        self.open = true;
    }

    /// The boot has ended; what still ran has ended with it.
    pub(crate) fn end_boot(&mut self, now: u64, requested: bool, message: String) {
        for container in self.containers.iter_mut().filter(|container| container.exit.is_none()) {
            container.exit = Some(ended_with_machine(now));
        }
        self.open = false;
        self.last_end = Some(MachineEnd { at: now, requested, message });
    }

    /// The newest attempt of a container.
    pub(crate) fn container(&self, name: &str) -> Option<&ContainerStatus> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// Takes a new attempt in the place of the container's last one.
    pub(crate) fn put_container(&mut self, status: ContainerStatus) {
        match self.containers.iter_mut().find(|container| container.name == status.name) {
            Some(place) => *place = status,
            None => self.containers.push(status),
        }
    }

    /// Notes the end of an attempt, unless one is noted.
    pub(crate) fn end_container(&mut self, name: &str, attempt: u32, exit: ContainerExit) {
        let attempt = self.containers.iter_mut().find(|entry| entry.name == name && entry.attempt == attempt);
        if let Some(container) = attempt
            && container.exit.is_none()
        {
            container.exit = Some(exit);
        }
    }
}

/// How a process ends whose machine does.
pub(crate) fn killed(now: u64) -> ProcessExit {
    ProcessExit { code: KILLED_CODE, signal: Some(SIGKILL), out_of_memory: false, unix_nanos: now, message: None }
}

/// How a container ends whose machine does.
pub(crate) fn ended_with_machine(now: u64) -> ContainerExit {
    ContainerExit { exit: killed(now), at: now, machine_ended: true }
}

/// What may be answered to a wish to start an attempt of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartDecision {
    /// Start it.
    Start,
    /// It was started, and may even have ended.
    Already,
    /// It is being started: wait for the outcome.
    Wait,
    /// Not this attempt, or not now.
    Refuse(String),
}

/// May `attempt` of a container be started, given its newest attempt and the one that is being started?
pub(crate) fn decide_start(newest: Option<&ContainerStatus>, starting: Option<u32>, attempt: u32) -> StartDecision {
    match (starting, newest) {
        (Some(other), _) if other == attempt => StartDecision::Wait,
        (Some(other), _) => StartDecision::Refuse(format!("attempt {other} is being started")),
        (None, None) => StartDecision::Start,
        (None, Some(last)) if last.attempt == attempt => StartDecision::Already,
        (None, Some(last)) if last.attempt > attempt => {
            StartDecision::Refuse(format!("attempt {} was started since", last.attempt))
        }
        (None, Some(last)) if last.exit.is_none() => {
            StartDecision::Refuse(format!("attempt {} still runs; end it first", last.attempt))
        }
        (None, Some(_)) => StartDecision::Start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, attempt: u32, exit: Option<ContainerExit>) -> ContainerStatus {
        ContainerStatus { name: name.into(), attempt, boot: 1, started_at: 5, exit, log_file: "x".into() }
    }

    #[test]
    fn a_boot_left_open_by_a_dead_shim_has_ended_with_its_containers() {
        let directory = tempfile::tempdir().unwrap();
        let mut record = Record::load(directory.path(), 1).unwrap();
        assert_eq!(record.boot, 0);
        record.begin_boot(10);
        record.put_container(container("web", 0, None));
        record.put_container(container("job", 2, Some(ended_with_machine(3))));
        record.save(directory.path()).unwrap();
        let loaded = Record::load(directory.path(), 99).unwrap();
        assert_eq!(loaded.container("web").unwrap().exit, Some(ended_with_machine(99)));
        assert_eq!(loaded.container("job").unwrap().exit, Some(ended_with_machine(3)));
        assert_eq!(loaded.last_end.as_ref().map(|end| (end.at, end.requested)), Some((99, false)));
        // Reading again changes nothing more.
        loaded.save(directory.path()).unwrap();
        assert_eq!(Record::load(directory.path(), 200).unwrap(), loaded);
    }

    #[test]
    fn a_damaged_or_newer_record_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        fs::write(&path, "{").unwrap();
        assert!(matches!(Record::load(directory.path(), 1), Err(RecordError::Damaged { .. })));
        let newer = Record { version: 2, ..Record::default() };
        fs::write(&path, serde_json::to_vec(&newer).unwrap()).unwrap();
        assert!(matches!(Record::load(directory.path(), 1), Err(RecordError::Version { found: 2, .. })));
    }

    #[test]
    fn attempts_only_count_up_and_never_overlap() {
        let running = container("web", 3, None);
        let ended = container("web", 3, Some(ended_with_machine(1)));
        let refused = |decision| matches!(decision, StartDecision::Refuse(_));
        assert_eq!(decide_start(None, None, 0), StartDecision::Start);
        assert_eq!(decide_start(Some(&running), None, 3), StartDecision::Already);
        assert_eq!(decide_start(Some(&ended), None, 3), StartDecision::Already);
        assert_eq!(decide_start(Some(&ended), None, 4), StartDecision::Start);
        assert_eq!(decide_start(Some(&ended), Some(4), 4), StartDecision::Wait);
        assert!(refused(decide_start(Some(&running), None, 4)));
        assert!(refused(decide_start(Some(&ended), None, 2)));
        assert!(refused(decide_start(Some(&ended), Some(4), 5)));
    }

    #[test]
    fn the_first_end_of_an_attempt_counts() {
        let mut record = Record::default();
        record.put_container(container("web", 0, None));
        let exit = ContainerExit { exit: killed(7), at: 7, machine_ended: false };
        record.end_container("web", 1, ended_with_machine(5));
        record.end_container("web", 0, exit.clone());
        record.end_container("web", 0, ended_with_machine(9));
        assert_eq!(record.container("web").unwrap().exit, Some(exit));
    }
}
