//! Jobs whose pods have indexes.

use super::{JOB, index, indexed, place, reaches, reason};
use crate::{
    ctrl::workload::{condition, name_of},
    ensure,
    harness::{Context, Outcome},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) const TESTS: &[Test] = &[
    test(
        "[sig-apps] Job should create pods for an Indexed job with completion indexes and specified hostname [Conformance]",
        run!(indexes),
    ),
    test(
        "[sig-apps] Job should execute all indexes despite some failing when using backoffLimitPerIndex [Conformance]",
        run!(despite_failures),
    )
    .within(300),
    test(
        "[sig-apps] Job should terminate job execution when the number of failed indexes exceeds maxFailedIndexes [Conformance]",
        run!(too_many_failures),
    ),
    test(
        "[sig-apps] Job should mark indexes as failed when the FailIndex action is matched in podFailurePolicy [Conformance]",
        run!(fail_index),
    ),
    test(
        "[sig-apps] Job with successPolicy should succeeded when all indexes succeeded [Conformance]",
        run!(all_succeed),
    ),
    test(
        "[sig-apps] Job with successPolicy succeededIndexes rule should succeeded even when some indexes remain pending [Conformance]",
        run!(chosen_indexes),
    ),
    test(
        "[sig-apps] Job with successPolicy succeededCount rule should succeeded even when some indexes remain pending [Conformance]",
        run!(enough_indexes),
    ),
];

/// Fails in pods of odd indexes.
const ODD_FAILS: &str = "exit $(expr ${JOB_COMPLETION_INDEX} % 2)";
/// Runs for ever in all pods but the first.
const FIRST_SUCCEEDS: &str = "if [ $JOB_COMPLETION_INDEX -eq 0 ]; then exit 0; else sleep 3600; fi";

