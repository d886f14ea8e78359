//! Custom resources: definitions, the objects they define, and their end.

use crate::support::{Events, Server, admin};
use orrery_store::{Op, Store as _, Txn};
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/test.io/v1/namespaces/demo/widgets";

fn definition() -> Value {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 10},
            "color": {"type": "string", "default": "red"},
            "replicas": {"type": "integer"},
        }},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "phase": {"type": "string"}}},
    }});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.test.io"},
        "spec": {
            "group": "test.io", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "selectableFields": [{"jsonPath": ".spec.color"}],
            }],
        },
    })
}

fn widget(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "test.io/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

async fn eventually(server: &Server, path: &str, holds: impl Fn(u16, &Value) -> bool) -> Value {
    for _ in 0..500 {
        let answer = server.get(path).await;
        if holds(answer.status, &answer.body) {
            return answer.body;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{path} never became as it should");
}

async fn server() -> Server {
    let server = Server::start().await;
    server.namespace("demo").await;
    server.post(DEFINITIONS, &definition()).await.expect(201);
    eventually(&server, WIDGETS, |status, _| status == 200).await;
    server
}

#[tokio::test]
async fn a_definition_is_established_and_told_of() {
    let server = server().await;
    let made = server.get(&format!("{DEFINITIONS}/widgets.test.io")).await.expect(200);
    let conditions: Vec<_> =
        made["status"]["conditions"].as_array().unwrap().iter().map(|c| (&c["type"], &c["status"])).collect();
    assert_eq!(conditions, [(&json!("NamesAccepted"), &json!("True")), (&json!("Established"), &json!("True"))]);
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(made["status"]["acceptedNames"]["listKind"], "WidgetList");
    let listed = server.get("/apis/test.io/v1").await.expect(200);
    let names: Vec<_> = listed["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["widgets", "widgets/scale", "widgets/status"]);
    let document = server.get("/openapi/v3/apis/test.io/v1").await.expect(200);
    let schema = &document["components"]["schemas"]["io.test.v1.Widget"];
    assert_eq!(schema["properties"]["spec"]["properties"]["size"]["maximum"], 10);
}

#[tokio::test]
async fn objects_are_pruned_defaulted_and_validated_by_the_schema() {
    let server = server().await;
    let made = server.post(WIDGETS, &widget("a", &json!({"size": 3, "shape": "round"}))).await;
    assert_eq!(made.headers["warning"], "299 - \"unknown field \\\"spec.shape\\\"\"");
    let made = made.expect(201);
    assert_eq!(made["spec"], json!({"size": 3, "color": "red"}));
    assert_eq!(made["metadata"]["generation"], 1);
    let refused = server.post(WIDGETS, &widget("b", &json!({"size": 11}))).await;
    assert!(
        refused.message().contains("spec.size in body should be less than or equal to 10"),
        "{}",
        refused.message()
    );
    refused.expect(422);
    server
        .post(&format!("{WIDGETS}?fieldValidation=Strict"), &widget("b", &json!({"size": 1, "x": 1})))
        .await
        .expect(400);
    let unversioned = server.put(&format!("{WIDGETS}/a"), &widget("a", &json!({"size": 4}))).await;
    assert!(unversioned.message().contains("must be specified for an update"), "{}", unversioned.message());
    let patched = server.patch(&format!("{WIDGETS}/a"), &json!({"spec": {"size": 4}})).await.expect(200);
    assert_eq!((&patched["spec"]["size"], &patched["metadata"]["generation"]), (&json!(4), &json!(2)));
    let red = server.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred")).await.expect(200);
    assert_eq!(red["items"].as_array().unwrap().len(), 1);
    assert_eq!(red["kind"], "WidgetList");
}

#[tokio::test]
async fn status_and_scale_are_apart() {
    let server = server().await;
    server.post(WIDGETS, &widget("a", &json!({"size": 3, "replicas": 2}))).await.expect(201);
    let path = format!("{WIDGETS}/a");
    let status = json!({"status": {"replicas": 1}, "spec": {"size": 9}});
    let written = server.patch(&format!("{path}/status"), &status).await.expect(200);
    assert_eq!((&written["spec"]["size"], &written["metadata"]["generation"]), (&json!(3), &json!(1)));
    let scale = server.get(&format!("{path}/scale")).await.expect(200);
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["replicas"]), (&json!(2), &json!(1)));
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = server.send(&admin(), "GET", &format!("{path}/scale"), &accept, Vec::new()).await.expect(200);
    let headings: Vec<_> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(headings, ["Name", "Desired", "Available", "Age"]);
    assert_eq!((&table["rows"][0]["cells"][1], &table["rows"][0]["cells"][2]), (&json!(2), &json!(1)));
    server.patch(&format!("{path}/scale"), &json!({"spec": {"replicas": 5}})).await.expect(200);
    assert_eq!(server.get(&path).await.expect(200)["spec"]["replicas"], 5);
}

#[tokio::test]
async fn a_changed_schema_serves_objects_that_are_older_than_it() {
    let server = server().await;
    server.post(WIDGETS, &widget("a", &json!({"size": 3}))).await.expect(201);
    let mut changed = definition();
    let version = &mut changed["spec"]["versions"][0];
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["weight"] =
        json!({"type": "integer", "default": 7});
    server.patch(&format!("{DEFINITIONS}/widgets.test.io"), &changed).await.expect(200);
    let read = eventually(&server, &format!("{WIDGETS}/a"), |_, body| body["spec"]["weight"] == 7).await;
    assert_eq!(read["metadata"]["generation"], 1, "reading changes nothing");
    let mut second = changed.clone();
    let mut version = second["spec"]["versions"][0].clone();
    version["name"] = json!("v2");
    version["storage"] = json!(false);
    second["spec"]["versions"].as_array_mut().unwrap().push(version);
    server.patch(&format!("{DEFINITIONS}/widgets.test.io"), &second).await.expect(200);
    let other = eventually(&server, "/apis/test.io/v2/namespaces/demo/widgets/a", |status, _| status == 200).await;
    assert_eq!(other["apiVersion"], "test.io/v2");
}

#[tokio::test]
async fn a_definition_takes_its_objects_with_it() {
    let server = server().await;
    server.post(WIDGETS, &widget("a", &json!({"size": 3}))).await.expect(201);
    let mut held = widget("held", &json!({"size": 3}));
    held["metadata"]["finalizers"] = json!(["test.io/hold"]);
    server.post(WIDGETS, &held).await.expect(201);
    let path = format!("{DEFINITIONS}/widgets.test.io");
    server.delete(&path).await.expect(200);
    eventually(&server, &path, |_, body| body["status"]["conditions"].to_string().contains("Terminating")).await;
    eventually(&server, &format!("{WIDGETS}/a"), |status, _| status == 404).await;
    server.post(WIDGETS, &widget("late", &json!({"size": 3}))).await.expect(405);
    server.patch(&format!("{WIDGETS}/held"), &json!({"metadata": {"finalizers": null}})).await.expect(200);
    eventually(&server, &path, |status, _| status == 404).await;
    eventually(&server, WIDGETS, |status, _| status == 404).await;
}

#[tokio::test]
async fn a_schema_that_is_none_is_refused() {
    let server = Server::start().await;
    let mut bad = definition();
    bad["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"] = json!({});
    let refused = server.post(DEFINITIONS, &bad).await;
    let field = "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[size].type";
    assert!(refused.message().contains(field), "{}", refused.message());
    refused.expect(422);
}

#[tokio::test]
async fn watches_end_with_what_they_watch() {
    let server = server().await;
    server.post(WIDGETS, &widget("a", &json!({"size": 3}))).await.expect(201);
    let mut changed = Events::open(&server, &format!("{WIDGETS}?watch=true&resourceVersion=0")).await;
    assert_eq!(changed.short().await, "ADDED a");
    let mut other = definition();
    other["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["more"] =
        json!({"type": "string"});
    server.patch(&format!("{DEFINITIONS}/widgets.test.io"), &other).await.expect(200);
    assert_eq!(changed.next().await, None, "the definition has changed");
    let mut removed = Events::open(&server, &format!("{WIDGETS}?watch=true&resourceVersion=0")).await;
    assert_eq!(removed.short().await, "ADDED a");
    server.delete(&format!("{DEFINITIONS}/widgets.test.io")).await.expect(200);
    assert_eq!(removed.short().await, "DELETED a", "what becomes of the object is still told");
    assert_eq!(removed.next().await, None, "the definition is gone");
}

#[tokio::test]
async fn a_definition_that_is_damaged_does_not_hold_up_the_others() {
    let server = Server::start().await;
    let (key, value) = ("/registry/apiextensions.k8s.io/customresourcedefinitions/a.test.io".to_owned(), "{".into());
    let put = Op::Put { key, value, ttl: None };
    server.store.txn(Txn { compare: Vec::new(), ops: vec![put] }).await.unwrap();
    server.namespace("demo").await;
    server.post(DEFINITIONS, &definition()).await.expect(201);
    eventually(&server, WIDGETS, |status, _| status == 200).await;
}
