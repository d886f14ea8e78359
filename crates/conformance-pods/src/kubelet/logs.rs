//! What containers write, as it is read back.

use crate::pods::{PATIENCE, Place};
use orrery_harness::{Context, Kubectl, Outcome, Test, ensure, run, same, test};
use regex::Regex;

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-node] Kubelet when scheduling a busybox command in a pod should print the output to logs [NodeConformance] [Conformance]",
        run!(printed),
    ),
    test("[sig-cli] Kubectl logs logs should be able to retrieve and filter logs [Conformance]", run!(filtered)),
];

async fn printed(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    same!(place.said(&place.runs("it", "echo 'Hello World'; sleep 1")).await?, "Hello World\n", "the log");
    Ok(())
}

async fn filtered(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let text = "for i in $(seq 1 5); do echo \"line $i of five\"; done; sleep 600";
    place.ready(&place.runs("it", text)).await?;
    place.until_said("it", "line 5 of five", PATIENCE).await?;
    let kubectl = Kubectl::new(context, Some(&place.namespace))?;
    let all = kubectl.ok(&["logs", "it", "c"]).await?;
    same!(all.lines().count(), 5, "lines of the log");
    same!(kubectl.ok(&["logs", "it", "c", "--tail=1"]).await?, "line 5 of five\n", "the last line");
    same!(kubectl.ok(&["logs", "it", "c", "--limit-bytes=1"]).await?, "l", "the first byte");
    let stamped = kubectl.ok(&["logs", "it", "c", "--tail=1", "--timestamps"]).await?;
    let pattern = Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d) line 5 of five\n$")
        .map_err(orrery_harness::Failure::wrong)?;
    ensure!(pattern.is_match(&stamped), "a line with its time is {stamped:?}");
    // Time goes by, so that nothing is left that is younger than a second.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let recent = kubectl.ok(&["logs", "it", "c", "--since=1s"]).await?;
    ensure!(recent.lines().count() < 5, "lines of the last second are {recent:?}");
    same!(kubectl.ok(&["logs", "it", "c", "--since=24h"]).await?, all, "the log of a day");
    Ok(())
}
