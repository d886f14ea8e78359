//! Endpoints and EndpointSlices: which pods stand behind a service.

use super::workload::{PATIENCE, all_up, counted, label, pod};
use crate::{
    ensure,
    harness::{Context, During, Objects, Outcome, resource, until},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-network] EndpointsController should create Endpoints for Pods matching a Service [Conformance]",
        run!(endpoints_of_pods),
    ),
    test(
        "[sig-network] EndpointsController should create and delete Endpoints for a Service with a selector that matches no pods [Conformance]",
        run!(endpoints_of_nothing),
    ),
    test(
        "[sig-network] EndpointSlice should create Endpoints and EndpointSlices for Pods matching a Service [Conformance]",
        run!(slices_of_pods),
    ),
    test(
        "[sig-network] EndpointSlice should create and delete EndpointSlices for a Service with a selector that matches no pods [Conformance]",
        run!(slices_of_nothing),
    ),
    test(
        "[sig-network] EndpointSliceMirroring should mirror a custom Endpoints resource through create update and delete [Conformance]",
        run!(mirrored),
    ),
    test("[sig-network] Service endpoints latency should not be very high [Conformance]", run!(latency)).within(600),
];

/// The label that names the service of a slice.
const SERVICE: &str = "kubernetes.io/service-name";
/// How many services the latency is taken of.
const SERVICES: usize = 100;

fn service(name: &str, selector: &Value, target: &Value) -> Value {
    json!({ "metadata": { "name": name },
        "spec": { "selector": selector, "ports": [{ "name": "web", "port": 80, "targetPort": target }] } })
}

/// A pod with two named ports.
fn with_ports(name: &str, labels: &Value, port: u16) -> Value {
    let mut pod = pod(name, labels);
    pod["spec"]["containers"][0]["ports"] = json!([{ "name": "web", "containerPort": port }]);
    pod
}

/// What stands behind a service: addresses with the port of each.
type Behind = BTreeSet<(String, u64)>;

fn behind_of_endpoints(endpoints: &Value) -> Behind {
    let mut all = Behind::new();
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        for address in subset["addresses"].as_array().into_iter().flatten() {
            for port in subset["ports"].as_array().into_iter().flatten() {
                all.insert((text(&address["ip"]), port["port"].as_u64().unwrap_or_default()));
            }
        }
    }
    all
}

fn behind_of_slices(slices: &[Value]) -> Behind {
    let mut all = Behind::new();
    for slice in slices {
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        for endpoint in endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false) {
            for port in slice["ports"].as_array().into_iter().flatten() {
                let address = endpoint["addresses"][0].clone();
                all.insert((text(&address), port["port"].as_u64().unwrap_or_default()));
            }
        }
    }
    all
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

async fn slices_of(slices: &Objects, service: &str) -> Outcome<Vec<Value>> {
    slices.labelled(&format!("{SERVICE}={service}")).await
}

/// Two pods of different ports, of which two services with selectors of their own see one, and a third both.
async fn pods_and_services(context: &Context) -> Outcome<(String, Vec<(&'static str, Behind)>)> {
    let namespace = context.namespace().await?;
    let pods = context.objects(resource::pods(), &namespace);
    let services = context.objects(resource::services(), &namespace);
    let (one, two) = (json!({ "app": "web", "pod": "one" }), json!({ "app": "web", "pod": "two" }));
    services.create(&service("first", &one, &json!(3000))).await?;
    services.create(&service("second", &two, &json!("web"))).await?;
    services.create(&service("both", &json!({ "app": "web" }), &json!("web"))).await?;
    pods.create(&with_ports("one", &one, 3000)).await?;
    pods.create(&with_ports("two", &two, 3001)).await?;
    all_up(&pods, "app=web", 2).await?;
    let ip = |pod: &Value| text(&pod["status"]["podIP"]);
    let first = (ip(&pods.get("one").await?), 3000);
    let second = (ip(&pods.get("two").await?), 3001);
    let wanted = vec![
        ("first", Behind::from([first.clone()])),
        ("second", Behind::from([second.clone()])),
        ("both", Behind::from([first, second])),
    ];
    Ok((namespace, wanted))
}

async fn endpoints_of_pods(context: &Context) -> Outcome {
    let (namespace, wanted) = pods_and_services(context).await?;
    let endpoints = context.objects(resource::endpoints(), &namespace);
    for (service, behind) in &wanted {
        let what = format!("{behind:?} are behind it");
        endpoints.wait(service, &what, PATIENCE, |object| behind_of_endpoints(object) == *behind).await?;
    }
    context.objects(resource::pods(), &namespace).delete("one").await?;
    let without = |object: &Value| behind_of_endpoints(object) == wanted[1].1;
    endpoints.wait("both", "the deleted pod is no longer behind it", PATIENCE, without).await.map(drop)
}

async fn slices_of_pods(context: &Context) -> Outcome {
    let (namespace, wanted) = pods_and_services(context).await?;
    let slices = context.objects(resource::endpoint_slices(), &namespace);
    let endpoints = context.objects(resource::endpoints(), &namespace);
    for (service, behind) in &wanted {
        let what = format!("{behind:?} are behind {service}");
        let look = || async { Ok((behind_of_slices(&slices_of(&slices, service).await?) == *behind).then_some(())) };
        until(PATIENCE, look).await.during(&what)?;
        endpoints.wait(service, &what, PATIENCE, |object| behind_of_endpoints(object) == *behind).await?;
    }
    for slice in slices_of(&slices, "both").await? {
        same!(slice["addressType"], "IPv4", "the type of addresses");
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            same!(endpoint["targetRef"]["kind"], "Pod", "what an endpoint refers to");
            ensure!(endpoint["nodeName"].is_string(), "an endpoint has no node: {endpoint}");
        }
        let owners = slice["metadata"]["ownerReferences"].to_string();
        ensure!(owners.contains("\"Service\""), "the owner of a slice is {owners}");
    }
    Ok(())
}

