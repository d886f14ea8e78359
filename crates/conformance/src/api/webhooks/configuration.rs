//! Webhook configurations as objects: lists, updates, match conditions, and that they are out of reach of webhooks.

use super::{Kind, Stage, config_maps, handlers::DENIES_ALL, rule};
use crate::{
    ensure,
    harness::{Answer, Context, Outcome, expect_within, retry},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] listing mutating webhooks should work [Conformance]",
        run!(list, Kind::Mutating),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] listing validating webhooks should work [Conformance]",
        run!(list, Kind::Validating),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] patching/updating a mutating webhook should work [Conformance]",
        run!(change, Kind::Mutating),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] patching/updating a validating webhook should work [Conformance]",
        run!(change, Kind::Validating),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to create and update mutating webhook configurations with match conditions [Conformance]",
        run!(match_conditions, Kind::Mutating),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to create and update validating webhook configurations with match conditions [Conformance]",
        run!(match_conditions, Kind::Validating),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should reject mutating webhook configurations with invalid match conditions [Conformance]",
        run!(invalid_conditions, Kind::Mutating),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should reject validating webhook configurations with invalid match conditions [Conformance]",
        run!(invalid_conditions, Kind::Validating),
    ),
    // A server that asks hooks about configurations would spoil every other test of hooks.
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should not be able to mutate or prevent deletion of webhook configuration objects [Conformance]",
        run!(out_of_reach),
    )
    .serial(),
];

/// The path of the hook that these tests register, and the label or refusal by which it is known.
fn path(kind: Kind) -> &'static str {
    match kind {
        Kind::Mutating => "/mutate",
        Kind::Validating => "/deny",
    }
}

/// Whether the hook was asked about this request.
fn was_asked(kind: Kind, answer: &Answer) -> bool {
    match kind {
        Kind::Mutating => answer.body["data"]["mutated"] == "yes",
        Kind::Validating => answer.status == 403 || answer.message().contains(DENIES_ALL),
    }
}

/// Tries until the hook is (or is not) asked; a configuration takes a moment to be in force.
async fn expect_asked(stage: &Stage, kind: Kind, wanted: bool) -> Outcome {
    retry(Duration::from_secs(30), || async {
        let answer = stage.try_map(&json!({"a": "b"})).await?;
        ensure!(
            was_asked(kind, &answer) == wanted && (answer.is_success() || (wanted && kind == Kind::Validating)),
            "the hook should {}be asked; answered {} {}",
            if wanted { "" } else { "not " },
            answer.status,
            answer.message()
        );
        if !answer.is_success() {
            answer.message().contains(DENIES_ALL).then_some(()).ok_or_else(|| answer.unexpected(DENIES_ALL))?;
        }
        Ok(())
    })
    .await
}

async fn list(context: &Context, kind: Kind) -> Outcome {
    let stage = Stage::new(context).await?;
    let configurations = stage.configurations(kind);
    let set = context.name("set");
    let selector = format!("e2e-list-test={set}");
    context.remove_path_later(configurations.collection(&[("labelSelector", &selector)]));
    for index in 0..10 {
        let name = context.name(&format!("e2e-list-{index}"));
        let hook = stage.hook(path(kind), &config_maps(&["CREATE"]));
        let object = json!({"metadata": {"name": name, "labels": {"e2e-list-test": set}}, "webhooks": [hook]});
        configurations.create(&object).await?;
    }
    same!(configurations.labelled(&selector).await?.len(), 10, "configurations with the label");
    expect_asked(&stage, kind, true).await?;
    configurations.delete_labelled(&selector).await?;
    same!(configurations.labelled(&selector).await?.len(), 0, "configurations after the collection was deleted");
    expect_asked(&stage, kind, false).await
}

async fn change(context: &Context, kind: Kind) -> Outcome {
    let stage = Stage::new(context).await?;
    let name = stage.register(kind, vec![stage.hook(path(kind), &config_maps(&["CREATE"]))]).await?;
    expect_asked(&stage, kind, true).await?;
    stage.set_operations(kind, &name, &["UPDATE"], false).await?;
    expect_asked(&stage, kind, false).await?;
    stage.set_operations(kind, &name, &["CREATE"], true).await?;
    expect_asked(&stage, kind, true).await
}

