//! What a connection is doing: how many requests are under way, and since when there are none.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// Shared by a connection and its requests.
#[derive(Debug, Clone)]
pub(crate) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    under_way: usize,
    /// When the last request ended, or the connection began.
    since: Instant,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { under_way: 0, since: Instant::now() })))
    }

    fn with<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        // The state is whole whatever panicked while it was held.
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A request begins; it ends when the guard is dropped.
    pub(crate) fn begin(&self) -> UnderWay {
        self.with(|state| state.under_way += 1);
        UnderWay(self.clone())
    }

    /// For how long there has been no request; none while there is one.
    pub(crate) fn idle(&self) -> Option<Duration> {
        self.with(|state| (state.under_way == 0).then(|| state.since.elapsed()))
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(crate) struct UnderWay(Activity);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.under_way -= 1;
            state.since = Instant::now();
        });
    }
}

/// The body of an answer: the request is under way until it is sent, or given up.
pub(crate) struct Answering<B> {
    pub(crate) body: B,
    pub(crate) _request: UnderWay,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
