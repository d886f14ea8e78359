//! Services and endpoints as objects, and those of the API server itself.

use super::operations::merge;
use crate::{
    ensure,
    harness::{Context, EVENT_TIMEOUT, Form, Objects, Outcome, expect_within, names, resource},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test("[sig-network] Endpoints should test the lifecycle of an Endpoint [Conformance]", run!(endpoints)),
    test("[sig-network] Services should complete a service status lifecycle [Conformance]", run!(service_status)),
    test("[sig-network] Services should delete a collection of services [Conformance]", run!(service_collection)),
    test(
        "[sig-network] Services should find a service from listing all namespaces [Conformance]",
        run!(all_namespaces),
    ),
    test(
        "[sig-network] API Server should have Endpoints and EndpointSlices pointing to API Server [Conformance]",
        run!(own_endpoints),
    ),
    test("[sig-network] API Server should provide secure master service [Conformance]", run!(own_service)),
];

async fn endpoints(context: &Context) -> Outcome {
    let endpoints = context.objects(resource::endpoints(), &context.namespace().await?);
    let set = context.name("set");
    let selector = format!("set={set}");
    let mut watch = endpoints.watch(&[("labelSelector", &selector)]).await?;
    let name = context.name("endpoints");
    let subset = |ip: &str, port: u16| json!([{"addresses": [{"ip": ip}], "ports": [{"name": "http", "port": port}]}]);
    endpoints
        .create(&json!({"metadata": {"name": name, "labels": {"set": set}}, "subsets": subset("10.0.0.24", 80)}))
        .await?;
    watch.expect("ADDED", &name).await?;
    let everywhere = context.cluster(resource::endpoints());
    same!(names(&everywhere.labelled(&selector).await?), [name.as_str()], "endpoints in all namespaces");
    endpoints.update(&name, |object| object["metadata"]["labels"]["state"] = "updated".into()).await?;
    let event = watch.expect("MODIFIED", &name).await?;
    same!(event.object["metadata"]["labels"]["state"], "updated", "the label after the update");
    let got = endpoints.get(&name).await?;
    same!(got["metadata"]["labels"]["state"], "updated", "the label when it is read");
    expect_within(&got["subsets"], &subset("10.0.0.24", 80), "the addresses after the update")?;
    let patch = json!({"metadata": {"labels": {"state": "patched"}}, "subsets": subset("10.0.0.25", 8080)});
    endpoints.strategic(&name, &patch).await?;
    watch.expect("MODIFIED", &name).await?;
    let got = endpoints.get(&name).await?;
    expect_within(&got["subsets"], &subset("10.0.0.25", 8080), "the addresses after the patch")?;
    same!(got["metadata"]["labels"]["state"], "patched", "the label after the patch");
    endpoints.delete_labelled(&selector).await?;
    watch.expect("DELETED", &name).await?;
    endpoints.read(&name).await?.refused(404, "NotFound").map(drop)
}

fn service(context: &Context, name: &str, labels: &Value) -> Value {
    let mut labels = labels.clone();
    labels["set"] = context.name("set").into();
    let ports = json!([{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 80}]);
    json!({"metadata": {"name": name, "labels": labels}, "spec": {"type": "LoadBalancer", "ports": ports}})
}

async fn service_status(context: &Context) -> Outcome {
    let services = context.objects(resource::services(), &context.namespace().await?);
    let service = service(context, "test-service", &json!({"test-service-static": "true"}));
    let created = services.create(&service).await?;
    let mut watch = services.watch(&[("fieldSelector", "metadata.name=test-service")]).await?;
    watch.expect("ADDED", "test-service").await?;
    let everywhere = context.cluster(resource::services()).labelled("test-service-static=true").await?;
    let own = everywhere.iter().any(|service| service["metadata"]["uid"] == created["metadata"]["uid"]);
    ensure!(own, "the service is not in the list of all namespaces");
    let status = services.sub("status");
    let got = status.get("test-service").await?;
    same!(got["metadata"]["uid"], created["metadata"]["uid"], "the uid of the status");
    patch_status(&services).await?;
    update_status(&services).await?;
    let patch = json!({"metadata": {"labels": {"test-service": "patched"}}});
    let patched = services.strategic("test-service", &patch).await?;
    same!(patched["metadata"]["labels"]["test-service"], "patched", "the label of the patched service");
    let what = "a service with the patched label";
    let seen = |event: &crate::harness::Event| event.object["metadata"]["labels"]["test-service"] == "patched";
    same!(watch.find(what, EVENT_TIMEOUT, seen).await?.kind, "MODIFIED", "the event of {what}");
    services.delete("test-service").await?;
    let gone = watch.find("the end of the service", EVENT_TIMEOUT, |event| event.kind == "DELETED");
    gone.await?;
    services.read("test-service").await?.refused(404, "NotFound").map(drop)
}

