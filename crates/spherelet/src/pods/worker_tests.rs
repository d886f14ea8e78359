//! Workers against a host in memory and an API in memory.

use super::Shared;
use super::api::{Files, PodApi, PodApiError};
use super::directory::Known;
use super::events::Events;
use super::volumes::Token;
use super::worker::{Wanted, Worker};
use crate::{
    api_fake::merge,
    host::{
        Hostd,
        fake::{EXIT, FakeHost, MISSING, STUBBORN},
    },
    images::{ImageLookupError, ImageSource, Pulled, Pulling, ResolvedImage},
};
use async_trait::async_trait;
use futures::FutureExt as _;
use k8s_openapi::{
    api::core::v1::Service,
    jiff::{SignedDuration, Timestamp},
};
use orrery_images::{Access, Digest, registry::Keyring};
use orrery_lifecycle::{
    env::{Source, Values},
    pod::{Notice, PodView},
    volume::TokenAsk,
};
use orrery_wire::{
    host::reason,
    shim::ShimRequest,
    volume::{FilePiece, Medium, VolumeRequest, VolumeStep},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

const UID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
/// Longer than any of this takes; what does not come in this time does not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// One pod in memory. It becomes null when it is deleted.
#[derive(Clone)]
struct FakeApi {
    pod: Arc<watch::Sender<Value>>,
    config_maps: Arc<Mutex<BTreeMap<String, String>>>,
}

fn view(pod: &Value) -> PodView {
    PodView::project(&serde_json::from_value(pod.clone()).unwrap()).unwrap()
}

impl FakeApi {
    fn change(&self, patch: &Value) {
        self.pod.send_modify(|pod| {
            let version: u64 = pod["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            merge(pod, patch);
            pod["metadata"]["resourceVersion"] = json!((version + 1).to_string());
        });
    }

    /// The pod, once it is as `good` wants it.
    async fn until(&self, what: &str, good: impl FnMut(&Value) -> bool) -> Value {
        let mut changes = self.pod.subscribe();
        let found = tokio::time::timeout(PATIENCE, changes.wait_for(good)).await;
        match found {
            Ok(pod) => pod.unwrap().clone(),
            Err(_) => panic!("{what} did not come; the pod is {:#}", *self.pod.borrow()),
        }
    }
}

#[async_trait]
impl PodApi for FakeApi {
    async fn patch_status(&self, pod: &PodView, patch: &Value) -> Result<PodView, PodApiError> {
        let version = self.pod.borrow()["metadata"]["resourceVersion"].clone();
        if version != patch["metadata"]["resourceVersion"] || patch["metadata"]["uid"] != json!(pod.uid.to_string()) {
            return Err(PodApiError::Stale);
        }
        self.change(&json!({ "status": patch["status"] }));
        Ok(view(&self.pod.borrow()))
    }

    async fn delete(&self, _pod: &PodView) -> Result<(), PodApiError> {
        self.pod.send_replace(Value::Null);
        Ok(())
    }

    async fn files(&self, _pod: &PodView, source: &Source) -> Result<Option<Files>, PodApiError> {
        let name = match source {
            Source::ConfigMap(name) => name,
            Source::Secret(name) => {
                let auths = json!({ "auths": { "r.io": { "username": "u", "password": "p" } } }).to_string();
                return Ok((name == "pull").then(|| Files::from([(".dockerconfigjson".into(), auths.into_bytes())])));
            }
        };
        Ok(self
            .config_maps
            .lock()
            .unwrap()
            .get(name)
            .map(|text| Files::from([("key".into(), text.clone().into_bytes())])))
    }

    async fn services(&self, _pod: &PodView) -> Result<Vec<Service>, PodApiError> {
        let service =
            json!({ "metadata": { "name": "a-b" }, "spec": { "clusterIP": "10.96.0.7", "ports": [{ "port": 80 }] } });
        Ok(vec![serde_json::from_value(service).unwrap()])
    }

    async fn token(&self, pod: &PodView, ask: &TokenAsk, now: Timestamp) -> Result<Token, PodApiError> {
        let text = format!("token of {} for {:?}", pod.service_account, ask.audience);
        Ok(Token { text, refresh_at: now + SignedDuration::from_secs(ask.expiration_seconds) })
    }

    async fn values(&self, _pod: &PodView, source: &Source) -> Result<Option<Values>, PodApiError> {
        Ok((*source == Source::ConfigMap("there".into())).then(|| Values::from([("key".into(), "value".into())])))
    }
}

/// `absent` is nowhere, `r.io/...` in a registry, `guarded` here for those who have a credential for it, all else here.
struct FakeImages;

impl FakeImages {
    fn image() -> ResolvedImage {
        ResolvedImage {
            id: format!("sha256:{}", "ab".repeat(32)),
            pinned: format!("docker.io/library/busybox@sha256:{}", "cd".repeat(32)),
            erofs_path: "/images/x.erofs".into(),
            entrypoint: vec!["/bin/sh".into()],
            cmd: vec![],
            env: vec![],
            working_dir: String::new(),
            user: String::new(),
            stop_signal: Some("SIGINT".into()),
            access: Access::open(),
        }
    }
}

impl ImageSource for FakeImages {
    fn resolve(&self, reference: &str) -> Result<Option<ResolvedImage>, ImageLookupError> {
        if reference.starts_with("absent") || reference.starts_with("r.io/") {
            return Ok(None);
        }
        let mut image = Self::image();
        if reference.starts_with("guarded") {
            image.access = Access::with(&Digest::of(b"somebody else's"));
        }
        Ok(Some(image))
    }

    fn allows(&self, _reference: &str, _image: &ResolvedImage, keyring: &Keyring) -> bool {
        !keyring.lookup("r.io", "guarded").is_empty()
    }

    fn list(&self) -> Vec<(Vec<String>, u64)> {
        Vec::new()
    }

    fn collect(&self, _: &[PathBuf]) {}

    fn pull(&self, reference: &str, _keyring: Keyring) -> Pulling {
        let pulled = Pulled { image: Self::image(), took: Duration::from_millis(1200), size_bytes: 4096 };
        let outcome = if reference.starts_with("r.io/") { Ok(pulled) } else { Err("r.io answers 503".to_owned()) };
        Pulling { outcome: async { outcome }.boxed().shared(), progress: watch::channel((0, 0)).1 }
    }
}

struct Bench {
    host: FakeHost,
    api: FakeApi,
    events: mpsc::Receiver<(Arc<PodView>, Notice)>,
    worker: JoinHandle<()>,
    known: watch::Receiver<Known>,
    shared: Arc<Shared>,
}

impl Bench {
    fn start(host: FakeHost, spec: &Value) -> Self {
        let pod = json!({
            "metadata": { "name": "hello", "namespace": "demo", "uid": UID, "resourceVersion": "1" },
            "spec": spec,
        });
        let api = FakeApi { pod: Arc::new(watch::channel(pod).0), config_maps: Arc::default() };
        let (queue, events) = Events::for_test();
        let shared = Arc::new(Shared {
            host_ip: "127.0.0.1".into(),
            cluster_dns: vec![],
            pod_pids_limit: None,
            hostd: Hostd::new(host.socket()),
            images: Arc::new(FakeImages),
            api: Arc::new(api.clone()),
            events: queue,
        });
        let (told, known) = watch::channel(Known::default());
        let worker = spawn(&shared, &api, told);
        Self { host, api, events, worker, known, shared }
    }

    fn reasons(&mut self) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        while let Ok((_, notice)) = self.events.try_recv() {
            reasons.push(notice.reason);
        }
        reasons
    }
}

/// A worker that sees every change of the pod.
fn spawn(shared: &Arc<Shared>, api: &FakeApi, known: watch::Sender<Known>) -> JoinHandle<()> {
    let pod = Arc::new(view(&api.pod.borrow()));
    let (sender, wanted) = watch::channel(Wanted::Pod(pod.clone()));
    let mut changes = api.pod.subscribe();
    let worker = Worker::new(shared.clone(), pod, wanted, known);
    tokio::spawn(async move {
        let feed = async {
            while changes.changed().await.is_ok() {
                let pod = changes.borrow_and_update().clone();
                let gone = pod.is_null();
                sender.send_replace(if gone { Wanted::Gone } else { Wanted::Pod(Arc::new(view(&pod))) });
            }
        };
        tokio::select! {
            () = worker.run(CancellationToken::new()) => {}
            () = feed => {}
        }
    })
}

fn main_container(over: &Value) -> Value {
    let mut container = json!({ "name": "main", "image": "busybox:1" });
    merge(&mut container, over);
    json!({ "nodeName": "host-1", "containers": [container] })
}

fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

fn running(attempt: u64) -> impl FnMut(&Value) -> bool {
    move |pod| container(pod)["state"]["running"].is_object() && container(pod)["restartCount"] == json!(attempt)
}

fn starts(host: &FakeHost) -> usize {
    host.shim().requests().iter().filter(|request| matches!(request, ShimRequest::StartContainer { .. })).count()
}

#[tokio::test]
async fn a_pod_runs_survives_its_machine_and_is_deleted_in_order() {
    let mut bench = Bench::start(FakeHost::start(), &main_container(&json!({})));
    let pod = bench.api.until("running", running(0)).await;
    assert_eq!((&pod["status"]["phase"], &pod["status"]["podIP"]), (&json!("Running"), &json!("10.244.0.7")));
    assert_eq!(bench.reasons(), ["MachineAdmitted", "Pulled", "Created", "Started"]);
    bench.host.shim().end_machine();
    let pod = bench.api.until("running again", running(1)).await;
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 137);
    assert_eq!(bench.host.shim().status().boot, 2);
    assert_eq!(bench.reasons(), ["MachineEnded", "Pulled", "Created", "Started"]);
    let shim = bench.host.shim();
    let far = "2999-01-01T00:00:00Z";
    bench.api.change(&json!({ "metadata": { "deletionTimestamp": far, "deletionGracePeriodSeconds": 30 } }));
    bench.api.until("gone", Value::is_null).await;
    bench.worker.await.unwrap();
    let signals = shim.requests().into_iter().filter_map(|request| match request {
        ShimRequest::SignalContainer { signal, .. } => Some(signal),
        _ => None,
    });
    assert_eq!(signals.collect::<Vec<_>>(), [2], "the image asks for SIGINT");
    assert_eq!(bench.host.released().first().map(String::as_str), Some(UID));
}

