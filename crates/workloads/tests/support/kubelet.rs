//! A kubelet that says what pods do and does nothing.
//!
//! A pod that is bound becomes running and ready with an address of its own, unless it is annotated with `test/exit`: then
//! it ends with that code. A pod that is being deleted is removed.

use super::Cluster;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// Annotates a pod with the exit codes of its tries, by its name's index among those that were seen: the last one stays.
pub const EXIT: &str = "test/exit";
/// Annotates a pod that never becomes ready.
pub const UNREADY: &str = "test/unready";

/// Plays all kubelets until the token is cancelled.
pub fn start(cluster: &Cluster) -> CancellationToken {
    let (client, token) = (cluster.client.clone(), CancellationToken::new());
    let stop = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = play(client) => {}
            () = stop.cancelled() => {}
        }
    });
    token
}

async fn play(client: kube::Client) {
    let all: Api<Pod> = Api::all(client.clone());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut number = 0;
    loop {
        let stream = all.watch(&WatchParams::default(), "0").await.unwrap();
        let mut stream = stream.boxed();
        while let Ok(Some(event)) = stream.try_next().await {
            let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else { continue };
            let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
            if pod.metadata.deletion_timestamp.is_some() {
                let _ = api.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await;
                continue;
            }
            let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
            let uid = pod.uid().unwrap();
            if !bound || seen.contains_key(&uid) {
                continue;
            }
            seen.insert(uid, number);
            number += 1;
            let status = json!({"status": status(&pod, number)});
            let _ = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(status)).await;
        }
    }
}

fn status(pod: &Pod, number: usize) -> Value {
    let ip = format!("10.1.{}.{}", number / 250, number % 250 + 1);
    let name = pod.spec.as_ref().map(|spec| spec.containers[0].name.clone()).unwrap_or_default();
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    let exit = pod.annotations().get(EXIT).and_then(|code| code.parse::<i32>().ok());
    let ready = exit.is_none() && !pod.annotations().contains_key(UNREADY);
    let (phase, state) = match exit {
        None => ("Running", json!({"running": {"startedAt": now}})),
        Some(code) => (
            if code == 0 { "Succeeded" } else { "Failed" },
            json!({"terminated": {"exitCode": code, "startedAt": now, "finishedAt": now}}),
        ),
    };
    json!({
        "phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "startTime": now,
        "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": now}],
        "containerStatuses": [{"name": name, "image": "i", "imageID": "", "ready": ready, "restartCount": 0, "state": state}],
    })
}
