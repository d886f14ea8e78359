//! One pod that changes, and many who watch it.

use crate::{
    Failure,
    product::{self, WATCHED},
    wire::{self, Sent, Target},
};
use http_body_util::BodyExt;
use hyper::{Method, body::Incoming};
use serde_json::json;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Watches of one connection.
const STREAMS: usize = 100;
const EVENTS: usize = 200;
const INTERVAL: Duration = Duration::from_millis(50);
/// How long the last event may take.
const PATIENCE: Duration = Duration::from_secs(30);
const POD: &str = "watched";

/// How long events took from the writer's request to each watcher.
pub(crate) struct Spread {
    pub(crate) median_ms: f64,
    pub(crate) p99_ms: f64,
    /// Events that did not arrive.
    pub(crate) missed: f64,
}

/// When each event was sent; the n-th line that a watcher reads is the n-th event.
type Sendings = Arc<Mutex<Vec<Instant>>>;

#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
pub(crate) async fn measure(target: &Target, watchers: usize) -> Result<Spread, Failure> {
    let mut writer = target.one_by_one().await?;
    let from = prepare(&mut writer).await?;
    let sendings = Sendings::default();
    let mut reading = JoinSet::new();
    let path = format!("{}?watch=true&resourceVersion={from}&timeoutSeconds=300", product::collection(WATCHED));
    for batch in 0..watchers.div_ceil(STREAMS) {
        let mut connection = target.many_at_once().await?;
        for _ in 0..STREAMS.min(watchers - batch * STREAMS) {
            connection.ready().await?;
            let request = wire::request(&target.address, Sent::get(path.clone()))?;
            let body = wire::opened(connection.send_request(request).await?)?;
            let sendings = Arc::clone(&sendings);
            reading.spawn(async move { read(body, &sendings).await });
        }
    }
    let mut ticks = tokio::time::interval(INTERVAL);
    for number in 0..EVENTS {
        ticks.tick().await;
        lock(&sendings).push(Instant::now());
        writer.send(change(number)).await?;
    }
    let mut latencies = Vec::with_capacity(watchers * EVENTS);
    while let Some(read) = reading.join_next().await {
        latencies.extend(read?);
    }
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN)
    };
    let missed = (watchers * EVENTS - latencies.len()) as f64;
    Ok(Spread { median_ms: at(0.5), p99_ms: at(0.99), missed })
}

fn lock(sendings: &Sendings) -> std::sync::MutexGuard<'_, Vec<Instant>> {
    sendings.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the pod anew; the resource version from which to watch.
async fn prepare(writer: &mut wire::OneByOne) -> Result<String, Failure> {
    let path = format!("{}/{POD}?gracePeriodSeconds=0", product::collection(WATCHED));
    // There is none the first time.
    let _ = writer.send(Sent { method: Method::DELETE, ..Sent::get(path) }).await;
    let created = writer.send(product::post(product::collection(WATCHED), product::pod(POD))).await?;
    let created: serde_json::Value = serde_json::from_slice(&created)?;
    Ok(created["metadata"]["resourceVersion"].as_str().unwrap_or("1").to_owned())
}

fn change(number: usize) -> Sent {
    let body = json!({"metadata": {"labels": {"round": number.to_string()}}});
    Sent {
        method: Method::PATCH,
        path: format!("{}/{POD}", product::collection(WATCHED)),
        content_type: "application/merge-patch+json",
        body: body.to_string().into(),
    }
}

/// How long each event took, in milliseconds.
async fn read(mut body: Incoming, sendings: &Sendings) -> Vec<f64> {
    let mut latencies = Vec::with_capacity(EVENTS);
    while latencies.len() < EVENTS {
        let Ok(Some(Ok(frame))) = tokio::time::timeout(PATIENCE, body.frame()).await else { break };
        let Some(data) = frame.data_ref() else { continue };
        let lines = memchr::memchr_iter(b'\n', data).count();
        if lines == 0 {
            continue;
        }
        let now = Instant::now();
        let sent = lock(sendings);
        for _ in 0..lines {
            if let Some(sent) = sent.get(latencies.len()) {
                latencies.push(now.duration_since(*sent).as_secs_f64() * 1000.0);
            }
        }
    }
    latencies
}
