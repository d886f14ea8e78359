//! The node against an API in memory.

use super::*;
use crate::images::{ImageLookupError, Pulling, ResolvedImage};
use crate::{api_fake::ApiFake, host::fake::FakeHost};
use orrery_api::names::HostName;
use orrery_images::registry::Keyring;
use std::path::PathBuf;

const NODE: &str = "/api/v1/nodes/host-1";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/host-1";

/// A host that has two images, and is asked for nothing else.
struct TwoImages;

impl ImageSource for TwoImages {
    fn resolve(&self, _: &str) -> Result<Option<ResolvedImage>, ImageLookupError> {
        unreachable!("a node runs nothing")
    }

    fn allows(&self, _: &str, _: &ResolvedImage, _: &Keyring) -> bool {
        unreachable!("a node runs nothing")
    }

    fn list(&self) -> Vec<(Vec<String>, u64)> {
        vec![(vec!["small:1".into()], 10), (vec!["large@sha256:1".into(), "large:1".into()], 20)]
    }

    fn collect(&self, _: &[PathBuf]) {
        unreachable!("a node removes nothing")
    }

    fn pull(&self, _: &str, _: Keyring) -> Pulling {
        unreachable!("a node runs nothing")
    }
}

fn keeper(client: kube::Client, host: &FakeHost) -> Keeper {
    let config = Config {
        node: HostName::new("host-1").unwrap(),
        zone: None,
        hostd_socket: host.socket(),
        image_store: "/nowhere".into(),
        pod_pids_limit: None,
        registries: "/nowhere".into(),
        listen: "127.0.0.1:0".parse().unwrap(),
        version: "0.1.0".into(),
    };
    let (hostd, images) = (Hostd::new(host.socket()), Arc::new(TwoImages));
    Keeper { config, kubelet_port: 10250, hostd, images, client, facts: None, reported: None }
}

#[tokio::test]
async fn a_node_is_registered_with_its_lease_and_then_only_the_lease_is_renewed() {
    let (api, client) = ApiFake::start();
    let host = FakeHost::start();
    let mut keeper = keeper(client, &host);
    keeper.beat().await.unwrap();
    let node = api.object(NODE).unwrap();
    assert_eq!(node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"], 10250);
    assert_eq!(node["status"]["conditions"][3]["type"], "Ready");
    let large = serde_json::json!({ "names": ["large@sha256:1", "large:1"], "sizeBytes": 20 });
    assert_eq!((&node["status"]["images"][0], &node["status"]["images"][1]["sizeBytes"]), (&large, &10.into()));
    let lease = api.object(LEASE).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "host-1");
    assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], node["metadata"]["uid"]);
    api.requests.lock().unwrap().clear();
    keeper.beat().await.unwrap();
    let written: Vec<_> =
        api.requests.lock().unwrap().iter().filter(|(method, ..)| method != http::Method::GET).cloned().collect();
    assert_eq!(written.len(), 1);
    assert!(written[0].1.starts_with(LEASE), "{written:?}");
}

#[tokio::test]
async fn a_label_that_was_taken_away_comes_back_and_a_deleted_node_is_registered_again() {
    let (api, client) = ApiFake::start();
    let host = FakeHost::start();
    let mut keeper = keeper(client, &host);
    keeper.beat().await.unwrap();
    api.objects.lock().unwrap().get_mut(NODE).unwrap()["metadata"]["labels"] = serde_json::json!({ "own": "kept" });
    keeper.beat().await.unwrap();
    let labels = api.object(NODE).unwrap()["metadata"]["labels"].clone();
    assert_eq!(
        (&labels["own"], &labels["kubernetes.io/hostname"]),
        (&serde_json::json!("kept"), &serde_json::json!("host-1"))
    );
    api.objects.lock().unwrap().remove(NODE);
    keeper.beat().await.unwrap();
    assert!(api.object(NODE).unwrap()["status"]["capacity"]["pods"].is_string());
}
