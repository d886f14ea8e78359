//! A manager on a free port, and hosts that talk to it.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use orrery_api::names::HostName;
use orrery_client::{
    Access,
    json::{JsonClient, RequestError},
};
use orrery_identity::{Credentials, new_signing_request};
use orrery_manager::{ADMINISTRATORS, Config, EnrolError, Manager, NodeEnroller, SUPERVISORS};
use orrery_wire::{
    host::Facts,
    join::{EnrolReply, EnrolRequest, Heartbeat, JoinReply, JoinRequest},
};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// A Supervisor that enrols everybody.
pub(crate) struct Enroller;

#[async_trait::async_trait]
impl NodeEnroller for Enroller {
    async fn enrol(&self, host: &HostName, request: EnrolRequest) -> Result<EnrolReply, EnrolError> {
        Ok(EnrolReply {
            endpoint: "https://127.0.0.1:6443".into(),
            server_ca_pem: String::new(),
            kubelet_client_ca_pem: String::new(),
            client_certificate_pem: format!("{host} of {}", request.supervisor),
            serving_certificate_pem: String::new(),
            cluster_dns: vec![],
        })
    }
}

/// A manager that serves until it is stopped.
pub(crate) struct Running {
    pub(crate) endpoint: String,
    pub(crate) ca_pem: String,
    pub(crate) admin: JsonClient,
    pub(crate) client: kube::Client,
    pub(crate) supervisor: JsonClient,
    admin_credentials: Credentials,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(directory: &Path) -> Self {
        let config = Config {
            state: directory.join("manager"),
            pki: directory.join("pki"),
            listen: "127.0.0.1:0".parse().unwrap(),
            enroller: Arc::new(Enroller),
        };
        let manager = Manager::start(config).await.unwrap();
        let endpoint = format!("https://{}", manager.address());
        let ca_pem = manager.server_ca_pem().to_owned();
        let admin_credentials = manager.issue_client("ada", ADMINISTRATORS, Duration::from_secs(600)).unwrap();
        let supervisor = manager.issue_client("system:supervisor:s", SUPERVISORS, Duration::from_secs(600)).unwrap();
        let supervisor = JsonClient::new(&access(&endpoint, &ca_pem, &supervisor), TIMEOUT).unwrap();
        let client = manager.client();
        let shutdown = CancellationToken::new();
        let until = shutdown.clone();
        let task = tokio::spawn(async move { manager.serve(until).await.unwrap() });
        let access = access(&endpoint, &ca_pem, &admin_credentials);
        let admin = JsonClient::new(&access, TIMEOUT).unwrap();
        Self { endpoint, ca_pem, admin, client, supervisor, admin_credentials, shutdown, task }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    pub(crate) async fn create(
        &self,
        plural: &str,
        kind: &str,
        name: &str,
        spec: Value,
    ) -> Result<Value, RequestError> {
        let object = json!({
            "apiVersion": "inventory.orrery.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
        });
        self.admin.post(&format!("/apis/inventory.orrery.dev/v1alpha1/{plural}"), &object).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let text = self.admin.get_text(&format!("/apis/inventory.orrery.dev/v1alpha1/{path}")).await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) async fn token(&self, cluster: &str, ttl_seconds: u64) -> String {
        let asked = json!({"cluster": cluster, "ttlSeconds": ttl_seconds});
        let answer: Value = self.admin.post("/admin/v1/join-tokens", &asked).await.unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    /// A kube client as an administrator, over TLS.
    pub(crate) async fn kube(&self) -> kube::Client {
        access(&self.endpoint, &self.ca_pem, &self.admin_credentials).client().await.unwrap()
    }

    pub(crate) fn stranger(&self) -> JsonClient {
        JsonClient::anonymous(&self.endpoint, &self.ca_pem, TIMEOUT).unwrap()
    }

    pub(crate) fn as_host(&self, joined: &Joined) -> JsonClient {
        let credentials =
            Credentials { certificate_pem: joined.reply.certificate_pem.clone(), key_pem: joined.key_pem.clone() };
        JsonClient::new(&access(&self.endpoint, &self.ca_pem, &credentials), TIMEOUT).unwrap()
    }

    pub(crate) async fn join(&self, host: &str, token: &str) -> Result<Joined, RequestError> {
        let (key_pem, csr_pem) = new_signing_request("whoever").unwrap();
        let request = JoinRequest { token: token.to_owned(), host: host.to_owned(), csr_pem, facts: facts(host) };
        let reply = self.stranger().post("/hosts/v1/join", &request).await?;
        Ok(Joined { key_pem, reply, request })
    }
}

fn access(endpoint: &str, ca_pem: &str, credentials: &Credentials) -> Access {
    Access { endpoint: endpoint.to_owned(), server_ca_pem: ca_pem.to_owned(), credentials: credentials.clone() }
}

/// A host that was taken in.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) key_pem: String,
    pub(crate) reply: JoinReply,
    pub(crate) request: JoinRequest,
}

pub(crate) fn facts(host: &str) -> Facts {
    Facts {
        host: host.to_owned(),
        cpu_milli: 4000,
        memory_bytes: 8 << 30,
        machine_slots: 64,
        accelerator: "TCG".into(),
        qemu_version: "7.2.22".into(),
        kernel_release: "6.1".into(),
        boot_id: "b".into(),
        management_address: "127.0.0.1".into(),
        machine_range: "10.244.0.0/24".into(),
    }
}

pub(crate) fn beat(host: &str, machines: u32, used_cpu_milli: u64) -> Heartbeat {
    Heartbeat {
        facts: facts(host),
        machines,
        used_cpu_milli,
        used_memory_bytes: 0,
        agent_version: "0.1.0".into(),
        held: None,
        datastore: None,
    }
}

pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, RequestError>) -> (u16, String) {
    match result {
        Err(RequestError::Refused { status, message }) => (status.as_u16(), message),
        other => panic!("a refusal was expected: {other:?}"),
    }
}
