//! `watch`: a stream of events that is pulled from the store.
//!
//! ```text
//! initial objects (unless a revision was given) -> [bookmark "initial events end"] -> changes and bookmarks
//!   -> end: time is up, the server stops, or an ERROR event (410: the revision is no longer kept, or the reader was too slow)
//! ```

use super::{
    Context, Registry,
    options::{ListOptions, Selection},
    present::Presenter,
    store_error,
};
use crate::{
    http::body::{self, BoxError, ResponseBody},
    metrics::Counted,
};
use bytes::Bytes;
use orrery_machinery::{
    descriptor::ResourceDescriptor,
    meta,
    status::{ApiError, Target},
};
use orrery_store::{Change, Entry, RangeRequest, Revision, StoreError, Watch, WatchEvent};
use serde_json::{Value, json};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Marks the bookmark after which a reader knows all initial objects.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";
/// How long a watch lives when the client does not say: this and up to as much again, so that not all end together.
const MIN_SECONDS: u64 = 1800;

/// What a watch needs from the server.
pub(crate) struct WatchSettings {
    pub(crate) bookmark_interval: Duration,
    pub(crate) stopping: CancellationToken,
    pub(crate) counted: Counted,
}

/// A running watch.
struct Running {
    watch: Watch,
    resource: Arc<ResourceDescriptor>,
    selection: Selection,
    presenter: Presenter,
    bookmarks: bool,
    ticks: tokio::time::Interval,
    deadline: Instant,
    stopping: CancellationToken,
    /// Everything up to here has been given: where a reader may resume.
    complete: Revision,
    /// What the last bookmark said.
    marked: Revision,
    ready: VecDeque<Bytes>,
    ended: bool,
    _counted: Counted,
}

