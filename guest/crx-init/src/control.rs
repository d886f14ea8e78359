//! The shim's requests, one function each. A request that fails is answered and changes nothing that would stand in the
//! way of asking again.

use crate::agent::{Agent, Container, Shutdown};
use crate::cgroup::Cgroup;
use crate::child::{NewContainer, Place};
use crate::inside::Openness;
use crate::launch::{Target, launch, launch_forwarder, launch_reaper};
use crate::process::Process;
use crate::refusal::Refusal;
use crate::rootfs::Rootfs;
use crate::{cgroup, devices, identity, rootfs, stats, sys, volume};
use orrery_wire::guest::{
    ContainerSpec, ExecSpec, FromGuest, GuestRequest, Identity, ProcessSpec, ToGuest, VERSIONS, reason,
};
use orrery_wire::hello::{Hello, agree};
use orrery_wire::stats::GuestStats;
use rustix::fd::AsFd;
use rustix::termios::Winsize;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// How long killed processes may take to be reaped, and their output to be taken, before the power goes.
const LAST_EXITS: Duration = Duration::from_secs(2);

/// What a request leads to.
enum Outcome {
    /// Carried out.
    Done,
    /// What was asked for.
    Stats(Box<GuestStats>),
    /// Under way: the answer comes with a process's start or the machine's end.
    Later,
}

impl Agent {
    /// Takes one control message.
    pub(crate) fn take_control(&mut self, payload: &[u8]) {
        match serde_json::from_slice(payload) {
            Ok(ToGuest::Hello(hello)) => self.hello(&hello),
            Ok(ToGuest::Request { id, request }) => {
                let answer = match self.carry_out(id, request) {
                    Ok(Outcome::Stats(stats)) => FromGuest::Stats { id, stats },
                    Ok(Outcome::Later) => return,
                    Ok(Outcome::Done) => FromGuest::Done { id, pid: None },
                    Err(Refusal { reason, message }) => FromGuest::Failed { id, reason, message },
                };
                self.send(&answer);
            }
            Err(error) => {
                let message = format!("the request cannot be understood: {error}");
                match request_id(payload) {
                    Some(id) => self.send(&FromGuest::Failed { id, reason: reason::BAD_REQUEST.to_owned(), message }),
                    None => crate::console::say(&message),
                }
            }
        }
    }

    fn hello(&mut self, hello: &Hello) {
        let uptime = clock_gettime(ClockId::Boottime);
        self.send(&FromGuest::Ready {
            version: agree(VERSIONS, &hello.versions),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: uptime.tv_sec as f64 + uptime.tv_nsec as f64 / 1e9,
        });
    }

    fn carry_out(&mut self, id: u64, request: GuestRequest) -> Result<Outcome, Refusal> {
        if self.shutdown.is_some() {
            return Err(Refusal::new(reason::BAD_STATE, "the machine is powering off"));
        }
        match request {
            GuestRequest::Configure(identity) => self.configure(&identity),
            GuestRequest::Reset => self.reset(),
            GuestRequest::Volume(request) => volume::carry_out(&request).map(|()| Outcome::Done),
            GuestRequest::StartContainer(spec) => self.start_container(id, *spec),
            GuestRequest::Exec(spec) => self.exec(id, &spec),
            GuestRequest::Forward { stream, port } => self.forward(id, stream, port),
            GuestRequest::Signal { stream, signal, all } => self.signal(stream, signal, all),
            GuestRequest::Resize { stream, rows, columns } => self.resize(stream, rows, columns),
            GuestRequest::RemoveContainer { stream } => self.remove_ended(stream),
            GuestRequest::Stats => Ok(Outcome::Stats(Box::new(self.stats()))),
            GuestRequest::SetClock { unix_nanos } => identity::set_clock(unix_nanos).map(|()| Outcome::Done),
            GuestRequest::PowerOff => {
                for container in self.containers.values() {
                    // The power goes either way.
                    if let Err(refusal) = container.cgroup.kill() {
                        crate::console::say(&refusal.to_string());
                    }
                }
                self.shutdown = Some(Shutdown { request: id, deadline: Instant::now() + LAST_EXITS });
                Ok(Outcome::Later)
            }
        }
    }

