//! Another API server behind this one.
//!
//! The other server runs in this process. The service that leads to it is of type `ExternalName`, so that no pod network is
//! needed: the server under test resolves it to this machine.

use super::operations::merge;
use crate::{
    ensure,
    harness::{Asked, Context, Failure, Outcome, Resource, WebhookServer, condition, names, resource, until},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub(super) const TESTS: &[Test] = &[test(
    "[sig-api-machinery] Aggregator Should be able to support the 1.17 Sample API Server using the current Aggregator [LinuxOnly] [Conformance]",
    run!(sample_server),
)];

const AVAILABLE: Duration = Duration::from_secs(60);

/// What the other server keeps: its flunders by path, and who has asked last.
#[derive(Debug, Default)]
struct Sample {
    flunders: BTreeMap<String, Value>,
    user: String,
}

/// The other server's answers.
#[derive(Clone)]
struct Server {
    group: String,
    sample: Arc<Mutex<Sample>>,
}

impl Server {
    fn answer(&self, asked: &Asked) -> (u16, Value) {
        let api_version = format!("{}/v1alpha1", self.group);
        let root = format!("/apis/{api_version}");
        if asked.path == root {
            let verbs = ["create", "delete", "get", "list"];
            let flunders = json!({"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": verbs});
            return (
                200,
                json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": [flunders]}),
            );
        }
        let Some(rest) = asked.path.strip_prefix(&format!("{root}/namespaces/")) else { return not_found() };
        let parts: Vec<&str> = rest.split('/').collect();
        let mut sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        let user = asked.headers.get("x-remote-user").and_then(|value| value.to_str().ok());
        user.unwrap_or_default().clone_into(&mut sample.user);
        match (asked.method.as_str(), parts.as_slice()) {
            ("POST", [_, "flunders"]) => {
                let mut object = asked.body.clone();
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                object["metadata"]["resourceVersion"] = "1".into();
                sample.flunders.insert(format!("{rest}/{name}"), object.clone());
                (201, object)
            }
            ("GET", [_, "flunders"]) => {
                let prefix = format!("{rest}/");
                let items: Vec<&Value> =
                    sample.flunders.iter().filter(|(path, _)| path.starts_with(&prefix)).map(|(_, one)| one).collect();
                let metadata = json!({"resourceVersion": "1"});
                (200, json!({"kind": "FlunderList", "apiVersion": api_version, "metadata": metadata, "items": items}))
            }
            ("GET", [_, "flunders", _]) => sample.flunders.get(rest).map_or_else(not_found, |one| (200, one.clone())),
            ("DELETE", [_, "flunders", _]) => match sample.flunders.remove(rest) {
                Some(_) => (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})),
                None => not_found(),
            },
            _ => not_found(),
        }
    }
}

fn not_found() -> (u16, Value) {
    (
        404,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
        "message": "the sample server has no such thing"}),
    )
}

/// The authority whose certificates the server under test shows to other API servers.
async fn front_proxies(context: &Context) -> Outcome<String> {
    let maps = context.objects(Resource::namespaced("v1", "configmaps", "ConfigMap"), "kube-system");
    let published = maps.get("extension-apiserver-authentication").await?;
    let authority = published["data"]["requestheader-client-ca-file"].as_str().unwrap_or_default();
    ensure!(!authority.is_empty(), "no authority of front proxies is published: {published}");
    Ok(authority.to_owned())
}

