//! Probes.

use crate::pods::{PATIENCE, Place, is_ready, status};
use base64::{Engine, prelude::BASE64_STANDARD};
use orrery_harness::{Context, Outcome, Test, ensure, run, same, test};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a container that must not be started anew is watched.
const WATCHED: Duration = Duration::from_secs(40);

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-node] Probing container should *not* be restarted with a /healthz http liveness probe [NodeConformance] [Conformance]",
        run!(kept, HTTP, http),
    ),
    test(
        "[sig-node] Probing container should *not* be restarted with a GRPC liveness probe [NodeConformance] [Conformance]",
        run!(kept, GRPC, grpc),
    ),
    test(
        "[sig-node] Probing container should *not* be restarted with a exec \"cat /tmp/health\" liveness probe [NodeConformance] [Conformance]",
        run!(kept, "echo ok >/tmp/health; sleep 600", exec),
    ),
    test(
        "[sig-node] Probing container should *not* be restarted with a tcp:8080 liveness probe [NodeConformance] [Conformance]",
        run!(kept, HTTP, tcp),
    ),
    test(
        "[sig-node] Probing container should be restarted with a /healthz http liveness probe [NodeConformance] [Conformance]",
        run!(restarted, "mkdir -p /www; touch /www/healthz; (sleep 10; rm /www/healthz)& exec httpd -f -p 8080 -h /www", http, 1),
    ),
    test(
        "[sig-node] Probing container should be restarted with a GRPC liveness probe [NodeConformance] [Conformance]",
        run!(restarted, "sleep 600", grpc, 1),
    ),
    test(
        "[sig-node] Probing container should be restarted with a exec \"cat /tmp/health\" liveness probe [NodeConformance] [Conformance]",
        run!(restarted, "echo ok >/tmp/health; sleep 10; rm -rf /tmp/health; sleep 600", exec, 1),
    ),
    test(
        "[sig-node] Probing container should have monotonically increasing restart count [NodeConformance] [Conformance]",
        run!(restarted, "sleep 600", http, 4),
    )
    .within(400),
    test(
        "[sig-node] Probing container with readiness probe should not be ready before initial delay and never restart [NodeConformance] [Conformance]",
        run!(delayed),
    ),
    test(
        "[sig-node] Probing container with readiness probe that fails should never be ready and never restart [NodeConformance] [Conformance]",
        run!(never_ready),
    ),
];

const HTTP: &str = "mkdir -p /www; touch /www/healthz; exec httpd -f -p 8080 -h /www";
/// Answers each connection with what is in a file, once the question has begun to come.
const GRPC: &str = "printf '#!/bin/sh\\nhead -c 60 >/dev/null; cat /answer/it; sleep 2\\n' >/tmp/answer; chmod +x /tmp/answer; \
    while true; do nc -ll -p 8080 -e /tmp/answer; done";

fn http() -> Value {
    json!({ "httpGet": { "path": "/healthz", "port": 8080 } })
}

fn tcp() -> Value {
    json!({ "tcpSocket": { "port": 8080 } })
}

fn exec() -> Value {
    json!({ "exec": { "command": ["cat", "/tmp/health"] } })
}

fn grpc() -> Value {
    json!({ "grpc": { "port": 8080 } })
}

/// An answer of a gRPC health server that serves: HTTP/2 settings, an acknowledgement, and on stream 1 a header, a message and the
/// trailers, without any compression that needs state.
fn grpc_answer() -> Vec<u8> {
    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
        [&[0, 0, length, kind, flags, 0, 0, 0, stream][..], payload].concat()
    }
    fn field(name: &str, value: &str) -> Vec<u8> {
        let length = |text: &str| u8::try_from(text.len()).unwrap_or(u8::MAX);
        [&[0, length(name)][..], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
    }
    // 0x88 is the static table's `:status: 200`.
    let head = [vec![0x88], field("content-type", "application/grpc")].concat();
    [
        frame(4, 0, 0, &[]),
        frame(4, 1, 0, &[]),
        frame(1, 4, 1, &head),
        frame(0, 0, 1, &[0, 0, 0, 0, 2, 8, 1]),
        frame(1, 5, 1, &field("grpc-status", "0")),
    ]
    .concat()
}

