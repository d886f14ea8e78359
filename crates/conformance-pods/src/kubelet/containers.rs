//! What a container runs, how it ends, and what it leaves as its last words.

use crate::pods::{PATIENCE, Place, script, status};
use orrery_harness::{Context, Outcome, Test, ensure, run, same, test};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-node] Containers should be able to override the image's default arguments (container cmd) [NodeConformance] [Conformance]",
        run!(overridden, None, Some(&["/bin/sh", "-c", "echo overridden arguments"]), "overridden arguments\n"),
    ),
    test(
        "[sig-node] Containers should be able to override the image's default command (container entrypoint) [NodeConformance] [Conformance]",
        run!(overridden, Some(&["echo", "overridden command"]), None, "overridden command\n"),
    ),
    test(
        "[sig-node] Containers should be able to override the image's default command and arguments [NodeConformance] [Conformance]",
        run!(overridden, Some(&["echo"]), Some(&["both", "overridden"]), "both overridden\n"),
    ),
    test(
        "[sig-node] Containers should use the image defaults if command and args are blank [NodeConformance] [Conformance]",
        run!(overridden, None, None, ""),
    ),
    test(
        "[sig-node] Container Runtime blackbox test on terminated container should report termination message as empty when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance] [Conformance]",
        run!(last_words, Words { code: 0, fallback: true, writes: "", path: None, user: None }, None),
    ),
    test(
        "[sig-node] Container Runtime blackbox test on terminated container should report termination message from file when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance] [Conformance]",
        run!(
            last_words,
            Words { code: 0, fallback: true, writes: "OK", path: Some("/dev/termination-log"), user: None },
            Some("OK")
        ),
    ),
    test(
        "[sig-node] Container Runtime blackbox test on terminated container should report termination message from log output if TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance] [Conformance]",
        run!(last_words, Words { code: 1, fallback: true, writes: "", path: None, user: None }, Some("DONE")),
    ),
    test(
        "[sig-node] Container Runtime blackbox test on terminated container should report termination message if TerminationMessagePath is set as non-root user and at a non-default path [NodeConformance] [Conformance]",
        run!(
            last_words,
            Words { code: 0, fallback: false, writes: "DONE", path: Some("/dev/termination-custom-log"), user: Some(10_000) },
            Some("DONE")
        ),
    ),
    test(
        "[sig-node] Container Runtime blackbox test when starting a container that exits should run with the expected status [NodeConformance] [Conformance]",
        run!(expected_status),
    )
    .within(300),
    test(
        "[sig-node] Kubelet when scheduling a busybox command that always fails in a pod should have an terminated reason [NodeConformance] [Conformance]",
        run!(reason),
    ),
    test(
        "[sig-node] Kubelet when scheduling a busybox command that always fails in a pod should be possible to delete [NodeConformance] [Conformance]",
        run!(deletable),
    ),
];

type Arguments = Option<&'static [&'static str]>;

async fn overridden(context: &Context, command: Arguments, arguments: Arguments, expected: &str) -> Outcome {
    let place = Place::new(context).await?;
    let mut container = place.container("c", &json!(command));
    container["args"] = json!(arguments);
    same!(place.said(&Place::pod("speaker", &[container])).await?, expected, "what the container said");
    Ok(())
}

/// What a container leaves behind.
#[derive(Debug, Clone, Copy)]
struct Words {
    code: u32,
    fallback: bool,
    writes: &'static str,
    path: Option<&'static str>,
    user: Option<u32>,
}

async fn last_words(context: &Context, words: Words, expected: Option<&str>) -> Outcome {
    let place = Place::new(context).await?;
    let file = words.path.unwrap_or("/dev/termination-log");
    let text = format!("printf '%s' '{}' >{file}; printf DONE; exit {}", words.writes, words.code);
    let mut pod = place.runs("speaker", &text);
    let container = &mut pod["spec"]["containers"][0];
    container["terminationMessagePath"] = json!(words.path);
    container["terminationMessagePolicy"] = if words.fallback { "FallbackToLogsOnError" } else { "File" }.into();
    container["securityContext"] = json!({ "runAsUser": words.user });
    place.pods.create(&pod).await?;
    let ended = place.ended("speaker").await?;
    let terminated = &status(&ended, "c")["state"]["terminated"];
    same!(terminated["exitCode"].as_u64(), Some(words.code.into()), "the exit code");
    same!(terminated["message"].as_str(), expected, "the termination message");
    Ok(())
}

/// Three restart policies, and a container that fails at its first start and succeeds at its second.
async fn expected_status(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let text = "if [ -e /kept/once ]; then exit 0; fi; touch /kept/once; exit 1";
    for (policy, phase, restarts, ready) in
        [("Always", "Running", 2, false), ("OnFailure", "Succeeded", 1, false), ("Never", "Failed", 0, false)]
    {
        let name = policy.to_lowercase();
        let mut pod = place.runs(&name, text);
        pod["spec"]["restartPolicy"] = policy.into();
        pod["spec"]["volumes"] = json!([{ "name": "kept", "emptyDir": {} }]);
        pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "kept", "mountPath": "/kept" }]);
        place.pods.create(&pod).await?;
        let so = |pod: &Value| {
            let status = status(pod, "c");
            status["restartCount"].as_u64() >= Some(restarts)
                && pod["status"]["phase"] == phase
                && status["ready"] == ready
        };
        let pod = place.pods.wait(&name, &format!("it has phase {phase}"), PATIENCE, so).await?;
        let state = &status(&pod, "c")["state"];
        match policy {
            "OnFailure" => same!(state["terminated"]["exitCode"], 0, "the end of {name}"),
            "Never" => same!(state["terminated"]["exitCode"], 1, "the end of {name}"),
            _ => ensure!(state["running"].is_null(), "{name} still runs: {state}"),
        }
    }
    Ok(())
}

async fn reason(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = Place::pod("fails", &[place.container("c", &json!(["/bin/false"]))]);
    pod["spec"]["restartPolicy"] = "OnFailure".into();
    place.pods.create(&pod).await?;
    let ended = |pod: &Value| {
        let (state, last) = (&status(pod, "c")["state"]["terminated"], &status(pod, "c")["lastState"]["terminated"]);
        state["exitCode"] == 1 && state["reason"] == "Error" || last["exitCode"] == 1 && last["reason"] == "Error"
    };
    place.pods.wait("fails", "its container has ended with a reason", PATIENCE, ended).await.map(drop)
}

async fn deletable(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = Place::pod("fails", &[place.container("c", &script("exit 1"))]);
    pod["spec"]["restartPolicy"] = "Always".into();
    place.pods.create(&pod).await?;
    let crashes = |pod: &Value| status(pod, "c")["restartCount"].as_u64() >= Some(1);
    place.pods.wait("fails", "it crashes", PATIENCE, crashes).await?;
    place.remove("fails").await
}
