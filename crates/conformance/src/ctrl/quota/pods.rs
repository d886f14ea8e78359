//! Quotas on what pods ask for.

use super::{quota, used};
use crate::{
    ctrl::workload::{IMAGE, stays},
    ensure,
    harness::{Context, Objects, Outcome, resource},
    registry::{Test, test},
    run,
};
use serde_json::{Value, json};

pub(crate) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a pod. [Conformance]",
        run!(life),
    ),
    test(
        "[sig-api-machinery] ResourceQuota should verify ResourceQuota with best effort scope. [Conformance]",
        run!(effort),
    ),
    test(
        "[sig-api-machinery] ResourceQuota should verify ResourceQuota with terminating scopes. [Conformance]",
        run!(terminating),
    ),
];

/// An extended resource that no node has: its pods are counted and never run.
const EXTENDED: &str = "example.com/dongle";

fn pod(name: &str, resources: &Value) -> Value {
    let container = json!({ "name": "c", "image": IMAGE, "command": ["sleep", "3600"], "resources": resources });
    json!({ "metadata": { "name": name }, "spec": { "terminationGracePeriodSeconds": 0, "containers": [container] } })
}

async fn delete_now(pods: &Objects, name: &str) -> Outcome {
    pods.delete_with(name, &json!({ "gracePeriodSeconds": 0 })).await?.success().map(drop)
}

async fn life(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let extended = format!("requests.{EXTENDED}");
    let hard = json!({ "pods": "5", "cpu": "1", "memory": "500Mi", "requests.ephemeral-storage": "50Gi",
        (extended.as_str()): "3" });
    let quotas = quota(context, &namespace, "q", &json!({ "hard": hard })).await?;
    let amounts = |pods: &str, cpu: &str, memory: &str, storage: &str, dongles: &str| {
        json!({ "pods": pods, "cpu": cpu, "memory": memory, "requests.ephemeral-storage": storage,
            (extended.as_str()): dongles })
    };
    let none = amounts("0", "0", "0", "0", "0");
    used(&quotas, "q", &none).await?;
    let pods = context.objects(resource::pods(), &namespace);
    let resources = json!({
        "requests": { "cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", (EXTENDED): "2" },
        "limits": { (EXTENDED): "2" },
    });
    pods.create(&pod("first", &resources)).await?;
    let some = amounts("1", "500m", "252Mi", "30Gi", "2");
    used(&quotas, "q", &some).await?;
    let too_much = [
        json!({ "requests": { "cpu": "600m", "memory": "100Mi", "ephemeral-storage": "1Gi" } }),
        json!({ "requests": { "cpu": "100m", "memory": "100Mi", "ephemeral-storage": "1Gi", (EXTENDED): "2" },
            "limits": { (EXTENDED): "2" } }),
    ];
    for resources in too_much {
        let refused = pods.post(&pod("second", &resources), &[]).await?.refused(403, "Forbidden")?;
        ensure!(refused["message"].to_string().contains("exceeded quota"), "{}", refused["message"]);
    }
    let mut first = pods.get("first").await?;
    first["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("100m");
    first["spec"]["containers"][0]["resources"]["requests"]["memory"] = json!("100Mi");
    pods.put(&first).await?.refusal()?;
    used(&quotas, "q", &some).await?;
    delete_now(&pods, "first").await?;
    used(&quotas, "q", &none).await
}

/// A pod that one quota counts and the other does not: it comes, is counted with `amounts`, and goes.
struct Scopes<'a> {
    quotas: &'a Objects,
    pods: &'a Objects,
    none: &'a Value,
}

impl Scopes<'_> {
    async fn counted(&self, pod: &Value, by: &str, not_by: &str, amounts: &Value) -> Outcome {
        self.pods.create(pod).await?;
        used(self.quotas, by, amounts).await?;
        used(self.quotas, not_by, self.none).await?;
        stays("what the other quota counts", || async {
            let quota = self.quotas.get(not_by).await?;
            Ok(super::has_amounts(&quota["status"]["used"], self.none))
        })
        .await?;
        delete_now(self.pods, pod["metadata"]["name"].as_str().unwrap_or_default()).await?;
        used(self.quotas, by, self.none).await
    }
}

fn some_resources() -> Value {
    json!({ "requests": { "cpu": "500m", "memory": "200Mi" }, "limits": { "cpu": "1", "memory": "400Mi" } })
}

async fn effort(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let spec = |scope: &str| json!({ "hard": { "pods": "5" }, "scopes": [scope] });
    quota(context, &namespace, "best", &spec("BestEffort")).await?;
    let quotas = quota(context, &namespace, "not-best", &spec("NotBestEffort")).await?;
    let (none, one) = (json!({ "pods": "0" }), json!({ "pods": "1" }));
    used(&quotas, "best", &none).await?;
    used(&quotas, "not-best", &none).await?;
    let scopes = Scopes { quotas: &quotas, pods: &context.objects(resource::pods(), &namespace), none: &none };
    scopes.counted(&pod("plain", &json!({})), "best", "not-best", &one).await?;
    scopes.counted(&pod("burstable", &some_resources()), "not-best", "best", &one).await
}

async fn terminating(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let hard = json!({ "pods": "5", "requests.cpu": "1", "requests.memory": "500Mi", "limits.cpu": "2",
        "limits.memory": "1Gi" });
    let spec = |scope: &str| json!({ "hard": hard, "scopes": [scope] });
    quota(context, &namespace, "ends", &spec("Terminating")).await?;
    let quotas = quota(context, &namespace, "runs", &spec("NotTerminating")).await?;
    let none = json!({ "pods": "0", "requests.cpu": "0", "requests.memory": "0", "limits.cpu": "0",
        "limits.memory": "0" });
    let one = json!({ "pods": "1", "requests.cpu": "500m", "requests.memory": "200Mi", "limits.cpu": "1",
        "limits.memory": "400Mi" });
    used(&quotas, "ends", &none).await?;
    used(&quotas, "runs", &none).await?;
    let scopes = Scopes { quotas: &quotas, pods: &context.objects(resource::pods(), &namespace), none: &none };
    scopes.counted(&pod("long", &some_resources()), "runs", "ends", &one).await?;
    let mut ends = pod("short", &some_resources());
    ends["spec"]["activeDeadlineSeconds"] = json!(3600);
    scopes.counted(&ends, "ends", "runs", &one).await
}
