//! kubectl, as a user runs it.

use crate::{
    ensure,
    harness::{Context, Failure, Kubectl, Outcome, Said, resource},
    registry::{Test, test},
    run, same,
};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader},
    net::{TcpStream, UnixStream},
    process::Child,
};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-cli] Kubectl client Kubectl api-versions should check if v1 is in available api versions [Conformance]",
        run!(api_versions),
    ),
    test(
        "[sig-cli] Kubectl client Kubectl cluster-info should check if Kubernetes control plane services is included in cluster-info [Conformance]",
        run!(cluster_info),
    ),
    test(
        "[sig-cli] Kubectl client Kubectl diff should check if kubectl diff finds a difference for Deployments [Conformance]",
        run!(diff),
    ),
    test("[sig-cli] Kubectl client Kubectl label should update the label on a resource [Conformance]", run!(label)),
    test(
        "[sig-cli] Kubectl client Kubectl replace should update a single-container pod's image [Conformance]",
        run!(replace),
    ),
    test(
        "[sig-cli] Kubectl client Kubectl run pod should create a pod from an image when restart is Never [Conformance]",
        run!(run_pod),
    ),
    test(
        "[sig-cli] Kubectl client Kubectl server-side dry-run should check if kubectl can dry-run update Pods [Conformance]",
        run!(dry_run),
    ),
    test("[sig-cli] Kubectl client Kubectl version should check is all data is printed [Conformance]", run!(version)),
    test("[sig-cli] Kubectl client Proxy server should support --unix-socket=/path [Conformance]", run!(proxy_socket)),
    test("[sig-cli] Kubectl client Proxy server should support proxy with --port 0 [Conformance]", run!(proxy_port)),
];

const FIRST_IMAGE: &str = "registry.local/agnhost:2";
const SECOND_IMAGE: &str = "registry.local/busybox:1";

async fn api_versions(context: &Context) -> Outcome {
    let said = Kubectl::new(context, None)?.ok(&["api-versions"]).await?;
    ensure!(said.lines().any(|line| line == "v1"), "v1 is not among the versions: {said}");
    Ok(())
}

/// Without the colours of a terminal.
fn plain(text: &str) -> Outcome<String> {
    let colours = regex::Regex::new("\u{1b}\\[[0-9;]*m").map_err(Failure::wrong)?;
    Ok(colours.replace_all(text, "").into_owned())
}

async fn cluster_info(context: &Context) -> Outcome {
    let said = plain(&Kubectl::new(context, None)?.ok(&["cluster-info"]).await?)?;
    ensure!(said.contains("Kubernetes control plane is running at https://"), "kubectl cluster-info says: {said}");
    Ok(())
}

fn deployment(image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: httpd-deployment\n  labels:\n    app: httpd\nspec:\n  replicas: 1\n  selector:\n    matchLabels:\n      app: httpd\n  template:\n    metadata:\n      labels:\n        app: httpd\n    spec:\n      containers:\n      - name: httpd\n        image: {image}\n        ports:\n        - containerPort: 80\n"
    )
}

async fn diff(context: &Context) -> Outcome {
    let kubectl = Kubectl::new(context, Some(&context.namespace().await?))?;
    kubectl.run_with(&["create", "-f", "-"], &deployment(FIRST_IMAGE)).await?.success()?;
    let said = kubectl.run_with(&["diff", "-f", "-"], &deployment(SECOND_IMAGE)).await?;
    same!(said.code, Some(1), "the exit code of kubectl diff, which says {:?}", said.error);
    for (sign, image) in [('-', FIRST_IMAGE), ('+', SECOND_IMAGE)] {
        let shown = said.out.lines().any(|line| line.starts_with(sign) && line.contains(&format!("image: {image}")));
        ensure!(shown, "kubectl diff does not show {sign} {image}: {}", said.out);
    }
    let unchanged = kubectl.run_with(&["diff", "-f", "-"], &deployment(FIRST_IMAGE)).await?;
    same!(unchanged.code, Some(0), "the exit code of kubectl diff without a difference: {}", unchanged.out);
    Ok(())
}