    fn configure(&mut self, identity: &Identity) -> Result<Outcome, Refusal> {
        if self.configured {
            return Err(Refusal::new(reason::BAD_STATE, "the machine has its identity already"));
        }
        devices::take(identity)?;
        identity::apply(identity)?;
        cgroup::bound_processes(identity.most_processes)?;
        self.configured = true;
        Ok(Outcome::Done)
    }

    fn reset(&mut self) -> Result<Outcome, Refusal> {
        if !self.containers.is_empty() || !self.processes.is_empty() {
            return Err(Refusal::new(reason::BAD_STATE, "the machine has containers"));
        }
        volume::forget_all()?;
        rootfs::unmount_images()?;
        devices::release()?;
        self.configured = false;
        Ok(Outcome::Done)
    }

    fn stats(&self) -> GuestStats {
        stats::read(self.containers.iter().map(|(stream, container)| (*stream, container.rootfs.usage())))
    }

    fn start_container(&mut self, id: u64, spec: ContainerSpec) -> Result<Outcome, Refusal> {
        if !self.configured {
            return Err(Refusal::new(reason::BAD_STATE, "the machine has no identity yet: send Configure first"));
        }
        self.check_stream_is_free(spec.stream)?;
        if spec.shares_processes && self.reaper.is_none() {
            self.reaper = Some(launch_reaper()?);
        }
        let rootfs = Rootfs::prepare(spec.stream, &spec.image_serial, spec.writable_bytes)?;
        let cgroup = match Cgroup::create(&spec) {
            Ok(cgroup) => cgroup,
            Err(refusal) => {
                rootfs.remove();
                return Err(refusal);
            }
        };
        let ContainerSpec { stream, process, .. } = spec;
        let place = Place::NewContainer(NewContainer {
            root: rootfs.root(),
            etc: rootfs.etc(),
            read_only: spec.read_only_root,
            openness: Openness { machine: spec.privileged, proc: spec.unmasked_proc },
            sysctls: spec.sysctls,
            mounts: spec.mounts,
            termination_message: spec.termination_message_path.map(|path| (rootfs.termination_message(), path)),
        });
        let shared = self.reaper.as_ref().filter(|_| spec.shares_processes).map(AsFd::as_fd);
        let target = Target::New { place, shared, own: self.own.as_fd() };
        let born = launch(target, &process, cgroup.directory.as_fd());
        let (tty, stdin) = (process.tty, process.stdin);
        self.containers.insert(stream, Container { rootfs, cgroup, process });
        match born {
            Ok(born) => {
                self.processes.insert(stream, Process::new(stream, stream, id, born, tty, stdin));
                Ok(Outcome::Later)
            }
            Err(refusal) => {
                self.remove_container(stream);
                Err(refusal)
            }
        }
    }

    fn exec(&mut self, id: u64, spec: &ExecSpec) -> Result<Outcome, Refusal> {
        self.check_stream_is_free(spec.stream)?;
        let gone = || Refusal::new(reason::NOT_FOUND, format!("no container runs with stream {}", spec.container));
        let container = self.containers.get(&spec.container).ok_or_else(gone)?;
        let first = self.processes.get(&spec.container).filter(|process| process.is_running()).ok_or_else(gone)?;
        let process = with_defaults(&spec.process, &container.process);
        let target = Target::Existing { first_process: first.pidfd.as_fd(), own: self.own.as_fd() };
        let oom_kills_before = container.cgroup.oom_kills();
        let born = launch(target, &process, container.cgroup.directory.as_fd())?;
        let mut process = Process::new(spec.stream, spec.container, id, born, process.tty, process.stdin);
        process.oom_kills_before = oom_kills_before;
        self.processes.insert(spec.stream, process);
        Ok(Outcome::Later)
    }

    fn forward(&mut self, id: u64, stream: u32, port: u16) -> Result<Outcome, Refusal> {
        self.check_stream_is_free(stream)?;
        let born = launch_forwarder(port)?;
        self.processes.insert(stream, Process::new(stream, stream, id, born, false, true));
        Ok(Outcome::Later)
    }

    fn check_stream_is_free(&self, stream: u32) -> Result<(), Refusal> {
        if stream == orrery_wire::frame::CONTROL_STREAM {
            return Err(Refusal::new(reason::BAD_REQUEST, "stream 0 is for control messages"));
        }
        if self.processes.contains_key(&stream) || self.containers.contains_key(&stream) {
            return Err(Refusal::new(reason::BAD_STATE, format!("stream {stream} is in use")));
        }
        Ok(())
    }

