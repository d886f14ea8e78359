//! Conversion of custom resources by webhooks, and selectable fields.

use super::crd::{Definition, SERVED, served};
use crate::{
    ensure,
    harness::{Context, EVENT_TIMEOUT, Objects, Outcome, Watch, WebhookServer, names, resource, retry},
    registry::{Test, test},
    run, same,
};
use futures::TryStreamExt;
use kube::{
    api::{Api, ApiResource, DynamicObject, GroupVersionKind},
    runtime::watcher,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] CustomResourceConversionWebhook [Privileged:ClusterAdmin] should be able to convert from CR v1 to CR v2 [Conformance]",
        run!(one),
    ),
    test(
        "[sig-api-machinery] CustomResourceConversionWebhook [Privileged:ClusterAdmin] should be able to convert a non homogeneous list of CRs [Conformance]",
        run!(mixed_list),
    ),
    test(
        "[sig-api-machinery] CustomResourceFieldSelectors [Privileged:ClusterAdmin] CustomResourceFieldSelectors MUST list and watch custom resources matching the field selector [Conformance]",
        run!(selectable_fields),
    ),
];

/// Version 1 has `hostPort`, version 2 has `host` and `port`.
fn convert(mut object: Value, wanted: &str) -> Value {
    let version = wanted.rsplit('/').next().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let (Value::Object(fields), true) = (&mut object, version == "v2") {
        if let Some(both) = fields.remove("hostPort") {
            let both = text(&both);
            let (host, port) = both.split_once(':').unwrap_or((both.as_str(), ""));
            fields.insert("host".to_owned(), host.into());
            fields.insert("port".to_owned(), port.into());
        }
    } else if let Value::Object(fields) = &mut object
        && (fields.contains_key("host") || fields.contains_key("port"))
    {
        let host = fields.remove("host").map(|value| text(&value)).unwrap_or_default();
        let port = fields.remove("port").map(|value| text(&value)).unwrap_or_default();
        fields.insert("hostPort".to_owned(), format!("{host}:{port}").into());
    }
    object["apiVersion"] = wanted.into();
    object
}

/// Answers a `ConversionReview`.
async fn review(_path: String, asked: Value) -> Value {
    let wanted = asked["request"]["desiredAPIVersion"].as_str().unwrap_or_default();
    let objects = asked["request"]["objects"].as_array().cloned().unwrap_or_default();
    let converted: Vec<Value> = objects.into_iter().map(|object| convert(object, wanted)).collect();
    json!({"apiVersion": asked["apiVersion"], "kind": "ConversionReview", "response": {
        "uid": asked["request"]["uid"], "convertedObjects": converted, "result": {"status": "Success"},
    }})
}

fn properties(names: &[&str]) -> Value {
    let mut schema = json!({"type": "object", "properties": {}});
    for name in names {
        schema["properties"][name] = json!({"type": "string"});
    }
    schema
}

/// A definition of two versions, stored at the first, that a webhook converts between.
async fn definition(context: &Context, selectable: bool) -> Outcome<(Definition, WebhookServer)> {
    let server = WebhookServer::start(context, review).await?;
    let mut one = served("v1", true, &properties(&["hostPort"]));
    let mut two = served("v2", false, &properties(&["host", "port"]));
    if selectable {
        one["selectableFields"] = json!([{"jsonPath": ".hostPort"}]);
        two["selectableFields"] = json!([{"jsonPath": ".host"}, {"jsonPath": ".port"}]);
    }
    let mut definition = Definition::new(context, vec![one, two]);
    definition.conversion = Some(json!({"strategy": "Webhook", "webhook": {
        "clientConfig": server.client_config("/convert"),
        "conversionReviewVersions": ["v1", "v1beta1"],
    }}));
    definition.create(context).await?;
    Ok((definition, server))
}

