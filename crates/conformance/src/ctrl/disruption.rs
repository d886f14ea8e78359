//! PodDisruptionBudgets and evictions.

use super::workload::{PATIENCE, all_up, label, name_of, pod, set};
use crate::{
    ensure,
    harness::{Answer, Context, Form, Objects, Outcome, resource, retry, until},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test("[sig-apps] DisruptionController should create a PodDisruptionBudget [Conformance]", run!(life)),
    test(
        "[sig-apps] DisruptionController Listing PodDisruptionBudgets for all namespaces should list and delete a collection of PodDisruptionBudgets [Conformance]",
        run!(collection),
    ),
    test(
        "[sig-apps] DisruptionController should observe PodDisruptionBudget status updated [Conformance]",
        run!(observed),
    ),
    test("[sig-apps] DisruptionController should update/patch PodDisruptionBudget status [Conformance]", run!(status)),
    test(
        "[sig-apps] DisruptionController should block an eviction until the PDB is updated to allow it [Conformance]",
        run!(blocked),
    ),
];

fn budget(name: &str, labels: &Value, field: &str, amount: &Value) -> Value {
    json!({ "metadata": { "name": name, "labels": labels },
        "spec": { "selector": { "matchLabels": labels }, (field): amount } })
}

async fn processed(budgets: &Objects, name: &str) -> Outcome<Value> {
    let up_to_date = |object: &Value| {
        object["status"]["observedGeneration"].as_i64().is_some()
            && object["status"]["observedGeneration"] == object["metadata"]["generation"]
    };
    budgets.wait(name, "the budget is processed", PATIENCE, up_to_date).await
}

async fn life(context: &Context) -> Outcome {
    let budgets = context.objects(resource::disruption_budgets(), &context.namespace().await?);
    let (labels, _) = label("life");
    budgets.create(&budget("pdb", &labels, "minAvailable", &json!("1%"))).await?;
    processed(&budgets, "pdb").await?;
    let updated = budgets.update("pdb", |object| object["spec"]["minAvailable"] = json!("2%")).await?;
    same!(updated["spec"]["minAvailable"], "2%", "the updated budget");
    processed(&budgets, "pdb").await?;
    let patched = budgets.merge("pdb", &json!({ "spec": { "minAvailable": "3%" } })).await?;
    same!(patched["spec"]["minAvailable"], "3%", "the patched budget");
    processed(&budgets, "pdb").await?;
    budgets.delete("pdb").await?;
    budgets.gone("pdb", PATIENCE).await
}

async fn collection(context: &Context) -> Outcome {
    let (labels, selector) = label(&context.name("budgets"));
    let first = context.objects(resource::disruption_budgets(), &context.namespace().await?);
    let second = context.objects(resource::disruption_budgets(), &context.namespace().await?);
    for (budgets, name) in [(&first, "a"), (&first, "b"), (&second, "c")] {
        budgets.create(&budget(name, &labels, "minAvailable", &json!(1))).await?;
    }
    let everywhere = context.cluster(resource::disruption_budgets());
    let mut names: Vec<String> =
        everywhere.labelled(&selector).await?.iter().map(|object| name_of(object).to_owned()).collect();
    names.sort();
    same!(names, ["a", "b", "c"], "the budgets of all namespaces");
    same!(first.labelled(&selector).await?.len(), 2, "how many budgets the first namespace has");
    first.delete_labelled(&selector).await?;
    until(PATIENCE, || async { Ok(first.labelled(&selector).await?.is_empty().then_some(())) }).await?;
    same!(second.labelled(&selector).await?.len(), 1, "how many budgets the other namespace has");
    Ok(())
}

