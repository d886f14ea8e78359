//! The containers of the current boot.

use super::{Driver, Reply, boot::Starting, now};
use crate::{
    container::{self, Attempt, ContainerHandle, GuestHandle},
    failure::Failure,
    phase::State,
    record::{StartDecision, decide_start},
    spool::log_file,
};
use orrery_wire::{
    guest::{ContainerSpec, ProcessExit, reason as guest_reason},
    shim::{ContainerExit, ContainerStatus, reason},
};

/// The longest name of a container, as Kubernetes has it.
const MAX_NAME: usize = 63;

impl Driver {
    pub(super) fn start_container(&mut self, spec: ContainerSpec, attempt: u32, reply: Reply) {
        let boot = match (&mut self.boot, self.state) {
            (Some(boot), State::Running) => boot,
            (_, State::Off | State::Booting | State::Running | State::Stopping(_)) => {
                return self.answer(reply, Err(not_running()));
            }
        };
        // The name becomes part of a path.
        if !is_name(&spec.name) {
            let text = format!("{:?} is not a container's name: use up to 63 of a-z, 0-9 and -", spec.name);
            return self.answer(reply, Err(Failure::new(guest_reason::BAD_STATE, text)));
        }
        let starting = boot.starting.get_mut(&spec.name);
        let newest = self.record.container(&spec.name);
        match decide_start(newest, starting.as_ref().map(|starting| starting.attempt), attempt) {
            StartDecision::Already => self.answer(reply, Ok(())),
            StartDecision::Wait => {
                starting.expect("who waits has been found to be starting").waiting.push(reply);
            }
            StartDecision::Refuse(text) => self.answer(reply, Err(Failure::new(guest_reason::BAD_STATE, text))),
            StartDecision::Start => {
                boot.starting.insert(spec.name.clone(), Starting { attempt, waiting: vec![reply] });
                let (number, link) = (boot.number, boot.link.clone());
                let log_directory = self.config.log_directory.clone();
                let reporter = self.reporter(number);
                tokio::spawn(container::run(Attempt { spec, attempt, log_directory, link, reporter }));
            }
        }
    }

    pub(super) fn find_container(&self, name: &str) -> Result<ContainerHandle, Failure> {
        let boot = self.boot.as_ref().filter(|boot| boot.exit.is_none()).ok_or_else(not_running)?;
        boot.running
            .get(name)
            .cloned()
            .ok_or_else(|| Failure::new(guest_reason::NOT_FOUND, format!("no container {name:?} runs in this machine")))
    }

    /// The running containers, by their streams.
    pub(super) fn streams(&self) -> Vec<(u32, String)> {
        let running = self.boot.iter().flat_map(|boot| &boot.running);
        running.map(|(name, container)| (container.stream, name.clone())).collect()
    }

    pub(super) fn find_guest(&self) -> Result<GuestHandle, Failure> {
        let boot = self.boot.as_ref().filter(|boot| self.state == State::Running && boot.exit.is_none());
        let boot = boot.ok_or_else(not_running)?;
        Ok(GuestHandle { link: boot.link.clone(), reporter: self.reporter(boot.number) })
    }

    pub(super) fn container_started(&mut self, name: &str, attempt: u32, handle: ContainerHandle, at: u64) {
        let Some(boot) = &mut self.boot else { return };
        let log_file = log_file(name, attempt);
        let status =
            ContainerStatus { name: name.into(), attempt, boot: boot.number, started_at: at, exit: None, log_file };
        self.record.put_container(status);
        boot.running.insert(name.into(), handle);
        let waiting = boot.starting.remove(name).into_iter().flat_map(|starting| starting.waiting);
        self.outcomes.extend(waiting.map(|reply| (reply, Ok(()))));
    }

    pub(super) fn container_start_failed(&mut self, name: &str, failure: &Failure) {
        let starting = self.boot.as_mut().and_then(|boot| boot.starting.remove(name));
        let waiting = starting.into_iter().flat_map(|starting| starting.waiting);
        self.outcomes.extend(waiting.map(|reply| (reply, Err(failure.clone()))));
    }

    pub(super) fn container_ended(&mut self, name: &str, attempt: u32, exit: ProcessExit, machine_ended: bool) {
        self.record.end_container(name, attempt, ContainerExit { exit, at: now(), machine_ended });
        if let Some(boot) = &mut self.boot {
            boot.running.remove(name);
        }
    }
}

fn not_running() -> Failure {
    Failure::new(reason::NOT_RUNNING, "the machine is not running; power it on first")
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_leave_the_log_directory_is_no_name() {
        for (name, expected) in
            [("web-1", true), ("", false), ("..", false), ("a/b", false), ("A", false), ("nul\0", false)]
        {
            assert_eq!(is_name(name), expected, "{name:?}");
        }
        assert!(is_name(&"x".repeat(63)) && !is_name(&"x".repeat(64)));
    }
}
