//! A whole control plane in this process: over HTTPS, with its controllers, tokens and audit log.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
    config::{AuthInfo, KubeConfigOptions},
};
use orrery_api::k8s::api::{
    authentication::v1::{SelfSubjectReview, TokenRequest},
    core::v1::{Endpoints, Event, Namespace, Pod, ServiceAccount},
    discovery::v1::EndpointSlice,
};
use orrery_client::Access;
use orrery_supervisor::{
    AuditOptions, Authorities, ControlPlane, ControlPlaneConfig, EmbeddedControlPlane, Rotation, TokenOptions,
    control_plane::{self, RunConfig, RunError},
};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio_util::sync::CancellationToken;

const NAME: &str = "supervisor-1";

fn config(supervisors: &Path) -> RunConfig {
    let directory = supervisors.join(NAME);
    RunConfig {
        supervisor: NAME.parse().unwrap(),
        manager_kubeconfig: directory.join("manager.kubeconfig"),
        tokens: TokenOptions::default(),
        audit: AuditOptions {
            log: directory.join("audit.log"),
            policy: None,
            wait: false,
            rotation: Rotation::default(),
        },
        grace: Duration::ZERO,
        directory,
    }
}

fn deployed(supervisors: &Path, advertise: Option<SocketAddr>) -> SocketAddr {
    // The configuration names the port, so that it has to be known before.
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("https://{listen}");
    let config = ControlPlaneConfig { version: 1, supervisor: NAME.into(), listen, endpoint, advertise };
    // As enablement does: the authorities first.
    Authorities::load_or_create(&supervisors.join(NAME).join("pki")).unwrap();
    config.store(&supervisors.join(NAME)).unwrap();
    listen
}

async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// A client who shows a token and no certificate.
async fn with_token(access: &Access, token: &str) -> Client {
    let mut kubeconfig = access.to_kubeconfig("test");
    kubeconfig.auth_infos[0].auth_info = Some(AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() });
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_kubernetes_leads_to_the_address_that_pods_reach() {
    let supervisors = tempfile::tempdir().unwrap();
    // An address for documentation (RFC 5737): nobody has it, so that nothing is reachable by this test.
    let listen = deployed(supervisors.path(), Some("192.0.2.1:0".parse().unwrap()));
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(control_plane::run(config(supervisors.path()), shutdown.clone()));
    let authorities = Authorities::load_or_create(&supervisors.path().join(NAME).join("pki")).unwrap();
    let hour = Duration::from_secs(3600);
    let access = authorities.access(&format!("https://{listen}"), "admin", "system:masters", hour).unwrap();
    let client = access.client().await.unwrap();
    let endpoints: Api<Endpoints> = Api::namespaced(client.clone(), "default");
    let slices: Api<EndpointSlice> = Api::namespaced(client, "default");
    let slice = until("there is a slice", async || slices.get("kubernetes").await.ok()).await;
    assert_eq!(slice.endpoints.unwrap_or_default()[0].addresses, ["192.0.2.1"]);
    let found = endpoints.get("kubernetes").await.unwrap().subsets.unwrap();
    assert_eq!(found[0].addresses.as_ref().unwrap()[0].ip, "192.0.2.1");
    assert_eq!(found[0].ports.as_ref().unwrap()[0].port, slice.ports.unwrap_or_default()[0].port.unwrap());
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controllers_do_their_work_without_being_masters_and_tokens_and_records_are_there() {
    let supervisors = tempfile::tempdir().unwrap();
    let listen = deployed(supervisors.path(), None);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(control_plane::run(config(supervisors.path()), shutdown.clone()));
    let embedded = EmbeddedControlPlane { supervisors: supervisors.path().into(), listen, advertise: None };
    let ready = async || {
        assert!(!running.is_finished(), "the control plane ended");
        embedded.ready(NAME).await.then_some(())
    };
    until("the control plane is ready", ready).await;
    let authorities = Authorities::load_or_create(&supervisors.path().join(NAME).join("pki")).unwrap();
    let hour = Duration::from_secs(3600);
    let access = authorities.access(&format!("https://{listen}"), "admin", "system:masters", hour).unwrap();
    let client = access.client().await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let demo = object(json!({"metadata": {"name": "demo"}}));
    namespaces.create(&PostParams::default(), &demo).await.unwrap();

    // The controllers make its account, and the scheduler says why a pod waits.
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "demo");
    until("demo has an account", async || accounts.get_opt("default").await.unwrap()).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "demo");
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "registry.local/a:1"}]}});
    pods.create(&PostParams::default(), &object(pod)).await.unwrap();
    let events: Api<Event> = Api::namespaced(client.clone(), "demo");
    let waits = |event: &Event| event.reason.as_deref() == Some("FailedScheduling");
    let told = async || events.list(&ListParams::default()).await.unwrap().items.iter().any(waits).then_some(());
    until("the scheduler says why the pod waits", told).await;

    let request: TokenRequest = object(json!({"metadata": {}, "spec": {"audiences": []}}));
    let issued = accounts.create_token_request("default", &PostParams::default(), &request).await.unwrap();
    let token = issued.status.unwrap().token.unwrap();
    let reviews: Api<SelfSubjectReview> = Api::all(with_token(&access, &token).await);
    let me = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let me = me.status.unwrap().user_info.unwrap();
    assert_eq!(me.username.as_deref(), Some("system:serviceaccount:demo:default"));

    namespaces.delete("demo", &DeleteParams::default()).await.unwrap();
    let gone = async || namespaces.get_opt("demo").await.unwrap().is_none().then_some(());
    until("the namespace is emptied and gone", gone).await;
    let denied = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap_err();
    assert!(matches!(denied, kube::Error::Api(status) if status.code == 401));

    shutdown.cancel();
    running.await.unwrap().unwrap();
    let log = supervisors.path().join(NAME).join("audit.log");
    let text = until("the log is written", async || {
        let text = std::fs::read_to_string(&log).unwrap();
        text.contains("\"verb\":\"delete\"").then_some(text)
    })
    .await;
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let by = |user: &str, verb: &str, resource: &str| {
        lines.iter().any(|line| {
            line["user"]["username"] == user && line["verb"] == verb && line["objectRef"]["resource"] == resource
        })
    };
    assert!(by("admin", "create", "namespaces") && by("admin", "create", "serviceaccounts"));
    assert!(by("system:kube-controller-manager", "create", "serviceaccounts"));
    assert!(!text.contains(&token) && !text.contains("registry.local"));
    let refused: Vec<_> =
        lines.iter().filter(|line| line["annotations"]["authorization.k8s.io/decision"] == "forbid").collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[tokio::test]
async fn a_bad_audit_policy_keeps_the_control_plane_from_starting() {
    let supervisors = tempfile::tempdir().unwrap();
    deployed(supervisors.path(), None);
    std::fs::write(supervisors.path().join(NAME).join("audit-policy.yaml"), "kind: Policy").unwrap();
    let ended = control_plane::run(config(supervisors.path()), CancellationToken::new()).await;
    assert!(matches!(ended, Err(RunError::Security(_))), "{ended:?}");
}