async fn one(context: &Context) -> Outcome {
    let (definition, _server) = definition(context, false).await?;
    let namespace = context.namespace().await?;
    let first = context.objects(definition.resource("v1"), &namespace);
    let second = context.objects(definition.resource("v2"), &namespace);
    first.create(&json!({"metadata": {"name": "cr"}, "hostPort": "localhost:8080"})).await?;
    let got = retry(SERVED, || async { second.get("cr").await }).await?;
    expect_second(&got, "cr")?;
    same!(first.get("cr").await?["hostPort"], "localhost:8080", "hostPort of version 1");
    Ok(())
}

fn expect_second(object: &Value, name: &str) -> Outcome {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    ensure!(version.ends_with("/v2"), "{name} is of version {version}");
    ensure!(object.get("hostPort").is_none(), "{name} has hostPort at version 2: {object}");
    same!(object["host"], "localhost", "host of {name}");
    same!(object["port"], "8080", "port of {name}");
    Ok(())
}

async fn mixed_list(context: &Context) -> Outcome {
    let (definition, _server) = definition(context, false).await?;
    let namespace = context.namespace().await?;
    let first = context.objects(definition.resource("v1"), &namespace);
    let second = context.objects(definition.resource("v2"), &namespace);
    first.create(&json!({"metadata": {"name": "cr-instance-1"}, "hostPort": "localhost:8080"})).await?;
    let definitions = context.cluster(resource::resource_definitions());
    let change = |object: &mut Value| {
        object["spec"]["versions"][0]["storage"] = false.into();
        object["spec"]["versions"][1]["storage"] = true.into();
    };
    definitions.update(&definition.name(), change).await?;
    let stored = |object: &Value| object["status"]["storedVersions"] == json!(["v1", "v2"]);
    definitions.wait(&definition.name(), "v2 is not among the stored versions", SERVED, stored).await?;
    let object = json!({"metadata": {"name": "cr-instance-2"}, "host": "localhost", "port": "8080"});
    retry(SERVED, || async { second.create(&object).await }).await?;
    let listed = second.items(&[]).await?;
    same!(names(&listed), ["cr-instance-1", "cr-instance-2"], "objects listed at version 2");
    for object in &listed {
        expect_second(object, object["metadata"]["name"].as_str().unwrap_or_default())?;
    }
    let listed = first.items(&[]).await?;
    same!(listed.len(), 2, "objects listed at version 1");
    for object in &listed {
        same!(object["hostPort"], "localhost:8080", "hostPort of {}", object["metadata"]["name"]);
    }
    Ok(())
}

/// Waits for events of objects, in any order, and sees that no other comes.
async fn expect(watch: &mut Watch, kind: &str, wanted: &[&str]) -> Outcome {
    let mut left: BTreeSet<&str> = wanted.iter().copied().collect();
    while !left.is_empty() {
        let event = watch.next().await.map_err(|failure| failure.during(format!("waiting for {kind} {left:?}")))?;
        let known = event.kind == kind && left.remove(event.name());
        ensure!(known, "found {} {}, wanted {kind} {wanted:?}", event.kind, event.name());
    }
    Ok(())
}

async fn list(objects: &Objects, selector: &str) -> Outcome<Vec<String>> {
    let found = objects.items(&[("fieldSelector", selector)]).await?;
    Ok(names(&found).into_iter().map(str::to_owned).collect())
}

