//! Cron jobs as objects.

use super::operations::{Subject, Three, discovery};
use crate::{
    harness::{Context, Form, Outcome, expect_within, resource},
    registry::{Test, test},
    run, same,
};
use serde_json::json;

pub(super) const TESTS: &[Test] =
    &[test("[sig-apps] CronJob should support CronJob API operations [Conformance]", run!(operations))];

async fn operations(context: &Context) -> Outcome {
    let pod = json!({"spec": {
        "restartPolicy": "OnFailure",
        "containers": [{"name": "c", "image": "registry.local/busybox:1", "command": ["true"]}],
    }});
    // Once a year: no job is made while the test runs.
    let object = json!({"spec": {
        "schedule": "0 0 1 1 *",
        "concurrencyPolicy": "Allow",
        "suspend": true,
        "jobTemplate": {"spec": {"template": pod}},
    }});
    let mut subject = Subject::new(resource::cron_jobs(), object);
    subject.subresources = &["status"];
    subject.update = json!({"spec": {"schedule": "0 0 2 1 *"}});
    discovery(&context.api, &subject.resource, subject.subresources).await?;
    let three = Three::create(context, &subject).await?;
    three.change(&subject).await?;
    let time = |day: u8| json!({"lastScheduleTime": format!("2026-01-{day:02}T00:00:00Z")});
    three.status(&time(1), &time(2)).await?;
    let patch = json!({"metadata": {"annotations": {"patchedstatus": "true"}}});
    let patched = three.objects.sub("status").patch(&three.name, Form::MergePatch, &patch, &[]).await?.expect(200)?;
    expect_within(&patched, &patch, "the annotation when it is patched with the status")?;
    same!(three.objects.get(&three.name).await?["spec"]["schedule"], "0 0 2 1 *", "the schedule after all this");
    three.remove().await
}
