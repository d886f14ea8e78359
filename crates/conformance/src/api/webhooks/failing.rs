//! Webhooks that do not answer: time-outs and failure policies.

use super::{Kind, Stage, config_maps, rule};
use crate::{
    ensure,
    harness::{Context, Outcome, resource, retry},
    registry::{Test, test},
    run,
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should honor timeout [Conformance]",
        run!(timeouts),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should unconditionally reject operations on fail closed webhook [Conformance]",
        run!(fail_closed),
    ),
];

/// Seconds of the hook's time-out (none: its default), its failure policy, and whether the request passes.
const CASES: [(Option<u32>, &str, bool); 4] =
    [(Some(1), "Fail", false), (Some(1), "Ignore", true), (Some(10), "Fail", true), (None, "Fail", true)];

async fn timeouts(context: &Context) -> Outcome {
    let stage = Stage::new(context).await?;
    for (seconds, policy, passes) in CASES {
        let mut hook = stage.hook("/slow", &config_maps(&["CREATE"]));
        // The marker is not to wait for it.
        hook["matchConditions"] = json!([{"name": "no-marker", "expression": "object.metadata.name != 'marker'"}]);
        hook["failurePolicy"] = policy.into();
        if let Value::Object(fields) = &mut hook {
            match seconds {
                Some(seconds) => fields.insert("timeoutSeconds".to_owned(), seconds.into()),
                None => fields.remove("timeoutSeconds"),
            };
        }
        let name = stage.register(Kind::Validating, vec![hook]).await?;
        let what = format!("time-out {seconds:?}, policy {policy}");
        let answer = stage.try_map(&json!({})).await?;
        if passes {
            answer.success().map_err(|failure| failure.during(&what))?;
        } else {
            let message = answer.refusal().map_err(|failure| failure.during(&what))?;
            let says = message.contains("webhook") && (message.contains("deadline") || message.contains("timeout"));
            ensure!(says, "{what}: the refusal is not a webhook's timeout: {message}");
        }
        stage.configurations(Kind::Validating).delete(&name).await?;
        let quick = retry(Duration::from_secs(30), || async {
            let started = std::time::Instant::now();
            stage.try_map(&json!({})).await?.success()?;
            ensure!(started.elapsed() < super::handlers::SLOW, "the hook is still asked");
            Ok(())
        });
        quick.await.map_err(|failure| failure.during("after the configuration was deleted"))?;
    }
    Ok(())
}

async fn fail_closed(context: &Context) -> Outcome {
    let stage = Stage::new(context).await?;
    let mut hook = stage.hook("/deny", &rule(&["CREATE"], "", &["v1"], &["configmaps"]));
    // Without the authority's certificate the server's can't be verified: the hook is never reached.
    hook["clientConfig"] = json!({"url": stage.server.url("/deny")});
    let name = context.name("e2e-fail-closed");
    context.remove_later(&Kind::Validating.resource(), &name);
    let object = json!({"metadata": {"name": name}, "webhooks": [hook]});
    stage.configurations(Kind::Validating).create(&object).await?;
    retry(Duration::from_secs(30), || async {
        let status = stage.try_map(&json!({})).await?.refused(500, "InternalError")?;
        let message = status["message"].as_str().unwrap_or_default();
        ensure!(message.contains("webhook"), "the refusal does not name the webhook: {message}");
        Ok(())
    })
    .await?;
    let other = context.namespace().await?;
    context.objects(resource::config_maps(), &other).create(&json!({"metadata": {"name": "fine"}})).await.map(drop)
}
