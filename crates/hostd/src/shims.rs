//! The shims of the host's machines, for real: adopting, starting, ending.
//!
//! ```text
//!            answers on its socket ------------------> adopted
//!   ensure --+ runs, does not answer (yet) ----------> waited for; an error when it stays silent, never a second shim
//!            + does not run --- started -------------> waited for
//! ```
//! A warm machine's shim is started like another and then waits at a socket for its machine; when this process ends, the
//! socket's end tells it to go.

use crate::{
    config::{Config, GuestSize},
    connection::{Connection, ConnectionError},
    effects::{EffectError, ShimView, Shims, failed},
    intent::Intent,
    process::{self, Manner, Process},
    start::Starter,
    templates::{Key, Templates},
};
use async_trait::async_trait;
use orrery_api::names::MachineId;
use orrery_vmm::{DISK_SLOTS, NIC_SLOTS, Template};
use orrery_wire::{
    host::MachineSpec,
    machine::WARM_READY,
    shim::{ShimReply, ShimRequest, VERSIONS},
};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::{Instant, timeout},
};
use tracing::{info, warn};

/// How long a shim may take to connect and say hello.
const HELLO: Duration = Duration::from_secs(2);
/// How long a shim may take to tell where its machine stands.
const VIEW: Duration = Duration::from_secs(1);
/// How long a new shim may take until it answers.
const START: Duration = Duration::from_secs(15);
/// How long a machine may take to be warm. It has what time others leave.
const REHEARSAL: Duration = Duration::from_secs(300);
/// Pause between two attempts to reach a new shim.
const RETRY: Duration = Duration::from_millis(10);
/// What a guest gets to end in order when its machine is released: whoever released it has given it its time before.
const GRACE_SECONDS: u32 = 2;
/// How long the end of a guest may take in all.
const POWER_OFF: Duration = Duration::from_secs(10);
/// How long a shim may take to end after it agreed to.
const END: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
enum ShimError {
    #[error("it did not answer in time; its log is {log}")]
    Silent {
        log: String,
        #[source]
        last: ConnectionError,
    },
    #[error("it ended at once; its log is {log}")]
    Ended { log: String },
    #[error("it is still there after it was killed")]
    Immortal,
}

/// The shims of this host's machines.
pub(crate) struct HostShims {
    starter: Starter,
    templates: Option<Arc<Templates>>,
    /// The sockets of those that wait for their machines, by their places.
    waiting: Mutex<BTreeMap<MachineId, UnixStream>>,
}

