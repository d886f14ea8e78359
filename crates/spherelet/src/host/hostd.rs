//! Questions to `hostd`.

use super::link::{CallError, call};
use orrery_wire::host::{
    Admission, Enrolment, Facts, HostReply, HostRequest, MachineSpec, MachineSummary, VERSIONS, WarmMachines,
};
use std::{path::PathBuf, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(30);

/// The way to `hostd`. Each question has a connection of its own, so that nothing is left to be put right when `hostd`
/// ends and comes back.
#[derive(Debug, Clone)]
pub(crate) struct Hostd {
    socket: PathBuf,
}

/// What became of a request to admit a machine.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// The machine is the host's.
    Yes(Admission),
    /// The host cannot take it.
    No { reason: String, message: String },
}

impl Hostd {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    async fn ask(&self, request: &HostRequest, doing: &'static str) -> Result<HostReply, CallError> {
        let (reply, _) = call(&self.socket, VERSIONS, request, doing, TIMEOUT).await?;
        match reply {
            HostReply::Failed { message } => Err(CallError::Failed { doing, reason: String::new(), message }),
            other => Ok(other),
        }
    }

    pub(crate) async fn facts(&self) -> Result<Facts, CallError> {
        let doing = "ask hostd what the host is";
        match self.ask(&HostRequest::Facts, doing).await? {
            HostReply::Facts(facts) => Ok(facts),
            _ => Err(CallError::Unexpected { doing }),
        }
    }

    pub(crate) async fn admit(&self, spec: &MachineSpec) -> Result<Admitted, CallError> {
        let doing = "ask hostd to admit the machine";
        match self.ask(&HostRequest::Admit(Box::new(spec.clone())), doing).await? {
            HostReply::Admitted(admission) => Ok(Admitted::Yes(admission)),
            HostReply::Refused { reason, message } => Ok(Admitted::No { reason, message }),
            _ => Err(CallError::Unexpected { doing }),
        }
    }

    pub(crate) async fn release(&self, id: &str) -> Result<(), CallError> {
        let doing = "ask hostd to release the machine";
        match self.ask(&HostRequest::Release { id: id.to_owned() }, doing).await? {
            HostReply::Released => Ok(()),
            _ => Err(CallError::Unexpected { doing }),
        }
    }

    pub(crate) async fn list(&self) -> Result<Vec<MachineSummary>, CallError> {
        let doing = "ask hostd for its machines";
        match self.ask(&HostRequest::List, doing).await? {
            HostReply::Machines(machines) => Ok(machines),
            _ => Err(CallError::Unexpected { doing }),
        }
    }

    pub(crate) async fn warm(&self) -> Result<WarmMachines, CallError> {
        let doing = "ask hostd for its warm machines";
        match self.ask(&HostRequest::Warm, doing).await? {
            HostReply::Warm(warm) => Ok(warm),
            _ => Err(CallError::Unexpected { doing }),
        }
    }

    pub(crate) async fn enrolment(&self) -> Result<Option<Enrolment>, CallError> {
        let doing = "ask hostd for the node's credentials";
        match self.ask(&HostRequest::Enrolment, doing).await? {
            HostReply::Enrolment(enrolment) => Ok(enrolment),
            _ => Err(CallError::Unexpected { doing }),
        }
    }
}
