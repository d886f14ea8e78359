//! The inventory's API and DRS, over HTTPS.

mod support;

use orrery_wire::join::HeartbeatReply;
use serde_json::{Value, json};
use support::{Running, beat, refusal};

const REVIEWS: &str = "/apis/inventory.orrery.dev/v1alpha1/placementreviews";

fn review(pods: &[(&str, u64, &[&str])]) -> Value {
    let pods: Vec<Value> = pods
        .iter()
        .map(|(uid, cpu, candidates)| {
            json!({"uid": uid, "name": format!("demo/{uid}"), "cpuMilli": cpu, "memoryBytes": 1, "candidates": candidates})
        })
        .collect();
    json!({"apiVersion": "inventory.orrery.dev/v1alpha1", "kind": "PlacementReview",
        "spec": {"supervisor": "supervisor-1", "pods": pods}})
}

fn hosts(answer: &Value) -> Vec<Option<&str>> {
    let placements = answer["status"]["placements"].as_array().expect("every review is answered");
    placements.iter().map(|placement| placement["host"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drs_places_on_ready_hosts_of_the_supervisors_cluster_and_gives_no_room_away_twice() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Running::start(directory.path()).await;
    for (cluster, host) in [("one", "host-1"), ("one", "host-2"), ("two", "host-3")] {
        // The second is there already.
        let _ = manager.create("computeclusters", "ComputeCluster", cluster, json!({})).await;
        manager.join(host, &manager.token(cluster, 60).await).await.unwrap();
    }
    let (code, _) = refusal::<Value>(manager.admin.post(REVIEWS, &review(&[])).await);
    assert_eq!(code, 404, "the Supervisor is unknown");
    manager.create("supervisors", "Supervisor", "supervisor-1", json!({"cluster": "one"})).await.unwrap();

    let all: &[&str] = &["host-1", "host-2", "host-3"];
    let asked = review(&[("a", 3000, all), ("b", 3000, all), ("c", 3000, all)]);
    let answer: Value = manager.admin.post(REVIEWS, &asked).await.unwrap();
    assert_eq!(hosts(&answer), [Some("host-1"), Some("host-2"), None]);
    let why = answer["status"]["placements"][2]["reason"].as_str().unwrap();
    assert!(why.contains("host-1: 3 CPU asked for, 1 left") && why.contains("host-3: the host is not ready"), "{why}");

    // What was placed counts although no heartbeat has shown it; a pod that is asked about again counts once.
    let answer: Value = manager.admin.post(REVIEWS, &review(&[("d", 2000, all)])).await.unwrap();
    assert_eq!(hosts(&answer), [None]);
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_heartbeat_reports_counts_as_used() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Running::start(directory.path()).await;
    manager.create("computeclusters", "ComputeCluster", "one", json!({})).await.unwrap();
    manager.create("supervisors", "Supervisor", "supervisor-1", json!({"cluster": "one"})).await.unwrap();
    let joined = manager.join("host-1", &manager.token("one", 60).await).await.unwrap();
    let host = manager.as_host(&joined);
    let _: HeartbeatReply = host.post("/hosts/v1/heartbeat", &beat("host-1", 1, 3500)).await.unwrap();
    let answer: Value =
        manager.admin.post(REVIEWS, &review(&[("a", 1000, &["host-1"]), ("b", 500, &["host-1"])])).await.unwrap();
    assert_eq!(hosts(&answer), [None, Some("host-1")]);
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inventory_is_kept_and_refuses_what_makes_no_sense() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Running::start(directory.path()).await;
    manager.create("zones", "Zone", "zone-a", json!({"cluster": "one"})).await.unwrap();
    let (code, message) = refusal(manager.create("zones", "Zone", "zone.b", json!({"cluster": ""})).await);
    assert!(code == 422 && message.contains("metadata.name") && message.contains("spec.cluster"), "{message}");
    let (code, message) =
        refusal(manager.create("workloadnamespaces", "WorkloadNamespace", "default", json!({"supervisor": "s"})).await);
    assert!(code == 422 && message.contains("choose another"), "{message}");
    manager
        .create("tasks", "Task", "t", json!({"operation": "o", "targetKind": "k", "targetName": "n"}))
        .await
        .unwrap();
    assert_eq!(manager.get("tasks/t").await["status"]["state"], "Queued");
    manager.stop().await;

    let again = Running::start(directory.path()).await;
    assert_eq!(again.get("zones/zone-a").await["spec"]["cluster"], "one");
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_may_ask_drs_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Running::start(directory.path()).await;
    manager.create("supervisors", "Supervisor", "supervisor-1", json!({"cluster": "one"})).await.unwrap();
    let answer: Value = manager.supervisor.post(REVIEWS, &review(&[("a", 1, &[])])).await.unwrap();
    assert_eq!(hosts(&answer), [None]);
    for path in ["hosts", "supervisors", "tasks"] {
        let path = format!("/apis/inventory.orrery.dev/v1alpha1/{path}");
        assert_eq!(refusal(manager.supervisor.get_text(&path).await).0, 403, "{path}");
    }
    let asked = json!({"cluster": "one", "ttlSeconds": 60});
    assert_eq!(refusal::<Value>(manager.supervisor.post("/admin/v1/join-tokens", &asked).await).0, 403);
    manager.stop().await;
    // The rights are renewed when they are there already.
    Running::start(directory.path()).await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_monitor_counts_the_hosts_of_a_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Running::start(directory.path()).await;
    manager.create("computeclusters", "ComputeCluster", "one", json!({})).await.unwrap();
    manager.join("host-1", &manager.token("one", 60).await).await.unwrap();
    let deadline = tokio::time::Instant::now() + support::TIMEOUT;
    while manager.get("computeclusters/one").await["status"] != json!({"hosts": 1, "readyHosts": 1}) {
        assert!(tokio::time::Instant::now() < deadline, "the cluster was not counted");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    manager.stop().await;
}