async fn match_conditions(context: &Context, kind: Kind) -> Outcome {
    let stage = Stage::new(context).await?;
    let configurations = stage.configurations(kind);
    let name = context.name("e2e-conditions");
    context.remove_later(&kind.resource(), &name);
    let mut hook = stage.hook(path(kind), &config_maps(&["CREATE"]));
    let first = json!([{"name": "expression-1", "expression": "object.metadata.namespace == 'production'"}]);
    hook["matchConditions"] = first.clone();
    configurations.create(&json!({"metadata": {"name": name}, "webhooks": [hook]})).await?;
    let got = configurations.get(&name).await?;
    same!(got["webhooks"][0]["matchConditions"], first, "the conditions when they are read");
    let second = json!([
        {"name": "expression-1", "expression": "object.metadata.namespace == 'production'"},
        {"name": "expression-2", "expression": "object.metadata.namespace == 'staging'"},
    ]);
    let updated = configurations.update(&name, |object| object["webhooks"][0]["matchConditions"] = second.clone());
    same!(updated.await?["webhooks"][0]["matchConditions"], second, "the conditions in the answer of the update");
    let got = configurations.get(&name).await?;
    same!(got["webhooks"][0]["matchConditions"], second, "the conditions after the update");
    Ok(())
}

async fn invalid_conditions(context: &Context, kind: Kind) -> Outcome {
    let stage = Stage::new(context).await?;
    let name = context.name("e2e-invalid");
    context.remove_later(&kind.resource(), &name);
    let mut hook = stage.hook(path(kind), &config_maps(&["CREATE"]));
    hook["matchConditions"] = json!([{"name": "invalid-expression-1", "expression": "... [] bad expression"}]);
    let object = json!({"metadata": {"name": name}, "webhooks": [hook]});
    let status = stage.configurations(kind).post(&object, &[]).await?.refused(422, "Invalid")?;
    let message = status["message"].as_str().unwrap_or_default();
    ensure!(message.contains("compilation failed"), "the refusal does not say `compilation failed`: {message}");
    Ok(())
}

/// Neither may hooks change webhook configurations nor keep them from being deleted.
async fn out_of_reach(context: &Context) -> Outcome {
    let stage = Stage::new(context).await?;
    let both = ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"];
    let group = "admissionregistration.k8s.io";
    let mut denying = stage.hook("/deny", &rule(&["DELETE"], group, &["*"], &both));
    let mut changing = stage.hook("/add-label", &rule(&["CREATE"], group, &["*"], &both));
    for hook in [&mut denying, &mut changing] {
        hook["namespaceSelector"] = json!({});
    }
    stage.register(Kind::Validating, vec![denying]).await?;
    stage.register(Kind::Mutating, vec![changing]).await?;
    for kind in [Kind::Validating, Kind::Mutating] {
        let configurations = stage.configurations(kind);
        let name = context.name("e2e-untouched");
        context.remove_later(&kind.resource(), &name);
        // It matches nothing, so that it is never asked.
        let hook = stage.hook("/deny", &rule(&["CREATE"], "", &["v1"], &["invalid"]));
        let object = json!({"metadata": {"name": name, "labels": {"own": "true"}}, "webhooks": [hook]});
        let created = configurations.create(&object).await?;
        same!(
            created["metadata"]["labels"],
            json!({"own": "true"}),
            "the labels of a configuration, which no hook may change"
        );
        expect_within(&created["webhooks"][0], &json!({"name": hook_name(&object)}), "the hook")?;
        configurations
            .delete(&name)
            .await
            .map_err(|failure| failure.during("no hook may keep it from being deleted"))?;
        configurations.gone(&name, Duration::from_secs(10)).await?;
    }
    Ok(())
}

fn hook_name(configuration: &Value) -> Value {
    configuration["webhooks"][0]["name"].clone()
}
