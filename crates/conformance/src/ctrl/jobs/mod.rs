//! Jobs: pods that end.

mod indexed;
mod life;
mod policies;

pub(super) use indexed::TESTS as INDEXED;
pub(super) use life::TESTS as LIFE;
pub(super) use policies::TESTS as POLICIES;

use super::workload::{condition, find_condition, label, runs, template};
use crate::harness::{Context, Objects, Outcome, resource};
use serde_json::{Value, json};
use std::time::Duration;

/// How long the pods of a job may take altogether.
const WHILE_IT_RUNS: Duration = Duration::from_secs(150);
/// The annotation with the index of a pod.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The label with the name of a pod's job.
const JOB: &str = "job-name";

/// A job whose pods run a script; more of its specification is added to it.
fn job(name: &str, script: &str, policy: &str, more: &Value) -> Value {
    let mut template = template(&label(name).0, &runs(script));
    template["spec"]["restartPolicy"] = json!(policy);
    let mut job = json!({ "metadata": { "name": name, "labels": label(name).0 }, "spec": { "template": template } });
    for (field, value) in more.as_object().into_iter().flatten() {
        job["spec"][field] = value.clone();
    }
    job
}

/// An indexed job of so many indexes, all at once.
fn indexed(name: &str, script: &str, completions: u32, more: &Value) -> Value {
    let mut job = job(name, script, "Never", more);
    job["spec"]["completionMode"] = json!("Indexed");
    job["spec"]["completions"] = json!(completions);
    if job["spec"]["parallelism"].is_null() {
        job["spec"]["parallelism"] = json!(completions);
    }
    job
}

/// The jobs and pods of a namespace of the test's own.
async fn place(context: &Context) -> Outcome<(Objects, Objects)> {
    let namespace = context.namespace().await?;
    Ok((context.objects(resource::jobs(), &namespace), context.objects(resource::pods(), &namespace)))
}

/// Waits until a job has a condition that is true, and returns the job.
async fn reaches(jobs: &Objects, name: &str, kind: &str) -> Outcome<Value> {
    let there = |job: &Value| condition(job, kind) == "True";
    jobs.wait(name, &format!("it is {kind}"), WHILE_IT_RUNS, there).await
}

/// The reason of a condition.
fn reason<'a>(job: &'a Value, kind: &str) -> &'a str {
    find_condition(job, kind)["reason"].as_str().unwrap_or_default()
}

/// The index of a pod; empty when it has none.
fn index(pod: &Value) -> &str {
    pod["metadata"]["annotations"][INDEX].as_str().unwrap_or_default()
}
