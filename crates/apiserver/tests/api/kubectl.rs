//! The real `kubectl`, when it is there.

use crate::support::{Listening, Server};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::{io::AsyncWriteExt, process::Command};

struct Kubectl {
    directory: tempfile::TempDir,
    program: PathBuf,
}

impl Kubectl {
    /// None when there is no kubectl.
    fn new(listening: &Listening) -> Option<Self> {
        // The one that `make test` fetches, else whatever the user has.
        let fetched = std::env::var_os("ORRERY_TEST_TOOLS").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = fetched.into_iter().chain(std::env::split_paths(&path));
        let Some(program) = places.map(|directory| directory.join("kubectl")).find(|program| program.exists()) else {
            orrery_testing::skipped("there is no kubectl in ORRERY_TEST_TOOLS or the PATH");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let admin = listening.authorities.client("root", Some("system:masters"));
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("ca.crt", listening.authorities.serving.certificate_pem());
        write("client.crt", &admin.certificate_pem);
        write("client.key", &admin.key_pem);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{}", listening.address), "certificate-authority": "ca.crt"}}],
            "users": [{"name": "test", "user": {"client-certificate": "client.crt", "client-key": "client.key"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "demo"}}],
        });
        write("config", &config.to_string());
        Some(Self { directory, program })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs `kubectl ARGS` and gives what it printed, or panics with what it complained about.
    async fn run(&self, args: &[&str], input: &str) -> String {
        let (success, text) = self.try_run(args, input).await;
        assert!(success, "kubectl {args:?}: {text}");
        text
    }

