//! What a job makes, adopts, releases and leaves.

use super::{JOB, WHILE_IT_RUNS, job, place, reaches};
use crate::{
    ctrl::workload::{PATIENCE, all_up, condition, controller, counted, find_condition, label, name_of},
    ensure,
    harness::{Context, Form, Outcome, resource},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(crate) const TESTS: &[Test] = &[
    test("[sig-apps] Job should adopt matching orphans and release non-matching pods [Conformance]", run!(adopts)),
    test("[sig-apps] Job should delete a job [Conformance]", run!(deletes)),
    test("[sig-apps] Job should apply changes to a job status [Conformance]", run!(status)),
    test("[sig-apps] Job should manage the lifecycle of a job [Conformance]", run!(life)),
    test(
        "[sig-apps] Job should run a job to completion when tasks sometimes fail and are locally restarted [Conformance]",
        run!(restarted),
    )
    .within(300),
];

async fn adopts(context: &Context) -> Outcome {
    let (jobs, pods) = place(context).await?;
    let more = json!({ "parallelism": 2, "completions": 4 });
    let made = jobs.create(&job("adopt", "sleep 3600", "Never", &more)).await?;
    let uid = made["metadata"]["uid"].as_str().unwrap_or_default();
    let selector = format!("{JOB}=adopt");
    let all = all_up(&pods, &selector, 2).await?;
    let name = name_of(&all[0]);
    pods.merge(name, &json!({ "metadata": { "ownerReferences": null } })).await?;
    pods.wait(name, "the orphan is adopted again", PATIENCE, |pod| controller(pod) == uid).await?;
    // Without its labels it is none of the job's pods any more.
    pods.update(name, |pod| pod["metadata"]["labels"] = Value::Null).await?;
    pods.wait(name, "the pod is released", PATIENCE, |pod| controller(pod).is_empty()).await?;
    all_up(&pods, &selector, 2).await.map(drop)
}

async fn deletes(context: &Context) -> Outcome {
    let (jobs, pods) = place(context).await?;
    let more = json!({ "parallelism": 2, "completions": 4 });
    jobs.create(&job("gone", "sleep 3600", "Never", &more)).await?;
    let selector = format!("{JOB}=gone");
    all_up(&pods, &selector, 2).await?;
    jobs.delete_with("gone", &json!({ "propagationPolicy": "Foreground" })).await?.success()?;
    jobs.gone("gone", PATIENCE).await?;
    counted(&pods, &selector, 0).await.map(drop)
}

async fn status(context: &Context) -> Outcome {
    let (jobs, pods) = place(context).await?;
    let more = json!({ "parallelism": 2, "completions": 4 });
    jobs.create(&job("status", "sleep 3600", "Never", &more)).await?;
    all_up(&pods, &format!("{JOB}=status"), 2).await?;
    let statuses = jobs.sub("status");
    let began = "2022-02-02T02:02:02Z";
    let patch = json!({
        "metadata": { "annotations": { "patchedstatus": "true" } },
        "status": { "conditions": [{ "type": "CustomPatched", "status": "True", "reason": "Conformance",
            "message": "set from a test", "lastTransitionTime": began }] },
    });
    let patched = statuses.patch("status", Form::MergePatch, &patch, &[]).await?.expect(200)?;
    same!(patched["metadata"]["annotations"]["patchedstatus"], "true", "the annotation of the patched status");
    same!(condition(&patched, "CustomPatched"), "True", "the patched condition");
    let replaced = statuses
        .update("status", |job| {
            let mut conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.push(json!({ "type": "CustomUpdated", "status": "True", "reason": "Conformance",
                "message": "set from a test", "lastTransitionTime": began }));
            job["status"]["conditions"] = json!(conditions);
        })
        .await?;
    same!(condition(&replaced, "CustomUpdated"), "True", "the updated condition");
    let read = statuses.get("status").await?;
    same!(read["metadata"]["name"], "status", "the name of what is read at /status");
    ensure!(!find_condition(&read, "CustomUpdated").is_null(), "the status read is {}", read["status"]);
    Ok(())
}

async fn life(context: &Context) -> Outcome {
    let (jobs, _) = place(context).await?;
    let value = context.name("life");
    let (labels, selector) = label(&value);
    let mut suspended =
        job("life", "sleep 1", "Never", &json!({ "suspend": true, "parallelism": 1, "completions": 1 }));
    suspended["metadata"]["labels"] = labels;
    jobs.create(&suspended).await?;
    reaches(&jobs, "life", "Suspended").await?;
    let patched = jobs.strategic("life", &json!({ "metadata": { "labels": { "stage": "patched" } } })).await?;
    same!(patched["metadata"]["labels"]["stage"], "patched", "the patched label");
    let updated = jobs
        .update("life", |job| {
            job["spec"]["suspend"] = json!(false);
            job["metadata"]["annotations"] = json!({ "updated": "true" });
        })
        .await?;
    same!(updated["metadata"]["annotations"]["updated"], "true", "the updated annotation");
    let done = reaches(&jobs, "life", "Complete").await?;
    same!(done["status"]["succeeded"], 1, "how many pods succeeded");
    ensure!(done["status"]["completionTime"].is_string(), "the job has no completionTime: {}", done["status"]);
    same!(condition(&done, "Suspended"), "False", "whether the job is still suspended");
    let everywhere = context.cluster(resource::jobs()).labelled(&selector).await?;
    same!(everywhere.iter().map(name_of).collect::<Vec<_>>(), ["life"], "the jobs of all namespaces");
    let options = json!({ "propagationPolicy": "Background" });
    let path = jobs.collection(&[("labelSelector", &selector)]);
    context.api.delete(&path, &options).await?.expect(200)?;
    jobs.gone("life", PATIENCE).await
}

async fn restarted(context: &Context) -> Outcome {
    let (jobs, pods) = place(context).await?;
    let script = "if [ -e /data/once ]; then exit 0; fi; touch /data/once; exit 1";
    let mut wanted = job("restarted", script, "OnFailure", &json!({ "parallelism": 2, "completions": 4 }));
    wanted["spec"]["template"]["spec"]["volumes"] = json!([{ "name": "data", "emptyDir": {} }]);
    wanted["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "data", "mountPath": "/data" }]);
    jobs.create(&wanted).await?;
    let succeeded = |job: &Value| job["status"]["succeeded"] == 4;
    jobs.wait("restarted", "four pods succeeded", WHILE_IT_RUNS, succeeded).await?;
    reaches(&jobs, "restarted", "Complete").await?;
    let all = pods.labelled(&format!("{JOB}=restarted")).await?;
    same!(all.len(), 4, "how many pods there were: a local restart makes no new one");
    for pod in all {
        same!(pod["status"]["phase"], "Succeeded", "the phase of {}", name_of(&pod));
        let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default();
        ensure!(restarts > 0, "{} was not restarted", name_of(&pod));
    }
    Ok(())
}
