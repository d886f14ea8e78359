//! Namespaces as objects.

use crate::{
    harness::{Context, Form, Outcome, expect_within, resource},
    registry::{Test, test},
    run, same,
};
use serde_json::json;

pub(super) const TESTS: &[Test] = &[
    test("[sig-api-machinery] Namespaces [Serial] should patch a Namespace [Conformance]", run!(patch)),
    test("[sig-api-machinery] Namespaces [Serial] should apply an update to a Namespace [Conformance]", run!(update)),
    test(
        "[sig-api-machinery] Namespaces [Serial] should apply changes to a namespace status [Conformance]",
        run!(status),
    ),
];

async fn patch(context: &Context) -> Outcome {
    let name = context.namespace().await?;
    let namespaces = context.cluster(resource::namespaces());
    namespaces.strategic(&name, &json!({"metadata": {"labels": {"testLabel": "testValue"}}})).await?;
    let got = namespaces.get(&name).await?;
    same!(got["metadata"]["labels"]["testLabel"], "testValue", "the label after the patch");
    // Every namespace carries its name as a label.
    same!(got["metadata"]["labels"]["kubernetes.io/metadata.name"], name.as_str(), "the label of the name");
    Ok(())
}

async fn update(context: &Context) -> Outcome {
    let name = context.namespace().await?;
    let namespaces = context.cluster(resource::namespaces());
    let updated =
        namespaces.update(&name, |namespace| namespace["metadata"]["labels"][&name] = "updated".into()).await?;
    same!(updated["metadata"]["labels"][&name], "updated", "the label of the updated namespace");
    same!(namespaces.get(&name).await?["metadata"]["labels"][&name], "updated", "the label when it is read");
    Ok(())
}

async fn status(context: &Context) -> Outcome {
    let name = context.namespace().await?;
    let namespaces = context.cluster(resource::namespaces());
    let statuses = namespaces.sub("status");
    same!(statuses.get(&name).await?["status"]["phase"], "Active", "the phase of the namespace");
    let condition = |kind: &str, message: &str| {
        let time = "2026-01-01T00:00:00Z";
        json!({"type": kind, "status": "False", "reason": "E2E", "message": message, "lastTransitionTime": time})
    };
    let patch = json!({
        "metadata": {"annotations": {"e2e-patched-ns-status": name}},
        "status": {"conditions": [condition("StatusPatch", "Patched by a test")]},
    });
    let patched = statuses.patch(&name, Form::StrategicPatch, &patch, &[]).await?.expect(200)?;
    expect_within(&patched, &patch, "the patched status")?;
    let second = condition("StatusUpdate", "Updated by a test");
    let updated = statuses.update(&name, |namespace| {
        if let Some(conditions) = namespace["status"]["conditions"].as_array_mut() {
            conditions.push(second.clone());
        }
    });
    updated.await?;
    let got = namespaces.get(&name).await?;
    let conditions = json!([condition("StatusPatch", "Patched by a test"), second]);
    expect_within(&got["status"]["conditions"], &conditions, "the conditions after both")?;
    same!(got["metadata"]["annotations"]["e2e-patched-ns-status"], name.as_str(), "the annotation after both");
    same!(got["status"]["phase"], "Active", "the phase after both");
    Ok(())
}
