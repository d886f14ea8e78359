//! The shims of the host's machines, for real: adopting, starting, ending.
//!
//! ```text
//!            answers on its socket ------------------> adopted
//!   ensure --+ runs, does not answer (yet) ----------> waited for; an error when it stays silent, never a second shim
//!            + does not run --- started -------------> waited for
//! ```

use crate::{
    config::Config,
    connection::{Connection, ConnectionError},
    effects::{EffectError, ShimView, Shims, failed},
    intent::Intent,
    process::{self, Manner, Process},
    start::Starter,
    templates::Templates,
};
use async_trait::async_trait;
use orrery_api::names::MachineId;
use orrery_wire::shim::{ShimReply, ShimRequest, VERSIONS};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

/// How long a shim may take to connect and say hello.
const HELLO: Duration = Duration::from_secs(2);
/// How long a shim may take to tell where its machine stands.
const VIEW: Duration = Duration::from_secs(1);
/// How long a new shim may take until it answers.
const START: Duration = Duration::from_secs(15);
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
}

impl HostShims {
    pub(crate) fn new(config: &Config, templates: Option<Arc<Templates>>) -> Self {
        Self { starter: Starter::new(config), templates }
    }

    async fn connect(&self, id: MachineId) -> Result<Connection, ConnectionError> {
        limited(HELLO, Connection::open(&self.starter.layout.shim_socket(id), VERSIONS)).await
    }

    fn find(&self, id: MachineId) -> Option<Process> {
        process::find_shim(&self.starter.layout.shim_pid(id), &self.starter.layout.shim_config(id))
    }

    /// Waits until the shim answers, or has ended.
    async fn wait_for(&self, id: MachineId, process: &Process) -> Result<(), ShimError> {
        let log = || self.starter.layout.shim_log(id).display().to_string();
        let answered = async {
            let deadline = Instant::now() + START;
            loop {
                match self.connect(id).await {
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
        let manner = Manner { template: template.as_ref(), makes_template: false };
        let child = self.starter.start(intent, &manner).await?;
        let pid = child.id();
        info!(machine = %id, pid, template = template.is_some(), "started a shim");
        pid.and_then(|pid| Process::open(pid, |_| true)).ok_or_else(|| {
            EffectError::new(
                format!("start the shim of machine {id}"),
                ShimError::Ended { log: self.starter.layout.shim_log(id).display().to_string() },
            )
        })
    }

    /// Asks a shim to power its machine off and to end. Whether it does is seen by its process.
    async fn ask_to_end(&self, id: MachineId) -> Result<(), ConnectionError> {
        let mut connection = self.connect(id).await?;
        for (request, limit) in
            [(ShimRequest::PowerOff { grace_seconds: GRACE_SECONDS }, POWER_OFF), (ShimRequest::Exit, HELLO)]
        {
            let reply: ShimReply = limited(limit, connection.call(&request)).await?;
            if let ShimReply::Failed { reason, message } = reply {
                warn!(machine = %id, reason, message, "a shim refused to end and will be killed");
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Shims for HostShims {
    async fn ensure(&self, intent: &Intent) -> Result<(), EffectError> {
        let id = intent.id;
        if self.connect(id).await.is_ok() {
            return Ok(());
        }
        let process = match self.find(id) {
            Some(process) => process,
            None => self.spawn(intent).await?,
        };
        self.wait_for(id, &process).await.map_err(failed(format!("reach the shim of machine {id}")))
    }

    async fn is_alive(&self, id: MachineId) -> bool {
        process::shim_by_file(&self.starter.layout.shim_pid(id), &self.starter.layout.shim_config(id)).is_some()
    }

    async fn stop(&self, id: MachineId) -> Result<(), EffectError> {
        // Found before it is asked to end: afterwards its pid file is gone.
        let Some(process) = self.find(id) else { return Ok(()) };
        let agreed = match self.ask_to_end(id).await {
            Ok(()) => timeout(END, process.ended()).await.is_ok(),
            Err(error) => {
                warn!(machine = %id, pid = process.pid(), %error, "a shim does not answer and is killed");
                false
            }
        };
        if !agreed {
            process.kill();
            timeout(END, process.ended())
                .await
                .map_err(|_| EffectError::new(format!("end the shim of machine {id}"), ShimError::Immortal))?;
        }
        Ok(())
    }

    async fn view(&self, id: MachineId) -> Option<ShimView> {
        let ask = async {
            let mut connection = self.connect(id).await.ok()?;
            match connection.call(&ShimRequest::Status).await.ok()? {
                ShimReply::Status(status) => Some(ShimView { pid: connection.peer_pid(), status: *status }),
                ShimReply::Watching | ShimReply::Done | ShimReply::Streaming | ShimReply::Failed { .. } => None,
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
