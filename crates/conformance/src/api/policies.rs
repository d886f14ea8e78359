//! Admission policies in CEL.

use super::operations::{Subject, Three, discovery};
use crate::{
    ensure,
    harness::{Context, Form, Objects, Outcome, Resource, expect_within, resource, retry},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should validate against a Deployment [Conformance]",
        run!(validate),
    ),
    test(
        "[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should allow expressions to refer variables. [Conformance]",
        run!(variables),
    ),
    test(
        "[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support ValidatingAdmissionPolicy API operations [Conformance]",
        run!(policy_operations, "Validating"),
    ),
    test(
        "[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support ValidatingAdmissionPolicyBinding API operations [Conformance]",
        run!(binding_operations, "Validating"),
    ),
    test(
        "[sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should mutate a Deployment [Conformance]",
        run!(mutate, replicas_mutation(), json!({"spec": {"replicas": 3}, "metadata": {"labels": {"mutated": "yes"}}})),
    ),
    test(
        "[sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should mutate a Deployment with annotations [Conformance]",
        run!(mutate, annotation_mutation(), json!({"metadata": {"annotations": {"mutated-by": "admission-policy"}}})),
    ),
    test(
        "[sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should support MutatingAdmissionPolicy API operations [Conformance]",
        run!(policy_operations, "Mutating"),
    ),
    test(
        "[sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should support MutatingAdmissionPolicyBinding API operations [Conformance]",
        run!(binding_operations, "Mutating"),
    ),
];

const VERSION: &str = "admissionregistration.k8s.io/v1";
/// The label by which a policy knows its namespace.
const SCOPE: &str = "policy-scope";
/// How long a policy may take to be in force.
const IN_FORCE: Duration = Duration::from_secs(45);

fn policies(kind: &str) -> Resource {
    let plural = format!("{}admissionpolicies", kind.to_lowercase());
    Resource::cluster(VERSION, &plural, &format!("{kind}AdmissionPolicy"))
}

fn bindings(kind: &str) -> Resource {
    let plural = format!("{}admissionpolicybindings", kind.to_lowercase());
    Resource::cluster(VERSION, &plural, &format!("{kind}AdmissionPolicyBinding"))
}

/// A policy about deployments in the namespaces with the scope's label.
fn spec(scope: &str) -> Value {
    let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]});
    json!({"matchConstraints": {
        "resourceRules": [rule],
        "namespaceSelector": {"matchLabels": {SCOPE: scope}},
    }})
}

/// Creates a policy and binds it; returns the deployments of a namespace that it is about.
async fn install(context: &Context, kind: &str, more: &Value) -> Outcome<Objects> {
    let scope = context.name("scope");
    let namespace = context.namespace_with(&json!({SCOPE: scope})).await?;
    let mut spec = spec(&scope);
    super::operations::merge(&mut spec, more);
    if kind == "Mutating" {
        // Controllers update deployments too, and each update would be changed once more.
        spec["matchConstraints"]["resourceRules"][0]["operations"] = json!(["CREATE"]);
    }
    let name = context.name("policy");
    context.remove_later(&policies(kind), &name);
    context.cluster(policies(kind)).create(&json!({"metadata": {"name": name}, "spec": spec})).await?;
    let mut binding =
        json!({"policyName": name, "matchResources": {"namespaceSelector": {"matchLabels": {SCOPE: scope}}}});
    if kind == "Validating" {
        binding["validationActions"] = json!(["Deny"]);
    }
    context.remove_later(&bindings(kind), &name);
    context.cluster(bindings(kind)).create(&json!({"metadata": {"name": name}, "spec": binding})).await?;
    Ok(context.objects(resource::deployments(), &namespace))
}

fn deployment(name: &str, replicas: u32) -> Value {
    let labels = json!({"app": "nginx"});
    json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "nginx", "image": "registry.local/nginx:1"}]},
            },
        },
    })
}

const DRY: [(&str, &str); 1] = [("dryRun", "All")];

/// A deployment with so many replicas is refused, with these words.
async fn expect_denied(deployments: &Objects, replicas: u32, words: &str) -> Outcome {
    let status = deployments.post(&deployment("denied", replicas), &DRY).await?.refused(422, "Invalid")?;
    let message = status["message"].as_str().unwrap_or_default();
    ensure!(message.contains(words), "the refusal of {replicas} replicas does not say {words:?}: {message}");
    Ok(())
}

async fn expect_allowed(deployments: &Objects, replicas: u32) -> Outcome {
    let answer = deployments.post(&deployment("allowed", replicas), &DRY).await?;
    answer.expect(201).map(drop).map_err(|failure| failure.during(format!("{replicas} replicas")))
}

