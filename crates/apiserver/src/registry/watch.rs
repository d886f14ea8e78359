//! `watch`: a stream of events that is pulled from the store.
//!
//! ```text
//! initial objects (unless a revision was given) -> [bookmark "initial events end"] -> changes and bookmarks
//!   -> end: time is up, the server stops, the resource is no longer served as it was, or an ERROR event (410: the revision is no longer kept, or the reader was too slow)
//! ```

use super::{
    Context, Registry,
    options::{ListOptions, Selection},
    present::Presenter,
    store_error,
};
use crate::{
    custom::convert::Conversions,
    http::body::{self, BoxError, ResponseBody},
    metrics::Counted,
};
use bytes::Bytes;
use futures::FutureExt;
use orrery_envelope::Lines;
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
    /// Ends when the resource is no longer served as it was.
    life: CancellationToken,
    conversions: Conversions,
    /// Where the bytes are that others get, too.
    lines: Option<Lines>,
    /// Everything up to here has been given: where a reader may resume.
    complete: Revision,
    /// What the last bookmark said.
    marked: Revision,
    /// Objects that there were at the beginning and that have not been given yet: shared with the store, not copied.
    initial: std::vec::IntoIter<Arc<Entry>>,
    /// Tells that all of them were given.
    initial_end: Option<Revision>,
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
        let life = self.table().life(&resource);
        let prefix = context.prefix();
        let mut initial = Vec::new();
        let asked = options.version.filter(|version| version.0 > 0);
        let started = match (asked, options.initial_events) {
            (Some(from), None | Some(false)) => Ok(from),
            (_, Some(false)) => self.store.current_revision().await,
            (_, None | Some(true)) => self.initial(context, asked, &mut initial).await?,
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
        let initial_end = (options.initial_events == Some(true) && options.bookmarks).then_some(from);
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
            lines: presenter.is_plain().then(|| self.lines.clone()),
            presenter,
            bookmarks: options.bookmarks,
            ticks,
            deadline,
            stopping: settings.stopping,
            life,
            conversions: self.conversions.clone(),
            complete: from,
            marked: from,
            initial: initial.into_iter(),
            initial_end,
            ready: VecDeque::new(),
            ended: false,
            _counted: settings.counted,
        };
        Ok(body::stream(futures::stream::unfold(running, |mut running| async move {
            running.next().await.map(|bytes| (Ok::<_, BoxError>(bytes), running))
        })))
    }

    /// Finds the present objects and their revision.
    async fn initial(
        &self,
        context: &Context<'_>,
        at_least: Option<Revision>,
        found: &mut Vec<Arc<Entry>>,
    ) -> Result<Result<Revision, StoreError>, ApiError> {
        let request = RangeRequest { prefix: context.prefix(), ..RangeRequest::default() };
        let page = self.store.range(request).await.map_err(store_error)?;
        if let Some(asked) = at_least.filter(|asked| *asked > page.revision) {
            return Ok(Err(StoreError::Future { asked, current: page.revision }));
        }
        *found = self.conversions.readable(context.resource, page.entries).await?;
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
            if self.begin() {
                continue;
            }
            let event = tokio::select! {
                // Cancel-safe: an event that is not taken stays in the store's channel.
                event = self.watch.next() => event,
                // Cancel-safe by its documentation.
                _ = self.ticks.tick(), if self.bookmarks => {
                    self.mark();
                    continue;
                }
                () = tokio::time::sleep_until(self.deadline) => {
                    self.end();
                    continue;
                }
                () = self.stopping.cancelled() => {
                    self.end();
                    continue;
                }
                () = self.life.cancelled() => {
                    // What has become of the objects is told before the end.
                    while let Some(Some(event)) = self.watch.next().now_or_never() {
                        self.take(Some(event)).await;
                    }
                    self.end();
                    continue;
                }
            };
            self.take(event).await;
        }
    }

    /// Gives the next of the objects that there were at the beginning, as if it had just been added; false when all are given.
    fn begin(&mut self) -> bool {
        if let Some(entry) = self.initial.next() {
            let event = self.selected(Some(&entry)).map(|picked| picked.is_some()).and_then(|picked| {
                picked.then(|| self.presenter.event("ADDED", &entry, entry.mod_revision)).transpose()
            });
            match event {
                Ok(event) => self.ready.extend(event),
                Err(error) => self.fail(&error),
            }
            return true;
        }
        if let Some(revision) = self.initial_end.take() {
            let object = bookmark(&self.resource, revision, true);
            self.ready.push_back(self.presenter.event_of("BOOKMARK", &object));
            return true;
        }
        false
    }

    async fn take(&mut self, event: Option<WatchEvent>) {
        match event {
            Some(WatchEvent::Change(change)) => {
                // Other changes of the same revision may follow, so only what is before it is complete.
                self.complete = self.complete.max(Revision(change.revision.0.saturating_sub(1)));
                match self.event(&change).await {
                    Ok(Some(event)) => self.ready.push_back(event),
                    Ok(None) => {}
                    Err(error) => self.fail(&error),
                }
            }
            Some(WatchEvent::Progress(revision)) => self.complete = self.complete.max(revision),
            Some(WatchEvent::Lost { compacted }) => {
                let message = format!("too old resource version: {} ({})", self.complete.0, compacted.0);
                self.fail(&ApiError::expired(message));
            }
            None => self.ended = true,
        }
    }

    /// What the change means to this reader. An object that leaves the selection is deleted for it, in the state in which
    /// it last was selected.
    async fn event(&mut self, change: &Arc<Change>) -> Result<Option<Bytes>, ApiError> {
        let converted;
        let (current, previous) = if self.resource.converter.is_some() {
            let both = change.current.iter().chain(&change.previous).cloned().collect();
            let count = usize::from(change.current.is_some());
            converted = self.conversions.readable(&self.resource, both).await?;
            let (current, previous) = converted.split_at(count);
            (current.first().map(|entry| &**entry), previous.first().map(|entry| &**entry))
        } else {
            (change.current.as_deref(), change.previous.as_deref())
        };
        let (before, now) = (self.selected(previous)?, self.selected(current)?);
        let (kind, entry) = match (before, now) {
            (None, Some(now)) => ("ADDED", now),
            (Some(_), Some(now)) => ("MODIFIED", now),
            (Some(before), None) => ("DELETED", before),
            (None, None) => return Ok(None),
        };
        let mut make = || self.presenter.event(kind, entry, change.revision);
        match &self.lines {
            Some(lines) => lines.get((kind, change), &self.resource, make).map(Some),
            None => make().map(Some),
        }
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