/// A pod made by `kubectl run`. What is checked here does not ask for it to run.
async fn start_pod(kubectl: &Kubectl, name: &str) -> Outcome {
    let image = format!("--image={FIRST_IMAGE}");
    kubectl.ok(&["run", name, &image, "--labels=run=it", "--restart=Never"]).await.map(drop)
}

async fn label(context: &Context) -> Outcome {
    let kubectl = Kubectl::new(context, Some(&context.namespace().await?))?;
    start_pod(&kubectl, "pause").await?;
    kubectl.ok(&["label", "pods", "pause", "testing-label=testing-label-value"]).await?;
    let said = kubectl.ok(&["get", "pod", "pause", "-L", "testing-label"]).await?;
    ensure!(said.contains("testing-label-value"), "the label is not in the column: {said}");
    let said = kubectl.ok(&["get", "pods", "-l", "testing-label=testing-label-value", "-o", "name"]).await?;
    same!(said.trim(), "pod/pause", "pods with the label");
    kubectl.ok(&["label", "pods", "pause", "testing-label-"]).await?;
    let said = kubectl.ok(&["get", "pod", "pause", "-L", "testing-label"]).await?;
    ensure!(!said.contains("testing-label-value"), "the label is still in the column: {said}");
    let said = kubectl.ok(&["get", "pods", "-l", "testing-label=testing-label-value", "-o", "name"]).await?;
    same!(said.trim(), "", "pods with the label after it was removed");
    Ok(())
}

async fn image_of(context: &Context, namespace: &str, name: &str) -> Outcome<Value> {
    let mut pod = context.objects(resource::pods(), namespace).get(name).await?;
    Ok(pod["spec"]["containers"][0]["image"].take())
}

async fn replace(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let kubectl = Kubectl::new(context, Some(&namespace))?;
    start_pod(&kubectl, "e2e-test-httpd-pod").await?;
    let text = kubectl.ok(&["get", "pod", "e2e-test-httpd-pod", "-o", "json"]).await?;
    let changed = text.replace(FIRST_IMAGE, SECOND_IMAGE);
    // Nobody may have touched the pod in between; then it is read again, as a user would.
    let said = match kubectl.run_with(&["replace", "-f", "-"], &changed).await? {
        Said { success: false, error, .. } if error.contains("Conflict") => {
            let again = kubectl.ok(&["get", "pod", "e2e-test-httpd-pod", "-o", "json"]).await?;
            kubectl.run_with(&["replace", "-f", "-"], &again.replace(FIRST_IMAGE, SECOND_IMAGE)).await?
        }
        said => said,
    };
    said.success()?;
    same!(image_of(context, &namespace, "e2e-test-httpd-pod").await?, SECOND_IMAGE, "the image after kubectl replace");
    let before = context.objects(resource::pods(), &namespace).get("e2e-test-httpd-pod").await?;
    let forced = kubectl.run_with(&["replace", "--force", "--grace-period=0", "-f", "-"], &text).await?;
    forced.success()?;
    let after = context.objects(resource::pods(), &namespace).get("e2e-test-httpd-pod").await?;
    ensure!(before["metadata"]["uid"] != after["metadata"]["uid"], "replace --force did not make the pod anew");
    same!(after["spec"]["containers"][0]["image"], FIRST_IMAGE, "the image after replace --force");
    Ok(())
}

async fn run_pod(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let kubectl = Kubectl::new(context, Some(&namespace))?;
    let image = format!("--image={FIRST_IMAGE}");
    kubectl.ok(&["run", "e2e-test-pod", "--restart=Never", "--pod-running-timeout=2m0s", &image]).await?;
    let pod = context.objects(resource::pods(), &namespace).get("e2e-test-pod").await?;
    same!(pod["spec"]["containers"].as_array().map(Vec::len), Some(1), "containers of the pod");
    same!(pod["spec"]["containers"][0]["image"], FIRST_IMAGE, "the image of the pod");
    same!(pod["spec"]["restartPolicy"], "Never", "the restartPolicy of the pod");
    Ok(())
}

