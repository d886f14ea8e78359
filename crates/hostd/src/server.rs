//! The host's Unix socket.
//!
//! Requests that change something run in tasks of their own: they end well although their client has gone away or their
//! answer took too long, and asking again joins them at the machine's gate.

use crate::{
    connection::{Connection, ConnectionError},
    effects::{ShimView, chain},
    host::{AdmitError, Host},
    intent::Intent,
};
use orrery_api::names::MachineId;
use orrery_wire::host::{Enrolment, Facts, HostReply, HostRequest, MachineSpec, MachineSummary, VERSIONS, reason};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Connections at the same time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 128;
/// How long a client may take to say hello.
const HELLO: Duration = Duration::from_secs(5);
/// How long a client waits for an answer. The work goes on after it.
const ANSWER: Duration = Duration::from_secs(60);
/// How long work that has begun may go on when the agent ends.
const FINISH: Duration = Duration::from_secs(15);

/// What the socket's tasks share.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) host: Arc<Host>,
    pub(crate) facts: Facts,
    pub(crate) enrolment: watch::Receiver<Option<Enrolment>>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) work: TaskTracker,
}

/// Serves until the agent shuts down, then lets what has begun come to its end.
pub(crate) async fn serve(listener: UnixListener, service: Service) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        // Accepting is cancel-safe: a connection that was not accepted stays in the kernel's queue.
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = service.shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let service = service.clone();
                connections.spawn(async move {
                    if let Err(error) = service.converse(stream).await {
                        debug!(error = chain(&error), "a connection ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    service.work.close();
    connections.close();
    let finished = timeout(FINISH, async { tokio::join!(service.work.wait(), connections.wait()) }).await;
    if finished.is_err() {
        warn!("some requests were still being worked on; the next start goes on with them");
    }
}

impl Service {
    async fn converse(&self, stream: UnixStream) -> Result<(), ConnectionError> {
        let mut connection = Connection::new(stream);
        let late = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "the client did not say hello");
        let Some(hello) = timeout(HELLO, connection.accept(VERSIONS)).await.map_err(late)?? else { return Ok(()) };
        debug!(role = hello.role, build = hello.build, "a client connected");
        loop {
            // Receiving is cancel-safe; a request that has been received is always answered.
            let request = tokio::select! {
                request = connection.receive() => request?,
                () = self.shutdown.cancelled() => return Ok(()),
            };
            let Some(request) = request else { return Ok(()) };
            let reply = self.answer(request).await;
            connection.send(&reply).await?;
        }
    }

    async fn answer(&self, request: HostRequest) -> HostReply {
        let host = self.host.clone();
        match request {
            HostRequest::Facts => HostReply::Facts(self.facts.clone()),
            HostRequest::Warm => HostReply::Warm(host.warm_machines()),
            HostRequest::Enrolment => HostReply::Enrolment(self.enrolment.borrow().clone()),
            HostRequest::Admit(spec) if self.shutdown.is_cancelled() => HostReply::Refused {
                reason: reason::SHUTTING_DOWN.into(),
                message: format!("the host agent is shutting down; ask for {} again when it is back", spec.name),
            },
            HostRequest::Admit(spec) => match spec.id.parse() {
                Ok(id) => self.worked_on(async move { admit(&host, id, &spec).await }).await,
                Err(_) => HostReply::Refused {
                    reason: reason::INVALID_SPEC.into(),
                    message: format!("the machine's id {:?} is not a UUID", spec.id),
                },
            },
            HostRequest::Release { id } => match id.parse() {
                Ok(id) => self.worked_on(async move { release(&host, id).await }).await,
                // Nothing can have been admitted under such an id.
                Err(_) => HostReply::Released,
            },
            HostRequest::List => {
                let list = async move { host.list().await.into_iter().map(summary).collect() };
                timeout(ANSWER, list).await.map_or_else(|_| too_long(), HostReply::Machines)
            }
        }
    }

    async fn worked_on(&self, work: impl Future<Output = HostReply> + Send + 'static) -> HostReply {
        match timeout(ANSWER, self.work.spawn(work)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => HostReply::Failed { message: format!("the request ended without an answer: {error}") },
            Err(_) => too_long(),
        }
    }
}

fn too_long() -> HostReply {
    HostReply::Failed { message: format!("not done after {} seconds; it goes on, ask again", ANSWER.as_secs()) }
}

async fn admit(host: &Host, id: MachineId, spec: &MachineSpec) -> HostReply {
    match host.admit(id, spec).await {
        Ok(admission) => HostReply::Admitted(admission),
        Err(AdmitError::Refused(refusal)) => {
            debug!(machine = %id, name = spec.name, %refusal, "refused a machine");
            HostReply::Refused { reason: refusal.reason().into(), message: refusal.to_string() }
        }
        Err(error @ (AdmitError::Releasing(_) | AdmitError::Effect { .. })) => failed(id, &error),
    }
}

async fn release(host: &Host, id: MachineId) -> HostReply {
    match host.release(id).await {
        Ok(()) => HostReply::Released,
        Err(error) => failed(id, &error),
    }
}

fn failed(id: MachineId, error: &(dyn std::error::Error + 'static)) -> HostReply {
    let message = chain(error);
    warn!(machine = %id, message, "a request failed half-way");
    HostReply::Failed { message }
}

fn summary((intent, view): (Intent, Option<ShimView>)) -> MachineSummary {
    MachineSummary {
        spec: intent.spec,
        admission: intent.admission,
        phase: view.as_ref().map(|view| view.status.phase),
        shim_pid: view.as_ref().and_then(|view| view.pid),
        qemu_pid: view.as_ref().and_then(|view| view.status.qemu_pid),
    }
}
