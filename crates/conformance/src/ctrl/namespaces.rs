//! Namespaces: their finalizers, and the removal of everything in them.

use super::workload::{PATIENCE, all_up, is_ending, label, pod, stays};
use crate::{
    ensure,
    harness::{Context, Outcome, Resource, resource},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] Namespaces [Serial] should apply a finalizer to a Namespace [Conformance]",
        run!(finalizer),
    ),
    test(
        "[sig-api-machinery] Namespaces [Serial] should ensure that all pods are removed when a namespace is deleted [Conformance]",
        run!(pods_removed),
    ),
    test(
        "[sig-api-machinery] Namespaces [Serial] should ensure that all services are removed when a namespace is deleted [Conformance]",
        run!(services_removed),
    ),
    test(
        "[sig-api-machinery] OrderedNamespaceDeletion namespace deletion should delete pod first [Conformance]",
        run!(pods_first),
    ),
];

const FINALIZER: &str = "conformance.orrery.dev/finalizer";

fn has_finalizer(namespace: &Value) -> bool {
    namespace["spec"]["finalizers"].as_array().is_some_and(|finalizers| finalizers.contains(&json!(FINALIZER)))
}

async fn finalizer(context: &Context) -> Outcome {
    let name = context.namespace().await?;
    let namespaces = context.cluster(resource::namespaces());
    let finalize = namespaces.sub("finalize");
    let mut namespace = namespaces.get(&name).await?;
    let own = namespace["spec"]["finalizers"].clone();
    if let Some(finalizers) = namespace["spec"]["finalizers"].as_array_mut() {
        finalizers.push(json!(FINALIZER));
    }
    let changed = finalize.replace(&namespace).await?;
    ensure!(has_finalizer(&changed), "the finalizer is not in the answer: {}", changed["spec"]);
    let mut namespace = namespaces.get(&name).await?;
    ensure!(has_finalizer(&namespace), "the finalizer is not in the namespace: {}", namespace["spec"]);
    namespace["spec"]["finalizers"] = own.clone();
    let changed = finalize.replace(&namespace).await?;
    ensure!(!has_finalizer(&changed), "the finalizer is still in the answer: {}", changed["spec"]);
    same!(namespaces.get(&name).await?["spec"]["finalizers"], own, "the finalizers of the namespace");
    Ok(())
}

/// Deletes the namespace, waits until it is gone, makes it anew, and sees that nothing of `kind` is in it.
async fn empty_when_made_anew(context: &Context, name: &str, kind: Resource) -> Outcome {
    let namespaces = context.cluster(resource::namespaces());
    namespaces.delete(name).await?;
    namespaces.gone(name, PATIENCE).await?;
    namespaces.create(&json!({ "metadata": { "name": name } })).await?;
    let left = context.objects(kind, name).items(&[]).await?;
    ensure!(left.is_empty(), "{} objects are in the namespace that was made anew", left.len());
    Ok(())
}

async fn pods_removed(context: &Context) -> Outcome {
    let name = context.namespace().await?;
    let pods = context.objects(resource::pods(), &name);
    pods.create(&pod("p", &label("p").0)).await?;
    all_up(&pods, "app=p", 1).await?;
    empty_when_made_anew(context, &name, resource::pods()).await
}

async fn services_removed(context: &Context) -> Outcome {
    let name = context.namespace().await?;
    let services = context.objects(resource::services(), &name);
    services.create(&json!({ "metadata": { "name": "s" }, "spec": { "ports": [{ "port": 80 }] } })).await?;
    empty_when_made_anew(context, &name, resource::services()).await
}

async fn pods_first(context: &Context) -> Outcome {
    let name = context.namespace().await?;
    let namespaces = context.cluster(resource::namespaces());
    let (pods, maps) = (context.objects(resource::pods(), &name), context.objects(resource::config_maps(), &name));
    let mut held = pod("held", &label("held").0);
    held["metadata"]["finalizers"] = json!([FINALIZER]);
    pods.create(&held).await?;
    all_up(&pods, "app=held", 1).await?;
    maps.create(&json!({ "metadata": { "name": "later" }, "data": { "a": "b" } })).await?;
    namespaces.delete(&name).await?;
    pods.wait("held", "the pod is being deleted", PATIENCE, is_ending).await?;
    let outcome = stays("the ConfigMap, while a pod is still there", || async {
        let namespace = namespaces.get(&name).await?;
        let map = maps.read("later").await?;
        Ok(is_ending(&namespace) && map.is_success() && !is_ending(&map.body))
    })
    .await;
    pods.merge("held", &json!({ "metadata": { "finalizers": null } })).await?;
    outcome?;
    namespaces.gone(&name, PATIENCE).await
}
