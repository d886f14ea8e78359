//! Pods of the benchmark, asked for over plain HTTP through `kubectl proxy`.
//!
//! The proxy does TLS and the certificate, so that what is timed is a request and its answer and not the start of a
//! client. Requests are HTTP/1.0: the answer ends with the connection, and a watch is a line for each event.

use super::{BenchError, installation::Installation, interrupt::Kept};
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, BufRead, BufReader, Lines, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

const PODS: &str = "/api/v1/namespaces/demo/pods";
/// The demo's pod.
const DEMO: &str = "hello";
/// Nothing that is waited for here may take longer without a sign of life.
const PATIENCE: Duration = Duration::from_secs(180);

/// The way to the Supervisor.
pub(super) struct Pods {
    socket: PathBuf,
    _proxy: Kept,
}

impl Pods {
    /// Starts the proxy and waits until it serves.
    pub(super) fn connect(installation: &Installation) -> Result<Self, BenchError> {
        let socket = installation.scratch().join("api.sock");
        // Of an earlier proxy, which is killed and cleans up nothing.
        let _ = fs::remove_file(&socket);
        let mut command = installation.kubectl()?;
        command.arg("proxy").arg(format!("--unix-socket={}", socket.display()));
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let doing = "run kubectl proxy";
        let mut proxy = installation.children.start(&mut command).map_err(BenchError::io(doing))?;
        let mut said = String::new();
        let stdout = proxy.child.stdout.as_mut().expect("standard output is piped");
        BufReader::new(stdout).read_line(&mut said).map_err(BenchError::io(doing))?;
        if said.is_empty() {
            return Err(BenchError::answer("kubectl proxy", "it ended at once"));
        }
        Ok(Self { socket, _proxy: proxy })
    }

    /// The demo's pod, to make others like it.
    pub(super) fn demo(&self) -> Result<Value, BenchError> {
        let mut text = String::new();
        let mut answer = self.ask("GET", &format!("{PODS}/{DEMO}"), "")?;
        answer.read_to_string(&mut text).map_err(BenchError::io("read the demo pod"))?;
        serde_json::from_str(&text).map_err(|error| BenchError::answer("the demo pod", format!("{error}: {text}")))
    }

    /// Makes a pod, and removes it: the time from sending the POST to the event with which it is Ready.
    pub(super) fn start(&self, pod: &Value) -> Result<Duration, BenchError> {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let mut events = self.watch(name)?;
        let began = Instant::now();
        self.ask("POST", PODS, &pod.to_string())?;
        wait(&mut events, name, is_ready)?;
        let took = began.elapsed();
        self.ask("DELETE", &format!("{PODS}/{name}"), "")?;
        wait(&mut events, name, |event| event["type"] == "DELETED")?;
        Ok(took)
    }

    /// Makes a pod, and removes it: the time from sending the POST to the first byte of its output.
    pub(super) fn first_output(&self, pod: &Value) -> Result<Duration, BenchError> {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let mut events = self.watch(name)?;
        let began = Instant::now();
        self.ask("POST", PODS, &pod.to_string())?;
        wait(&mut events, name, is_running)?;
        let mut log = self.ask("GET", &format!("{PODS}/{name}/log?follow=true"), "")?;
        log.read_exact(&mut [0; 1]).map_err(BenchError::io(format!("read the log of the pod {name}")))?;
        let took = began.elapsed();
        drop(log);
        self.ask("DELETE", &format!("{PODS}/{name}"), "")?;
        wait(&mut events, name, |event| event["type"] == "DELETED")?;
        Ok(took)
    }

    /// Reads the log of a pod, which has to be of that many bytes at least: the time from the request to the last of them.
    pub(super) fn log(&self, name: &str, follow: bool, bytes: u64) -> Result<Duration, BenchError> {
        let began = Instant::now();
        let mut log = self.ask("GET", &format!("{PODS}/{name}/log?follow={follow}"), "")?.take(bytes);
        let came = io::copy(&mut log, &mut io::sink()).map_err(BenchError::io(format!("read the log of {name}")))?;
        let took = began.elapsed();
        if came == bytes { Ok(took) } else { Err(BenchError::answer("the log", format!("{came} of {bytes} bytes"))) }
    }

    /// Makes a pod and waits until its container runs.
    pub(super) fn run(&self, pod: &Value) -> Result<(), BenchError> {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let mut events = self.watch(name)?;
        self.ask("POST", PODS, &pod.to_string())?;
        wait(&mut events, name, is_running)
    }

    /// Waits until the demo's pod is Ready with another container than that one.
    pub(super) fn wait_for_another_container(&self, before: &str) -> Result<(), BenchError> {
        let mut events = self.watch(DEMO)?;
        wait(&mut events, DEMO, |event| {
            let now = container(&event["object"]);
            is_ready(event) && !now.is_empty() && now != before
        })
    }