async fn observed(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let budgets = context.objects(resource::disruption_budgets(), &namespace);
    let (labels, selector) = label("observed");
    budgets.create(&budget("pdb", &labels, "minAvailable", &json!(1))).await?;
    processed(&budgets, "pdb").await?;
    let pods = context.objects(resource::pods(), &namespace);
    for name in ["a", "b", "c"] {
        pods.create(&pod(name, &labels)).await?;
    }
    all_up(&pods, &selector, 3).await?;
    let allows = |object: &Value| {
        let status = &object["status"];
        status["disruptionsAllowed"] == 2 && status["currentHealthy"] == 3 && status["desiredHealthy"] == 1
    };
    budgets.wait("pdb", "two disruptions are allowed", PATIENCE, allows).await?;
    Ok(())
}

async fn status(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let budgets = context.objects(resource::disruption_budgets(), &namespace);
    let (labels, selector) = label("status");
    budgets.create(&budget("pdb", &labels, "minAvailable", &json!(1))).await?;
    let pods = context.objects(resource::pods(), &namespace);
    for name in ["a", "b"] {
        pods.create(&pod(name, &labels)).await?;
    }
    all_up(&pods, &selector, 2).await?;
    let allowed = |object: &Value| object["status"]["disruptionsAllowed"] == 1;
    budgets.wait("pdb", "one disruption is allowed", PATIENCE, allowed).await?;
    let statuses = budgets.sub("status");
    let old = "2020-01-01T00:00:00Z";
    let updated =
        statuses.update("pdb", |object| object["status"]["disruptedPods"] = json!({ "a": old, "b": old })).await?;
    same!(updated["status"]["disruptedPods"], json!({ "a": old, "b": old }), "the updated status");
    let patch = json!({ "status": { "disruptedPods": null } });
    let patched = statuses.patch("pdb", Form::MergePatch, &patch, &[]).await?.expect(200)?;
    ensure!(patched["status"]["disruptedPods"].is_null(), "the patched status is {}", patched["status"]);
    Ok(())
}

async fn evict(pods: &Objects, name: &str) -> Outcome<Answer> {
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
    pods.sub("eviction").post(&eviction, &[]).await
}

async fn blocked(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let budgets = context.objects(resource::disruption_budgets(), &namespace);
    let (labels, selector) = label("blocked");
    let sets = context.objects(resource::replica_sets(), &namespace);
    sets.create(&set("rs", Some(3), &labels)).await?;
    let pods = context.objects(resource::pods(), &namespace);
    let all = all_up(&pods, &selector, 3).await?;
    budgets.create(&budget("pdb", &labels, "minAvailable", &json!(3))).await?;
    let healthy = |object: &Value| object["status"]["currentHealthy"] == 3;
    budgets.wait("pdb", "all three are healthy", PATIENCE, healthy).await?;
    let name = name_of(&all[0]);
    let refused = evict(&pods, name).await?.refused(429, "TooManyRequests")?;
    let causes = refused["details"]["causes"].to_string();
    ensure!(causes.contains("DisruptionBudget"), "the causes of the refusal are {causes}");
    ensure!(pods.read(name).await?.is_success(), "the pod whose eviction was refused is gone");
    budgets.merge("pdb", &json!({ "spec": { "minAvailable": 2 } })).await?;
    retry(PATIENCE, || async { evict(&pods, name).await?.success().map(drop) }).await?;
    pods.gone(name, PATIENCE).await?;
    // One of three is gone and not replaced by a healthy one yet, or is: both ways the set is made full again.
    all_up(&pods, &selector, 3).await?;
    let patched = budgets.merge("pdb", &json!({ "spec": { "minAvailable": 3 } })).await?;
    same!(patched["spec"]["minAvailable"], 3, "the patched budget");
    processed(&budgets, "pdb").await?;
    budgets.wait("pdb", "all three are healthy again", PATIENCE, healthy).await?;
    let next = all_up(&pods, &selector, 3).await?;
    evict(&pods, name_of(&next[0])).await?.refused(429, "TooManyRequests")?;
    budgets.delete("pdb").await?;
    retry(PATIENCE, || async { evict(&pods, name_of(&next[0])).await?.success().map(drop) }).await
}
