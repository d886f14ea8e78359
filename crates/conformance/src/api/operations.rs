//! The operations that every resource has to have, as many entries of the list ask for: discovery, create, get, list,
//! watch, patch, update, delete, deletecollection, and those of `status`.

use crate::{
    ensure,
    harness::{
        Api, Context, EVENT_TIMEOUT, Failure, Form, Objects, Outcome, Resource, expect_newer, expect_within, version,
    },
    same,
};
use serde_json::{Value, json};

/// What a client may do with a resource.
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// The label of the objects of one test.
const LABEL: &str = "conformance-set";

/// A resource, and an object of it.
pub(super) struct Subject {
    pub(super) resource: Resource,
    /// Sub-resources that discovery has to show.
    pub(super) subresources: &'static [&'static str],
    /// An object; name and label are added.
    pub(super) object: Value,
    /// The names of the objects, where they can't be chosen freely.
    pub(super) names: Option<[&'static str; 3]>,
    /// A merge patch of an object, beside an annotation.
    pub(super) patch: Value,
    /// What an update merges in, beside an annotation.
    pub(super) update: Value,
}

impl Subject {
    /// A resource and an object of it, of which only the annotations change.
    pub(super) fn new(resource: Resource, object: Value) -> Self {
        Self { resource, subresources: &[], object, names: None, patch: json!({}), update: json!({}) }
    }
}

/// Three objects of a resource, made by a test.
pub(super) struct Three {
    pub(super) objects: Objects,
    /// All namespaces, for a resource with namespaces.
    everywhere: Objects,
    /// The object that the test changes.
    pub(super) name: String,
    selector: String,
}

/// All operations, for a resource without anything of its own.
pub(super) async fn all(context: &Context, subject: Subject) -> Outcome {
    discovery(&context.api, &subject.resource, subject.subresources).await?;
    let three = Three::create(context, &subject).await?;
    three.change(&subject).await?;
    three.remove().await
}