async fn dry_run(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let kubectl = Kubectl::new(context, Some(&namespace))?;
    start_pod(&kubectl, "e2e-test-pod").await?;
    let before = context.objects(resource::pods(), &namespace).get("e2e-test-pod").await?;
    let patch = format!(r#"{{"spec":{{"containers":[{{"name":"e2e-test-pod","image":"{SECOND_IMAGE}"}}]}}}}"#);
    let said = kubectl.ok(&["patch", "pod", "e2e-test-pod", "-p", &patch, "--dry-run=server", "-o", "json"]).await?;
    let answered: Value = serde_json::from_str(&said)?;
    same!(answered["spec"]["containers"][0]["image"], SECOND_IMAGE, "the image in the answer of the dry run");
    let after = context.objects(resource::pods(), &namespace).get("e2e-test-pod").await?;
    same!(after["spec"]["containers"][0]["image"], FIRST_IMAGE, "the image after the dry run");
    same!(after["metadata"]["uid"], before["metadata"]["uid"], "the uid after the dry run");
    Ok(())
}

async fn version(context: &Context) -> Outcome {
    let kubectl = Kubectl::new(context, None)?;
    let said = kubectl.ok(&["version"]).await?;
    for words in ["Client Version: ", "Server Version: "] {
        ensure!(said.contains(words), "kubectl version does not say {words:?}: {said}");
    }
    let said: Value = serde_json::from_str(&kubectl.ok(&["version", "-o", "json"]).await?)?;
    for side in ["clientVersion", "serverVersion"] {
        for field in ["major", "minor", "gitVersion", "gitCommit", "buildDate", "platform"] {
            let filled = said[side][field].as_str().is_some_and(|text| !text.is_empty());
            ensure!(filled, "{field} of {side} is {}", said[side][field]);
        }
    }
    Ok(())
}

/// The line with which a proxy says where it listens.
async fn listening(proxy: &mut Child) -> Outcome<String> {
    let output = proxy.stdout.take().ok_or_else(|| Failure::wrong("kubectl proxy has no output"))?;
    let mut lines = BufReader::new(output).lines();
    let line = tokio::time::timeout(Duration::from_secs(30), async {
        while let Some(line) = lines.next_line().await? {
            if let Some((_, address)) = line.split_once("Starting to serve on ") {
                return Ok(address.trim().to_owned());
            }
        }
        Err(Failure::wrong("kubectl proxy ended without saying where it serves"))
    });
    line.await.map_err(|_| Failure::wrong("kubectl proxy does not say where it serves"))?
}

/// `GET /api/` over a plain connection says at least one version.
async fn expect_versions(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Outcome {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Failure::wrong)?;
    let exchange = async {
        let request = http::Request::get("/api/").header("host", "localhost").body(Empty::<bytes::Bytes>::new());
        let response = sender.send_request(request.map_err(Failure::wrong)?).await.map_err(Failure::wrong)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(Failure::wrong)?.to_bytes();
        same!(status.as_u16(), 200, "the status of /api/ by the proxy");
        let body: Value = serde_json::from_slice(&body)?;
        let versions = body["versions"].as_array().map(Vec::len);
        ensure!(versions.is_some_and(|count| count > 0), "the proxy's /api/ has no version: {body}");
        Ok(())
    };
    tokio::select! {
        done = exchange => done,
        ended = connection => Err(Failure::wrong(format!("the proxy hung up: {ended:?}"))),
    }
}

async fn proxy_socket(context: &Context) -> Outcome {
    let path = context.directory().join("proxy.sock");
    let mut proxy = Kubectl::new(context, None)?.start(&["proxy", &format!("--unix-socket={}", path.display())])?;
    let said = listening(&mut proxy).await?;
    ensure!(said.contains("proxy.sock"), "kubectl proxy serves on {said}");
    expect_versions(UnixStream::connect(&path).await?).await?;
    proxy.kill().await?;
    Ok(())
}

async fn proxy_port(context: &Context) -> Outcome {
    let mut proxy = Kubectl::new(context, None)?.start(&["proxy", "--port=0", "--disable-filter"])?;
    let address = listening(&mut proxy).await?;
    ensure!(!address.ends_with(":0"), "kubectl proxy serves on {address}");
    expect_versions(TcpStream::connect(&address).await?).await?;
    proxy.kill().await?;
    Ok(())
}