/// A pod that starts anew for ever and is probed for its life.
async fn pod(context: &Context, place: &Place, text: &str, handler: fn() -> Value, patience: u32) -> Outcome<Value> {
    let answer = BASE64_STANDARD.encode(grpc_answer());
    let map = json!({ "metadata": { "name": "answer" }, "binaryData": { "it": answer } });
    place.config_maps(context).create(&map).await?;
    let mut pod = place.runs("probed", text);
    pod["spec"]["restartPolicy"] = "Always".into();
    pod["spec"]["terminationGracePeriodSeconds"] = 2.into();
    pod["spec"]["volumes"] = json!([{ "name": "answer", "configMap": { "name": "answer" } }]);
    let container = &mut pod["spec"]["containers"][0];
    container["volumeMounts"] = json!([{ "name": "answer", "mountPath": "/answer" }]);
    let mut probe = handler();
    for (field, value) in
        [("initialDelaySeconds", 5), ("periodSeconds", 4), ("timeoutSeconds", 5), ("failureThreshold", patience)]
    {
        probe[field] = value.into();
    }
    container["livenessProbe"] = probe;
    Ok(pod)
}

fn restarts(pod: &Value) -> u64 {
    status(pod, "c")["restartCount"].as_u64().unwrap_or(0)
}

async fn kept(context: &Context, text: &str, handler: fn() -> Value) -> Outcome {
    let place = Place::new(context).await?;
    place.ready(&pod(context, &place, text, handler, 3).await?).await?;
    let end = Instant::now() + WATCHED;
    while Instant::now() < end {
        same!(restarts(&place.pods.get("probed").await?), 0, "restarts");
        sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

async fn restarted(context: &Context, text: &str, handler: fn() -> Value, times: u64) -> Outcome {
    let place = Place::new(context).await?;
    place.pods.create(&pod(context, &place, text, handler, 1).await?).await?;
    let (mut last, end) = (0, Instant::now() + PATIENCE * u32::try_from(times).unwrap_or(1));
    while last < times {
        ensure!(Instant::now() < end, "started anew {last} times and not {times}");
        let now = restarts(&place.pods.get("probed").await?);
        ensure!(now >= last, "the count of restarts went from {last} to {now}");
        last = now;
        sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

async fn delayed(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = place.runs("probed", "sleep 600");
    pod["spec"]["containers"][0]["readinessProbe"] =
        json!({ "exec": { "command": ["true"] }, "initialDelaySeconds": 15, "periodSeconds": 3 });
    let ready = place.ready(&pod).await?;
    let time = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
    let started = time(&status(&ready, "c")["state"]["running"]["startedAt"]);
    let conditions = ready["status"]["conditions"].as_array().into_iter().flatten();
    let condition = conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or(&Value::Null);
    let waited = seconds(&time(&condition["lastTransitionTime"])) - seconds(&started);
    ensure!((14..=60).contains(&waited), "it was ready {waited} s after its start and not 15 s");
    same!(restarts(&ready), 0, "restarts");
    Ok(())
}

/// Seconds of the day of a time in RFC 3339.
fn seconds(time: &str) -> i64 {
    let clock = time.get(11..19).unwrap_or("00:00:00");
    clock.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap_or(0))
}

async fn never_ready(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = place.runs("probed", "sleep 600");
    pod["spec"]["containers"][0]["readinessProbe"] =
        json!({ "exec": { "command": ["false"] }, "initialDelaySeconds": 2, "periodSeconds": 2 });
    place.pods.create(&pod).await?;
    let runs = |pod: &Value| status(pod, "c")["state"]["running"].is_object();
    place.pods.wait("probed", "it runs", PATIENCE, runs).await?;
    let end = Instant::now() + WATCHED;
    while Instant::now() < end {
        let pod = place.pods.get("probed").await?;
        ensure!(!is_ready(&pod), "it is ready");
        same!(restarts(&pod), 0, "restarts");
        sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}