impl HostShims {
    pub(crate) fn new(config: &Config, templates: Option<Arc<Templates>>) -> Self {
        Self { starter: Starter::new(config), templates, waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<MachineId, UnixStream>> {
        self.waiting.lock().expect("no step panics while it holds the lock: it only reads and writes a map")
    }

    /// Starts a shim that is to be warm and waits for its word.
    async fn rehearsed(&self, intent: &Intent, template: &Template) -> Result<UnixStream, EffectError> {
        let doing = || format!("warm up machine {}", intent.id);
        let socket = || format!("make the socket of warm machine {}", intent.id);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed(socket()))?;
        ours.set_nonblocking(true).map_err(failed(socket()))?;
        let mut ours = BufReader::new(UnixStream::from_std(ours).map_err(failed(socket()))?);
        self.starter
            .start(intent, &Manner { template: Some(template), makes_template: false, agent: Some(&theirs) })
            .await?;
        // Its end must read as such.
        drop(theirs);
        let mut line = String::new();
        let said = timeout(REHEARSAL, ours.read_line(&mut line)).await;
        match said {
            Ok(Ok(_)) if line.trim_end() == WARM_READY => Ok(ours.into_inner()),
            Ok(Ok(_)) => {
                let log = self.starter.layout.shim_log(intent.place()).display().to_string();
                Err(EffectError::new(doing(), ShimError::Ended { log }))
            }
            Ok(Err(error)) => Err(EffectError::new(doing(), error)),
            Err(elapsed) => Err(EffectError::new(doing(), elapsed)),
        }
    }

    async fn connect(&self, place: MachineId) -> Result<Connection, ConnectionError> {
        limited(HELLO, Connection::open(&self.starter.layout.shim_socket(place), VERSIONS)).await
    }

    fn find(&self, place: MachineId) -> Option<Process> {
        process::find_shim(&self.starter.layout.shim_pid(place), &self.starter.layout.shim_config(place))
    }

    /// Waits until the shim answers, or has ended.
    async fn wait_for(&self, place: MachineId, process: &Process) -> Result<(), ShimError> {
        let log = || self.starter.layout.shim_log(place).display().to_string();
        let answered = async {
            let deadline = Instant::now() + START;
            loop {
                match self.connect(place).await {
                    Ok(_) => return Ok(()),
                    Err(last) if Instant::now() >= deadline => return Err(ShimError::Silent { log: log(), last }),
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            }
        };
        // Both arms only look; the one that is dropped loses nothing.
        tokio::select! {
            result = answered => result,
            () = process.ended() => Err(ShimError::Ended { log: log() }),
        }
    }

    /// Starts a shim for a machine that has none.
    async fn spawn(&self, intent: &Intent) -> Result<Process, EffectError> {
        let id = intent.id;
        // A QEMU whose shim was killed ends with it; should one be left, it must not share the disks with the next.
        self.starter.groups.kill(&self.starter.group(intent));
        let template = self.templates.as_ref().and_then(|templates| templates.want(&intent.spec));
        let manner = Manner { template: template.as_ref(), ..Manner::default() };
        let child = self.starter.start(intent, &manner).await?;
        let pid = child.id();
        info!(machine = %id, pid, template = template.is_some(), "started a shim");
        pid.and_then(|pid| Process::open(pid, |_| true)).ok_or_else(|| {
            EffectError::new(
                format!("start the shim of machine {id}"),
                ShimError::Ended { log: self.starter.layout.shim_log(intent.place()).display().to_string() },
            )
        })
    }

    /// Asks a shim to power its machine off and to end. Whether it does is seen by its process.
    async fn ask_to_end(&self, place: MachineId) -> Result<(), ConnectionError> {
        let mut connection = self.connect(place).await?;
        for (request, limit) in
            [(ShimRequest::PowerOff { grace_seconds: GRACE_SECONDS }, POWER_OFF), (ShimRequest::Exit, HELLO)]
        {
            let reply: ShimReply = limited(limit, connection.call(&request)).await?;
            if let ShimReply::Failed { reason, message } = reply {
                warn!(%place, reason, message, "a shim refused to end and will be killed");
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Shims for HostShims {
    async fn ensure(&self, intent: &Intent) -> Result<(), EffectError> {
        let place = intent.place();
        if self.connect(place).await.is_ok() {
            return Ok(());
        }
        let process = match self.find(place) {
            Some(process) => process,
            None => self.spawn(intent).await?,
        };
        self.wait_for(place, &process).await.map_err(failed(format!("reach the shim of machine {}", intent.id)))
    }

    fn kind(&self, spec: &MachineSpec) -> Option<Key> {
        // The scratch disk has a slot too, and the warm machine's address is as good as any unless one is asked for.
        let fits = spec.disks.len() < usize::from(DISK_SLOTS)
            && spec.interfaces.len() == NIC_SLOTS
            && spec.interfaces.iter().all(|interface| interface.address.is_none());
        let size = GuestSize { memory_bytes: spec.memory_bytes, vcpus: spec.vcpus };
        self.templates.as_ref().filter(|_| fits)?.kind(&spec.pool, size)
    }

    fn current(&self, kinds: &[(String, GuestSize)]) -> Vec<Key> {
        let Some(templates) = &self.templates else { return Vec::new() };
        kinds.iter().filter_map(|(domain, size)| templates.kind(domain, *size)).collect()
    }

    fn has_template(&self, kind: &Key) -> bool {
        self.templates.as_ref().is_some_and(|templates| templates.want_kind(kind).is_some())
    }

    async fn warm(&self, intent: &Intent) -> Result<(), EffectError> {
        let template = self.templates.as_ref().and_then(|templates| templates.want(&intent.spec));
        let template = template.ok_or_else(|| {
            EffectError::new(format!("warm up machine {}", intent.id), "there is no template for it any more")
        })?;
        let socket = self.rehearsed(intent, &template).await?;
        self.waiting().insert(intent.place(), socket);
        Ok(())
    }

    async fn assign(&self, intent: &Intent) -> Result<(), EffectError> {
        let (place, doing) = (intent.place(), || format!("assign machine {} to its warm shim", intent.id));
        let gone = || {
            EffectError::new(
                doing(),
                ShimError::Ended { log: self.starter.layout.shim_log(place).display().to_string() },
            )
        };
        let mut socket = self.waiting().remove(&place).ok_or_else(gone)?;
        let process = self.find(place).ok_or_else(gone)?;
        let config = self.starter.configure(intent).await?;
        let mut line = serde_json::to_vec(&config).map_err(failed(doing()))?;
        line.push(b'\n');
        socket.write_all(&line).await.map_err(failed(doing()))?;
        self.wait_for(place, &process).await.map_err(failed(doing()))
    }

    async fn is_alive(&self, place: MachineId) -> bool {
        process::shim_by_file(&self.starter.layout.shim_pid(place), &self.starter.layout.shim_config(place)).is_some()
    }

    async fn stop(&self, place: MachineId) -> Result<(), EffectError> {
        // Found before it is asked to end: afterwards its pid file is gone.
        let Some(process) = self.find(place) else { return Ok(()) };
        let waited = self.waiting().remove(&place);
        let agreed = if waited.is_some() {
            drop(waited);
            timeout(END, process.ended()).await.is_ok()
        } else {
            match self.ask_to_end(place).await {
                Ok(()) => timeout(END, process.ended()).await.is_ok(),
                Err(error) => {
                    warn!(%place, pid = process.pid(), %error, "a shim does not answer and is killed");
                    false
                }
            }
        };
        if !agreed {
            process.kill();
            timeout(END, process.ended())
                .await
                .map_err(|_| EffectError::new(format!("end the shim at {place}"), ShimError::Immortal))?;
        }
        Ok(())
    }

    async fn view(&self, place: MachineId) -> Option<ShimView> {
        let ask = async {
            let mut connection = self.connect(place).await.ok()?;
            match connection.call(&ShimRequest::Status).await.ok()? {
                ShimReply::Status(status) => Some(ShimView { pid: connection.peer_pid(), status: *status }),
                ShimReply::Stats(_)
                | ShimReply::Watching
                | ShimReply::Done
                | ShimReply::Streaming
                | ShimReply::Failed { .. } => None,
            }
        };
        timeout(VIEW, ask).await.ok().flatten()
    }
}

async fn limited<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ConnectionError>>,
) -> Result<T, ConnectionError> {
    let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time");
    timeout(limit, work).await.unwrap_or_else(|_| Err(late().into()))
}
