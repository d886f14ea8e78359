//! The report against a manager that speaks real TLS.

use super::{
    identity::{Held, Store, Token, is_due},
    turn::{Plan, Reporter, pause, plan, report},
};
use crate::{config::ManagerLink, host::Usage};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use orrery_api::names::HostName;
use orrery_identity::{Authority, Credentials, Profile, Usage as CertificateUsage, tls};
use orrery_wire::{
    host::{Enrolment, Facts},
    join::{EnrolReply, EnrolRequest, Heartbeat, HeartbeatReply, JoinReply, JoinRequest},
};
use std::{
    convert::Infallible,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{net::TcpListener, sync::watch, task::AbortHandle};
use tokio_rustls::TlsAcceptor;

fn profile(name: &str, usage: CertificateUsage) -> Profile {
    Profile {
        common_name: name.into(),
        organization: None,
        alternative_names: vec!["127.0.0.1".into()],
        usage,
        lifetime: Duration::from_secs(3600),
    }
}

fn enrolment(supervisor: &str, authority: &Authority) -> Enrolment {
    let client = authority.issue(&profile("node", CertificateUsage::Client)).unwrap();
    let serving = authority.issue(&profile("node", CertificateUsage::Server)).unwrap();
    Enrolment {
        supervisor: supervisor.into(),
        endpoint: "https://127.0.0.1:6443".into(),
        server_ca_pem: String::new(),
        kubelet_client_ca_pem: String::new(),
        client_certificate_pem: client.certificate_pem,
        client_key_pem: client.key_pem,
        serving_certificate_pem: serving.certificate_pem,
        serving_key_pem: serving.key_pem,
        kubelet_port: 10250,
        cluster_dns: Vec::new(),
    }
}

#[test]
fn credentials_are_dropped_kept_or_renewed_as_the_manager_says() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::load_or_create(directory.path(), "ca").unwrap();
    let now = SystemTime::now();
    let held = Held::new(now, enrolment("one", &authority));
    let later = |seconds| now + Duration::from_secs(seconds);
    assert_eq!(plan(None, None, now), Plan::Keep);
    assert_eq!(plan(None, Some(&held), now), Plan::Drop);
    assert_eq!(plan(Some("one"), None, now), Plan::Enrol("one".into()));
    assert_eq!(plan(Some("one"), Some(&held), later(2300)), Plan::Keep);
    assert_eq!(plan(Some("one"), Some(&held), later(2500)), Plan::Enrol("one".into()));
    assert_eq!(plan(Some("two"), Some(&held), now), Plan::Enrol("two".into()));
    assert!(is_due(now, later(30), later(40)), "what has run out is due");
}

#[test]
fn pauses_grow_to_a_bound() {
    assert_eq!(pause(1), Duration::from_secs(1));
    assert_eq!(pause(3), Duration::from_secs(4));
    assert_eq!(pause(u32::MAX), Duration::from_secs(30));
}

#[test]
fn only_whole_tokens_are_tokens() {
    let hash = "0123456789abcdef".repeat(4);
    assert_eq!(Token::parse(&format!("id.secret.{hash}\n")).unwrap().authority, hash);
    for bad in ["", "id.secret", "id.secret.xyz", &format!(".s.{hash}"), &format!("i.s.{hash}.more")] {
        assert!(Token::parse(bad).is_none(), "{bad}");
    }
}

/// A manager with one authority for everything.
struct Manager {
    authority: Authority,
    supervisor: Mutex<Option<String>>,
    /// The signing requests of those who joined.
    joins: Mutex<Vec<String>>,
    /// How many answers to joins are lost, and to enrolments refused.
    lost: AtomicU32,
    beats: AtomicU32,
}

impl Manager {
    fn new(directory: &Path) -> Arc<Self> {
        let authority = Authority::load_or_create(directory, "manager").unwrap();
        Arc::new(Self {
            authority,
            supervisor: Mutex::default(),
            joins: Mutex::default(),
            lost: AtomicU32::new(0),
            beats: AtomicU32::new(0),
        })
    }

    fn token(&self, id: &str) -> String {
        format!("{id}.secret.{}", self.authority.fingerprint().unwrap())
    }

