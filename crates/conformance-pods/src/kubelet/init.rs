//! Init containers.

use crate::pods::{PATIENCE, Place, is_ready, status};
use orrery_harness::{Context, Outcome, Test, condition, ensure, run, same, test};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-node] InitContainer [NodeConformance] should invoke init containers on a RestartAlways pod [Conformance]",
        run!(invoked, "Always"),
    ),
    test(
        "[sig-node] InitContainer [NodeConformance] should invoke init containers on a RestartNever pod [Conformance]",
        run!(invoked, "Never"),
    ),
    test(
        "[sig-node] InitContainer [NodeConformance] should not start app containers and fail the pod if init containers fail on a RestartNever pod [Conformance]",
        run!(failed_for_good),
    ),
    test(
        "[sig-node] InitContainer [NodeConformance] should not start app containers if init containers fail on a RestartAlways pod [Conformance]",
        run!(failed_again_and_again),
    ),
];

fn pod(place: &Place, policy: &str, init: [&str; 2], main: &str) -> Value {
    let mut pod = Place::pod("init", &[place.container("c", &json!([main]))]);
    if main == "sleep" {
        pod["spec"]["containers"][0]["args"] = json!(["600"]);
    }
    pod["spec"]["restartPolicy"] = policy.into();
    pod["spec"]["initContainers"] =
        json!([place.container("init1", &json!([init[0]])), place.container("init2", &json!([init[1]]))]);
    pod
}

async fn invoked(context: &Context, policy: &str) -> Outcome {
    let place = Place::new(context).await?;
    let main = if policy == "Always" { "sleep" } else { "true" };
    place.pods.create(&pod(&place, policy, ["true", "true"], main)).await?;
    let done = |pod: &Value| if policy == "Always" { is_ready(pod) } else { pod["status"]["phase"] == "Succeeded" };
    let pod = place.pods.wait("init", "it runs or has run", PATIENCE, done).await?;
    same!(condition(&pod, "Initialized"), Some("True"), "condition Initialized");
    for status in pod["status"]["initContainerStatuses"].as_array().into_iter().flatten() {
        ensure!(status["ready"] == true, "{} is not ready", status["name"]);
        same!(status["state"]["terminated"]["exitCode"], 0, "its exit code");
    }
    Ok(())
}

async fn failed_for_good(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    place.pods.create(&pod(&place, "Never", ["true", "false"], "true")).await?;
    let pod = place.ended("init").await?;
    same!(pod["status"]["phase"], "Failed", "the phase");
    same!(condition(&pod, "Initialized"), Some("False"), "condition Initialized");
    ensure!(status(&pod, "c")["state"]["waiting"].is_object(), "the container was started: {}", status(&pod, "c"));
    Ok(())
}

async fn failed_again_and_again(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    place.pods.create(&pod(&place, "Always", ["false", "true"], "sleep")).await?;
    let fails = |pod: &Value| pod["status"]["initContainerStatuses"][0]["restartCount"].as_u64() >= Some(2);
    let pod = place.pods.wait("init", "its first init container fails repeatedly", PATIENCE, fails).await?;
    same!(pod["status"]["phase"], "Pending", "the phase");
    same!(condition(&pod, "Initialized"), Some("False"), "condition Initialized");
    let second = &pod["status"]["initContainerStatuses"][1];
    ensure!(second["state"]["waiting"].is_object(), "the second init container was started: {second}");
    ensure!(status(&pod, "c")["state"]["waiting"].is_object(), "the container was started");
    Ok(())
}
