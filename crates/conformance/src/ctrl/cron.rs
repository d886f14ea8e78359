//! CronJobs, which work by the minute.

use super::workload::{controller, label, runs, template};
use crate::{
    ensure,
    harness::{Context, During, Objects, Outcome, resource, until},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep};

pub(super) const TESTS: &[Test] = &[
    test("[sig-apps] CronJob should schedule multiple jobs concurrently [Conformance]", run!(several)).within(360),
    test("[sig-apps] CronJob should not schedule jobs when suspended [Slow] [Conformance]", run!(suspended))
        .within(360),
    test("[sig-apps] CronJob should not schedule new jobs when ForbidConcurrent [Slow] [Conformance]", run!(forbidden))
        .within(360),
    test("[sig-apps] CronJob should replace jobs when ReplaceConcurrent [Conformance]", run!(replaced)).within(360),
];

/// A job comes every minute; two must have come within this.
const TWO_ROUNDS: Duration = Duration::from_secs(200);
/// A minute and a little more: one round at least.
const ONE_ROUND: Duration = Duration::from_secs(75);

struct Place {
    cron_jobs: Objects,
    jobs: Objects,
}

/// A cron job `cron` whose jobs take longer than the minute until the next.
async fn place(context: &Context, policy: &str, suspend: bool) -> Outcome<Place> {
    let namespace = context.namespace().await?;
    let place = Place {
        cron_jobs: context.objects(resource::cron_jobs(), &namespace),
        jobs: context.objects(resource::jobs(), &namespace),
    };
    let mut pods = template(&label("cron").0, &runs("sleep 300"));
    pods["spec"]["restartPolicy"] = json!("OnFailure");
    let cron_job = json!({ "metadata": { "name": "cron" }, "spec": {
        "schedule": "*/1 * * * ?", "concurrencyPolicy": policy, "suspend": suspend,
        "jobTemplate": { "spec": { "template": pods } } } });
    place.cron_jobs.create(&cron_job).await?;
    Ok(place)
}

fn active(cron_job: &Value) -> usize {
    cron_job["status"]["active"].as_array().map_or(0, Vec::len)
}

/// The names of the cron job's jobs that have not ended.
async fn running(place: &Place) -> Outcome<BTreeSet<String>> {
    let jobs = place.jobs.items(&[]).await?;
    let ended = |job: &Value| {
        let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().any(|c| (c["type"] == "Complete" || c["type"] == "Failed") && c["status"] == "True")
    };
    let running = jobs.iter().filter(|job| !ended(job) && job["metadata"]["deletionTimestamp"].is_null());
    Ok(running.map(|job| job["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect())
}

async fn several(context: &Context) -> Outcome {
    let place = place(context, "Allow", false).await?;
    let two = |cron_job: &Value| active(cron_job) >= 2;
    let cron_job = place.cron_jobs.wait("cron", "two of its jobs are active", TWO_ROUNDS, two).await?;
    ensure!(running(&place).await?.len() >= 2, "two jobs are active and do not run");
    let uid = cron_job["metadata"]["uid"].as_str().unwrap_or_default();
    for job in place.jobs.items(&[]).await? {
        same!(controller(&job), uid, "who owns the job");
    }
    Ok(())
}

async fn suspended(context: &Context) -> Outcome {
    let place = place(context, "Allow", true).await?;
    let end = Instant::now() + ONE_ROUND + ONE_ROUND;
    while Instant::now() < end {
        let count = place.jobs.items(&[]).await?.len();
        ensure!(count == 0, "a suspended cron job has {count} jobs");
        sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

/// Waits for the first job.
async fn first(place: &Place) -> Outcome<String> {
    until(TWO_ROUNDS, || async { Ok(running(place).await?.pop_first()) }).await.during("waiting for the first job")
}

async fn forbidden(context: &Context) -> Outcome {
    let place = place(context, "Forbid", false).await?;
    let first = first(&place).await?;
    let end = Instant::now() + ONE_ROUND;
    while Instant::now() < end {
        let jobs = running(&place).await?;
        same!(jobs, BTreeSet::from([first.clone()]), "the jobs that run");
        sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

async fn replaced(context: &Context) -> Outcome {
    let place = place(context, "Replace", false).await?;
    let first = first(&place).await?;
    until(TWO_ROUNDS, || async {
        let jobs = running(&place).await?;
        ensure!(jobs.len() <= 1, "more than one job runs: {jobs:?}");
        Ok((!jobs.is_empty() && !jobs.contains(&first)).then_some(()))
    })
    .await
    .during("waiting for the job that replaces the first")?;
    let active = active(&place.cron_jobs.get("cron").await?);
    ensure!(active <= 1, "{active} jobs are active");
    Ok(())
}
