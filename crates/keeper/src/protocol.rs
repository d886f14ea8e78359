//! What the command line and the keeper say to each other: length-prefixed JSON, one answer for each request. Both are of
//! one build (`orrery up` replaces a keeper of another build), so there is no agreement on a version.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A role, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSpec {
    /// Such as `manager` or `host-1/hostd`; what comes before `/` is the group.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Where its output goes, appended.
    pub log: PathBuf,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_grace_seconds: u32,
}

impl RoleSpec {
    /// Whether `name` means this role: its own name or its group's.
    #[must_use]
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.name.split_once('/').is_some_and(|(group, _)| group == name)
    }
}

/// What a keeper can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Adds a role and starts it, unless it is held down; a changed specification restarts it.
    Ensure(RoleSpec),
    /// Stops the roles that answer to the name and holds them down.
    Stop {
        /// A role or a group.
        name: String,
    },
    /// Lets go of the roles that answer to the name and starts them.
    Start {
        /// A role or a group.
        name: String,
    },
    /// How the roles are.
    Status,
    /// Stops every role, last added first, and ends the keeper. Nothing is held down by this.
    Shutdown,
}

/// The keeper's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Done,
    /// How the roles are, in the order in which they were added.
    Status(Vec<RoleStatus>),
    /// Not done.
    Failed {
        /// Why, and what to do.
        message: String,
    },
}

/// How a role is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStatus {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: RoleState,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// How often it was started again since the keeper began.
    pub restarts: u32,
    /// How it last ended, for people.
    pub last_end: Option<String>,
    /// Its log.
    pub log: PathBuf,
}

/// Where a role stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoleState {
    /// Its process runs.
    Running,
    /// It ended and is started again in a moment.
    BackingOff,
    /// It is held down until it is started.
    Stopped,
}