#[tokio::test]
async fn a_container_that_ignores_its_signal_is_killed_at_the_deadline() {
    let bench = Bench::start(FakeHost::start(), &main_container(&json!({ "args": [STUBBORN] })));
    bench.api.until("running", running(0)).await;
    let shim = bench.host.shim();
    let past = "2020-01-01T00:00:00Z";
    bench.api.change(&json!({ "metadata": { "deletionTimestamp": past, "deletionGracePeriodSeconds": 0 } }));
    bench.api.until("gone", Value::is_null).await;
    assert!(shim.requests().contains(&ShimRequest::SignalContainer { name: "main".into(), signal: 9, all: true }));
}

#[tokio::test]
async fn the_next_worker_finds_the_machine_and_starts_nothing_anew() {
    let bench = Bench::start(FakeHost::start(), &main_container(&json!({})));
    let before = bench.api.until("running", running(0)).await;
    bench.worker.abort();
    let _second = spawn(&bench.shared, &bench.api, watch::channel(Known::default()).0);
    bench.host.shim().end_container("main", 1);
    let after = bench.api.until("the restart", running(1)).await;
    assert_eq!(starts(&bench.host), 2);
    assert_eq!(after["status"]["startTime"], before["status"]["startTime"]);
    let last = &container(&after)["lastState"]["terminated"];
    assert_eq!(
        (&last["exitCode"], &last["startedAt"]),
        (&json!(1), &container(&before)["state"]["running"]["startedAt"])
    );
}