async fn patch_status(services: &Objects) -> Outcome {
    let patch = json!({
        "metadata": {"annotations": {"patchedstatus": "true"}},
        "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}},
    });
    let patched = services.sub("status").patch("test-service", Form::MergePatch, &patch, &[]).await?.expect(200)?;
    expect_within(&patched, &patch, "the patched status")?;
    expect_within(&services.get("test-service").await?, &patch, "the service after its status was patched")
}

async fn update_status(services: &Objects) -> Outcome {
    let time = "2026-01-01T00:00:00Z";
    let condition = json!({"conditions": [
        {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set by a test", "lastTransitionTime": time},
    ]});
    let statuses = services.sub("status");
    let updated = statuses.update("test-service", |service| merge(&mut service["status"], &condition));
    expect_within(&updated.await?["status"], &condition, "the updated status")?;
    expect_within(&services.get("test-service").await?["status"], &condition, "the status after the update")
}

async fn service_collection(context: &Context) -> Outcome {
    let services = context.objects(resource::services(), &context.namespace().await?);
    for name in ["e2e-svc-a", "e2e-svc-b", "e2e-svc-c"] {
        let kept = name == "e2e-svc-c";
        let mut object = service(context, name, &json!({"delete-this": (!kept).to_string()}));
        object["spec"]["type"] = "ClusterIP".into();
        services.create(&object).await?;
    }
    same!(services.items(&[]).await?.len(), 3, "services in the namespace");
    services.delete_labelled("delete-this=true").await?;
    same!(names(&services.items(&[]).await?), ["e2e-svc-c"], "services after the collection was deleted");
    Ok(())
}

async fn all_namespaces(context: &Context) -> Outcome {
    let all = context.cluster(resource::services()).items(&[]).await?;
    let found = all
        .iter()
        .any(|service| service["metadata"]["name"] == "kubernetes" && service["metadata"]["namespace"] == "default");
    ensure!(found, "no service kubernetes in the namespace default among {} services", all.len());
    Ok(())
}

/// The addresses and ports that endpoints have.
fn addresses(endpoints: &Value) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for subset in endpoints["subsets"].as_array().map(Vec::as_slice).unwrap_or_default() {
        for address in subset["addresses"].as_array().map(Vec::as_slice).unwrap_or_default() {
            for port in subset["ports"].as_array().map(Vec::as_slice).unwrap_or_default() {
                let ip = address["ip"].as_str().unwrap_or_default().to_owned();
                all.push((ip, port["port"].as_u64().unwrap_or_default()));
            }
        }
    }
    all.sort();
    all
}

fn slice_addresses(slices: &[Value]) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for slice in slices {
        for endpoint in slice["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default() {
            for address in endpoint["addresses"].as_array().map(Vec::as_slice).unwrap_or_default() {
                for port in slice["ports"].as_array().map(Vec::as_slice).unwrap_or_default() {
                    let ip = address.as_str().unwrap_or_default().to_owned();
                    all.push((ip, port["port"].as_u64().unwrap_or_default()));
                }
            }
        }
    }
    all.sort();
    all
}

async fn own_endpoints(context: &Context) -> Outcome {
    let endpoints = context.objects(resource::endpoints(), "default").get("kubernetes").await?;
    let own = addresses(&endpoints);
    ensure!(!own.is_empty(), "the endpoints of kubernetes have no address: {endpoints}");
    let slices = context.objects(resource::endpoint_slices(), "default");
    let slices = slices.labelled("kubernetes.io/service-name=kubernetes").await?;
    ensure!(!slices.is_empty(), "there is no EndpointSlice of the service kubernetes");
    same!(slice_addresses(&slices), own, "addresses of the slices beside those of the endpoints");
    for (address, port) in own {
        let reached = tokio::time::timeout(
            std::time::Duration::from_secs(5),
            tokio::net::TcpStream::connect((address.as_str(), u16::try_from(port).unwrap_or_default())),
        );
        ensure!(matches!(reached.await, Ok(Ok(_))), "no API server answers at {address}:{port}");
    }
    Ok(())
}

async fn own_service(context: &Context) -> Outcome {
    let service = context.objects(resource::services(), "default").get("kubernetes").await?;
    let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let https: Vec<&Value> = ports.iter().filter(|port| port["port"] == 443).collect();
    ensure!(!https.is_empty(), "the service kubernetes has no port 443: {service}");
    same!(https[0]["name"], "https", "the name of port 443");
    Ok(())
}