async fn indexes(context: &Context) -> Outcome {
    let (jobs, pods) = place(context).await?;
    jobs.create(&indexed("indexed", "sleep 1", 4, &json!({ "parallelism": 2 }))).await?;
    let done = reaches(&jobs, "indexed", "Complete").await?;
    same!(done["status"]["completedIndexes"], "0-3", "the completed indexes");
    let mut found = BTreeMap::new();
    for pod in pods.labelled(&format!("{JOB}=indexed")).await?.iter().filter(|p| p["status"]["phase"] == "Succeeded") {
        let at = index(pod).to_owned();
        same!(pod["metadata"]["labels"][super::INDEX], at, "the label with the index of {}", name_of(pod));
        same!(pod["spec"]["hostname"], format!("indexed-{at}"), "the host name of {}", name_of(pod));
        let variables = pod["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
        let variable = variables.iter().find(|variable| variable["name"] == "JOB_COMPLETION_INDEX");
        ensure!(
            variable.is_some_and(|v| v["valueFrom"]["fieldRef"]["fieldPath"].to_string().contains(super::INDEX)),
            "{} has no variable with its index: {variables:?}",
            name_of(pod)
        );
        ensure!(name_of(pod).starts_with(&format!("indexed-{at}-")), "the name of index {at} is {}", name_of(pod));
        *found.entry(at).or_insert(0) += 1;
    }
    let wanted: BTreeMap<String, i32> = ["0", "1", "2", "3"].map(|at| (at.to_owned(), 1)).into();
    same!(found, wanted, "how many pods of each index succeeded");
    Ok(())
}

async fn despite_failures(context: &Context) -> Outcome {
    let (jobs, pods) = place(context).await?;
    jobs.create(&indexed("odd", ODD_FAILS, 4, &json!({ "parallelism": 2, "backoffLimitPerIndex": 1 }))).await?;
    let failed = reaches(&jobs, "odd", "Failed").await?;
    same!(failed["status"]["failedIndexes"], "1,3", "the failed indexes");
    same!(failed["status"]["completedIndexes"], "0,2", "the completed indexes");
    same!(failed["status"]["failed"], 4, "how many pods failed: each odd index one more time");
    same!(failed["status"]["succeeded"], 2, "how many pods succeeded");
    same!(reason(&failed, "Failed"), "FailedIndexes", "why the job failed");
    let all = pods.labelled(&format!("{JOB}=odd")).await?;
    let count = |phase: &str| all.iter().filter(|pod| pod["status"]["phase"] == phase).count();
    same!((count("Failed"), count("Succeeded")), (4, 2), "how many pods failed and succeeded");
    Ok(())
}

async fn too_many_failures(context: &Context) -> Outcome {
    let (jobs, _) = place(context).await?;
    let more = json!({ "parallelism": 10, "backoffLimitPerIndex": 0, "maxFailedIndexes": 4 });
    // Nothing but failures: with the fifth the job is over, whatever is left.
    jobs.create(&indexed("many", "exit 1", 10, &more)).await?;
    let failed = reaches(&jobs, "many", "Failed").await?;
    same!(reason(&failed, "Failed"), "MaxFailedIndexesExceeded", "why the job failed");
    let count = failed["status"]["failed"].as_u64().unwrap_or_default();
    ensure!((5..=10).contains(&count), "{count} pods failed, wanted more than 4 and no more than 10");
    same!(failed["status"]["active"].as_u64().unwrap_or_default(), 0, "how many pods are still active");
    same!(failed["status"]["completedIndexes"].as_str().unwrap_or_default(), "", "the completed indexes");
    Ok(())
}

async fn fail_index(context: &Context) -> Outcome {
    let (jobs, pods) = place(context).await?;
    let rule = json!({ "action": "FailIndex",
        "onExitCodes": { "containerName": "c", "operator": "In", "values": [1] } });
    let more = json!({ "parallelism": 2, "backoffLimitPerIndex": 1, "podFailurePolicy": { "rules": [rule] } });
    jobs.create(&indexed("marked", ODD_FAILS, 2, &more)).await?;
    let failed = reaches(&jobs, "marked", "Failed").await?;
    same!(failed["status"]["failedIndexes"], "1", "the failed indexes");
    same!(failed["status"]["completedIndexes"], "0", "the completed indexes");
    same!(failed["status"]["failed"], 1, "how many pods failed: the index is not tried again");
    same!(pods.labelled(&format!("{JOB}=marked")).await?.len(), 2, "how many pods there were");
    Ok(())
}

/// Runs a job with a success policy and checks how it ended.
async fn with_success_policy(context: &Context, script: &str, completions: u32, rule: &Value) -> Outcome<Value> {
    let (jobs, pods) = place(context).await?;
    let more = json!({ "parallelism": completions, "successPolicy": { "rules": [rule] } });
    jobs.create(&indexed("policy", script, completions, &more)).await?;
    let met = reaches(&jobs, "policy", "SuccessCriteriaMet").await?;
    same!(reason(&met, "SuccessCriteriaMet"), "SuccessPolicy", "why the success criteria are met");
    let done = reaches(&jobs, "policy", "Complete").await?;
    same!(reason(&done, "Complete"), "SuccessPolicy", "why the job is complete");
    ensure!(condition(&done, "Failed") != "True", "the job is complete and failed");
    same!(done["status"]["active"].as_u64().unwrap_or_default(), 0, "how many pods are still active");
    let running = pods.labelled(&format!("{JOB}=policy")).await?;
    let running = running.iter().filter(|pod| pod["status"]["phase"] == "Running").map(name_of).collect::<Vec<_>>();
    ensure!(running.is_empty(), "pods of the complete job run on: {running:?}");
    Ok(done)
}

async fn all_succeed(context: &Context) -> Outcome {
    let rule = json!({ "succeededIndexes": "0-4" });
    let done = with_success_policy(context, "exit 0", 5, &rule).await?;
    same!(done["status"]["completedIndexes"], "0-4", "the completed indexes");
    same!(done["status"]["succeeded"], 5, "how many pods succeeded");
    Ok(())
}

async fn chosen_indexes(context: &Context) -> Outcome {
    let rule = json!({ "succeededIndexes": "0" });
    let done = with_success_policy(context, FIRST_SUCCEEDS, 5, &rule).await?;
    same!(done["status"]["completedIndexes"], "0", "the completed indexes");
    same!(done["status"]["succeeded"], 1, "how many pods succeeded");
    Ok(())
}

async fn enough_indexes(context: &Context) -> Outcome {
    let rule = json!({ "succeededCount": 1 });
    let done = with_success_policy(context, FIRST_SUCCEEDS, 5, &rule).await?;
    same!(done["status"]["completedIndexes"], "0", "the completed indexes");
    same!(done["status"]["succeeded"], 1, "how many pods succeeded");
    Ok(())
}
