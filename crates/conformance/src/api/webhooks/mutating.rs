//! Webhooks that change config maps and pods.

use super::{Kind, Stage, config_maps, handlers::INIT, rule};
use crate::{
    ensure,
    harness::{Context, Outcome, resource},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate configmap [Conformance]",
        run!(two_stages),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate everything except 'skip-me' configmaps [Conformance]",
        run!(skip_me),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate pod and apply defaults after mutation [Conformance]",
        run!(pod_defaults),
    ),
];

async fn two_stages(context: &Context) -> Outcome {
    let stage = Stage::new(context).await?;
    let rule = config_maps(&["CREATE"]);
    stage.register(Kind::Mutating, vec![stage.hook("/stage-1", &rule), stage.hook("/stage-2", &rule)]).await?;
    let object = json!({"metadata": {"name": "to-be-mutated"}, "data": {"mutation-start": "yes"}});
    let wanted = json!({"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"});
    same!(stage.maps().create(&object).await?["data"], wanted, "data in the answer");
    same!(stage.maps().get("to-be-mutated").await?["data"], wanted, "data when it is read");
    Ok(())
}

async fn skip_me(context: &Context) -> Outcome {
    let stage = Stage::new(context).await?;
    let mut hook = stage.hook("/mutate", &config_maps(&["CREATE"]));
    hook["matchConditions"] = json!([{"name": "skip-me", "expression": "object.metadata.name != 'skip-me'"}]);
    stage.register(Kind::Mutating, vec![hook]).await?;
    let created = stage.maps().create(&json!({"metadata": {"name": "skip-me"}, "data": {"a": "b"}})).await?;
    same!(created["data"], json!({"a": "b"}), "data of skip-me");
    let created = stage.maps().create(&json!({"metadata": {"name": "mutate-me"}, "data": {"a": "b"}})).await?;
    same!(created["data"], json!({"a": "b", "mutated": "yes"}), "data of the other");
    Ok(())
}

async fn pod_defaults(context: &Context) -> Outcome {
    let stage = Stage::new(context).await?;
    let hook = stage.hook("/add-init-container", &rule(&["CREATE"], "", &["v1"], &["pods"]));
    stage.register(Kind::Mutating, vec![hook]).await?;
    let pods = context.objects(resource::pods(), &stage.namespace);
    let pod = json!({
        "metadata": {"name": "webhook-to-be-mutated"},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "example", "image": "registry.local/pause:1"}]},
    });
    let created = pods.create(&pod).await?;
    let containers = created["spec"]["initContainers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let added: Vec<&Value> = containers.iter().filter(|container| container["name"] == INIT).collect();
    ensure!(added.len() == 1, "init containers are {containers:?}");
    same!(added[0]["terminationMessagePolicy"], "File", "the defaulted terminationMessagePolicy of the init container");
    same!(added[0]["terminationMessagePath"], "/dev/termination-log", "the defaulted terminationMessagePath");
    same!(added[0]["imagePullPolicy"], "IfNotPresent", "the defaulted imagePullPolicy");
    Ok(())
}