async fn validate(context: &Context) -> Outcome {
    let validation = json!({
        "expression": "object.spec.replicas > 1",
        "messageExpression": "'wants replicas > 1, got ' + string(object.spec.replicas)",
    });
    let deployments = install(context, "Validating", &json!({"validations": [validation]})).await?;
    let words = "wants replicas > 1, got 1";
    retry(IN_FORCE, || expect_denied(&deployments, 1, words)).await?;
    expect_allowed(&deployments, 2).await?;
    deployments.create(&deployment("replicated", 2)).await?;
    let patch = json!({"spec": {"replicas": 1}});
    let answer = deployments.patch("replicated", Form::MergePatch, &patch, &[]).await?;
    answer.refused(422, "Invalid").map_err(|failure| failure.during("an update to one replica"))?;
    let namespace =
        deployments.get("replicated").await?["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    let sets = context.objects(resource::replica_sets(), &namespace);
    let created = sets.create(&deployment("non-replicated", 1)).await;
    created.map(drop).map_err(|failure| failure.during("a ReplicaSet, which the policy is not about"))
}

async fn variables(context: &Context) -> Outcome {
    let more = json!({
        "variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
        ],
        "validations": [
            {"expression": "variables.replicas > 1", "message": "wants more than one"},
            {"expression": "variables.oddReplicas", "message": "wants an odd number"},
        ],
    });
    let deployments = install(context, "Validating", &more).await?;
    retry(IN_FORCE, || expect_denied(&deployments, 1, "wants more than one")).await?;
    expect_denied(&deployments, 4, "wants an odd number").await?;
    expect_allowed(&deployments, 3).await
}

fn replicas_mutation() -> Value {
    let apply = "Object{spec: Object.spec{replicas: object.spec.replicas + 1}}";
    let patch = "[JSONPatch{op: \"add\", path: \"/metadata/labels/mutated\", value: \"yes\"}]";
    json!([
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": apply}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression": patch}},
    ])
}

fn annotation_mutation() -> Value {
    let expression = "Object{metadata: Object.metadata{annotations: {\"mutated-by\": \"admission-policy\"}}}";
    json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}])
}

async fn mutate(context: &Context, mutations: Value, wanted: Value) -> Outcome {
    let more = json!({"mutations": mutations, "reinvocationPolicy": "Never"});
    let deployments = install(context, "Mutating", &more).await?;
    let mutated = retry(IN_FORCE, || async {
        let created = deployments.post(&deployment("try", 2), &DRY).await?.expect(201)?;
        expect_within(&created, &wanted, "the deployment as the policy makes it")
    });
    mutated.await?;
    deployments.create(&deployment("mutated", 2)).await?;
    let got = deployments.get("mutated").await?;
    expect_within(&got, &wanted, "the deployment when it is read")?;
    same!(got["spec"]["template"]["spec"]["containers"][0]["name"], "nginx", "what the policy is not about");
    Ok(())
}

async fn policy_operations(context: &Context, kind: &str) -> Outcome {
    // Nothing has the label, so the policies are never asked.
    let mut object = spec("nothing-at-all");
    if kind == "Validating" {
        object["validations"] = json!([{"expression": "object.spec.replicas <= 100"}]);
    } else {
        object["mutations"] = annotation_mutation();
        object["reinvocationPolicy"] = "Never".into();
    }
    let mut subject = Subject::new(policies(kind), json!({"spec": object}));
    subject.patch = json!({"spec": {"failurePolicy": "Ignore"}});
    subject.update = json!({"spec": {"failurePolicy": "Fail"}});
    if kind == "Validating" {
        subject.subresources = &["status"];
    }
    discovery(&context.api, &subject.resource, subject.subresources).await?;
    let three = Three::create(context, &subject).await?;
    three.change(&subject).await?;
    if kind == "Validating" {
        let condition = |kind: &str| {
            let time = "2026-01-01T00:00:00Z";
            json!({"conditions": [
                {"type": kind, "status": "True", "reason": "E2E", "message": "Set by a test", "lastTransitionTime": time},
            ]})
        };
        three.status(&condition("PatchStatusFailed"), &condition("UpdateStatusFailed")).await?;
    }
    three.remove().await
}

async fn binding_operations(context: &Context, kind: &str) -> Outcome {
    let mut object = json!({"spec": {"policyName": "does-not-exist"}});
    if kind == "Validating" {
        object["spec"]["validationActions"] = json!(["Deny"]);
    }
    let mut subject = Subject::new(bindings(kind), object);
    subject.patch = json!({"spec": {"policyName": "still-does-not-exist"}});
    subject.update = json!({"spec": {"policyName": "does-not-exist-either"}});
    super::operations::all(context, subject).await
}
