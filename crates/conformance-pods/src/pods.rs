//! Pods that look at something and say what they see.

use orrery_harness::{Context, During, Failure, Objects, Outcome, resource, until};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a pod may take to be scheduled, started and to do its work; under emulation on a busy machine that is long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The pods of a namespace that a test has for itself.
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) pods: Objects,
    image: String,
}

/// A script for the shell, as a container's command.
pub(crate) fn script(text: &str) -> Value {
    json!(["/bin/sh", "-c", text])
}

impl Place {
    pub(crate) async fn new(context: &Context) -> Outcome<Self> {
        let namespace = context.namespace().await?;
        let pods = context.objects(resource::pods(), &namespace);
        Ok(Self { pods, namespace, image: context.run.pod_image.clone() })
    }

    pub(crate) fn config_maps(&self, context: &Context) -> Objects {
        context.objects(resource::config_maps(), &self.namespace)
    }

    pub(crate) fn secrets(&self, context: &Context) -> Objects {
        context.objects(resource::secrets(), &self.namespace)
    }

    /// A container of the usual image.
    pub(crate) fn container(&self, name: &str, command: &Value) -> Value {
        json!({ "name": name, "image": self.image, "imagePullPolicy": "IfNotPresent", "command": command })
    }

    /// A pod that never starts anew, with these containers; its service account's token is of no use to it.
    pub(crate) fn pod(name: &str, containers: &[Value]) -> Value {
        json!({
            "metadata": { "name": name, "labels": { "name": name } },
            "spec": {
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 5,
                "automountServiceAccountToken": false, "containers": containers,
            },
        })
    }

    /// A pod with one container, `c`, that runs a script.
    pub(crate) fn runs(&self, name: &str, text: &str) -> Value {
        Self::pod(name, &[self.container("c", &script(text))])
    }

    /// What a container has said up to now.
    pub(crate) async fn log(&self, pod: &str, container: &str) -> Outcome<String> {
        let path = self.pods.sub("log").path(pod, &[("container", container)]);
        let answer = self.pods.api().get(&path).await?;
        if !answer.is_success() {
            return Err(answer.unexpected("the log"));
        }
        Ok(String::from_utf8_lossy(&answer.bytes).into_owned())
    }

    /// Makes a pod and waits for its good end; what its container `c` said.
    pub(crate) async fn said(&self, pod: &Value) -> Outcome<String> {
        self.pods.create(pod).await?;
        let name = name_of(pod);
        let ended = self.ended(name).await?;
        let log = self.log(name, "c").await?;
        if ended["status"]["phase"] != "Succeeded" {
            let statuses = &ended["status"]["containerStatuses"];
            return Err(Failure::wrong(format!("pod {name} failed: {statuses}; it said {log:?}")));
        }
        Ok(log)
    }

    /// Waits for the end of a pod.
    pub(crate) async fn ended(&self, name: &str) -> Outcome<Value> {
        let over = |pod: &Value| pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed";
        self.pods.wait(name, "it has ended", PATIENCE, over).await
    }

    /// Makes a pod and waits until it is ready.
    pub(crate) async fn ready(&self, pod: &Value) -> Outcome<Value> {
        self.pods.create(pod).await?;
        self.pods.wait(name_of(pod), "it is ready", PATIENCE, is_ready).await
    }

    /// Waits until the log of container `c` has a line.
    pub(crate) async fn until_said(&self, pod: &str, line: &str, limit: Duration) -> Outcome {
        until(limit, || async {
            let log = self.log(pod, "c").await?;
            Ok(log.lines().any(|said| said == line).then_some(()))
        })
        .await
        .during(format!("waiting for {line:?} in the log of {pod}"))
    }

    /// Deletes a pod and waits until it is gone.
    pub(crate) async fn remove(&self, name: &str) -> Outcome {
        self.pods.delete(name).await?;
        self.pods.gone(name, PATIENCE).await
    }
}

pub(crate) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    orrery_harness::condition(pod, "Ready") == Some("True")
}

/// The status of a container.
pub(crate) fn status<'a>(pod: &'a Value, container: &str) -> &'a Value {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    statuses.into_iter().find(|status| status["name"] == container).unwrap_or(&Value::Null)
}

/// Fails unless `found` holds every one of the texts.
pub(crate) fn holds(found: &str, texts: &[&str]) -> Outcome {
    match texts.iter().find(|text| !found.contains(**text)) {
        Some(text) => Err(Failure::wrong(format!("{text:?} is not in {found:?}"))),
        None => Ok(()),
    }
}
