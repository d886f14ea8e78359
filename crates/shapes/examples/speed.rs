//! How long apply and the tracking of updates take, on a deployment and a pod of ordinary size.
//!
//! `cargo run --release -p orrery-shapes --example speed`
#![allow(clippy::print_stdout, reason = "a command-line program")]

use orrery_machinery::shape::Shape;
use orrery_merge::{
    apply::{Apply, Ignored, OneVersion, Resource, Update, Writer, apply, track},
    patch::{self, PatchKind},
};
use serde_json::{Value, json};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

const ROUNDS: u32 = 20_000;
const NOW: &str = "2026-01-01T00:00:00Z";

fn measure(what: &str, mut run: impl FnMut()) {
    for _ in 0..ROUNDS / 10 {
        run();
    }
    let start = cpu_time();
    for _ in 0..ROUNDS {
        run();
    }
    let each = (cpu_time() - start) / ROUNDS;
    println!("{what:<52} {each:>10.2?}  {:>9.0}/s", 1.0 / each.as_secs_f64());
}

/// Time on a CPU, so that a busy machine does not count.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux says what a process has used");
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the first number is nanoseconds"))
}

fn writer(manager: &str) -> Writer<'_> {
    Writer { manager, subresource: "", now: NOW }
}

fn pod() -> Value {
    let container = |name: &str| {
        json!({
            "name": name, "image": "registry.example/app:1", "imagePullPolicy": "IfNotPresent",
            "command": ["/app", "--listen", ":8080"],
            "env": (0..8).map(|n| json!({"name": format!("VARIABLE_{n}"), "value": "value"})).collect::<Vec<_>>(),
            "ports": [{"containerPort": 8080, "protocol": "TCP"}, {"containerPort": 9090, "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web", "tier": "front"}},
        "spec": {
            "containers": [container("web"), container("side")], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
            "volumes": [{"name": "data", "emptyDir": {}}], "schedulerName": "default-scheduler", "securityContext": {},
        },
    })
}

fn tracked(live: Option<&Value>, object: &Value, resource: Resource<'_>, manager: &str) -> Value {
    let mut object = object.clone();
    track(&Update { live, resource, writer: writer(manager) }, &mut object);
    object["metadata"]["uid"] = "u".into();
    object
}

fn main() {
    let start = Instant::now();
    let shape: Shape = orrery_shapes::of("", "v1", "Pod").expect("pods are in the table");
    println!("reading the table: {:?}", start.elapsed());
    let resource =
        Resource { api_version: "v1", kind: "Pod", shape: &shape, ignored: &Ignored::Nothing, versions: &OneVersion };
    let created = tracked(None, &pod(), resource, "kubectl-create");
    let mut with_status = created.clone();
    with_status["status"] = json!({
        "phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": NOW}],
    });
    let live = tracked(Some(&created), &with_status, resource, "kubelet");
    let mut next = live.clone();
    next["status"]["phase"] = "Running".into();
    next["status"]["podIP"] = "10.0.0.1".into();
    println!("{} bytes of JSON", live.to_string().len());

    measure("clone of the object, for comparison", || {
        black_box(next.clone());
    });
    measure("track: create", || {
        let mut object = pod();
        track(&Update { live: None, resource, writer: writer("kubectl-create") }, black_box(&mut object));
    });
    measure("track: a status changes (clone included)", || {
        let mut object = next.clone();
        track(&Update { live: Some(&live), resource, writer: writer("kubelet") }, black_box(&mut object));
    });
    measure("track: nothing changes (clone included)", || {
        let mut object = live.clone();
        track(&Update { live: Some(&live), resource, writer: writer("kubelet") }, black_box(&mut object));
    });

    let request = |live, config, force| Apply { live, config, force, resource, writer: writer("applier") };
    let config = pod();
    let mut applied = apply(&request(None, &config, false)).expect("it applies").object;
    applied["metadata"]["uid"] = "u".into();
    let mut changed = config.clone();
    changed["spec"]["containers"][0]["image"] = "registry.example/app:2".into();
    let mut fewer = config.clone();
    fewer["spec"]["containers"][0]["env"].as_array_mut().expect("a list").pop();
    measure("apply: create", || {
        black_box(apply(&request(None, &config, false)).is_ok());
    });
    measure("apply: nothing changes", || {
        black_box(apply(&request(Some(&applied), &config, false)).is_ok());
    });
    measure("apply: an image changes", || {
        black_box(apply(&request(Some(&applied), &changed, false)).is_ok());
    });
    measure("apply: a variable goes (prunes)", || {
        black_box(apply(&request(Some(&applied), &fewer, false)).is_ok());
    });
    let patch = json!({"spec": {"containers": [{"name": "web", "image": "registry.example/app:2"}]}});
    measure("strategic merge patch: an image changes", || {
        black_box(patch::apply(PatchKind::Strategic, &live, &patch, Some(&shape)).is_ok());
    });
}