    /// The pod as it is, and each change: a line for each.
    fn watch(&self, name: &str) -> Result<Lines<BufReader<UnixStream>>, BenchError> {
        let path = format!("{PODS}?watch=true&fieldSelector=metadata.name%3D{name}");
        Ok(self.ask("GET", &path, "")?.lines())
    }

    /// Sends a request; the answer's body.
    fn ask(&self, method: &str, path: &str, body: &str) -> Result<BufReader<UnixStream>, BenchError> {
        let doing = format!("{method} {path}");
        let exchange = || -> io::Result<(String, BufReader<UnixStream>)> {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let length = body.len();
            write!(
                stream,
                "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\
                 Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            )?;
            let mut answer = BufReader::new(stream);
            Ok((read_head(&mut answer)?, answer))
        };
        let (status, mut answer) = exchange().map_err(BenchError::io(&doing))?;
        if !is_success(&status) {
            let mut said = status;
            let _ = answer.read_to_string(&mut said);
            return Err(BenchError::Command { command: doing, said });
        }
        Ok(answer)
    }
}

/// The pod to start: the demo's, under another name.
pub(super) fn like(demo: &Value, name: &str) -> Value {
    let mut spec = demo["spec"].clone();
    // The scheduler's to say.
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("nodeName");
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "demo"}, "spec": spec})
}

/// The id of the pod's container; a restart makes another.
pub(super) fn container(pod: &Value) -> String {
    pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default().to_owned()
}

/// Reads up to the empty line; the first line.
fn read_head(answer: &mut impl BufRead) -> io::Result<String> {
    let (mut status, mut line) = (String::new(), String::new());
    answer.read_line(&mut status)?;
    while answer.read_line(&mut line)? > 0 && !line.trim_end().is_empty() {
        line.clear();
    }
    Ok(status)
}

fn is_success(status: &str) -> bool {
    status.split(' ').nth(1).is_some_and(|code| code.starts_with('2'))
}

/// Reads events until one is as wanted.
fn wait(
    events: &mut impl Iterator<Item = io::Result<String>>,
    pod: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Result<(), BenchError> {
    for line in events {
        let line = line.map_err(BenchError::io(format!("watch the pod {pod}")))?;
        let event: Value =
            serde_json::from_str(&line).map_err(|error| BenchError::answer("an event", format!("{error}: {line}")))?;
        if wanted(&event) {
            return Ok(());
        }
    }
    Err(BenchError::answer(format!("the watch of the pod {pod}"), "it ended too early"))
}

/// Whether the pod's container runs, or did.
fn is_running(event: &Value) -> bool {
    let state = &event["object"]["status"]["containerStatuses"][0]["state"];
    state["running"].is_object() || state["terminated"].is_object()
}

fn is_ready(event: &Value) -> bool {
    let conditions = event["object"]["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_an_answer_ends_at_the_empty_line() {
        let mut answer = BufReader::new("HTTP/1.0 201 Created\r\nA: b\r\n\r\nbody\n".as_bytes());
        let status = read_head(&mut answer).unwrap();
        assert!(is_success(&status) && !is_success("HTTP/1.0 409 Conflict") && !is_success(""));
        assert_eq!(answer.lines().next().unwrap().unwrap(), "body");
    }

    #[test]
    fn a_pod_is_waited_for_until_its_condition_holds() {
        let event = |status: &str| {
            let conditions = json!([{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": status}]);
            Ok(json!({"type": "MODIFIED", "object": {"status": {"conditions": conditions}}}).to_string())
        };
        let added = Ok(json!({"type": "ADDED", "object": {}}).to_string());
        let mut events = [added, event("False"), event("True"), event("False")].into_iter();
        wait(&mut events, "a", is_ready).unwrap();
        assert_eq!(events.len(), 1, "the event after it is left for the next wait");
        assert!(wait(&mut events, "a", is_ready).is_err(), "the watch ends");
    }

    #[test]
    fn a_container_that_waits_does_not_run() {
        let event = |state: &str| json!({"object": {"status": {"containerStatuses": [{"state": {state: {}}}]}}});
        assert!(is_running(&event("running")) && is_running(&event("terminated")));
        assert!(!is_running(&event("waiting")) && !is_running(&json!({})));
    }

    #[test]
    fn a_container_has_an_id_once_it_was_started() {
        let status = json!({"status": {"containerStatuses": [{"containerID": "crx://u/hello/1"}]}});
        assert_eq!((container(&status).as_str(), container(&json!({})).as_str()), ("crx://u/hello/1", ""));
    }

    #[test]
    fn another_pod_is_like_the_demos_but_on_no_node_yet() {
        let demo = json!({"metadata": {"name": "hello", "uid": "u"}, "spec": {"nodeName": "host-1", "containers": []}});
        let pod = like(&demo, "b");
        assert_eq!(pod["metadata"], json!({"name": "b", "namespace": "demo"}));
        assert_eq!(pod["spec"], json!({"containers": []}));
    }
}