    fn is_lost(&self) -> bool {
        self.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    fn sign(&self, request: &str, name: &str, usage: CertificateUsage) -> String {
        self.authority.sign_request(request, &profile(name, usage)).unwrap()
    }

    /// Serves at a free port; gives the endpoint.
    async fn serve(self: &Arc<Self>) -> (String, AbortHandle) {
        let issued = self.authority.issue(&profile("manager", CertificateUsage::Server)).unwrap();
        let chain = format!("{}{}", issued.certificate_pem, self.authority.certificate_pem());
        let credentials = Credentials { certificate_pem: chain, key_pem: issued.key_pem };
        let clients = tls::Clients::Optional(self.authority.certificate_pem());
        let acceptor = TlsAcceptor::from(tls::server(&credentials, clients, &["http/1.1"]).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("https://{}", listener.local_addr().unwrap());
        let manager = self.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (manager, acceptor) = (manager.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let known = stream.get_ref().1.peer_certificates().is_some();
                    let service = service_fn(move |request| {
                        let manager = manager.clone();
                        async move { Ok::<_, Infallible>(manager.answer(request, known).await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        (endpoint, task.abort_handle())
    }

    async fn answer(&self, request: Request<Incoming>, known: bool) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let answer = match path.as_str() {
            "/hosts/v1/join" => {
                let request: JoinRequest = serde_json::from_slice(&body).unwrap();
                self.joins.lock().unwrap().push(request.csr_pem.clone());
                if self.is_lost() {
                    return refuse(StatusCode::INTERNAL_SERVER_ERROR);
                }
                serde_json::to_vec(&JoinReply {
                    certificate_pem: self.sign(&request.csr_pem, "system:host:host-1", CertificateUsage::Client),
                    manager_ca_pem: self.authority.certificate_pem().into(),
                    cluster: "cluster-1".into(),
                })
            }
            _ if !known => return refuse(StatusCode::UNAUTHORIZED),
            "/hosts/v1/heartbeat" => {
                let request: Heartbeat = serde_json::from_slice(&body).unwrap();
                assert_eq!((request.machines, request.used_cpu_milli), (2, 300));
                self.beats.fetch_add(1, Ordering::SeqCst);
                let supervisor = self.supervisor.lock().unwrap().clone();
                serde_json::to_vec(&HeartbeatReply { supervisor, interval_seconds: 1 })
            }
            "/hosts/v1/enrol" => {
                let request: EnrolRequest = serde_json::from_slice(&body).unwrap();
                if self.is_lost() {
                    return refuse(StatusCode::SERVICE_UNAVAILABLE);
                }
                serde_json::to_vec(&EnrolReply {
                    endpoint: "https://127.0.0.1:6443".into(),
                    server_ca_pem: "server".into(),
                    kubelet_client_ca_pem: "kubelet".into(),
                    client_certificate_pem: self.sign(&request.client_csr_pem, "n", CertificateUsage::Client),
                    serving_certificate_pem: self.sign(&request.serving_csr_pem, "n", CertificateUsage::Server),
                    cluster_dns: Vec::new(),
                })
            }
            _ => return refuse(StatusCode::NOT_FOUND),
        };
        Response::new(Full::new(Bytes::from(answer.unwrap())))
    }
}

fn refuse(status: StatusCode) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::default()).unwrap()
}

fn reporter(endpoint: &str, token: Option<String>, directory: &Path) -> Reporter {
    let facts = Facts {
        host: "host-1".into(),
        cpu_milli: 2000,
        memory_bytes: 1 << 30,
        machine_slots: 10,
        accelerator: "TCG".into(),
        qemu_version: "7.2.22".into(),
        kernel_release: "6.1".into(),
        boot_id: "b".into(),
        management_address: "127.0.0.1".into(),
        machine_range: "10.244.0.0/24".into(),
    };
    Reporter {
        link: ManagerLink { endpoint: endpoint.into(), token },
        name: HostName::new("host-1").unwrap(),
        facts,
        kubelet_port: 10250,
        directory: directory.to_owned(),
        usage: Arc::new(|| Usage { machines: 2, cpu_milli: 300, memory_bytes: 5 }),
        held: Arc::new(Vec::new),
        datastore: directory.to_owned(),
    }
}

#[tokio::test]
async fn a_host_joins_once_enrols_when_assigned_and_keeps_that_over_a_restart_without_the_manager() {
    let (pki, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manager = Manager::new(pki.path());
    let (endpoint, server) = manager.serve().await;
    *manager.supervisor.lock().unwrap() = Some("supervisor-1".into());

    let (sender, mut enrolled) = watch::channel(None);
    let task = tokio::spawn(report(reporter(&endpoint, Some(manager.token("one")), state.path()), sender));
    let first = enrolled.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!((first.supervisor.as_str(), first.kubelet_port), ("supervisor-1", 10250));
    // Key and certificate fit each other: a client can be made of them.
    let credentials =
        Credentials { certificate_pem: first.client_certificate_pem.clone(), key_pem: first.client_key_pem.clone() };
    tls::client(manager.authority.certificate_pem(), Some(&credentials), &[]).unwrap();
    task.abort();

    // The manager is away and the token is used up; what is on disk is served all the same.
    server.abort();
    let (sender, mut enrolled) = watch::channel(None);
    let task = tokio::spawn(report(reporter(&endpoint, None, state.path()), sender));
    assert_eq!(*enrolled.wait_for(Option::is_some).await.unwrap(), Some(first));
    task.abort();

    // It is back and has taken the host out of its Supervisor.
    let (endpoint, server) = manager.serve().await;
    *manager.supervisor.lock().unwrap() = None;
    let (sender, mut enrolled) = watch::channel(None);
    let task = tokio::spawn(report(reporter(&endpoint, None, state.path()), sender));
    enrolled.wait_for(Option::is_some).await.unwrap();
    enrolled.wait_for(Option::is_none).await.unwrap();
    assert_eq!(manager.joins.lock().unwrap().len(), 1);
    assert!(Store::new(state.path().to_owned()).held().await.unwrap().is_none());
    task.abort();
    server.abort();
}

#[tokio::test]
async fn a_manager_with_another_authority_never_sees_the_token() {
    let (pki, other, state) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manager = Manager::new(pki.path());
    let (endpoint, server) = manager.serve().await;
    let token = Manager::new(other.path()).token("one");
    let (sender, _enrolled) = watch::channel(None);
    // The report tries, fails and pauses; nothing it did may have reached the handler.
    let report = report(reporter(&endpoint, Some(token), state.path()), sender);
    assert!(tokio::time::timeout(Duration::from_millis(1500), report).await.is_err());
    assert!(manager.joins.lock().unwrap().is_empty());
    assert!(Store::new(state.path().to_owned()).host().await.unwrap().is_none());
    server.abort();
}

#[tokio::test]
async fn a_join_whose_answer_was_lost_is_asked_again_with_the_same_request() {
    let (pki, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manager = Manager::new(pki.path());
    let (endpoint, server) = manager.serve().await;
    *manager.supervisor.lock().unwrap() = Some("supervisor-1".into());
    manager.lost.store(1, Ordering::SeqCst);
    let first = |sender| report(reporter(&endpoint, Some(manager.token("one")), state.path()), sender);
    let (sender, _) = watch::channel(None);
    // The agent ends before it can try again.
    let task = tokio::spawn(first(sender));
    while manager.joins.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    task.abort();
    let _ = task.await;

    let (sender, mut enrolled) = watch::channel(None);
    let task = tokio::spawn(first(sender));
    enrolled.wait_for(Option::is_some).await.unwrap();
    let joins = manager.joins.lock().unwrap().clone();
    assert!(joins.len() >= 2 && joins.iter().all(|request| *request == joins[0]), "{}", joins.len());
    task.abort();
    server.abort();
}

#[tokio::test]
async fn heartbeats_go_on_while_a_supervisor_is_not_ready_to_enrol() {
    let (pki, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manager = Manager::new(pki.path());
    let (endpoint, server) = manager.serve().await;
    let (sender, mut enrolled) = watch::channel(None);
    let task = tokio::spawn(report(reporter(&endpoint, Some(manager.token("one")), state.path()), sender));
    while manager.beats.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    manager.lost.store(2, Ordering::SeqCst);
    *manager.supervisor.lock().unwrap() = Some("supervisor-1".into());
    enrolled.wait_for(Option::is_some).await.unwrap();
    assert!(manager.beats.load(Ordering::SeqCst) >= 4, "each try was after a heartbeat");
    task.abort();
    server.abort();
}
