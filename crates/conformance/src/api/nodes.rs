//! Nodes, leases, runtime classes and pod templates.

use super::operations::{Subject, all};
use crate::{
    ensure,
    harness::{Context, Form, Objects, Outcome, expect_newer, expect_within, names, resource},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const TESTS: &[Test] = &[
    test("[sig-node] Node Lifecycle should run through the lifecycle of a node [Conformance]", run!(node_lifecycle)),
    test("[sig-node] Lease lease API should be available [Conformance]", run!(lease)),
    test("[sig-node] RuntimeClass should support RuntimeClasses API operations [Conformance]", run!(runtime_classes)),
    test(
        "[sig-node] RuntimeClass should reject a Pod requesting a non-existent RuntimeClass [NodeConformance] [Conformance]",
        run!(no_runtime_class),
    ),
    test(
        "[sig-node] RuntimeClass should reject a Pod requesting a deleted RuntimeClass [NodeConformance] [Conformance]",
        run!(deleted_runtime_class),
    ),
    test("[sig-node] PodTemplates should run the lifecycle of PodTemplates [Conformance]", run!(template_lifecycle)),
    test(
        "[sig-node] PodTemplates should delete a collection of pod templates [Conformance]",
        run!(template_collection),
    ),
    test("[sig-node] PodTemplates should replace a pod template [Conformance]", run!(template_replace)),
];

async fn node_lifecycle(context: &Context) -> Outcome {
    let nodes = context.cluster(resource::nodes());
    let name = context.name("e2e-fake-node");
    let selector = format!("e2e={name}");
    context.remove_later(&resource::nodes(), &name);
    let object = json!({
        "metadata": {"name": name, "labels": {"e2e": name}},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "message": "set by a test"}],
        },
    });
    let created = nodes.create(&object).await?;
    same!(created["metadata"]["name"], name.as_str(), "the name of the node");
    let got = nodes.get(&name).await?;
    same!(got["metadata"]["name"], name.as_str(), "the name of the node when it is read");
    let patched = nodes.strategic(&name, &json!({"metadata": {"labels": {"patched": "true"}}})).await?;
    same!(patched["metadata"]["labels"]["patched"], "true", "the label of the patched node");
    same!(names(&nodes.labelled(&format!("{selector},patched=true")).await?), [name.as_str()], "nodes with the label");
    let updated = nodes.update(&name, |node| node["metadata"]["labels"]["updated"] = "true".into()).await?;
    same!(updated["metadata"]["labels"]["updated"], "true", "the label of the updated node");
    let mut watch = nodes.watch(&[("labelSelector", &selector)]).await?;
    watch.expect("ADDED", &name).await?;
    nodes.delete(&name).await?;
    watch.find("the end of the node", Duration::from_secs(60), |event| event.kind == "DELETED").await?;
    nodes.gone(&name, Duration::from_secs(30)).await
}

async fn lease(context: &Context) -> Outcome {
    let leases = context.objects(resource::leases(), &context.namespace().await?);
    let spec = |holder: &str, seconds: u32, transitions: u32| {
        json!({
            "holderIdentity": holder,
            "leaseDurationSeconds": seconds,
            "acquireTime": "2026-01-02T03:04:05.123456Z",
            "renewTime": "2026-01-02T03:04:15.654321Z",
            "leaseTransitions": transitions,
        })
    };
    let first = spec("lease-holder", 30, 0);
    let created = leases.create(&json!({"metadata": {"name": "lease"}, "spec": first})).await?;
    same!(leases.get("lease").await?["spec"], first, "the spec of the lease");
    let second = spec("lease-holder-2", 45, 1);
    let updated = leases.update("lease", |lease| lease["spec"] = second.clone()).await?;
    expect_newer(&updated, &created, "the updated lease")?;
    same!(leases.get("lease").await?["spec"], second, "the spec after the update");
    let third = spec("lease-holder-3", 60, 2);
    leases.strategic("lease", &json!({"spec": third})).await?;
    same!(leases.get("lease").await?["spec"], third, "the spec after the patch");
    let other = json!({
        "metadata": {"name": "lease-2", "labels": {"deletecollection": "true"}},
        "spec": spec("lease-holder", 30, 0),
    });
    leases.create(&other).await?;
    same!(leases.items(&[]).await?.len(), 2, "leases in the namespace");
    leases.delete_labelled("deletecollection=true").await?;
    same!(names(&leases.items(&[]).await?), ["lease"], "leases after the collection was deleted");
    leases.delete("lease").await?;
    leases.read("lease").await?.refused(404, "NotFound").map(drop)
}

async fn runtime_classes(context: &Context) -> Outcome {
    all(context, Subject::new(resource::runtime_classes(), json!({"handler": "test-handler"}))).await
}

