//! Discovery: legacy and aggregated.

use super::crd::Definition;
use crate::{
    ensure,
    harness::{Api, Context, Failure, Outcome, until},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] Discovery should locate the groupVersion and a resource within each APIGroup [Conformance]",
        run!(resource_in_each_group),
    ),
    test(
        "[sig-api-machinery] Discovery should validate PreferredVersion for each APIGroup [Conformance]",
        run!(preferred_versions),
    ),
    test(
        "[sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery endpoint Accept headers [Conformance]",
        run!(aggregated, &[V2]),
    ),
    test(
        "[sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery request for CRDs [Conformance]",
        run!(aggregated_definition, V2),
    ),
    test(
        "[sig-api-machinery] AggregatedDiscovery should support aggregated discovery interface [Conformance]",
        run!(aggregated, &[CLIENT]),
    ),
    test(
        "[sig-api-machinery] AggregatedDiscovery should support aggregated discovery interface for CRDs [Conformance]",
        run!(aggregated_definition, CLIENT),
    ),
    test(
        "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] should include custom resource definition resources in discovery documents [Conformance]",
        run!(group_has, "apiextensions.k8s.io", &["customresourcedefinitions"]),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should include webhook resources in discovery documents [Conformance]",
        run!(
            group_has,
            "admissionregistration.k8s.io",
            &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"]
        ),
    ),
];

/// The aggregated form alone.
const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// What clients of several ages ask for: the newest that the server has, and the legacy form at last.
const CLIENT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// What every server has: group, version, resource.
const BUILT_IN: [(&str, &str, &str); 19] = [
    ("", "v1", "namespaces"),
    ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "v1", "apiservices"),
    ("apps", "v1", "deployments"),
    ("authentication.k8s.io", "v1", "tokenreviews"),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews"),
    ("autoscaling", "v1", "horizontalpodautoscalers"),
    ("autoscaling", "v2", "horizontalpodautoscalers"),
    ("batch", "v1", "jobs"),
    ("certificates.k8s.io", "v1", "certificatesigningrequests"),
    ("coordination.k8s.io", "v1", "leases"),
    ("discovery.k8s.io", "v1", "endpointslices"),
    ("events.k8s.io", "v1", "events"),
    ("networking.k8s.io", "v1", "ingresses"),
    ("node.k8s.io", "v1", "runtimeclasses"),
    ("policy", "v1", "poddisruptionbudgets"),
    ("scheduling.k8s.io", "v1", "priorityclasses"),
    ("storage.k8s.io", "v1", "csinodes"),
];

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

async fn groups(api: &Api) -> Outcome<Vec<Value>> {
    let groups = api.get("/apis").await?.expect(200)?;
    same!(groups["kind"], "APIGroupList", "the kind of /apis");
    let groups = list(&groups, "groups").to_vec();
    ensure!(!groups.is_empty(), "/apis has no group");
    Ok(groups)
}

async fn preferred_versions(context: &Context) -> Outcome {
    for group in groups(&context.api).await? {
        let name = group["name"].as_str().unwrap_or_default();
        if name.ends_with(".example.com") {
            continue; // another test's, which comes and goes
        }
        let own = context.api.get(&format!("/apis/{name}")).await?.expect(200)?;
        same!(own["name"], name, "the name in /apis/{name}");
        let preferred = own["preferredVersion"]["groupVersion"].as_str().unwrap_or_default();
        ensure!(!preferred.is_empty(), "the group {name} prefers no version: {own}");
        let known = list(&own, "versions").iter().any(|version| version["groupVersion"] == preferred);
        ensure!(known, "the group {name} prefers {preferred}, which it does not have");
        same!(group["preferredVersion"], own["preferredVersion"], "the preferred version in /apis beside /apis/{name}");
    }
    Ok(())
}

