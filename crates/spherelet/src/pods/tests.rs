//! The watch of pods against an API in memory.

use super::*;
use crate::{
    api_fake::ApiFake,
    host::fake::FakeHost,
    images::{ImageLookupError, Pulling, ResolvedImage},
};
use orrery_images::{Access, registry::Keyring};
use orrery_wire::host::MachineSpec;
use serde_json::{Value, json};
use std::path::PathBuf;

const UID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const POD: &str = "/api/v1/namespaces/demo/pods/hello";
const PATIENCE: Duration = Duration::from_secs(20);

struct AnyImage;

impl ImageSource for AnyImage {
    fn resolve(&self, _: &str) -> Result<Option<ResolvedImage>, ImageLookupError> {
        Ok(Some(ResolvedImage {
            id: format!("sha256:{}", "ab".repeat(32)),
            erofs_path: "/images/x.erofs".into(),
            entrypoint: vec!["/bin/sh".into()],
            cmd: vec![],
            env: vec![],
            working_dir: String::new(),
            user: String::new(),
            stop_signal: None,
            pinned: String::new(),
            access: Access::open(),
        }))
    }

    fn allows(&self, _: &str, _: &ResolvedImage, _: &Keyring) -> bool {
        true
    }

    fn list(&self) -> Vec<(Vec<String>, u64)> {
        Vec::new()
    }

    fn collect(&self, _: &[PathBuf]) {}

    fn pull(&self, _: &str, _: Keyring) -> Pulling {
        unreachable!("every image is here")
    }
}

fn orphan() -> MachineSpec {
    let uid = "11111111-d9cb-469f-a165-70867728950e";
    MachineSpec {
        id: uid.into(),
        name: "demo/gone".into(),
        owner: Owner::Pod { namespace: "demo".into(), name: "gone".into(), uid: uid.into() },
        pool: "pods".into(),
        namespace: "demo".into(),
        vcpus: 1,
        cpu_milli: 0,
        memory_bytes: 1 << 28,
        overhead_bytes: 0,
        disks: vec![],
        scratch_bytes: None,
        interfaces: vec![],
    }
}

fn pod() -> Value {
    json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": { "name": "hello", "namespace": "demo", "uid": UID, "resourceVersion": "1" },
        "spec": { "nodeName": "host-1", "containers": [{ "name": "main", "image": "busybox:1" }] },
    })
}

async fn eventually(what: &str, good: impl Fn() -> bool) {
    let waiting = async {
        while !good() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} did not come"));
}

#[tokio::test]
async fn pods_of_the_node_get_machines_and_machines_without_a_pod_go() {
    let (api, client) = ApiFake::start();
    api.objects.lock().unwrap().insert(POD.to_owned(), pod());
    let host = FakeHost::start();
    Hostd::new(host.socket()).admit(&orphan()).await.unwrap();
    let directory = Directory::default();
    let task = PodsTask {
        node: HostName::new("host-1").unwrap(),
        host_ip: "127.0.0.1".into(),
        cluster_dns: vec![],
        pod_pids_limit: None,
        hostd: Hostd::new(host.socket()),
        images: Arc::new(AnyImage),
        client,
        directory: directory.clone(),
    };
    let ends = CancellationToken::new();
    let running = tokio::spawn(task.run(ends.clone()));
    eventually("the pod", || api.object(POD).is_some_and(|pod| pod["status"]["phase"] == "Running")).await;
    eventually("the sweep", || host.released() == [orphan().id]).await;
    eventually("the events", || {
        let requests = api.requests.lock().unwrap();
        requests.iter().any(|(_, path, body)| path.contains("/events") && body["reason"] == "Started")
    })
    .await;
    assert_eq!(directory.counts(), (1, 1, 1));
    let selector =
        api.requests.lock().unwrap().iter().any(|(_, path, _)| path.contains("fieldSelector=spec.nodeName%3Dhost-1"));
    assert!(selector, "only pods of this node are asked for");

    // Deletion as the API server tells it: first asked for, then, after the Spherelet's own request, done.
    let deleted = {
        let mut objects = api.objects.lock().unwrap();
        let pod = objects.get_mut(POD).unwrap();
        crate::api_fake::merge(
            pod,
            &json!({ "metadata": {
            "resourceVersion": "2", "deletionTimestamp": "2999-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30 } }),
        );
        pod.clone()
    };
    api.events.send(json!({ "type": "MODIFIED", "object": deleted })).unwrap();
    eventually("the deletion", || api.object(POD).is_none()).await;
    let request =
        api.requests.lock().unwrap().iter().find(|(method, ..)| method == http::Method::DELETE).cloned().unwrap();
    assert_eq!(request.2["preconditions"]["uid"], UID);
    assert_eq!(request.2["gracePeriodSeconds"], 0);
    api.events.send(json!({ "type": "DELETED", "object": deleted })).unwrap();
    eventually("the end of the worker", || directory.counts().0 == 0).await;
    ends.cancel();
    running.await.unwrap();
}