/// The resource is in the three discovery documents, with all verbs, and so are its sub-resources.
pub(super) async fn discovery(api: &Api, resource: &Resource, subresources: &[&str]) -> Outcome {
    let (group, group_version) = (resource.group.as_str(), resource.api_version());
    let groups = api.get("/apis").await?.expect(200)?;
    let listed = groups["groups"].as_array().and_then(|all| all.iter().find(|known| known["name"] == group));
    let listed = listed.ok_or_else(|| Failure::wrong(format!("/apis has no group {group}")))?;
    let one = api.get(&format!("/apis/{group}")).await?.expect(200)?;
    for (document, path) in [(listed, "/apis"), (&one, group)] {
        let versions = document["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = versions.iter().any(|known| known["groupVersion"] == group_version.as_str());
        ensure!(found, "{path} does not have {group_version}: {document}");
    }
    let list = api.get(&resource.root()).await?.expect(200)?;
    same!(list["groupVersion"], group_version.as_str(), "groupVersion of {}", resource.root());
    let names = [resource.plural.clone()];
    let names = names.into_iter().chain(subresources.iter().map(|sub| format!("{}/{sub}", resource.plural)));
    for name in names {
        let known =
            list["resources"].as_array().and_then(|all| all.iter().find(|known| known["name"] == name.as_str()));
        let known = known.ok_or_else(|| Failure::wrong(format!("{} has no {name}", resource.root())))?;
        let verbs = known["verbs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let wanted: &[&str] = if name.contains('/') { &["get", "patch", "update"] } else { &VERBS };
        for verb in wanted {
            ensure!(verbs.iter().any(|known| known == verb), "{name} in {} has not {verb}: {known}", resource.root());
        }
        same!(known["namespaced"], resource.namespaced, "namespaced of {name}");
    }
    Ok(())
}

impl Three {
    /// Creates three objects, gets one and lists them.
    pub(super) async fn create(context: &Context, subject: &Subject) -> Outcome<Self> {
        let namespace = if subject.resource.namespaced { Some(context.namespace().await?) } else { None };
        let objects = Objects::new(context.api.clone(), subject.resource.clone(), namespace.as_deref());
        let everywhere = context.cluster(subject.resource.clone());
        let set = context.name("set");
        let selector = format!("{LABEL}={set}");
        if namespace.is_none() {
            context.remove_path_later(everywhere.collection(&[("labelSelector", &selector)]));
        }
        let mut first = Value::Null;
        for index in 0..3 {
            let mut object = subject.object.clone();
            let name = subject.names.map_or_else(|| context.name("object"), |names| names[index].to_owned());
            object["metadata"]["name"] = name.into();
            object["metadata"]["labels"][LABEL] = set.clone().into();
            first = objects.create(&object).await?;
        }
        let name = first["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        for field in ["uid", "resourceVersion", "creationTimestamp"] {
            ensure!(first["metadata"][field].is_string(), "the created object has no {field}: {first}");
        }
        let got = objects.get(&name).await?;
        same!(got["metadata"]["uid"], first["metadata"]["uid"], "the uid of {name} when it is read");
        expect_within(&got["spec"], &first["spec"], "the spec when it is read")?;
        let three = Self { objects, everywhere, name, selector };
        three.expect_count(3).await?;
        Ok(three)
    }

    /// There are so many objects, in the namespace and in all of them.
    pub(super) async fn expect_count(&self, count: usize) -> Outcome {
        for objects in [&self.objects, &self.everywhere] {
            let found = objects.labelled(&self.selector).await?;
            // What waits for a finalizer was deleted all the same.
            let found = found.iter().filter(|object| !is_finalizing(object)).count();
            same!(found, count, "objects in {}", objects.collection(&[]));
        }
        Ok(())
    }

    /// Patches and updates an object while it is watched.
    pub(super) async fn change(&self, subject: &Subject) -> Outcome {
        let query = [("labelSelector", self.selector.as_str())];
        let from = version(&self.everywhere.list(&query).await?)?;
        let mut watch = self.everywhere.watch(&[query[0], ("resourceVersion", &from)]).await?;
        let before = self.objects.get(&self.name).await?;
        let mut patch = subject.patch.clone();
        patch["metadata"]["annotations"]["patched"] = "true".into();
        let patched = self.objects.merge(&self.name, &patch).await?;
        expect_within(&patched, &patch, "the patched object")?;
        expect_newer(&patched, &before, "the patched object")?;
        let mut merged = subject.update.clone();
        merged["metadata"]["annotations"]["updated"] = "true".into();
        let updated = self.objects.update(&self.name, |object| merge(object, &merged)).await?;
        expect_within(&updated, &merged, "the updated object")?;
        expect_newer(&updated, &patched, "the updated object")?;
        for annotation in ["patched", "updated"] {
            let what = format!("{} with the annotation {annotation}", self.name);
            let seen = watch.find(&what, EVENT_TIMEOUT, |event| {
                event.name() == self.name && event.object["metadata"]["annotations"][annotation] == "true"
            });
            let seen = seen.await?;
            same!(seen.kind, "MODIFIED", "the event of {what}");
        }
        Ok(())
    }

    /// Deletes one object, then the rest as a collection.
    pub(super) async fn remove(&self) -> Outcome {
        self.objects.delete(&self.name).await?;
        let answer = self.objects.read(&self.name).await?;
        ensure!(
            answer.status == 404 || (answer.is_success() && is_finalizing(&answer.body)),
            "{} is still there after it was deleted: {}",
            self.name,
            answer.body
        );
        self.expect_count(2).await?;
        self.objects.delete_labelled(&self.selector).await?;
        self.expect_count(0).await
    }

    /// Reads, patches and updates the status; `patched` and `updated` are what is merged in each time.
    pub(super) async fn status(&self, patched: &Value, updated: &Value) -> Outcome {
        status(&self.objects, &self.name, patched, updated).await
    }
}

fn is_finalizing(object: &Value) -> bool {
    let finalizers = object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
    object["metadata"]["deletionTimestamp"].is_string() && finalizers
}

/// Reads, patches and updates the status of an object, and sees that only status (and metadata) changes by it.
pub(super) async fn status(objects: &Objects, name: &str, patched: &Value, updated: &Value) -> Outcome {
    let statuses = objects.sub("status");
    let before = objects.get(name).await?;
    let got = statuses.get(name).await?;
    for field in ["apiVersion", "kind"] {
        same!(got[field], before[field], "{field} of the status of {name}");
    }
    same!(got["metadata"]["uid"], before["metadata"]["uid"], "the uid of the status of {name}");
    let patch = json!({"status": patched});
    let after = statuses.patch(name, Form::MergePatch, &patch, &[]).await?.expect(200)?;
    expect_within(&after["status"], patched, "the status when it is patched")?;
    same!(after["spec"], before["spec"], "the spec when the status is patched");
    expect_within(&objects.get(name).await?["status"], patched, "the status after it was patched")?;
    let after = statuses.update(name, |object| merge(&mut object["status"], updated)).await?;
    expect_within(&after["status"], updated, "the status when it is updated")?;
    expect_within(&objects.get(name).await?["status"], updated, "the status after it was updated")
}

/// Merges as RFC 7386 says, without null's removal.
pub(super) fn merge(into: &mut Value, what: &Value) {
    match (into, what) {
        (Value::Object(fields), Value::Object(more)) => {
            for (name, value) in more {
                merge(fields.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, what) => *into = what.clone(),
    }
}
