//! What a pod's failure means for its job.

use super::{JOB, index, indexed, job, place, reaches, reason};
use crate::{
    ctrl::workload::{PATIENCE, all_up, find_condition, name_of},
    ensure,
    harness::{Context, During, Event, Outcome, until},
    registry::{Test, test},
    run, same,
};
use serde_json::json;

pub(crate) const TESTS: &[Test] = &[
    test(
        "[sig-apps] Job should allow to use the pod failure policy on exit code to fail the job early [Conformance]",
        run!(fails_early),
    ),
    test(
        "[sig-apps] Job should allow to use a pod failure policy to ignore failure matching on DisruptionTarget condition [Conformance]",
        run!(ignores_disruption),
    )
    .within(300),
];

async fn fails_early(context: &Context) -> Outcome {
    let (jobs, pods) = place(context).await?;
    let rule = json!({ "action": "FailJob",
        "onExitCodes": { "containerName": "c", "operator": "In", "values": [1] } });
    // Many more attempts would be allowed: one failure with this code is enough.
    let more =
        json!({ "parallelism": 1, "completions": 4, "backoffLimit": 6, "podFailurePolicy": { "rules": [rule] } });
    jobs.create(&job("early", "exit 1", "Never", &more)).await?;
    let failed = reaches(&jobs, "early", "Failed").await?;
    same!(reason(&failed, "Failed"), "PodFailurePolicy", "why the job failed");
    same!(failed["status"]["failed"], 1, "how many pods failed");
    same!(pods.labelled(&format!("{JOB}=early")).await?.len(), 1, "how many pods there were");
    Ok(())
}

async fn ignores_disruption(context: &Context) -> Outcome {
    let (jobs, pods) = place(context).await?;
    let rule = json!({ "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] });
    // No failure is allowed, so that only those that are ignored leave the job alive.
    let more = json!({ "parallelism": 2, "backoffLimit": 0, "podFailurePolicy": { "rules": [rule] } });
    jobs.create(&indexed("evicted", "sleep 3600", 2, &more)).await?;
    let selector = format!("{JOB}=evicted");
    let first = all_up(&pods, &selector, 2).await?;
    for pod in &first {
        let name = name_of(pod);
        let mut watch = pods.watch(&[("fieldSelector", &format!("metadata.name={name}"))]).await?;
        let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
        pods.sub("eviction").post(&eviction, &[]).await?.success()?;
        let failed = |event: &Event| event.object["status"]["phase"] == "Failed";
        let ended = watch.find("the failure of the evicted pod", PATIENCE, failed).await?;
        let disrupted = find_condition(&ended.object, "DisruptionTarget");
        same!(disrupted["status"], "True", "the condition DisruptionTarget of the evicted pod");
    }
    let evicted: Vec<_> = first.iter().map(name_of).collect();
    // Other pods take over their indexes, and the job lives on.
    until(PATIENCE, || async {
        let others = pods.labelled(&selector).await?;
        let mut at: Vec<_> = others
            .iter()
            .filter(|pod| !evicted.contains(&name_of(pod)) && pod["status"]["phase"] == "Running")
            .map(|pod| index(pod).to_owned())
            .collect();
        at.sort();
        Ok((at == ["0", "1"]).then_some(()))
    })
    .await
    .during("waiting for pods in place of the evicted ones")?;
    let job = jobs.get("evicted").await?;
    ensure!(find_condition(&job, "Failed").is_null(), "the job failed: {}", job["status"]);
    same!(job["status"]["failed"].as_u64().unwrap_or_default(), 0, "how many failures count");
    Ok(())
}