async fn sample_server(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let group = format!("{}.example.com", context.name("wardle"));
    let server = Server { group: group.clone(), sample: Arc::default() };
    let own = server.clone();
    let host = format!("sample-api.{namespace}.svc");
    let proxies = front_proxies(context).await?;
    let https = WebhookServer::start_named(context, vec![host], Some(&proxies), move |asked: Asked| {
        let answered = own.answer(&asked);
        async move { answered }
    })
    .await?;
    let port = https.address().port();
    let service = json!({
        "metadata": {"name": "sample-api"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port, "protocol": "TCP"}]},
    });
    context.objects(resource::services(), &namespace).create(&service).await?;
    let services = Resource::cluster("apiregistration.k8s.io/v1", "apiservices", "APIService");
    let name = format!("v1alpha1.{group}");
    context.remove_later(&services, &name);
    let registration = json!({"metadata": {"name": name, "labels": {"sample": group}}, "spec": {
        "service": {"namespace": namespace, "name": "sample-api", "port": port},
        "group": group, "version": "v1alpha1", "caBundle": https.ca_bundle(),
        "groupPriorityMinimum": 2000, "versionPriority": 200,
    }});
    let registrations = context.cluster(services);
    registrations.create(&registration).await?;
    registrations
        .wait(&name, "the other API server is not available", AVAILABLE, |object| {
            condition(object, "Available") == Some("True")
        })
        .await?;
    proxied(context, &server, &namespace).await?;
    registration_operations(context, &group).await
}

/// What is asked of the group goes to the other server, with the user's name.
async fn proxied(context: &Context, server: &Server, namespace: &str) -> Outcome {
    let group = server.group.as_str();
    let listed = until(AVAILABLE, || async {
        let groups = context.api.get("/apis").await?.expect(200)?;
        let found = groups["groups"].as_array().is_some_and(|all| all.iter().any(|known| known["name"] == group));
        Ok(found.then_some(()))
    });
    listed.await.map_err(|failure| failure.during(format!("/apis has no group {group}")))?;
    let flunders =
        context.objects(Resource::namespaced(&format!("{group}/v1alpha1"), "flunders", "Flunder"), namespace);
    flunders.create(&json!({"metadata": {"name": "test-flunder"}})).await?;
    same!(names(&flunders.items(&[]).await?), ["test-flunder"], "flunders by way of the server");
    same!(flunders.get("test-flunder").await?["kind"], "Flunder", "the kind of a flunder");
    let user = server.sample.lock().unwrap_or_else(PoisonError::into_inner).user.clone();
    ensure!(!user.is_empty(), "the other server was not told who asks (X-Remote-User)");
    flunders.delete("test-flunder").await?;
    same!(flunders.items(&[]).await?.len(), 0, "flunders after the deletion");
    Ok(())
}

async fn registration_operations(context: &Context, group: &str) -> Outcome {
    let registrations = context.cluster(Resource::cluster("apiregistration.k8s.io/v1", "apiservices", "APIService"));
    let (name, selector) = (format!("v1alpha1.{group}"), format!("sample={group}"));
    let got = registrations.sub("status").get(&name).await?;
    same!(condition(&got, "Available"), Some("True"), "the condition Available of the status");
    let patched = registrations.merge(&name, &json!({"spec": {"versionPriority": 400}})).await?;
    same!(patched["spec"]["versionPriority"], 400, "the priority of the patched registration");
    let own = json!({"type": "StatusUpdated", "status": "True", "reason": "E2E", "message": "Set by a test"});
    let statuses = registrations.sub("status");
    let updated = statuses.update(&name, |object| match object["status"]["conditions"].as_array_mut() {
        Some(conditions) => conditions.push(own.clone()),
        None => merge(&mut object["status"], &json!({"conditions": [own]})),
    });
    same!(condition(&updated.await?, "StatusUpdated"), Some("True"), "the condition of the updated status");
    same!(names(&registrations.labelled(&selector).await?), [name.as_str()], "registrations with the label");
    registrations.delete_labelled(&selector).await?;
    registrations.gone(&name, AVAILABLE).await?;
    until(AVAILABLE, || async {
        Ok((context.api.get(&format!("/apis/{group}/v1alpha1")).await?.status == 404).then_some(()))
    })
    .await
    .map_err(|failure: Failure| failure.during("the group is still there after its registration was deleted"))
}
