//! `/containerLogs`.

use super::reply::{Body, text};
use super::route::Place;
use crate::{
    logs::{self, LogOptions, LogSource},
    pods::{Directory, Known},
};
use bytes::Bytes;
use futures::StreamExt;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use k8s_openapi::jiff::Timestamp;
use std::convert::Infallible;
use tokio::sync::{mpsc, watch};

/// Pieces of a log that may wait for the client.
const WAITING: usize = 4;

/// Answers with the log of a container.
pub(super) fn answer(directory: &Directory, place: &Place, query: &str) -> Response<Body> {
    let options = match LogOptions::parse(query, Timestamp::now()) {
        Ok(options) => options,
        Err(message) => return text(StatusCode::BAD_REQUEST, message),
    };
    let Some(facts) = directory.facts(&place.namespace, &place.pod) else {
        return text(StatusCode::NOT_FOUND, format!("pod {:?} is not on this node", place.pod));
    };
    let source = match source(facts, place, options.previous) {
        Ok(source) => source,
        Err((status, message)) => return text(status, message),
    };
    let (client, pieces) = mpsc::channel::<Bytes>(WAITING);
    // The task ends with the client: sending into a closed channel fails.
    tokio::spawn(async move {
        if let Err(error) = logs::send(&source, &options, &client).await {
            tracing::warn!(path = %source.path.display(), %error, "a log could not be read");
        }
    });
    let frames = tokio_stream(pieces).map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

fn tokio_stream(receiver: mpsc::Receiver<Bytes>) -> impl futures::Stream<Item = Bytes> + Send {
    futures::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|bytes| (bytes, receiver)) })
}

/// Which file holds the log that is asked for.
fn source(facts: watch::Receiver<Known>, place: &Place, previous: bool) -> Result<LogSource, (StatusCode, String)> {
    let Place { pod, container, .. } = place;
    let known = facts.borrow().clone();
    if !known.containers.iter().any(|known| &known.name == container) {
        return Err((StatusCode::NOT_FOUND, format!("container {container:?} is not in pod {pod:?}")));
    }
    let status = known.status.and_then(|status| status.containers.into_iter().find(|c| &c.name == container));
    let (Some(directory), Some(status)) = (known.log_directory, status) else {
        let message = format!("container {container:?} in pod {pod:?} is waiting to start");
        return Err((StatusCode::BAD_REQUEST, message));
    };
    let attempt = match (previous, status.attempt.checked_sub(1)) {
        (false, _) => status.attempt,
        (true, Some(before)) => before,
        (true, None) => {
            let message = format!("previous terminated container {container:?} in pod {pod:?} not found");
            return Err((StatusCode::BAD_REQUEST, message));
        }
    };
    let path = if previous {
        directory.join(container).join(format!("{attempt}.log"))
    } else {
        directory.join(&status.log_file)
    };
    Ok(LogSource { path, container: container.clone(), attempt, facts })
}