fn pod_with_class(class: &str) -> Value {
    json!({
        "metadata": {"name": "test-runtimeclass"},
        "spec": {
            "runtimeClassName": class,
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "containers": [{"name": "test", "image": "registry.local/busybox:1"}],
        },
    })
}

async fn refuse_pod(context: &Context, class: &str) -> Outcome {
    let pods = context.objects(resource::pods(), &context.namespace().await?);
    let status = pods.post(&pod_with_class(class), &[]).await?.refused(403, "Forbidden")?;
    let message = status["message"].as_str().unwrap_or_default();
    ensure!(message.contains(class) && message.contains("not found"), "the refusal does not say why: {message}");
    pods.read("test-runtimeclass").await?.refused(404, "NotFound").map(drop)
}

async fn no_runtime_class(context: &Context) -> Outcome {
    refuse_pod(context, &context.name("nonexistent")).await
}

async fn deleted_runtime_class(context: &Context) -> Outcome {
    let classes = context.cluster(resource::runtime_classes());
    let name = context.name("delete-me");
    context.remove_later(&resource::runtime_classes(), &name);
    classes.create(&json!({"metadata": {"name": name}, "handler": "runc"})).await?;
    classes.delete(&name).await?;
    classes.gone(&name, Duration::from_secs(10)).await?;
    // The class may still be in the caches of the server for a moment: what has to hold is that it goes.
    crate::harness::retry(Duration::from_secs(10), || refuse_pod(context, &name)).await
}

fn template(name: &str, labels: &Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": labels},
        "template": {"spec": {"containers": [{"name": "nginx", "image": "registry.local/nginx:1"}]}},
    })
}

async fn template_lifecycle(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let templates = context.objects(resource::pod_templates(), &namespace);
    let set = context.name("set");
    let selector = format!("podtemplate-static={set}");
    let everywhere = context.cluster(resource::pod_templates());
    same!(everywhere.labelled(&selector).await?.len(), 0, "templates with the label at first");
    templates.create(&template("nginx-pod-template", &json!({"podtemplate-static": set}))).await?;
    let got = templates.get("nginx-pod-template").await?;
    same!(got["template"]["spec"]["restartPolicy"], "Always", "the defaulted restartPolicy of the template");
    let patch = json!({"metadata": {"labels": {"podtemplate": "patched"}}});
    templates.strategic("nginx-pod-template", &patch).await?;
    let got = templates.get("nginx-pod-template").await?;
    same!(got["metadata"]["labels"]["podtemplate"], "patched", "the label after the patch");
    let found = everywhere.labelled(&format!("{selector},podtemplate=patched")).await?;
    same!(names(&found), ["nginx-pod-template"], "templates with both labels");
    templates.delete("nginx-pod-template").await?;
    same!(everywhere.labelled(&selector).await?.len(), 0, "templates with the label after the deletion");
    Ok(())
}

async fn template_collection(context: &Context) -> Outcome {
    let templates = context.objects(resource::pod_templates(), &context.namespace().await?);
    for name in ["test-podtemplate-1", "test-podtemplate-2", "test-podtemplate-3"] {
        templates.create(&template(name, &json!({"podtemplate-set": "true"}))).await?;
    }
    templates.create(&template("another", &json!({}))).await?;
    same!(templates.labelled("podtemplate-set=true").await?.len(), 3, "templates with the label");
    templates.delete_labelled("podtemplate-set=true").await?;
    same!(templates.labelled("podtemplate-set=true").await?.len(), 0, "templates with the label after the deletion");
    same!(names(&templates.items(&[]).await?), ["another"], "templates that were not to be deleted");
    Ok(())
}

async fn template_replace(context: &Context) -> Outcome {
    let templates: Objects = context.objects(resource::pod_templates(), &context.namespace().await?);
    let created = templates.create(&template("replaced", &json!({"podtemplate-static": "true"}))).await?;
    let updated =
        templates.update("replaced", |template| template["metadata"]["annotations"] = json!({"updated": "true"}));
    let updated = updated.await?;
    same!(updated["metadata"]["annotations"]["updated"], "true", "the annotation of the replaced template");
    expect_newer(&updated, &created, "the replaced template")?;
    expect_within(
        &templates.get("replaced").await?,
        &json!({"metadata": {"annotations": {"updated": "true"}}}),
        "reading",
    )?;
    // The same as a patch of the annotation leaves no difference.
    let same = json!({"metadata": {"annotations": {"updated": "true"}}});
    let again = templates.patch("replaced", Form::MergePatch, &same, &[]).await?.expect(200)?;
    same!(again["metadata"]["resourceVersion"], updated["metadata"]["resourceVersion"], "the version after no change");
    Ok(())
}
