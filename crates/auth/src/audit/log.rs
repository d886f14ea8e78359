//! The queue of events and the thread that writes them.

use super::{
    AuditPolicy, Event,
    file::{RotatingFile, Rotation},
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use std::{io, path::Path, path::PathBuf};
use tokio::sync::mpsc::{self, error::TrySendError};

/// Events that may wait; at about 2 KiB each.
const QUEUE: usize = 8192;
/// Events written between two looks at whether the queue is empty.
const BATCH: usize = 256;

/// What happens to an event when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// It is dropped and counted: requests never wait for the disk.
    #[default]
    Drop,
    /// The request waits: no event is lost while the server runs.
    Wait,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit log {path}")]
pub struct OpenLogError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What became of events.
#[derive(Debug, Clone, Default)]
pub struct AuditMetrics {
    /// Taken.
    pub events: Counter,
    /// Dropped because the queue was full.
    pub dropped: Counter,
    /// Lost because they could not be written.
    pub failed: Counter,
}

impl AuditMetrics {
    /// Has a registry show them, named as upstream names them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("apiserver_audit_event", "Audit events taken", self.events.clone());
        registry.register("apiserver_audit_dropped", "Audit events dropped by a full queue", self.dropped.clone());
        registry.register("apiserver_audit_error", "Audit events that could not be written", self.failed.clone());
    }
}

/// A policy and where its events go. The thread ends, with everything written, when the last clone is dropped.
#[derive(Clone)]
pub struct AuditLog {
    policy: std::sync::Arc<AuditPolicy>,
    queue: mpsc::Sender<Event>,
    on_full: OnFull,
    metrics: AuditMetrics,
}

impl AuditLog {
    /// Writes to the file at `path` what `policy` says.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub fn open(policy: AuditPolicy, path: &Path, rotation: Rotation, on_full: OnFull) -> Result<Self, OpenLogError> {
        let failed = |source| OpenLogError { path: path.to_owned(), source };
        let file = RotatingFile::open(path, rotation).map_err(failed)?;
        let (queue, events) = mpsc::channel(QUEUE);
        let metrics = AuditMetrics::default();
        let counted = metrics.clone();
        std::thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || write_all(file, events, &counted))
            .map_err(failed)?;
        Ok(Self { policy: std::sync::Arc::new(policy), queue, on_full, metrics })
    }

    /// Which requests are written down.
    #[must_use]
    pub fn policy(&self) -> &AuditPolicy {
        &self.policy
    }

    /// What became of events.
    #[must_use]
    pub fn metrics(&self) -> &AuditMetrics {
        &self.metrics
    }

    /// Takes an event; waits for a place only when the settings say so.
    pub async fn write(&self, event: Event) {
        if self.on_full == OnFull::Drop {
            return self.offer(event);
        }
        match self.queue.send(event).await {
            Ok(()) => self.metrics.events.inc(),
            Err(_) => self.metrics.failed.inc(),
        };
    }

    /// [`AuditLog::write`] from where nothing can wait, such as the end of an answer: when the settings say so, the wait is
    /// a task's.
    pub fn offer(&self, event: Event) {
        match self.queue.try_send(event) {
            Ok(()) => {
                self.metrics.events.inc();
            }
            Err(TrySendError::Full(event)) if self.on_full == OnFull::Wait => {
                let log = self.clone();
                tokio::spawn(async move { log.write(event).await });
            }
            Err(TrySendError::Full(_)) => {
                self.metrics.dropped.inc();
            }
            Err(TrySendError::Closed(_)) => {
                self.metrics.failed.inc();
            }
        }
    }
}

fn write_all(mut file: RotatingFile, mut events: mpsc::Receiver<Event>, metrics: &AuditMetrics) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut complained = false;
    while events.blocking_recv_many(&mut batch, BATCH) > 0 {
        let count = batch.len() as u64;
        let written = batch.drain(..).try_for_each(|event| file.write(&event.to_line(), event.at));
        match written.and_then(|()| file.flush()) {
            Ok(()) => complained = false,
            Err(error) => {
                metrics.failed.inc_by(count);
                if !complained {
                    tracing::error!(%error, "cannot write the audit log; events are lost until it can be written again");
                }
                complained = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        User,
        audit::{Level, Stage},
    };

    fn event(id: usize) -> Event {
        Event {
            level: Level::Metadata,
            id: id.to_string(),
            stage: Stage::ResponseComplete,
            uri: "/".into(),
            verb: "get".into(),
            user: User::anonymous(),
            impersonated: None,
            source: None,
            user_agent: String::new(),
            object: None,
            status: Some((200, String::new(), String::new())),
            request: None,
            response: None,
            received: jiff::Timestamp::UNIX_EPOCH,
            at: jiff::Timestamp::UNIX_EPOCH,
            annotations: std::collections::BTreeMap::new(),
        }
    }

    /// A log without its thread, so that its queue fills.
    fn stuck(on_full: OnFull, places: usize) -> (AuditLog, mpsc::Receiver<Event>) {
        let (queue, events) = mpsc::channel(places);
        let log = AuditLog { policy: AuditPolicy::default().into(), queue, on_full, metrics: AuditMetrics::default() };
        (log, events)
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts_and_nobody_waits() {
        let (log, _events) = stuck(OnFull::Drop, 2);
        for id in 0..5 {
            log.write(event(id)).await;
        }
        assert_eq!((log.metrics.events.get(), log.metrics.dropped.get()), (2, 3));
    }

    #[tokio::test]
    async fn requests_wait_when_the_settings_say_so_and_nothing_is_lost() {
        let (log, mut events) = stuck(OnFull::Wait, 1);
        log.write(event(0)).await;
        log.offer(event(1));
        let waiting = log.write(event(2));
        tokio::pin!(waiting);
        assert!(futures_pending(&mut waiting).await);
        let mut seen = vec![events.recv().await.unwrap().id];
        let (second, ()) = tokio::join!(events.recv(), waiting);
        seen.extend([second.unwrap().id, events.recv().await.unwrap().id]);
        seen.sort();
        assert_eq!(seen, ["0", "1", "2"]);
        assert_eq!(log.metrics.dropped.get(), 0);
    }

    async fn futures_pending(future: &mut (impl Future<Output = ()> + Unpin)) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
        })
        .await
    }

    #[tokio::test]
    async fn what_was_taken_is_in_the_file_once_the_log_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let log = AuditLog::open(AuditPolicy::default(), &path, Rotation::default(), OnFull::Wait).unwrap();
        let metrics = log.metrics().clone();
        for id in 0..1000 {
            log.write(event(id)).await;
        }
        drop(log);
        let whole = async {
            while std::fs::read_to_string(&path).unwrap().lines().count() < 1000 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), whole).await.unwrap();
        assert_eq!((metrics.events.get(), metrics.failed.get()), (1000, 0));
        assert!(
            AuditLog::open(AuditPolicy::default(), Path::new("/proc/none/x"), Rotation::default(), OnFull::Drop)
                .is_err()
        );
    }
}
