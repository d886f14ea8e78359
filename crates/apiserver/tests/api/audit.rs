//! What is written down about requests.

use crate::{
    remote::Remote,
    support::{Events, Server, admin, config_map},
};
use orrery_apiserver::{Plugin, User};
use orrery_auth::audit::{AuditLog, AuditPolicy, OnFull, Rotation};
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};

struct Audited {
    server: Server,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Audited {
    async fn start(rules: &str) -> Self {
        Self::with(rules, Vec::new()).await
    }

    async fn with(rules: &str, plugins: Vec<Arc<dyn Plugin>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n{rules}");
        let policy = AuditPolicy::parse(&text).unwrap();
        let log = AuditLog::open(policy, &path, Rotation::default(), OnFull::Wait).unwrap();
        let server = Server::with(orrery_store::EmbeddedOptions::default(), |config| {
            config.audit = Some(log);
            config.admission = plugins;
        })
        .await;
        server.namespace("demo").await;
        Self { server, path, _directory: directory }
    }

    /// The lines about `uri`, once the log has `count` of them.
    async fn lines(&self, uri: &str, count: usize) -> Vec<Value> {
        for _ in 0..1000 {
            let text = std::fs::read_to_string(&self.path).unwrap();
            let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
            let found: Vec<Value> = lines.filter(|line| line["requestURI"] == uri).collect();
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("the log never has {count} lines about {uri}: {}", std::fs::read_to_string(&self.path).unwrap());
    }
}

const MAPS: &str = "/api/v1/namespaces/demo/configmaps";

#[tokio::test]
async fn a_line_says_who_did_what_as_whom_from_where_and_why_they_might() {
    let audited = Audited::start("- level: Metadata").await;
    let listening = audited.server.listen().await;
    let root = Remote::admin(&listening).header("impersonate-user", "eve").header("user-agent", "tester/1");
    root.get("/api/v1/namespaces/demo/secrets/s?x=y").await.expect(403);
    let line = audited.lines("/api/v1/namespaces/demo/secrets/s?x=y", 1).await.remove(0);
    assert_eq!(
        (&line["stage"], &line["level"], &line["verb"]),
        (&json!("ResponseComplete"), &json!("Metadata"), &json!("get"))
    );
    assert_eq!((&line["user"]["username"], &line["impersonatedUser"]["username"]), (&json!("root"), &json!("eve")));
    assert!(
        line["user"]["extra"]["authentication.kubernetes.io/credential-id"][0]
            .as_str()
            .unwrap()
            .starts_with("X509SHA256=")
    );
    assert_eq!((&line["sourceIPs"], &line["userAgent"]), (&json!(["127.0.0.1"]), &json!("tester/1")));
    let object = json!({"resource": "secrets", "namespace": "demo", "name": "s", "apiVersion": "v1"});
    assert_eq!(line["objectRef"], object);
    assert_eq!(
        (&line["responseStatus"]["code"], &line["responseStatus"]["reason"]),
        (&json!(403), &json!("Forbidden"))
    );
    assert_eq!(line["annotations"]["authorization.k8s.io/decision"], "forbid");
    // What RBAC said is there, too.
    let bob = Remote::certified(&listening, "bob", None);
    bob.get("/version").await.expect(200);
    let line = audited.lines("/version", 1).await.remove(0);
    assert_eq!(line["annotations"]["authorization.k8s.io/decision"], "allow");
    let reason = line["annotations"]["authorization.k8s.io/reason"].as_str().unwrap();
    assert!(
        reason.starts_with("RBAC: allowed by ClusterRoleBinding")
            && reason.ends_with("to Group \"system:authenticated\""),
        "{reason}"
    );
}

#[tokio::test]
async fn objects_are_written_down_only_as_far_as_the_policy_says() {
    let audited = Audited::start(
        "- {level: None, users: [quiet]}\n\
         - {level: Metadata, resources: [{group: '', resources: [secrets]}]}\n\
         - {level: Request, verbs: [create], omitManagedFields: true}\n\
         - {level: RequestResponse}",
    )
    .await;
    let server = &audited.server;
    let quiet = User::new("quiet", ["system:masters"]);
    server.call(&quiet, "POST", MAPS, Some(&config_map("quiet", &json!({})))).await.expect(201);
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"k": "hidden"}});
    server.post("/api/v1/namespaces/demo/secrets", &secret).await.expect(201);
    let mut map = config_map("a", &json!({"k": "v"}));
    map["metadata"]["managedFields"] = json!([]);
    server.post(MAPS, &map).await.expect(201);
    server.patch(&format!("{MAPS}/a"), &json!({"data": {"k": "w"}})).await.expect(200);
    let created = audited.lines(MAPS, 1).await.remove(0);
    assert_eq!(created["requestObject"]["data"], json!({"k": "v"}));
    assert!(created["requestObject"]["metadata"].get("managedFields").is_none());
    assert!(created.get("responseObject").is_none());
    let patched = audited.lines(&format!("{MAPS}/a"), 1).await.remove(0);
    assert_eq!(patched["requestObject"], json!({"data": {"k": "w"}}));
    assert_eq!(patched["responseObject"]["data"], json!({"k": "w"}));
    let secret = audited.lines("/api/v1/namespaces/demo/secrets", 1).await.remove(0);
    assert!(secret.get("requestObject").is_none() && secret.get("responseObject").is_none());
    let text = std::fs::read_to_string(&audited.path).unwrap();
    assert!(!text.contains("hidden") && !text.contains("\"quiet\""), "{text}");
}