async fn resource_in_each_group(context: &Context) -> Outcome {
    for group in groups(&context.api).await? {
        let name = group["name"].as_str().unwrap_or_default();
        if name.ends_with(".example.com") {
            continue;
        }
        let preferred = group["preferredVersion"]["groupVersion"].as_str().unwrap_or_default();
        let resources = context.api.get(&format!("/apis/{preferred}")).await?.expect(200)?;
        same!(resources["kind"], "APIResourceList", "the kind of /apis/{preferred}");
        same!(resources["groupVersion"], preferred, "the groupVersion of /apis/{preferred}");
        let valid = list(&resources, "resources").iter().any(|resource| {
            let filled = |field: &str| resource[field].as_str().is_some_and(|text| !text.is_empty());
            filled("name") && filled("kind") && !list(resource, "verbs").is_empty()
        });
        ensure!(valid, "/apis/{preferred} has no valid resource: {resources}");
    }
    Ok(())
}

/// The aggregated document of `/api` or `/apis`.
async fn document(context: &Context, path: &str, accept: &str) -> Outcome<Value> {
    let answer = context.api.with_header("Accept", accept).get(path).await?;
    let kind = answer.header("content-type").to_owned();
    ensure!(kind.contains("as=APIGroupDiscoveryList"), "{path} was answered as {kind:?}, not in the aggregated form");
    let body = answer.expect(200)?;
    same!(body["kind"], "APIGroupDiscoveryList", "the kind of {path}");
    Ok(body)
}

fn has(document: &Value, group: &str, version: &str, resource: &str) -> bool {
    let of_group =
        list(document, "items").iter().filter(|item| item["metadata"]["name"].as_str().unwrap_or("") == group);
    let versions = of_group.flat_map(|item| list(item, "versions")).filter(|known| known["version"] == version);
    let mut resources = versions.flat_map(|known| list(known, "resources"));
    resources.any(|known| known["resource"] == resource && !list(known, "verbs").is_empty())
}

async fn aggregated(context: &Context, accepts: &[&str]) -> Outcome {
    for accept in accepts {
        let legacy = document(context, "/api", accept).await?;
        let groups = document(context, "/apis", accept).await?;
        let missing: Vec<String> = BUILT_IN
            .iter()
            .filter(|(group, version, resource)| {
                !has(if group.is_empty() { &legacy } else { &groups }, group, version, resource)
            })
            .map(|(group, version, resource)| format!("{group}/{version} {resource}"))
            .collect();
        ensure!(missing.is_empty(), "the aggregated document lacks {}", missing.join(", "));
    }
    Ok(())
}

async fn aggregated_definition(context: &Context, accept: &str) -> Outcome {
    let definition = Definition::simple(context);
    definition.create(context).await?;
    let there = until(Duration::from_secs(30), || async {
        let groups = document(context, "/apis", accept).await?;
        Ok(has(&groups, &definition.group, "v1", &definition.plural).then_some(()))
    });
    there.await.map_err(|failure| failure.during("the custom resource in the aggregated document"))?;
    definition.remove(context).await?;
    let gone = until(Duration::from_secs(30), || async {
        let groups = document(context, "/apis", accept).await?;
        Ok((!has(&groups, &definition.group, "v1", &definition.plural)).then_some(()))
    });
    gone.await.map_err(|failure| failure.during("the custom resource in the aggregated document after its deletion"))
}

/// A group with its version `v1` and resources is in all three documents.
async fn group_has(context: &Context, group: &str, resources: &[&str]) -> Outcome {
    let groups = groups(&context.api).await?;
    let listed = groups.iter().find(|known| known["name"] == group);
    let listed = listed.ok_or_else(|| Failure::wrong(format!("/apis has no group {group}")))?;
    let own = context.api.get(&format!("/apis/{group}")).await?.expect(200)?;
    let version = json!({"groupVersion": format!("{group}/v1"), "version": "v1"});
    for (what, document) in [("/apis", listed), (group, &own)] {
        ensure!(list(document, "versions").contains(&version), "{what} does not have {version}: {document}");
    }
    let known = context.api.get(&format!("/apis/{group}/v1")).await?.expect(200)?;
    for resource in resources {
        let found = list(&known, "resources").iter().any(|known| known["name"] == *resource);
        ensure!(found, "/apis/{group}/v1 has no {resource}");
    }
    Ok(())
}