#[tokio::test]
async fn a_pod_that_the_host_refuses_has_failed() {
    let host = FakeHost::start();
    host.refuse(reason::OUT_OF_MEMORY, "64 MiB are left; the machine needs 288 MiB");
    let mut bench = Bench::start(host, &main_container(&json!({})));
    let pod = bench.api.until("the failure", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "OutOfmemory");
    assert!(pod["status"]["message"].as_str().unwrap().contains("64 MiB are left"));
    assert_eq!(bench.reasons(), ["MachineRefused"]);
}

#[tokio::test]
async fn a_pod_that_never_restarts_ends_and_its_machine_is_switched_off() {
    let mut spec = main_container(&json!({}));
    spec["restartPolicy"] = json!("Never");
    let bench = Bench::start(FakeHost::start(), &spec);
    bench.api.until("running", running(0)).await;
    bench.host.shim().end_container("main", 0);
    bench.api.until("success", |pod| pod["status"]["phase"] == "Succeeded").await;
    let mut shim = bench.host.shim().requests();
    while !shim.iter().any(|request| matches!(request, ShimRequest::PowerOff { .. })) {
        tokio::task::yield_now().await;
        shim = bench.host.shim().requests();
    }
    assert_eq!(starts(&bench.host), 1);
}

#[tokio::test]
async fn a_program_that_is_missing_is_told_and_tried_again() {
    let mut bench = Bench::start(FakeHost::start(), &main_container(&json!({ "command": [MISSING] })));
    let pod =
        bench.api.until("the wait", |pod| container(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff").await;
    let last = &container(&pod)["lastState"]["terminated"];
    assert_eq!((&last["reason"], &last["exitCode"]), (&json!("StartError"), &json!(128)));
    assert!(bench.reasons().contains(&"Failed"));
}

#[tokio::test]
async fn what_a_container_lacks_is_waited_for() {
    let variable = |map: &str| json!({ "env": [{ "name": "X", "valueFrom": { "configMapKeyRef": { "name": map, "key": "key" } } }] });
    let bench = Bench::start(FakeHost::start(), &main_container(&variable("missing")));
    let waits = |why: &'static str| move |pod: &Value| container(pod)["state"]["waiting"]["reason"] == why;
    let pod = bench.api.until("the wait", waits("CreateContainerConfigError")).await;
    assert_eq!(container(&pod)["state"]["waiting"]["message"], "configmap \"missing\" not found");
    let bench = Bench::start(FakeHost::start(), &main_container(&variable("there")));
    bench.api.until("running", running(0)).await;
    let started = bench.host.shim().requests().into_iter().find_map(|request| match request {
        ShimRequest::StartContainer { spec, .. } => Some(spec),
        _ => None,
    });
    let env = started.unwrap().process.env;
    assert!(env.contains(&"X=value".to_owned()) && env.contains(&"A_B_SERVICE_HOST=10.96.0.7".to_owned()), "{env:?}");
}

#[tokio::test]
async fn an_image_that_is_not_here_is_pulled_once_and_told_as_the_kubelet_does() {
    let mut bench = Bench::start(FakeHost::start(), &main_container(&json!({ "image": "r.io/app" })));
    let pod = bench.api.until("running", running(0)).await;
    let digest = format!("docker.io/library/busybox@sha256:{}", "cd".repeat(32));
    assert_eq!((&container(&pod)["image"], &container(&pod)["imageID"]), (&json!("r.io/app"), &json!(digest)));
    let mut messages = Vec::new();
    while let Ok((_, notice)) = bench.events.try_recv() {
        messages.push((notice.reason, notice.message));
    }
    let reasons: Vec<_> = messages.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(reasons, ["Pulling", "Pulled", "MachineAdmitted", "Created", "Started"]);
    assert_eq!(messages[0].1, "Pulling image \"r.io/app\"");
    let told = &messages[1].1;
    assert!(
        told.starts_with("Successfully pulled image \"r.io/app\" in ") && told.ends_with("Image size: 4096 bytes."),
        "{told}"
    );
    bench.host.shim().end_container("main", 1);
    bench.api.until("running again", running(1)).await;
    assert_eq!(bench.reasons(), ["Pulled", "Created", "Started"], "a restart takes what is here");
}

#[tokio::test]
async fn an_image_that_cannot_be_had_is_told_and_waited_for() {
    let waits = |why: &'static str| move |pod: &Value| container(pod)["state"]["waiting"]["reason"] == why;
    let mut bench = Bench::start(FakeHost::start(), &main_container(&json!({ "image": "absent:1" })));
    let pod = bench.api.until("the failure", waits("ErrImagePull")).await;
    assert_eq!(container(&pod)["state"]["waiting"]["message"], "r.io answers 503");
    let pod = bench.api.until("the wait", waits("ImagePullBackOff")).await;
    let message = "Back-off pulling image \"absent:1\": ErrImagePull: r.io answers 503";
    assert_eq!(container(&pod)["state"]["waiting"]["message"], message);
    assert_eq!(bench.reasons(), ["Pulling", "Failed", "Failed", "BackOff", "Failed"]);
    for (image, policy, reason) in
        [("absent:1", "Never", "ErrImageNeverPull"), ("r.io/UPPER", "Always", "InvalidImageName")]
    {
        let over = json!({ "image": image, "imagePullPolicy": policy });
        let bench = Bench::start(FakeHost::start(), &main_container(&over));
        bench.api.until(reason, waits(reason)).await;
    }
}

#[tokio::test]
async fn an_image_that_others_pulled_with_credentials_is_not_taken_without_them() {
    let with = |secrets: &Value| {
        let mut spec = main_container(&json!({ "image": "guarded:1" }));
        spec["imagePullSecrets"] = secrets.clone();
        spec
    };
    let mut bench = Bench::start(FakeHost::start(), &with(&json!([{ "name": "other" }])));
    let refused = |pod: &Value| container(pod)["state"]["waiting"]["reason"] == "ErrImagePull";
    bench.api.until("the registry is asked", refused).await;
    assert_eq!(bench.reasons()[..2], ["FailedToRetrieveImagePullSecret", "Pulling"]);
    let mut bench = Bench::start(FakeHost::start(), &with(&json!([{ "name": "pull" }])));
    bench.api.until("running", running(0)).await;
    assert_eq!(bench.reasons(), ["MachineAdmitted", "Pulled", "Created", "Started"]);
}

#[tokio::test]
async fn volumes_are_there_before_containers_and_follow_their_sources() {
    let mut spec =
        main_container(&json!({ "volumeMounts": [{ "name": "v", "mountPath": "/v", "subPathExpr": "$(A)/b" }],
        "env": [{ "name": "A", "value": "a" }] }));
    spec["serviceAccountName"] = json!("robot");
    spec["volumes"] = json!([
        { "name": "v", "emptyDir": { "sizeLimit": "1Gi" } },
        { "name": "files", "projected": { "sources": [
            { "configMap": { "name": "settings" } },
            { "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } },
            { "serviceAccountToken": { "path": "token", "audience": "vault" } },
        ] } },
    ]);
    let mut bench = Bench::start(FakeHost::start(), &spec);
    let failed = tokio::time::timeout(PATIENCE, bench.events.recv()).await.unwrap().unwrap().1;
    let message = "MountVolume.SetUp failed for volume \"files\" : configmap \"settings\" not found";
    assert_eq!((failed.reason, failed.message.as_str()), ("FailedMount", message));
    bench.api.config_maps.lock().unwrap().insert("settings".into(), "one".into());
    bench.api.change(&json!({ "metadata": { "labels": { "x": "1" } } }));
    bench.api.until("running", running(0)).await;
    let requests = bench.host.shim().requests();
    let Some(ShimRequest::StartContainer { spec, .. }) = requests.last() else { panic!("{requests:?}") };
    assert_eq!((spec.mounts[0].path.as_str(), spec.mounts[0].sub_path.as_str()), ("/v", "a/b"));
    assert_eq!(spec.termination_message_path, None);
    assert_eq!(
        files(&requests),
        ["key=one", "labels=x=\"1\"", "token=token of robot for Some(\"vault\")"].map(str::to_owned)
    );
    bench.api.change(&json!({ "metadata": { "labels": { "x": "2" } } }));
    let shim = bench.host.shim();
    let updated = async {
        while !files(&shim.requests()).contains(&"labels=x=\"2\"".to_owned()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, updated).await.unwrap();
    // A new boot has nothing and gets everything.
    let before = shim.requests().len();
    shim.end_machine();
    bench.api.until("running again", running(1)).await;
    let after = &shim.requests()[before..];
    assert_eq!(files(after).len(), 3, "{after:?}");
    assert!(after.iter().any(|request| matches!(
        request,
        ShimRequest::Volume(VolumeRequest { step: VolumeStep::Directory { medium: Medium::Disk, .. }, .. })
    )));
}

/// The files that were staged last, as `path=text`.
fn files(requests: &[ShimRequest]) -> Vec<String> {
    let staged = requests.iter().rev().find_map(|request| match request {
        ShimRequest::Volume(VolumeRequest { step: VolumeStep::Stage { pieces, .. }, .. }) => Some(pieces),
        _ => None,
    });
    let text = |piece: &FilePiece| format!("{}={}", piece.path, String::from_utf8_lossy(&piece.data));
    staged.into_iter().flatten().map(text).collect()
}

fn exit(code: u32) -> Value {
    json!({ "exec": { "command": [EXIT, code.to_string()] } })
}

fn probe(code: u32) -> Value {
    let mut probe = exit(code);
    merge(&mut probe, &json!({ "failureThreshold": 1, "timeoutSeconds": 10 }));
    probe
}

#[tokio::test]
async fn a_container_that_fails_its_liveness_probe_is_ended_and_started_again() {
    let mut spec = main_container(&json!({ "livenessProbe": probe(1) }));
    spec["terminationGracePeriodSeconds"] = json!(20);
    let mut bench = Bench::start(FakeHost::start(), &spec);
    let pod = bench.api.until("the restart", running(1)).await;
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 130, "the image asks for SIGINT");
    let reasons = bench.reasons();
    let after: Vec<_> = reasons.iter().skip_while(|reason| **reason != "Started").take(3).copied().collect();
    assert_eq!(after, ["Started", "Unhealthy", "Killing"], "{reasons:?}");
}

#[tokio::test]
async fn a_pod_is_ready_when_its_probe_succeeds() {
    let spec = main_container(&json!({ "readinessProbe": probe(0), "startupProbe": probe(0) }));
    let bench = Bench::start(FakeHost::start(), &spec);
    let ready = |pod: &Value| container(pod)["ready"] == json!(true) && container(pod)["started"] == json!(true);
    bench.api.until("ready", ready).await;
    let execs =
        bench.host.shim().requests().into_iter().filter(
            |request| matches!(request, ShimRequest::Exec { bound: true, container, .. } if container == "main"),
        );
    assert_eq!(execs.count(), 2);
    let known = bench.known.borrow();
    let counted = known.probes.all().collect::<Vec<_>>();
    assert_eq!(counted, [("main", "Readiness", "successful", 1), ("main", "Startup", "successful", 1)]);
}

#[tokio::test]
async fn hooks_run_after_the_start_and_before_the_signal() {
    let lifecycle = json!({ "postStart": exit(0), "preStop": exit(1) });
    let mut bench = Bench::start(FakeHost::start(), &main_container(&json!({ "lifecycle": lifecycle })));
    bench.api.until("running", running(0)).await;
    let shim = bench.host.shim();
    let far = "2999-01-01T00:00:00Z";
    bench.api.change(&json!({ "metadata": { "deletionTimestamp": far, "deletionGracePeriodSeconds": 30 } }));
    bench.api.until("gone", Value::is_null).await;
    let order = shim.requests().into_iter().filter_map(|request| match request {
        ShimRequest::StartContainer { .. } => Some("start".to_owned()),
        ShimRequest::Exec { process, .. } => Some(process.argv.join(" ")),
        ShimRequest::SignalContainer { signal, .. } => Some(signal.to_string()),
        _ => None,
    });
    assert_eq!(order.collect::<Vec<_>>(), ["start", "exit 0", "exit 1", "2"]);
    assert!(bench.reasons().contains(&"FailedPreStopHook"), "its failure is told and does not hold up the end");
}

#[tokio::test]
async fn a_container_whose_start_hook_fails_is_ended() {
    let mut spec = main_container(&json!({ "lifecycle": { "postStart": exit(3) } }));
    spec["restartPolicy"] = json!("Never");
    let mut bench = Bench::start(FakeHost::start(), &spec);
    bench.api.until("failure", |pod| pod["status"]["phase"] == "Failed").await;
    let reasons = bench.reasons();
    assert!(reasons.ends_with(&["FailedPostStartHook", "Killing"]), "{reasons:?}");
}