async fn endpoints_of_nothing(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let services = context.objects(resource::services(), &namespace);
    let endpoints = context.objects(resource::endpoints(), &namespace);
    services.create(&service("empty", &json!({ "no": "pod" }), &json!(80))).await?;
    until(PATIENCE, || async { Ok(endpoints.read("empty").await?.is_success().then_some(())) }).await?;
    same!(behind_of_endpoints(&endpoints.get("empty").await?), Behind::new(), "what is behind the service");
    services.delete("empty").await?;
    endpoints.gone("empty", PATIENCE).await
}

async fn slices_of_nothing(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let services = context.objects(resource::services(), &namespace);
    let slices = context.objects(resource::endpoint_slices(), &namespace);
    services.create(&service("empty", &json!({ "no": "pod" }), &json!(80))).await?;
    let selector = format!("{SERVICE}=empty");
    let found = counted(&slices, &selector, 1).await?;
    same!(behind_of_slices(&found), Behind::new(), "what is behind the service");
    let managed = &found[0]["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"];
    same!(*managed, "endpointslice-controller.k8s.io", "who manages the slice");
    services.delete("empty").await?;
    counted(&slices, &selector, 0).await.map(drop)
}

async fn discovered(context: &Context) -> Outcome {
    let groups = context.api.get("/apis").await?.success()?.to_string();
    ensure!(groups.contains("\"discovery.k8s.io\""), "/apis does not name discovery.k8s.io");
    let group = context.api.get("/apis/discovery.k8s.io").await?.success()?;
    ensure!(group["versions"].to_string().contains("discovery.k8s.io/v1"), "the group has no version v1: {group}");
    let resources = context.api.get("/apis/discovery.k8s.io/v1").await?.success()?;
    ensure!(resources["resources"].to_string().contains("endpointslices"), "v1 has no endpointslices: {resources}");
    Ok(())
}

async fn mirrored(context: &Context) -> Outcome {
    discovered(context).await?;
    let namespace = context.namespace().await?;
    let services = context.objects(resource::services(), &namespace);
    let endpoints = context.objects(resource::endpoints(), &namespace);
    let slices = context.objects(resource::endpoint_slices(), &namespace);
    let name = "custom";
    // Without a selector: who stands behind it is told by hand.
    services
        .create(&json!({ "metadata": { "name": name }, "spec": { "ports": [{ "name": "web", "port": 80 }] } }))
        .await?;
    let by_hand = |address: &str| {
        json!({ "metadata": { "name": name },
            "subsets": [{ "addresses": [{ "ip": address }], "ports": [{ "name": "web", "port": 80 }] }] })
    };
    let mirrors = |address: &str| {
        let behind = Behind::from([(address.to_owned(), 80)]);
        let slices = slices.clone();
        async move {
            let look = || async { Ok((behind_of_slices(&slices_of(&slices, name).await?) == behind).then_some(())) };
            until(PATIENCE, look).await.during("the slice mirrors the endpoints")
        }
    };
    endpoints.create(&by_hand("10.1.2.3")).await?;
    mirrors("10.1.2.3").await?;
    for slice in slices_of(&slices, name).await? {
        let managed = &slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"];
        same!(*managed, "endpointslicemirroring-controller.k8s.io", "who manages the slice");
    }
    endpoints.update(name, |object| object["subsets"] = by_hand("10.2.3.4")["subsets"].clone()).await?;
    mirrors("10.2.3.4").await?;
    endpoints.delete(name).await?;
    counted(&slices, &format!("{SERVICE}={name}"), 0).await.map(drop)
}

async fn latency(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let (labels, selector) = label("latency");
    let pods = context.objects(resource::pods(), &namespace);
    pods.create(&with_ports("p", &labels, 80)).await?;
    all_up(&pods, &selector, 1).await?;
    let services = context.objects(resource::services(), &namespace);
    let endpoints = context.objects(resource::endpoints(), &namespace);
    let mut took = Vec::new();
    for index in 0..SERVICES {
        let name = format!("latency-{index}");
        let begun = Instant::now();
        services.create(&service(&name, &labels, &json!(80))).await?;
        until(Duration::from_secs(60), || async {
            let answer = endpoints.read(&name).await?;
            Ok((!behind_of_endpoints(&answer.body).is_empty()).then_some(()))
        })
        .await
        .during(format!("the endpoints of {name}"))?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    let (half, most) = (took[SERVICES / 2], took[SERVICES * 9 / 10]);
    ensure!(half <= Duration::from_secs(20), "half of the services take longer than {half:?}, 20 s are allowed");
    ensure!(most <= Duration::from_secs(50), "a tenth of the services takes longer than {most:?}, 50 s are allowed");
    Ok(())
}
