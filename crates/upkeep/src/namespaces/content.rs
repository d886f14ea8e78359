//! What is in a namespace, found out through the API.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, APIResourceList};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams},
};
use orrery_reconcile::{ControllerError, chain};
use std::collections::BTreeMap;

/// How many objects are read at once; a namespace with more shows the rest in the next pass.
const PAGE: u32 = 500;

/// A kind of namespaced object that can be listed and deleted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    /// Whether all objects can be deleted with one request.
    pub(super) at_once: bool,
}

impl Kind {
    /// `pods`, `leases.coordination.k8s.io`.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(super) fn is_pod(&self) -> bool {
        self.group.is_empty() && self.plural == "pods"
    }

    fn api(&self, client: &kube::Client, namespace: &str) -> Api<DynamicObject> {
        let api_version =
            if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) };
        let resource = ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version,
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        };
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

/// What is left of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// How many objects.
    pub(super) count: usize,
    /// How many of them are not being deleted yet.
    pub(super) untouched: usize,
    /// Their finalizers, and how many objects have each.
    pub(super) finalizers: BTreeMap<String, usize>,
}

/// All kinds, and what could not be found out.
pub(super) async fn discover(client: &kube::Client) -> Result<(Vec<Kind>, Vec<String>), ControllerError> {
    let api = ControllerError::api("discover the API's resources");
    let mut kinds = of_list("", "v1", &client.list_core_api_resources("v1").await.map_err(&api)?);
    let mut undiscovered = Vec::new();
    for group in client.list_api_groups().await.map_err(&api)?.groups {
        let preferred = group.preferred_version.as_ref().or(group.versions.first());
        let Some(version) = preferred else { continue };
        match client.list_api_group_resources(&version.group_version).await {
            Ok(list) => kinds.extend(of_list(&group.name, &version.version, &list)),
            Err(error) => undiscovered.push(format!("{}: {}", version.group_version, chain(&error))),
        }
    }
    Ok((kinds, undiscovered))
}

fn of_list(group: &str, version: &str, list: &APIResourceList) -> Vec<Kind> {
    let can = |resource: &APIResource, verb: &str| resource.verbs.iter().any(|known| known == verb);
    let usable = |resource: &&APIResource| {
        resource.namespaced && !resource.name.contains('/') && can(resource, "list") && can(resource, "delete")
    };
    let kind = |resource: &APIResource| Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: resource.kind.clone(),
        plural: resource.name.clone(),
        at_once: can(resource, "deletecollection"),
    };
    list.resources.iter().filter(usable).map(kind).collect()
}

/// What is left of `kind` in `namespace`.
pub(super) async fn read(client: &kube::Client, namespace: &str, kind: &Kind) -> Result<Content, kube::Error> {
    let list = kind.api(client, namespace).list(&ListParams::default().limit(PAGE)).await?;
    let mut content = Content::default();
    for object in &list.items {
        content.count += 1;
        content.untouched += usize::from(object.metadata.deletion_timestamp.is_none());
        for finalizer in object.metadata.finalizers.iter().flatten() {
            *content.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
    }
    Ok(content)
}

/// Asks that every object of `kind` in `namespace` be deleted.
pub(super) async fn delete_all(client: &kube::Client, namespace: &str, kind: &Kind) -> Result<(), kube::Error> {
    let api = kind.api(client, namespace);
    let params = DeleteParams::background();
    if kind.at_once {
        return api.delete_collection(&params, &ListParams::default()).await.map(drop);
    }
    for object in api.list(&ListParams::default().limit(PAGE)).await?.items {
        let name = object.metadata.name.unwrap_or_default();
        match api.delete(&name, &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_namespaced_resources_that_can_be_listed_and_deleted_count_as_content() {
        let all = json!(["create", "delete", "deletecollection", "get", "list"]);
        let list: APIResourceList = serde_json::from_value(json!({"groupVersion": "apps/v1", "resources": [
            {"name": "deployments", "singularName": "", "namespaced": true, "kind": "Deployment", "verbs": all},
            {"name": "deployments/status", "singularName": "", "namespaced": true, "kind": "Deployment", "verbs": all},
            {"name": "widgets", "singularName": "", "namespaced": true, "kind": "Widget", "verbs": ["list", "delete"]},
            {"name": "reviews", "singularName": "", "namespaced": true, "kind": "Review", "verbs": ["create"]},
            {"name": "nodes", "singularName": "", "namespaced": false, "kind": "Node", "verbs": all},
        ]}))
        .unwrap();
        let kinds = of_list("apps", "v1", &list);
        let names: Vec<_> = kinds.iter().map(|kind| (kind.qualified(), kind.at_once)).collect();
        assert_eq!(names, [("deployments.apps".to_owned(), true), ("widgets.apps".to_owned(), false)]);
    }
}
