//! Hosts join, beat and enrol over HTTPS.

mod support;

use orrery_api::inventory::{Supervisor, VirtualMachine};
use orrery_wire::{
    host::Owner,
    join::{EnrolReply, EnrolRequest, Heartbeat, HeartbeatReply, HeldMachine, LocalDatastore},
};
use serde_json::{Value, json};
use support::{Running, beat, refusal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_one_host_in_and_every_refusal_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Running::start(directory.path()).await;
    for cluster in ["one", "two"] {
        manager.create("computeclusters", "ComputeCluster", cluster, json!({})).await.unwrap();
    }
    let token = manager.token("one", 60).await;
    let joined = manager.join("host-1", &token).await.unwrap();
    assert_eq!(joined.reply.cluster, "one");

    // The same request again, as if the answer had been lost.
    let again: Value = manager.stranger().post("/hosts/v1/join", &joined.request).await.unwrap();
    assert_eq!(again["cluster"], "one");

    let (code, message) = refusal(manager.join("host-2", &token).await);
    assert!(code == 403 && message.contains("used already, by the host \"host-1\""), "{code} {message}");
    let (code, message) = refusal(manager.join("host-1", &manager.token("one", 60).await).await);
    assert!(code == 409 && message.contains("choose another name"), "{code} {message}");
    let (code, message) = refusal(manager.join("host-1", &manager.token("two", 60).await).await);
    assert!(code == 409 && message.contains("ask for a token for \"one\""), "{code} {message}");
    let (code, message) = refusal(manager.join("Host 3", &manager.token("one", 60).await).await);
    assert!(code == 400 && message.contains("choose another name"), "{code} {message}");

    let fresh = manager.token("one", 60).await;
    let mut parts: Vec<&str> = fresh.split('.').collect();
    let secret = "0".repeat(parts[1].len());
    parts[1] = &secret;
    let (code, message) = refusal(manager.join("host-3", &parts.join(".")).await);
    assert!(code == 403 && message.contains("unknown"), "{code} {message}");
    let (code, message) = refusal(manager.join("host-3", "half.a").await);
    assert!(code == 400 && message.contains("copy the whole of it"), "{code} {message}");
    let foreign = format!("{}.{}.{}", fresh.split('.').next().unwrap(), secret, "ab".repeat(32));
    let (code, message) = refusal(manager.join("host-3", &foreign).await);
    assert!(code == 403 && message.contains("another manager's"), "{code} {message}");
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_and_one_for_a_cluster_that_is_gone_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Running::start(directory.path()).await;
    manager.create("computeclusters", "ComputeCluster", "one", json!({})).await.unwrap();
    let expires = manager.token("one", 1).await;
    let kept = manager.token("one", 60).await;
    let clusters = kube::Api::<orrery_api::inventory::ComputeCluster>::all(manager.kube().await);
    clusters.delete("one", &kube::api::DeleteParams::default()).await.unwrap();
    let (code, message) = refusal(manager.join("host-1", &kept).await);
    assert!(code == 404 && message.contains("ask for a token for another cluster"), "{code} {message}");
    let (code, message) = refusal::<Value>(
        manager.admin.post("/admin/v1/join-tokens", &json!({"cluster": "one", "ttlSeconds": 60})).await,
    );
    assert!(code == 404 && message.contains("\"one\" not found"), "{code} {message}");
    // A second is the shortest lifetime that there is: wait for it to pass.
    loop {
        let (code, message) = refusal(manager.join("host-1", &expires).await);
        if code == 403 {
            assert!(message.contains("has expired: ask an administrator"), "{message}");
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_administrators_make_tokens_and_only_hosts_beat() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Running::start(directory.path()).await;
    manager.create("computeclusters", "ComputeCluster", "one", json!({})).await.unwrap();
    let host = manager.join("host-1", &manager.token("one", 60).await).await.unwrap();
    let as_host = manager.as_host(&host);
    let asked = json!({"cluster": "one", "ttlSeconds": 60});
    assert_eq!(refusal::<Value>(as_host.post("/admin/v1/join-tokens", &asked).await).0, 403);
    assert_eq!(refusal::<Value>(manager.stranger().post("/admin/v1/join-tokens", &asked).await).0, 401);
    let hosts = "/apis/inventory.orrery.dev/v1alpha1/hosts";
    assert_eq!(refusal(as_host.get_text(hosts).await).0, 403);
    let beaten = beat("host-1", 0, 0);
    assert_eq!(refusal::<Value>(manager.stranger().post("/hosts/v1/heartbeat", &beaten).await).0, 401);
    assert_eq!(refusal::<Value>(manager.admin.post("/hosts/v1/heartbeat", &beaten).await).0, 403);
    let (code, message) = refusal::<Value>(as_host.post("/hosts/v1/heartbeat", &beat("host-2", 0, 0)).await);
    assert!(code == 400 && message.contains("one name"), "{code} {message}");
    let (code, message) = refusal::<Value>(as_host.post("/hosts/v1/nonsense", &json!({})).await);
    assert!(code == 404, "{code} {message}");
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_beats_learns_of_its_supervisor_and_is_enrolled() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Running::start(directory.path()).await;
    manager.create("computeclusters", "ComputeCluster", "one", json!({})).await.unwrap();
    let joined = manager.join("host-1", &manager.token("one", 60).await).await.unwrap();
    let host = manager.as_host(&joined);
    let reply: HeartbeatReply = host.post("/hosts/v1/heartbeat", &beat("host-1", 3, 500)).await.unwrap();
    assert_eq!(reply.supervisor, None);
    let object = manager.get("hosts/host-1").await;
    assert_eq!(object["status"]["machines"], 3);
    assert_eq!(object["status"]["conditions"][0]["status"], "True");
    assert_eq!(object["status"]["facts"]["agentVersion"], "0.1.0");

    let enrol = EnrolRequest {
        supervisor: "supervisor-1".into(),
        client_csr_pem: String::new(),
        serving_csr_pem: String::new(),
        address: "127.0.0.1".into(),
    };
    let (code, message) = refusal::<Value>(host.post("/hosts/v1/enrol", &enrol).await);
    assert!(code == 409 && message.contains("does not serve the Supervisor"), "{code} {message}");

    manager.create("supervisors", "Supervisor", "supervisor-1", json!({"cluster": "one"})).await.unwrap();
    let ready = json!({"status": {"conditions": [{
        "type": "ControlPlaneReady", "status": "True", "reason": "Test", "message": "",
        "lastTransitionTime": "2030-01-01T00:00:00Z"}]}});
    kube::Api::<Supervisor>::all(manager.client.clone())
        .patch_status("supervisor-1", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(ready))
        .await
        .unwrap();
    let reply: HeartbeatReply = host.post("/hosts/v1/heartbeat", &beat("host-1", 3, 500)).await.unwrap();
    assert_eq!(reply.supervisor.as_deref(), Some("supervisor-1"));
    let enrolled: EnrolReply = host.post("/hosts/v1/enrol", &enrol).await.unwrap();
    assert_eq!(enrolled.client_certificate_pem, "host-1 of supervisor-1");

    let hosts = kube::Api::<orrery_api::inventory::Host>::all(manager.kube().await);
    hosts.delete("host-1", &kube::api::DeleteParams::default()).await.unwrap();
    let (code, message) = refusal::<Value>(host.post("/hosts/v1/heartbeat", &beat("host-1", 3, 500)).await);
    assert!(code == 404 && message.contains("join again with a new token"), "{code} {message}");
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_reports_is_in_the_inventory_as_long_as_it_reports_it() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Running::start(directory.path()).await;
    manager.create("computeclusters", "ComputeCluster", "one", json!({})).await.unwrap();
    let joined = manager.join("host-1", &manager.token("one", 60).await).await.unwrap();
    let host = manager.as_host(&joined);
    let id = "0b1c9d3e-0000-4000-8000-000000000001";
    let machine = HeldMachine {
        id: id.into(),
        name: "demo/web".into(),
        owner: Owner::Pod { namespace: "demo".into(), name: "web".into(), uid: id.into() },
        pool: "default".into(),
        vcpus: 2,
        cpu_milli: 500,
        memory_bytes: 256 << 20,
        overhead_bytes: 64 << 20,
        addresses: vec!["10.244.0.7/24".into()],
        releasing: false,
    };
    let store = LocalDatastore { path: "/var/lib/x".into(), capacity_bytes: 10 << 30, free_bytes: (3 << 30) + 5 };
    let mut beat = Heartbeat { held: Some(vec![machine]), datastore: Some(store), ..beat("host-1", 1, 500) };
    let _: HeartbeatReply = host.post("/hosts/v1/heartbeat", &beat).await.unwrap();
    let found = manager.get(&format!("virtualmachines/{id}")).await;
    assert_eq!((&found["spec"]["owner"]["name"], &found["spec"]["host"]), (&json!("web"), &json!("host-1")));
    assert_eq!(
        (&found["status"]["phase"], &found["status"]["addresses"][0]),
        (&json!("Admitted"), &json!("10.244.0.7/24"))
    );
    let found = manager.get("datastores/host-1").await;
    assert_eq!((&found["status"]["freeBytes"], &found["spec"]["path"]), (&json!(3_u64 << 30), &json!("/var/lib/x")));
    assert_eq!(manager.get("networks/host-1").await["spec"]["subnet"], "10.244.0.0/24");

    beat.held.as_mut().unwrap()[0].releasing = true;
    let _: HeartbeatReply = host.post("/hosts/v1/heartbeat", &beat).await.unwrap();
    let found = manager.get(&format!("virtualmachines/{id}")).await;
    assert_eq!((&found["status"]["phase"], &found["spec"]["powerState"]), (&json!("Releasing"), &json!("PoweredOff")));
    beat.held = Some(Vec::new());
    let _: HeartbeatReply = host.post("/hosts/v1/heartbeat", &beat).await.unwrap();
    let machines = kube::Api::<VirtualMachine>::all(manager.client.clone());
    assert!(machines.get_opt(id).await.unwrap().is_none());
    manager.stop().await;
}