    async fn try_run(&self, args: &[&str], input: &str) -> (bool, String) {
        let mut child = Command::new(&self.program)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path())
            .env("KUBECONFIG", self.path().join("config"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_does_its_daily_work() {
    let server = Server::start().await;
    let listening = server.listen().await;
    let Some(kubectl) = Kubectl::new(&listening) else { return };
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}).to_string();
    assert_eq!(kubectl.run(&["create", "-f", "-"], &namespace).await, "namespace/demo created\n");
    let map = |value: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": value}}).to_string()
    };
    assert_eq!(kubectl.run(&["apply", "-f", "-"], &map("1")).await, "configmap/a created\n");
    assert_eq!(kubectl.run(&["apply", "-f", "-"], &map("1")).await, "configmap/a unchanged\n");
    assert_eq!(kubectl.run(&["apply", "-f", "-"], &map("2")).await, "configmap/a configured\n");
    let list = kubectl.run(&["get", "configmaps"], "").await;
    assert!(list.starts_with("NAME") && list.contains("DATA") && list.contains("a      1"), "{list}");
    // Sent as protobuf by kubectl 1.32 and later.
    kubectl.run(&["create", "namespace", "second"], "").await;
    // The one option left that reads the OpenAPI document of version 2, in protobuf.
    let explained = kubectl.run(&["explain", "pods.spec.containers", "--output=plaintext-openapiv2"], "").await;
    assert!(explained.contains("envFrom\t<[]Object>") && explained.contains("stdin\t<boolean>"), "{explained}");
    let spoken = kubectl.run(&["create", "configmap", "b", "--from-literal=k=v", "-v=8"], "").await;
    let protobuf = "application/vnd.kubernetes.protobuf";
    if spoken.contains(&format!("Accept: {protobuf}")) {
        assert_eq!(spoken.matches(&format!("Content-Type: {protobuf}")).count(), 2, "both ways: {spoken}");
    }
    kubectl.run(&["create", "secret", "generic", "s", "--from-literal=k=v"], "").await;
    let secret: Value = serde_json::from_str(&kubectl.run(&["get", "secret", "s", "-o", "json"], "").await).unwrap();
    assert_eq!((&secret["data"]["k"], &secret["type"]), (&json!("dg=="), &json!("Opaque")));
    assert_eq!(kubectl.run(&["auth", "can-i", "delete", "pods"], "").await, "yes\n");
    kubectl.run(&["create", "role", "reader", "--verb=get", "--resource=pods"], "").await;
    kubectl.run(&["label", "configmap", "a", "tier=front"], "").await;
    let read: Value = serde_json::from_str(&kubectl.run(&["get", "cm", "a", "-o", "json"], "").await).unwrap();
    assert_eq!((&read["data"]["k"], &read["metadata"]["labels"]["tier"]), (&json!("2"), &json!("front")));
    let typo = map("3").replace("\"data\"", "\"dota\"");
    let (success, text) = kubectl.try_run(&["apply", "-f", "-"], &typo).await;
    assert!(!success && text.contains("unknown field \"dota\""), "{text}");
    kubectl.run(&["run", "web", "--image=registry.local/app:1"], "").await;
    kubectl.run(&["wait", "--for=jsonpath={.status.phase}=Pending", "pod/web", "--timeout=10s"], "").await;
    let description = kubectl.run(&["describe", "pod", "web"], "").await;
    assert!(description.contains("registry.local/app:1") && description.contains("Pending"), "{description}");
    let explained = kubectl.run(&["explain", "pod.spec.containers"], "").await;
    assert!(explained.contains("KIND:") && explained.contains("image"), "{explained}");
    assert!(kubectl.run(&["api-resources"], "").await.contains("configmaps"));
    kubectl.run(&["delete", "pod/web", "cm/a"], "").await;
    let (success, text) = kubectl.try_run(&["get", "cm", "a"], "").await;
    assert!(!success && text.contains("configmaps \"a\" not found"), "{text}");
    listening.shutdown.cancel();
    listening.task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_makes_tokens_and_asks_who_it_is_and_what_it_may() {
    let server = Server::start().await;
    let listening = server.listen().await;
    let Some(kubectl) = Kubectl::new(&listening) else { return };
    kubectl.run(&["create", "namespace", "demo"], "").await;
    kubectl.run(&["create", "serviceaccount", "robot"], "").await;
    let bind = ["create", "rolebinding", "robot", "--clusterrole=view", "--serviceaccount=demo:robot"];
    kubectl.run(&bind, "").await;
    kubectl.run(&["run", "web", "--image=registry.local/app:1"], "").await;
    let token = kubectl.run(&["create", "token", "robot", "--duration=20m"], "").await;
    let token = token.trim();
    assert_eq!(token.split('.').count(), 3, "{token}");
    // Without the certificate, so that only the token counts.
    let with_token = |args: &[&str]| {
        let server = format!("--server=https://{}", listening.address);
        let mut all: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let ca = kubectl.path().join("ca.crt");
        all.extend([server, format!("--token={token}"), format!("--certificate-authority={}", ca.display())]);
        all.push("--kubeconfig=/dev/null".to_owned());
        all
    };
    let run = async |args: &[&str]| {
        let all = with_token(args);
        kubectl.try_run(&all.iter().map(String::as_str).collect::<Vec<_>>(), "").await
    };
    let (success, text) = run(&["auth", "whoami"]).await;
    assert!(
        success && text.contains("system:serviceaccount:demo:robot") && text.contains("system:serviceaccounts:demo"),
        "{text}"
    );
    // The server's view of bindings follows the write.
    let mut may = run(&["auth", "can-i", "list", "pods", "-n", "demo"]).await;
    for _ in 0..50 {
        if may.0 {
            break;
        }
        may = run(&["auth", "can-i", "list", "pods", "-n", "demo"]).await;
    }
    assert_eq!(may, (true, "yes\n".to_owned()));
    let (success, text) = run(&["get", "pods", "-n", "demo"]).await;
    assert!(success && text.contains("web"), "{text}");
    let (success, text) = run(&["delete", "pod", "web", "-n", "demo"]).await;
    assert!(!success && text.contains("cannot delete resource \"pods\""), "{text}");
    let list = kubectl.run(&["auth", "can-i", "--list", "--as=system:serviceaccount:demo:robot"], "").await;
    assert!(list.contains("configmaps") && list.contains("[get list watch]") && !list.contains("secrets"), "{list}");
    let me = kubectl.run(&["auth", "whoami", "--as=eve", "--as-group=devs", "--as-uid=7"], "").await;
    assert!(me.contains("eve") && me.contains("devs") && me.contains('7'), "{me}");
    let bound = ["create", "token", "default", "--bound-object-kind=Pod", "--bound-object-name=web"];
    let (_, refused) = kubectl.try_run(&bound, "").await;
    // There is no account `default` here, as no controller runs.
    assert!(refused.contains("serviceaccounts \"default\" not found"), "{refused}");
    listening.shutdown.cancel();
    listening.task.await.unwrap().unwrap();
}
