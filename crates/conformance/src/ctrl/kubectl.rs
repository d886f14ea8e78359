//! kubectl and replication controllers.

use super::workload::{PATIENCE, all_up, counted, is_up, label, name_of, replication_controller};
use crate::{
    ensure,
    harness::{Context, During, Kubectl, Outcome, resource, until},
    registry::{Test, test},
    run, same,
};
use serde_json::json;

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-cli] Kubectl client Kubectl describe should check if kubectl describe prints relevant information for rc and pods [Conformance]",
        run!(describe),
    ),
    test("[sig-cli] Kubectl client Kubectl patch should add annotations for pods in rc [Conformance]", run!(annotate)),
    test(
        "[sig-cli] Kubectl client Update Demo should create and stop a replication controller [Conformance]",
        run!(create_and_stop),
    ),
    test("[sig-cli] Kubectl client Update Demo should scale a replication controller [Conformance]", run!(scale)),
];

/// The controller of a test, created by kubectl, with its namespace.
async fn created(context: &Context, replicas: u32) -> Outcome<(String, Kubectl)> {
    let namespace = context.namespace().await?;
    let kubectl = Kubectl::new(context, Some(&namespace))?;
    let mut controller = replication_controller("demo", replicas, &label("demo").0);
    controller["apiVersion"] = json!("v1");
    controller["kind"] = json!("ReplicationController");
    let said = kubectl.run_with(&["create", "-f", "-"], &controller.to_string()).await?.success()?;
    ensure!(said.contains("replicationcontroller/demo created"), "kubectl create said {said:?}");
    Ok((namespace, kubectl))
}

/// Waits until kubectl lists so many pods, all of which run.
async fn runs(context: &Context, namespace: &str, kubectl: &Kubectl, count: usize) -> Outcome {
    all_up(&context.objects(resource::pods(), namespace), "app=demo", count).await?;
    let template = r#"{{range .items}}{{.metadata.name}}:{{if (index . "status" "containerStatuses")}}{{range .status.containerStatuses}}{{if (and (eq .name "c") (index . "state" "running"))}}true{{end}}{{end}}{{end}} {{end}}"#;
    let listed = kubectl.ok(&["get", "pods", "-l", "app=demo", "-o", "template", "--template", template]).await?;
    let running: Vec<_> = listed.split_whitespace().filter(|pod| pod.ends_with(":true")).collect();
    same!(running.len(), count, "how many pods run as kubectl lists them: {listed}");
    Ok(())
}

async fn create_and_stop(context: &Context) -> Outcome {
    let (namespace, kubectl) = created(context, 2).await?;
    runs(context, &namespace, &kubectl, 2).await?;
    kubectl.ok(&["delete", "--grace-period=0", "--force", "rc/demo"]).await?;
    counted(&context.objects(resource::pods(), &namespace), "app=demo", 0).await?;
    let left = kubectl.ok(&["get", "rc,pods", "-l", "app=demo", "--no-headers", "--ignore-not-found"]).await?;
    same!(left.trim(), "", "what kubectl still lists");
    Ok(())
}

async fn scale(context: &Context) -> Outcome {
    let (namespace, kubectl) = created(context, 2).await?;
    runs(context, &namespace, &kubectl, 2).await?;
    for count in [1, 2] {
        let said = kubectl.ok(&["scale", "rc", "demo", &format!("--replicas={count}"), "--timeout=60s"]).await?;
        ensure!(said.contains("scaled"), "kubectl scale said {said:?}");
        runs(context, &namespace, &kubectl, count).await?;
    }
    Ok(())
}

async fn annotate(context: &Context) -> Outcome {
    let (namespace, kubectl) = created(context, 1).await?;
    let pods = context.objects(resource::pods(), &namespace);
    for pod in all_up(&pods, "app=demo", 1).await? {
        let patch = r#"{"metadata":{"annotations":{"x":"y"}}}"#;
        kubectl.ok(&["patch", "pod", name_of(&pod), "-p", patch]).await?;
    }
    for pod in pods.labelled("app=demo").await? {
        same!(pod["metadata"]["annotations"]["x"], "y", "the annotation of {}", name_of(&pod));
    }
    Ok(())
}

async fn describe(context: &Context) -> Outcome {
    let (namespace, kubectl) = created(context, 1).await?;
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "demo", "labels": label("demo").0 },
        "spec": { "selector": label("demo").0, "ports": [{ "port": 6379, "targetPort": 6379 }] } });
    kubectl.run_with(&["create", "-f", "-"], &service.to_string()).await?.success()?;
    let pods = context.objects(resource::pods(), &namespace);
    let all = all_up(&pods, "app=demo", 1).await?;
    let pod = name_of(&all[0]);
    let node = all[0]["spec"]["nodeName"].as_str().unwrap_or_default();
    says(
        &kubectl,
        &["pod", pod],
        &[
            "Name:",
            "Namespace:",
            "Node:",
            "Labels:",
            "app=demo",
            "Status:",
            "Running",
            "IP:",
            "Controlled By:",
            "ReplicationController/demo",
            "Image:",
            "State:",
            "QoS Class:",
        ],
    )
    .await?;
    says(
        &kubectl,
        &["rc", "demo"],
        &[
            "Name:",
            "demo",
            "Namespace:",
            &namespace,
            "Selector:",
            "app=demo",
            "Labels:",
            "Replicas:",
            "1 current",
            "1 desired",
            "Pods Status:",
            "1 Running",
            "0 Waiting",
            "0 Succeeded",
            "0 Failed",
            "Pod Template:",
            "Image:",
            "Events:",
        ],
    )
    .await?;
    says(
        &kubectl,
        &["service", "demo"],
        &[
            "Name:",
            "demo",
            "Namespace:",
            &namespace,
            "Labels:",
            "app=demo",
            "Selector:",
            "Type:",
            "ClusterIP",
            "IP:",
            "Port:",
            "Endpoints:",
            "Session Affinity:",
        ],
    )
    .await?;
    says(
        &kubectl,
        &["node", node],
        &[
            "Name:",
            node,
            "Labels:",
            "Annotations:",
            "CreationTimestamp:",
            "Conditions:",
            "Type",
            "Status",
            "LastHeartbeatTime",
            "LastTransitionTime",
            "Reason",
            "Message",
            "Addresses:",
            "Capacity:",
            "Version",
            "Kernel Version",
            "OS Image",
            "Container Runtime Version",
            "Kubelet Version",
        ],
    )
    .await?;
    says(&kubectl, &["namespace", &namespace], &["Name:", &namespace, "Labels:", "Annotations:", "Status:", "Active"])
        .await?;
    ensure!(is_up(&pods.get(pod).await?), "the described pod is no longer up");
    Ok(())
}

/// Waits until `kubectl describe` says all the words.
async fn says(kubectl: &Kubectl, what: &[&str], words: &[&str]) -> Outcome {
    let command: Vec<&str> = ["describe"].into_iter().chain(what.iter().copied()).collect();
    let last = std::sync::Mutex::new(String::new());
    let found = until(PATIENCE, || async {
        let said = kubectl.ok(&command).await?;
        let missing = words.iter().find(|word| !said.contains(**word));
        let note = missing.map(|word| format!("{word:?} is not in {said}"));
        let done = note.is_none();
        *last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = note.unwrap_or_default();
        Ok(done.then_some(()))
    })
    .await;
    let note = last.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.during(format!("kubectl {}: {note:.600}", command.join(" ")))
}
