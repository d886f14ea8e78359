//! Answers that need no more than what is at hand.

use crate::pods::Directory;
use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use std::convert::Infallible;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(super) fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

fn with_type(status: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// A line of text.
pub(super) fn text(status: StatusCode, message: impl Into<String>) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", message.into())
}

/// A JSON document.
pub(super) fn json(document: &serde_json::Value) -> Response<Body> {
    with_type(StatusCode::OK, "application/json", document.to_string())
}

/// Numbers as Prometheus reads them.
pub(super) fn exposition(text: String) -> Response<Body> {
    with_type(StatusCode::OK, "text/plain; version=0.0.4", text)
}

/// The pods of this node.
pub(super) fn pods(directory: &Directory) -> Response<Body> {
    let objects = directory.objects();
    let mut list = br#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":["#.to_vec();
    for (index, object) in objects.iter().enumerate() {
        if index > 0 {
            list.push(b',');
        }
        list.extend_from_slice(object);
    }
    list.extend_from_slice(b"]}");
    with_type(StatusCode::OK, "application/json", list)
}

/// Numbers about this node.
pub(super) fn metrics(directory: &Directory) -> Response<Body> {
    let (pods, machines, containers) = directory.counts();
    let gauge =
        |name: &str, help: &str, value: usize| format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
    let metrics = [
        gauge("spherelet_pods", "Pods bound to this node.", pods),
        gauge("spherelet_machines", "Machines of pods that this host holds.", machines),
        gauge("kubelet_running_containers", "Containers that run.", containers),
    ];
    exposition(metrics.concat())
}

/// How probes ended, as the kubelet tells it (`prober_probe_total`). Names of Kubernetes need no escaping.
pub(super) fn probes(directory: &Directory) -> Response<Body> {
    let mut lines: Vec<String> = Vec::new();
    for (pod, known) in directory.all() {
        lines.extend(known.probes.all().map(|(container, kind, result, count)| {
            format!(
                "prober_probe_total{{container=\"{container}\",namespace=\"{}\",pod=\"{}\",pod_uid=\"{}\",\
                 probe_type=\"{kind}\",result=\"{result}\"}} {count}\n",
                pod.namespace, pod.name, pod.uid
            )
        }));
    }
    lines.sort_unstable();
    let help = "Cumulative number of a liveness, readiness or startup probe for a container by result.";
    let head = format!("# HELP prober_probe_total {help}\n# TYPE prober_probe_total counter\n");
    exposition(head + &lines.concat())
}