async fn selectable_fields(context: &Context) -> Outcome {
    let (definition, _server) = definition(context, true).await?;
    let namespace = context.namespace().await?;
    let first = context.objects(definition.resource("v1"), &namespace);
    let second = context.objects(definition.resource("v2"), &namespace);
    retry(SERVED, || async { second.items(&[]).await.map(drop) }).await?;
    let mut of_host = second.watch(&[("fieldSelector", "host=host1")]).await?;
    let mut of_both = second.watch(&[("fieldSelector", "host=host1,port=80")]).await?;
    let mut of_first = first.watch(&[("fieldSelector", "hostPort=host1:80")]).await?;
    let mut informer = Informer::start(&second, &namespace, "host=host1");
    for (name, host, port) in [("cr-1", "host1", "80"), ("cr-2", "host1", "8080"), ("cr-3", "host2", "")] {
        second.create(&json!({"metadata": {"name": name}, "host": host, "port": port})).await?;
    }
    same!(list(&second, "host=host1").await?, ["cr-1", "cr-2"], "objects of host1");
    same!(list(&second, "host=host1,port=80").await?, ["cr-1"], "objects of host1 and port 80");
    same!(list(&second, "host!=host1").await?, ["cr-3"], "objects of other hosts");
    same!(list(&first, "hostPort=host1:80").await?, ["cr-1"], "objects of host1:80 at version 1");
    same!(list(&first, "hostPort=host1:8080").await?, ["cr-2"], "objects of host1:8080 at version 1");
    expect(&mut of_host, "ADDED", &["cr-1", "cr-2"]).await?;
    expect(&mut of_both, "ADDED", &["cr-1"]).await?;
    expect(&mut of_first, "ADDED", &["cr-1"]).await?;
    informer.until(&["cr-1", "cr-2"]).await?;
    second.delete_all(&[("fieldSelector", "host=host1,port=80")]).await?.expect(200)?;
    second.update("cr-2", |object| object["host"] = "host2".into()).await?;
    same!(list(&second, "host=host1").await?, Vec::<String>::new(), "objects of host1 in the end");
    same!(list(&second, "host=host1,port=80").await?, Vec::<String>::new(), "objects of host1 and port 80 in the end");
    same!(list(&second, "host=host2").await?, ["cr-2", "cr-3"], "objects of host2 in the end");
    expect(&mut of_host, "DELETED", &["cr-1", "cr-2"]).await?;
    expect(&mut of_both, "DELETED", &["cr-1"]).await?;
    expect(&mut of_first, "DELETED", &["cr-1"]).await?;
    informer.until(&[]).await?;
    unknown_field(&second).await
}

/// A field that the definition does not name can't be selected by.
async fn unknown_field(objects: &Objects) -> Outcome {
    let answer = objects.api().get(&objects.collection(&[("fieldSelector", "other=1")])).await?;
    answer.refused(400, "BadRequest").map(drop)
}

/// What kube's informer knows of the objects that a selector matches.
struct Informer {
    stream: std::pin::Pin<Box<dyn futures::Stream<Item = watcher::Result<watcher::Event<DynamicObject>>> + Send>>,
    known: BTreeSet<String>,
}

impl Informer {
    fn start(objects: &Objects, namespace: &str, selector: &str) -> Self {
        let resource = objects.resource();
        let kind = GroupVersionKind::gvk(&resource.group, &resource.version, &resource.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, &resource.plural);
        let api: Api<DynamicObject> = Api::namespaced_with(objects.api().kube(), namespace, &resource);
        let config = watcher::Config::default().fields(selector);
        Self { stream: Box::pin(watcher(api, config)), known: BTreeSet::new() }
    }

    /// Reads events until exactly these objects are known.
    async fn until(&mut self, wanted: &[&str]) -> Outcome {
        let reached = async {
            while !self.known.iter().map(String::as_str).eq(wanted.iter().copied()) {
                let event = self.stream.try_next().await;
                let event = event.map_err(|error| crate::harness::Failure::wrong(format!("the informer: {error}")))?;
                let name = |object: DynamicObject| object.metadata.name.unwrap_or_default();
                match event {
                    Some(watcher::Event::Init) => self.known.clear(),
                    Some(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                        self.known.insert(name(object));
                    }
                    Some(watcher::Event::Delete(object)) => {
                        self.known.remove(&name(object));
                    }
                    Some(watcher::Event::InitDone) => {}
                    None => return Err(crate::harness::Failure::wrong("the informer ended")),
                }
            }
            Ok(())
        };
        let reached = tokio::time::timeout(EVENT_TIMEOUT, reached).await;
        reached.unwrap_or_else(|_| {
            Err(crate::harness::Failure::wrong(format!("the informer knows {:?}, wanted {wanted:?}", self.known)))
        })
    }
}
