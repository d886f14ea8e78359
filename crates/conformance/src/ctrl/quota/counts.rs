//! Quotas on how many objects there are.

use super::{has_amounts, quota, same_amounts, used};
use crate::{
    ctrl::workload::{label, replication_controller, set},
    ensure,
    harness::{Context, Form, Outcome, Resource, resource, until},
    registry::{Test, test},
    run,
};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] ResourceQuota should create a ResourceQuota and ensure its status is promptly calculated. [Conformance]",
        run!(calculated),
    ),
    test(
        "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a service. [Conformance]",
        run!(services),
    ),
    test(
        "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a secret. [Conformance]",
        run!(life, "secrets", resource::secrets(), json!({ "metadata": { "name": "x" }, "data": { "a": "YQ==" } })),
    ),
    test(
        "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a configMap. [Conformance]",
        run!(life, "configmaps", resource::config_maps(), json!({ "metadata": { "name": "x" }, "data": { "a": "b" } })),
    ),
    test(
        "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a replication controller. [Conformance]",
        run!(
            life,
            "replicationcontrollers",
            resource::replication_controllers(),
            replication_controller("x", 0, &label("x").0)
        ),
    ),
    test(
        "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a replica set. [Conformance]",
        run!(life, "count/replicasets.apps", resource::replica_sets(), set("x", Some(0), &label("x").0)),
    ),
    test(
        "[sig-api-machinery] ResourceQuota should apply changes to a resourcequota status [Conformance]",
        run!(status),
    )
    .within(360),
];

/// A quota puts its status right when it is looked at again, which may be minutes later.
const RECALCULATED: Duration = Duration::from_secs(300);

async fn calculated(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let hard = json!({
        "pods": "5", "services": "10", "services.nodeports": "1", "services.loadbalancers": "1",
        "replicationcontrollers": "10", "resourcequotas": "1", "cpu": "1", "memory": "500Mi", "configmaps": "10",
        "secrets": "10", "persistentvolumeclaims": "10", "requests.storage": "10Gi", "ephemeral-storage": "50Gi",
        "requests.ephemeral-storage": "50Gi", "count/replicasets.apps": "5",
    });
    let quotas = quota(context, &namespace, "q", &json!({ "hard": hard })).await?;
    let nothing = json!({
        "pods": "0", "services": "0", "services.nodeports": "0", "services.loadbalancers": "0",
        "replicationcontrollers": "0", "resourcequotas": "1", "cpu": "0", "memory": "0", "persistentvolumeclaims": "0",
        "requests.storage": "0", "count/replicasets.apps": "0",
    });
    used(&quotas, "q", &nothing).await
}

/// How many objects of `kind` a namespace has once it has been given what every namespace is given.
async fn present(context: &Context, namespace: &str, kind: &Resource) -> Outcome<usize> {
    let objects = context.objects(kind.clone(), namespace);
    let maps = context.objects(resource::config_maps(), namespace);
    // A cluster that does not give this away has nothing to wait for.
    let given = || async { Ok(maps.read("kube-root-ca.crt").await?.is_success().then_some(())) };
    let _ = until(Duration::from_secs(10), given).await;
    Ok(objects.items(&[]).await?.len())
}

async fn life(context: &Context, counted: &str, kind: Resource, object: Value) -> Outcome {
    let namespace = context.namespace().await?;
    let before = present(context, &namespace, &kind).await?;
    let amount = |count: usize| json!({ (counted): count.to_string() });
    let hard = json!({ (counted): (before + 5).to_string(), "resourcequotas": "1" });
    let quotas = quota(context, &namespace, "q", &json!({ "hard": hard })).await?;
    used(&quotas, "q", &amount(before)).await?;
    used(&quotas, "q", &json!({ "resourcequotas": "1" })).await?;
    let objects = context.objects(kind, &namespace);
    objects.create(&object).await?;
    used(&quotas, "q", &amount(before + 1)).await?;
    objects.delete("x").await?;
    used(&quotas, "q", &amount(before)).await
}

async fn services(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let hard = json!({ "services": "10", "services.nodeports": "1", "services.loadbalancers": "1" });
    let quotas = quota(context, &namespace, "q", &json!({ "hard": hard })).await?;
    used(&quotas, "q", &json!({ "services": "0", "services.nodeports": "0", "services.loadbalancers": "0" })).await?;
    let services = context.objects(resource::services(), &namespace);
    let service = |name: &str, kind: &str| {
        json!({ "metadata": { "name": name }, "spec": { "type": kind, "selector": { "app": name },
            "ports": [{ "port": 80 }] } })
    };
    services.create(&service("inside", "ClusterIP")).await?;
    services.create(&service("outside", "NodePort")).await?;
    let refused = services.post(&service("too-much", "LoadBalancer"), &[]).await?;
    let message = refused.refused(403, "Forbidden")?["message"].to_string();
    ensure!(message.contains("exceeded quota"), "the load balancer that needs a second node port: {message}");
    used(&quotas, "q", &json!({ "services": "2", "services.nodeports": "1", "services.loadbalancers": "0" })).await?;
    services.delete("inside").await?;
    services.delete("outside").await?;
    used(&quotas, "q", &json!({ "services": "0", "services.nodeports": "0", "services.loadbalancers": "0" })).await
}

async fn status(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let hard = json!({ "cpu": "500m", "memory": "500Mi" });
    let quotas = quota(context, &namespace, "q", &json!({ "hard": hard })).await?;
    let statuses = quotas.sub("status");
    let as_in_spec = || async {
        let like_spec = |quota: &Value| same_amounts(&quota["status"]["hard"], &quota["spec"]["hard"]);
        quotas.wait("q", "the status is put right", RECALCULATED, like_spec).await
    };
    let wrong = json!({ "cpu": "1", "memory": "1Gi" });
    let changed = statuses.update("q", |quota| quota["status"]["hard"] = wrong.clone()).await?;
    ensure!(has_amounts(&changed["status"]["hard"], &wrong), "the updated status is {}", changed["status"]);
    ensure!(same_amounts(&changed["spec"]["hard"], &hard), "an update of the status changed the spec");
    as_in_spec().await?;
    let more = json!({ "cpu": "1", "memory": "1Gi" });
    let changed = quotas.merge("q", &json!({ "spec": { "hard": more } })).await?;
    ensure!(same_amounts(&changed["spec"]["hard"], &more), "the patched spec is {}", changed["spec"]);
    as_in_spec().await?;
    for wrong in [json!({ "cpu": "2", "memory": "2Gi" }), json!({ "cpu": "3", "memory": "3Gi" })] {
        let patch = json!({ "status": { "hard": wrong } });
        let changed = statuses.patch("q", Form::MergePatch, &patch, &[]).await?.expect(200)?;
        ensure!(has_amounts(&changed["status"]["hard"], &wrong), "the patched status is {}", changed["status"]);
        ensure!(same_amounts(&changed["spec"]["hard"], &more), "a patch of the status changed the spec");
        as_in_spec().await?;
        let read = statuses.get("q").await?;
        ensure!(same_amounts(&read["status"]["hard"], &more), "the status read is {}", read["status"]);
    }
    Ok(())
}