impl Registry {
    /// Starts a watch on what the context and options name.
    ///
    /// # Errors
    /// When the store fails. What is wrong with the revision is said by the stream, as clients expect.
    pub(crate) async fn watch(
        &self,
        context: &Context<'_>,
        resource: Arc<ResourceDescriptor>,
        options: ListOptions,
        presenter: Presenter,
        settings: WatchSettings,
    ) -> Result<ResponseBody, ApiError> {
        let mut presenter = presenter;
        let prefix = context.prefix();
        let mut ready = VecDeque::new();
        let asked = options.version.filter(|version| version.0 > 0);
        let started = match (asked, options.initial_events) {
            (Some(from), None | Some(false)) => Ok(from),
            (_, Some(false)) => self.store.current_revision().await,
            (_, None | Some(true)) => self.initial(context, asked, &options, &mut presenter, &mut ready).await?,
        };
        let started = match started {
            Ok(from) => self.store.watch(&prefix, from).await.map(|watch| (watch, from)),
            Err(error) => Err(error),
        };
        let (watch, from) = match started {
            Ok(started) => started,
            Err(error @ (StoreError::Compacted { .. } | StoreError::Future { .. })) => {
                return Ok(body::full(presenter.error_event(&store_error(error))));
            }
            Err(error) => return Err(store_error(error)),
        };
        if options.initial_events == Some(true) && options.bookmarks {
            ready.push_back(presenter.event_of("BOOKMARK", &bookmark(&resource, from, true)));
        }
        let seconds = options
            .timeout_seconds
            .filter(|seconds| *seconds > 0)
            .unwrap_or_else(|| rand::random_range(MIN_SECONDS..2 * MIN_SECONDS));
        let deadline = Instant::now() + Duration::from_secs(seconds.min(365 * 24 * 3600));
        let mut ticks =
            tokio::time::interval_at(Instant::now() + settings.bookmark_interval, settings.bookmark_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let running = Running {
            watch,
            resource,
            selection: options.selection,
            presenter,
            bookmarks: options.bookmarks,
            ticks,
            deadline,
            stopping: settings.stopping,
            complete: from,
            marked: from,
            ready,
            ended: false,
            _counted: settings.counted,
        };
        Ok(body::stream(futures::stream::unfold(running, |mut running| async move {
            running.next().await.map(|bytes| (Ok::<_, BoxError>(bytes), running))
        })))
    }

    /// Gives the present objects as if they had just been added, and their revision.
    async fn initial(
        &self,
        context: &Context<'_>,
        at_least: Option<Revision>,
        options: &ListOptions,
        presenter: &mut Presenter,
        ready: &mut VecDeque<Bytes>,
    ) -> Result<Result<Revision, StoreError>, ApiError> {
        let request = RangeRequest { prefix: context.prefix(), ..RangeRequest::default() };
        let page = self.store.range(request).await.map_err(store_error)?;
        if let Some(asked) = at_least.filter(|asked| *asked > page.revision) {
            return Ok(Err(StoreError::Future { asked, current: page.revision }));
        }
        for entry in &page.entries {
            if options.selection.picks(context.resource, entry)? {
                ready.push_back(presenter.event("ADDED", entry, entry.mod_revision)?);
            }
        }
        Ok(Ok(page.revision))
    }
}

impl Running {
    /// The next bytes of the stream; none at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                // Cancel-safe: an event that is not taken stays in the store's channel.
                event = self.watch.next() => self.take(event),
                // Cancel-safe by its documentation.
                _ = self.ticks.tick(), if self.bookmarks => self.mark(),
                () = tokio::time::sleep_until(self.deadline) => self.end(),
                () = self.stopping.cancelled() => self.end(),
            }
        }
    }

    fn take(&mut self, event: Option<WatchEvent>) {
        match event {
            Some(WatchEvent::Change(change)) => {
                // Other changes of the same revision may follow, so only what is before it is complete.
                self.complete = self.complete.max(Revision(change.revision.0.saturating_sub(1)));
                self.change(&change);
            }
            Some(WatchEvent::Progress(revision)) => self.complete = self.complete.max(revision),
            Some(WatchEvent::Lost { compacted }) => {
                let message = format!("too old resource version: {} ({})", self.complete.0, compacted.0);
                self.fail(&ApiError::expired(message));
            }
            None => self.ended = true,
        }
    }

    fn change(&mut self, change: &Change) {
        match self.event(change) {
            Ok(Some(event)) => self.ready.push_back(event),
            Ok(None) => {}
            Err(error) => self.fail(&error),
        }
    }

    /// What the change means to this reader. An object that leaves the selection is deleted for it, in the state in which
    /// it last was selected.
    fn event(&mut self, change: &Change) -> Result<Option<Bytes>, ApiError> {
        let now = self.selected(change.current.as_ref())?;
        let before = self.selected(change.previous.as_ref())?;
        let (kind, entry) = match (before, now) {
            (None, Some(now)) => ("ADDED", now),
            (Some(_), Some(now)) => ("MODIFIED", now),
            (Some(before), None) => ("DELETED", before),
            (None, None) => return Ok(None),
        };
        self.presenter.event(kind, entry, change.revision).map(Some)
    }

    fn selected<'a>(&self, entry: Option<&'a Entry>) -> Result<Option<&'a Entry>, ApiError> {
        let Some(entry) = entry else { return Ok(None) };
        Ok(self.selection.picks(&self.resource, entry)?.then_some(entry))
    }

    fn mark(&mut self) {
        if self.complete > self.marked {
            self.marked = self.complete;
            let object = bookmark(&self.resource, self.complete, false);
            self.ready.push_back(self.presenter.event_of("BOOKMARK", &object));
        }
    }

    /// A last bookmark lets the reader resume without reading anything twice.
    fn end(&mut self) {
        if self.bookmarks {
            self.mark();
        }
        self.ended = true;
    }

    fn fail(&mut self, error: &ApiError) {
        self.ready.push_back(self.presenter.error_event(error));
        self.ended = true;
    }
}

fn bookmark(resource: &ResourceDescriptor, revision: Revision, initial: bool) -> Value {
    let mut object = json!({"kind": resource.kind, "apiVersion": resource.api_version(),
        "metadata": {"resourceVersion": revision.0.to_string(), "creationTimestamp": null}});
    if initial {
        meta::metadata_mut(&mut object).insert("annotations".into(), json!({INITIAL_EVENTS_END: "true"}));
    }
    object
}

/// What a `watch` on a single name is not: it is `list` with a field selector.
pub(super) fn refuse_name(target: Target<'_>) -> ApiError {
    let message = format!(
        "watch of one object by its path is not served; watch {} with fieldSelector=metadata.name={}",
        target.resource, target.name
    );
    ApiError::bad_request(message)
}
