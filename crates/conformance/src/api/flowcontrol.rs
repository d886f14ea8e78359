//! Priority and fairness.

use super::operations::{Subject, Three, discovery};
use crate::{
    harness::{Context, Outcome, Resource},
    registry::{Test, test},
    run,
};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] API priority and fairness should support FlowSchema API operations [Conformance]",
        run!(flow_schemas),
    ),
    test(
        "[sig-api-machinery] API priority and fairness should support PriorityLevelConfiguration API operations [Conformance]",
        run!(priority_levels),
    ),
];

async fn flow_schemas(context: &Context) -> Outcome {
    let rule = json!({
        "subjects": [{"kind": "User", "user": {"name": "nobody-in-particular"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    });
    let object = json!({"spec": {
        "matchingPrecedence": 10_000,
        "priorityLevelConfiguration": {"name": "global-default"},
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [rule],
    }});
    let mut subject =
        Subject::new(Resource::cluster("flowcontrol.apiserver.k8s.io/v1", "flowschemas", "FlowSchema"), object);
    subject.patch = json!({"spec": {"matchingPrecedence": 9999}});
    subject.update = json!({"spec": {"matchingPrecedence": 9998}});
    operations(context, &mut subject).await
}

async fn priority_levels(context: &Context) -> Outcome {
    let object = json!({"spec": {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}},
    }});
    let resource = Resource::cluster(
        "flowcontrol.apiserver.k8s.io/v1",
        "prioritylevelconfigurations",
        "PriorityLevelConfiguration",
    );
    let mut subject = Subject::new(resource, object);
    subject.patch = json!({"spec": {"limited": {"nominalConcurrencyShares": 4}}});
    subject.update = json!({"spec": {"limited": {"nominalConcurrencyShares": 5}}});
    operations(context, &mut subject).await
}

async fn operations(context: &Context, subject: &mut Subject) -> Outcome {
    subject.subresources = &["status"];
    discovery(&context.api, &subject.resource, subject.subresources).await?;
    let three = Three::create(context, subject).await?;
    three.change(subject).await?;
    three.status(&conditions("PatchStatusFailed"), &conditions("UpdateStatusFailed")).await?;
    three.remove().await
}

fn conditions(kind: &str) -> Value {
    json!({"conditions": [
        {"type": kind, "status": "False", "reason": "Conformance", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]})
}