#[tokio::test]
async fn what_goes_on_has_a_beginning_and_an_end() {
    let audited = Audited::start("- {level: Metadata}").await;
    let uri = format!("{MAPS}?watch=1");
    let events = Events::open(&audited.server, &uri).await;
    let begun = audited.lines(&uri, 1).await;
    assert_eq!(begun[0]["stage"], "ResponseStarted");
    drop(events);
    let lines = audited.lines(&uri, 2).await;
    assert_eq!(lines[1]["stage"], "ResponseComplete");
    assert_eq!(lines[0]["auditID"], lines[1]["auditID"]);
}

#[tokio::test]
async fn strangers_and_bad_tokens_are_written_down() {
    let audited = Audited::start("- {level: Metadata}").await;
    let listening = audited.server.listen().await;
    let answer = Remote::bearer(&listening, "garbage").header("audit-id", "mine-1").get("/api/v1/nodes").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.headers["audit-id"], "mine-1");
    let line = audited.lines("/api/v1/nodes", 1).await.remove(0);
    assert_eq!((&line["user"]["username"], &line["auditID"]), (&json!("system:anonymous"), &json!("mine-1")));
    assert_eq!(line["responseStatus"]["code"], 401);
    assert!(!std::fs::read_to_string(&audited.path).unwrap().contains("garbage"));
}

/// Panics on objects called `bomb`.
struct Bomb;

#[async_trait::async_trait]
impl Plugin for Bomb {
    fn name(&self) -> &'static str {
        "Bomb"
    }

    fn handles(&self, request: &orrery_apiserver::AdmissionRequest<'_>) -> bool {
        request.name == "bomb"
    }

    async fn check(
        &self,
        _: &orrery_apiserver::AdmissionRequest<'_>,
        _: Option<&Value>,
        _: &mut orrery_apiserver::Review,
    ) -> Result<(), orrery_machinery::status::ApiError> {
        panic!("on purpose");
    }
}

#[tokio::test]
async fn a_panic_is_answered_and_written_down_and_the_server_goes_on() {
    let audited = Audited::with("- {level: Metadata}", vec![Arc::new(Bomb)]).await;
    let answer = audited.server.call(&admin(), "POST", MAPS, Some(&config_map("bomb", &json!({})))).await;
    assert_eq!(answer.status, 500);
    let line = audited.lines(MAPS, 1).await.remove(0);
    assert_eq!((&line["stage"], &line["responseStatus"]["code"]), (&json!("Panic"), &json!(500)));
    audited.server.post(MAPS, &config_map("a", &json!({}))).await.expect(201);
    let metrics = audited.server.get("/metrics").await;
    assert!(metrics.body.as_str().unwrap().contains("apiserver_audit_event_total"));
}