    fn signal(&self, stream: u32, signal: i32, all: bool) -> Result<Outcome, Refusal> {
        if !(1..=64).contains(&signal) {
            return Err(Refusal::new(reason::BAD_REQUEST, format!("{signal} is no signal number from 1 to 64")));
        }
        let gone = || Refusal::new(reason::NOT_FOUND, format!("no process runs with stream {stream}"));
        let process = self.processes.get(&stream).filter(|process| process.is_alive()).ok_or_else(gone)?;
        if all {
            let container = self.containers.get(&process.container).ok_or_else(gone)?;
            return container.cgroup.signal_all(signal).map(|()| Outcome::Done);
        }
        // The process is not reaped yet, so its number is still its own.
        let sent = sys::kill(process.pid, signal);
        sent.map_err(|error| Refusal::new(reason::SYSTEM_ERROR, format!("sending signal {signal}: {error}")))?;
        Ok(Outcome::Done)
    }

    fn resize(&mut self, stream: u32, rows: u16, columns: u16) -> Result<Outcome, Refusal> {
        let gone = || Refusal::new(reason::NOT_FOUND, format!("no process runs with stream {stream}"));
        let process = self.processes.get_mut(&stream).filter(|process| process.is_alive()).ok_or_else(gone)?;
        process.resize(Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 });
        Ok(Outcome::Done)
    }

    fn remove_ended(&mut self, stream: u32) -> Result<Outcome, Refusal> {
        if self.processes.contains_key(&stream) {
            let message = format!("the container with stream {stream} has not ended, or its output was not taken yet");
            return Err(Refusal::new(reason::BAD_STATE, message));
        }
        if !self.containers.contains_key(&stream) {
            return Err(Refusal::new(reason::NOT_FOUND, format!("there is no container with stream {stream}")));
        }
        self.remove_container(stream);
        Ok(Outcome::Done)
    }
}

/// `wanted` with the container's own settings where it has none.
fn with_defaults(wanted: &ProcessSpec, own: &ProcessSpec) -> ProcessSpec {
    let mut process = wanted.clone();
    if process.env.is_empty() {
        process.env.clone_from(&own.env);
    }
    if process.working_directory.is_empty() {
        process.working_directory.clone_from(&own.working_directory);
    }
    let confinement = &mut process.confinement;
    confinement.filter_system_calls |= own.confinement.filter_system_calls;
    confinement.no_new_privileges |= own.confinement.no_new_privileges;
    if confinement.capabilities.is_none() {
        confinement.capabilities.clone_from(&own.confinement.capabilities);
    }
    if process.user.is_empty() {
        process.user.clone_from(&own.user);
        if process.supplementary_groups.is_empty() {
            process.supplementary_groups.clone_from(&own.supplementary_groups);
        }
    }
    process
}

/// The id of a request whose rest is not understood, so that it can be answered.
fn request_id(payload: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
    value.get("request")?.get("id")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_wire::guest::Confinement;

    fn spec(user: &str, env: &[&str], directory: &str) -> ProcessSpec {
        ProcessSpec {
            argv: vec!["sh".into()],
            env: env.iter().map(|entry| (*entry).to_owned()).collect(),
            working_directory: directory.into(),
            user: user.into(),
            supplementary_groups: Vec::new(),
            tty: false,
            stdin: false,
            confinement: Confinement::default(),
        }
    }

    #[test]
    fn an_exec_takes_the_containers_settings_where_it_has_none_of_its_own() {
        let own = ProcessSpec { supplementary_groups: vec![7], ..spec("web", &["A=1"], "/srv") };
        assert_eq!(with_defaults(&spec("", &[], ""), &own), own);
        let wanted = spec("root", &["B=2"], "/");
        assert_eq!(with_defaults(&wanted, &own), wanted);
    }

    #[test]
    fn a_request_that_is_not_understood_can_still_be_answered() {
        assert_eq!(request_id(br#"{"request":{"id":7,"request":{"fly":{}}}}"#), Some(7));
        assert_eq!(request_id(br#"{"request":{"request":"power_off"}}"#), None);
        assert_eq!(request_id(b"{"), None);
    }
}
