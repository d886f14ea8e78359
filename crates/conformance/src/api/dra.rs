//! Objects of dynamic resource allocation.

use super::operations::{Subject, Three, discovery};
use crate::{
    harness::{Context, Outcome, Resource},
    registry::{Test, test},
    run,
};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 DeviceClass [Conformance]", run!(device_class)),
    test("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceClaim [Conformance]", run!(claim)),
    test("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceClaimTemplate [Conformance]", run!(claim_template)),
    test("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceSlice [Conformance]", run!(slice)),
];

const VERSION: &str = "resource.k8s.io/v1";

async fn device_class(context: &Context) -> Outcome {
    let cel = |driver: &str| json!({"cel": {"expression": format!("device.driver == '{driver}'")}});
    let object = json!({"spec": {"selectors": [cel("one.example.com")]}});
    let mut subject = Subject::new(Resource::cluster(VERSION, "deviceclasses", "DeviceClass"), object);
    subject.patch = json!({"spec": {"selectors": [cel("two.example.com")]}});
    subject.update = json!({"spec": {"selectors": [cel("three.example.com")]}});
    super::operations::all(context, subject).await
}

fn claim_spec() -> Value {
    json!({"devices": {"requests": [{"name": "req-0", "exactly": {"deviceClassName": "example-class"}}]}})
}

async fn claim(context: &Context) -> Outcome {
    let object = json!({"spec": claim_spec()});
    let mut subject = Subject::new(Resource::namespaced(VERSION, "resourceclaims", "ResourceClaim"), object);
    subject.subresources = &["status"];
    discovery(&context.api, &subject.resource, subject.subresources).await?;
    let three = Three::create(context, &subject).await?;
    three.change(&subject).await?;
    let mut moved = three.objects.get(&three.name).await?;
    moved["spec"]["devices"]["requests"][0]["name"] = "other".into();
    let refused = three.objects.put(&moved).await?.refused(422, "Invalid");
    refused.map_err(|failure| failure.during("the spec of a claim is immutable"))?;
    let allocated = |pool: &str| {
        let result = json!({"request": "req-0", "driver": "dra.example.com", "pool": pool, "device": "dev-0"});
        json!({"allocation": {"devices": {"results": [result]}}})
    };
    let reserved = json!({"reservedFor": [{"resource": "pods", "name": "a-pod", "uid": "a-uid"}]});
    three.status(&allocated("worker"), &reserved).await?;
    // A claim that is reserved does not go; it has to be given back first.
    three.objects.sub("status").update(&three.name, |claim| claim["status"] = json!({})).await?;
    three.remove().await
}

async fn claim_template(context: &Context) -> Outcome {
    let object = json!({"spec": {"spec": claim_spec()}});
    let resource = Resource::namespaced(VERSION, "resourceclaimtemplates", "ResourceClaimTemplate");
    super::operations::all(context, Subject::new(resource, object)).await
}

async fn slice(context: &Context) -> Outcome {
    let devices = |name: &str| json!([{"name": name, "attributes": {"model": {"string": "a100"}}}]);
    let object = json!({"spec": {
        "driver": "dra.example.com",
        "nodeName": "worker",
        "pool": {"name": "worker", "generation": 1, "resourceSliceCount": 1},
        "devices": devices("dev-0"),
    }});
    let mut subject = Subject::new(Resource::cluster(VERSION, "resourceslices", "ResourceSlice"), object);
    subject.patch = json!({"spec": {"devices": devices("dev-1")}});
    subject.update = json!({"spec": {"devices": devices("dev-2")}});
    super::operations::all(context, subject).await
}
