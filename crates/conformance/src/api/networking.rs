//! Objects of `networking.k8s.io` and `discovery.k8s.io`.

use super::operations::{Subject, Three, all, discovery, status};
use crate::{
    ensure,
    harness::{Context, Form, Outcome, Resource, expect_newer, expect_within, resource},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-network] EndpointSlice should support creating EndpointSlice API operations [Conformance]",
        run!(endpoint_slices),
    ),
    test("[sig-network] Ingress API should support creating Ingress API operations [Conformance]", run!(ingresses)),
    test(
        "[sig-network] IngressClass API should support creating IngressClass API operations [Conformance]",
        run!(ingress_classes),
    ),
    test(
        "[sig-network] ServiceCIDR and IPAddress API should support ServiceCIDR API operations [Conformance]",
        run!(service_cidrs),
    )
    .serial(),
    test(
        "[sig-network] ServiceCIDR and IPAddress API should support IPAddress API operations [Conformance]",
        run!(ip_addresses),
    ),
];

async fn endpoint_slices(context: &Context) -> Outcome {
    let object = json!({
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["1.2.3.4", "5.6.7.8"]}],
        "ports": [{"name": "http", "protocol": "TCP", "port": 80}],
    });
    let mut subject = Subject::new(resource::endpoint_slices(), object);
    subject.update = json!({"endpoints": [{"addresses": ["1.2.3.4"]}]});
    all(context, subject).await
}

async fn ingresses(context: &Context) -> Outcome {
    let backend = |port: Value| json!({"service": {"name": "default-backend", "port": port}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend(json!({"name": "http"}))});
    let object = json!({"spec": {
        "defaultBackend": backend(json!({"number": 80})),
        "rules": [{"host": "foo.bar.com", "http": {"paths": [path]}}],
    }});
    let mut subject = Subject::new(Resource::namespaced("networking.k8s.io/v1", "ingresses", "Ingress"), object);
    subject.subresources = &["status"];
    discovery(&context.api, &subject.resource, subject.subresources).await?;
    let three = Three::create(context, &subject).await?;
    three.change(&subject).await?;
    let address = |ip: &str| json!({"loadBalancer": {"ingress": [{"ip": ip}]}});
    three.status(&address("169.1.1.1"), &address("169.1.1.2")).await?;
    status_annotations(&three).await?;
    three.remove().await
}

/// Annotations can be written together with the status.
async fn status_annotations(three: &Three) -> Outcome {
    let annotation = json!({"metadata": {"annotations": {"patchedstatus": "true"}}});
    let patched =
        three.objects.sub("status").patch(&three.name, Form::MergePatch, &annotation, &[]).await?.expect(200)?;
    expect_within(&patched, &annotation, "the annotation when it is patched with the status")
}

async fn ingress_classes(context: &Context) -> Outcome {
    let object = json!({"spec": {"controller": "example.com/controller"}});
    all(context, Subject::new(Resource::cluster("networking.k8s.io/v1", "ingressclasses", "IngressClass"), object))
        .await
}

async fn service_cidrs(context: &Context) -> Outcome {
    let resource = Resource::cluster("networking.k8s.io/v1", "servicecidrs", "ServiceCIDR");
    discovery(&context.api, &resource, &["status"]).await?;
    let cidrs = context.cluster(resource.clone());
    let default = cidrs.get("kubernetes").await?;
    let ranges = default["spec"]["cidrs"].as_array().map(Vec::len);
    ensure!(ranges.is_some_and(|count| count > 0), "the default ServiceCIDR has no range: {default}");
    let got = cidrs.sub("status").get("kubernetes").await?;
    same!(got["kind"], "ServiceCIDR", "the kind of the default's status");
    same!(got["metadata"]["uid"], default["metadata"]["uid"], "the uid of the default's status");
    ensure!(!cidrs.items(&[]).await?.is_empty(), "the list does not have the default");
    drop(cidrs.watch(&[]).await?);
    // Upstream stops here; the entry also asks for the writing verbs. The range is one for documentation (RFC 5737).
    let name = context.name("range");
    context.remove_later(&resource, &name);
    cidrs.create(&json!({"metadata": {"name": name}, "spec": {"cidrs": ["203.0.113.0/28"]}})).await?;
    let patched = cidrs.merge(&name, &json!({"metadata": {"annotations": {"patched": "true"}}})).await?;
    same!(patched["metadata"]["annotations"]["patched"], "true", "the annotation of the patched range");
    let updated = cidrs.update(&name, |range| range["metadata"]["labels"] = json!({"own": name})).await?;
    same!(updated["metadata"]["labels"]["own"], name.as_str(), "the label of the updated range");
    let condition = |reason: &str| {
        let time = "2026-01-01T00:00:00Z";
        json!({"conditions": [
            {"type": "Conformance", "status": "True", "reason": reason, "message": "", "lastTransitionTime": time},
        ]})
    };
    status(&cidrs, &name, &condition("Patched"), &condition("Updated")).await?;
    cidrs.delete_labelled(&format!("own={name}")).await?;
    cidrs.gone(&name, std::time::Duration::from_secs(30)).await
}

async fn ip_addresses(context: &Context) -> Outcome {
    let resource = Resource::cluster("networking.k8s.io/v1", "ipaddresses", "IPAddress");
    discovery(&context.api, &resource, &[]).await?;
    let addresses = context.cluster(resource.clone());
    let set = context.name("set");
    let label = format!("set={set}");
    let of = |name: &str, kind: &str| {
        let parent = json!({"group": "mygroup", "resource": "myresources", "namespace": "foo", "name": "bar"});
        json!({"metadata": {"name": name, "labels": {"set": set, "type": kind}}, "spec": {"parentRef": parent}})
    };
    context.remove_path_later(addresses.collection(&[("labelSelector", &label)]));
    let (four, six) = ("255.255.255.255", "fe80::42:1dff:fe84:f9e2");
    let created = addresses.create(&of(four, "broadcast")).await?;
    addresses.create(&of(six, "link-local")).await?;
    let patched = addresses.merge(four, &json!({"metadata": {"annotations": {"patched": "true"}}})).await?;
    same!(patched["metadata"]["annotations"]["patched"], "true", "the annotation of the patched address");
    expect_newer(&patched, &created, "the patched address")?;
    let updated = addresses.update(four, |address| address["metadata"]["annotations"]["updated"] = "true".into());
    same!(updated.await?["metadata"]["annotations"]["updated"], "true", "the annotation of the updated address");
    let mut moved = addresses.get(four).await?;
    moved["spec"]["parentRef"]["name"] = "other".into();
    addresses
        .put(&moved)
        .await?
        .refused(422, "Invalid")
        .map_err(|failure| failure.during("the parent is immutable"))?;
    let broadcast = format!("{label},type=broadcast");
    same!(addresses.labelled(&broadcast).await?.len(), 1, "broadcast addresses");
    let mut watch = addresses.watch(&[("labelSelector", &broadcast)]).await?;
    watch.expect("ADDED", four).await?;
    addresses.delete(four).await?;
    watch.expect("DELETED", four).await?;
    addresses.delete_labelled(&format!("{label},type=link-local")).await?;
    same!(addresses.labelled(&label).await?.len(), 0, "addresses after all were deleted");
    Ok(())
}
