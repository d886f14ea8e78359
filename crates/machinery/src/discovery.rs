//! Which resources there are, as clients ask for it: the aggregated form (`apidiscovery.k8s.io/v2`, one document under
//! `/api` and one under `/apis`) and the legacy form (`APIVersions`, `APIGroupList`, `APIGroup`, `APIResourceList`).

use crate::descriptor::{ResourceDescriptor, Storage};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A sub-resource that the server serves beyond `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubresourceInfo {
    /// API group of the resource; empty for the core group.
    pub group: &'static str,
    /// The resource that it belongs to, such as `pods`.
    pub plural: &'static str,
    /// Such as `log`.
    pub name: &'static str,
    /// The kind that is sent and answered, such as `Eviction`.
    pub kind: &'static str,
    /// The API group of that kind, where it is not the resource's.
    pub kind_group: &'static str,
    /// The version of that kind.
    pub kind_version: &'static str,
    /// Such as `get`.
    pub verbs: &'static [&'static str],
}

/// What can be done with a resource.
#[must_use]
pub fn verbs(descriptor: &ResourceDescriptor) -> &'static [&'static str] {
    match descriptor.storage {
        Storage::Stored | Storage::StoredFor { .. } => {
            &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        }
        Storage::Review => &["create"],
    }
}

const STATUS_VERBS: &[&str] = &["get", "patch", "update"];

/// What the discovery documents are made from.
#[derive(Clone, Copy)]
pub struct Discovery<'a> {
    /// Every resource.
    pub descriptors: &'a [ResourceDescriptor],
    /// Their sub-resources beyond `status`.
    pub subresources: &'a [SubresourceInfo],
}

impl<'a> Discovery<'a> {
    /// Group to versions, in the order of names; the core group is the empty one.
    fn groups(&self) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
        let mut groups: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for descriptor in self.descriptors {
            groups.entry(descriptor.group).or_default().insert(descriptor.version);
        }
        groups
    }

    fn resources(&self, group: &str, version: &str) -> Vec<&'a ResourceDescriptor> {
        let mut found: Vec<_> = self.descriptors.iter().filter(|d| d.group == group && d.version == version).collect();
        found.sort_by_key(|d| d.plural);
        found
    }

    fn subresources_of(&self, descriptor: &ResourceDescriptor) -> Vec<SubresourceInfo> {
        let status = descriptor.has_status.then_some(SubresourceInfo {
            group: descriptor.group,
            plural: descriptor.plural,
            name: "status",
            kind: descriptor.kind,
            kind_group: descriptor.group,
            kind_version: descriptor.version,
            verbs: STATUS_VERBS,
        });
        let others = self.subresources.iter().filter(|s| s.group == descriptor.group && s.plural == descriptor.plural);
        let mut found: Vec<_> = others.cloned().chain(status).collect();
        found.sort_by_key(|s| s.name);
        found
    }

    /// `APIGroupDiscoveryList`: the core group's under `/api`, all others' under `/apis`.
    #[must_use]
    pub fn aggregated(&self, core: bool) -> Value {
        let groups = self.groups();
        let items: Vec<Value> = groups
            .iter()
            .filter(|(group, _)| group.is_empty() == core)
            .map(|(group, versions)| {
                let version = |version: &&'static str| {
                    let resources: Vec<Value> =
                        self.resources(group, version).into_iter().map(|d| self.aggregated_resource(d)).collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                };
                let versions: Vec<Value> = versions.iter().map(version).collect();
                let metadata = if core { json!({}) } else { json!({"name": group}) };
                json!({"metadata": metadata, "versions": versions})
            })
            .collect();
        json!({
            "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
        })
    }

    fn aggregated_resource(&self, descriptor: &ResourceDescriptor) -> Value {
        let subresources: Vec<Value> = self
            .subresources_of(descriptor)
            .iter()
            .map(|s| {
                let kind = json!({"group": s.kind_group, "version": s.kind_version, "kind": s.kind});
                json!({"subresource": s.name, "responseKind": kind, "verbs": s.verbs})
            })
            .collect();
        let mut resource = json!({
            "resource": descriptor.plural,
            "responseKind": {"group": descriptor.group, "version": descriptor.version, "kind": descriptor.kind},
            "scope": if descriptor.namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": descriptor.singular,
            "verbs": verbs(descriptor),
        });
        let lists = [
            ("shortNames", json!(descriptor.short_names)),
            ("categories", json!(descriptor.categories)),
            ("subresources", json!(subresources)),
        ];
        add_lists(&mut resource, lists);
        resource
    }

    /// `APIVersions`, under `/api`.
    #[must_use]
    pub fn api_versions(&self, server_address: &str) -> Value {
        let versions = self.groups().remove("").unwrap_or_default();
        json!({
            "kind": "APIVersions", "versions": versions,
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
        })
    }

    /// `APIGroupList`, under `/apis`.
    #[must_use]
    pub fn group_list(&self) -> Value {
        let names = self.groups();
        let groups: Vec<Value> = names.keys().filter(|g| !g.is_empty()).map(|g| group_document(g, &names[g])).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }

    /// `APIGroup`, under `/apis/GROUP`; none when there is no such group.
    #[must_use]
    pub fn group(&self, group: &str) -> Option<Value> {
        let groups = self.groups();
        let (name, versions) = groups.get_key_value(group).filter(|(name, _)| !name.is_empty())?;
        let mut document = group_document(name, versions);
        document["kind"] = "APIGroup".into();
        document["apiVersion"] = "v1".into();
        Some(document)
    }

    /// `APIResourceList`, under `/api/VERSION` and `/apis/GROUP/VERSION`; none when there is no such version.
    #[must_use]
    pub fn resource_list(&self, group: &str, version: &str) -> Option<Value> {
        let found = self.resources(group, version);
        let mut resources = Vec::new();
        for descriptor in &found {
            let mut resource = json!({
                "name": descriptor.plural,
                "singularName": descriptor.singular,
                "namespaced": descriptor.namespaced,
                "kind": descriptor.kind,
                "verbs": verbs(descriptor),
            });
            let lists = [("shortNames", json!(descriptor.short_names)), ("categories", json!(descriptor.categories))];
            add_lists(&mut resource, lists);
            resources.push(resource);
            resources.extend(self.subresources_of(descriptor).iter().map(|s| legacy_subresource(descriptor, s)));
        }
        let document = json!({
            "kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": group_version(group, version), "resources": resources,
        });
        (!found.is_empty()).then_some(document)
    }
}

fn legacy_subresource(descriptor: &ResourceDescriptor, subresource: &SubresourceInfo) -> Value {
    let mut document = json!({
        "name": format!("{}/{}", subresource.plural, subresource.name),
        "singularName": "",
        "namespaced": descriptor.namespaced,
        "kind": subresource.kind,
        "verbs": subresource.verbs,
    });
    if (subresource.kind_group, subresource.kind_version) != (descriptor.group, descriptor.version) {
        document["group"] = subresource.kind_group.into();
        document["version"] = subresource.kind_version.into();
    }
    document
}

/// Adds the lists that are not empty.
fn add_lists<const N: usize>(document: &mut Value, lists: [(&str, Value); N]) {
    for (name, list) in lists {
        if list.as_array().is_some_and(|l| !l.is_empty()) {
            document[name] = list;
        }
    }
}

/// `v1` for the core group, else `group/v1`.
#[must_use]
pub fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn group_document(group: &str, versions: &BTreeSet<&'static str>) -> Value {
    let entry = |version: &&str| json!({"groupVersion": group_version(group, version), "version": version});
    let versions: Vec<Value> = versions.iter().map(entry).collect();
    let preferred = versions.last().cloned().unwrap_or(Value::Null);
    json!({"name": group, "versions": versions, "preferredVersion": preferred})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::test_descriptor;

    const RESIZE: SubresourceInfo = SubresourceInfo {
        group: "test.io",
        plural: "widgets",
        name: "resize",
        kind: "Resize",
        kind_group: "autoscaling",
        kind_version: "v1",
        verbs: &["create"],
    };

    fn descriptors() -> [ResourceDescriptor; 2] {
        let review = ResourceDescriptor {
            group: "",
            kind: "Review",
            plural: "reviews",
            storage: Storage::Review,
            has_status: false,
            short_names: &[],
            ..test_descriptor()
        };
        [test_descriptor(), review]
    }

    #[test]
    fn the_aggregated_form_tells_core_from_named_groups() {
        let descriptors = descriptors();
        let discovery = Discovery { descriptors: &descriptors, subresources: &[RESIZE] };
        let core = discovery.aggregated(true);
        assert_eq!(core["items"][0]["metadata"], json!({}));
        assert_eq!(core["items"][0]["versions"][0]["resources"][0]["verbs"], json!(["create"]));
        let named = discovery.aggregated(false);
        let widget = &named["items"][0]["versions"][0]["resources"][0];
        assert_eq!(named["items"][0]["metadata"]["name"], "test.io");
        assert_eq!(widget["responseKind"], json!({"group": "test.io", "version": "v1", "kind": "Widget"}));
        assert_eq!((&widget["scope"], &widget["shortNames"]), (&json!("Namespaced"), &json!(["wd"])));
        let subresources: Vec<&str> =
            widget["subresources"].as_array().unwrap().iter().filter_map(|s| s["subresource"].as_str()).collect();
        assert_eq!(subresources, ["resize", "status"]);
    }

    #[test]
    fn the_legacy_form_lists_groups_versions_and_resources() {
        let descriptors = descriptors();
        let discovery = Discovery { descriptors: &descriptors, subresources: &[RESIZE] };
        assert_eq!(discovery.api_versions("h:1")["versions"], json!(["v1"]));
        assert_eq!(discovery.group_list()["groups"][0]["preferredVersion"]["groupVersion"], "test.io/v1");
        assert_eq!(discovery.group("test.io").unwrap()["kind"], "APIGroup");
        assert_eq!((discovery.group(""), discovery.group("x")), (None, None));
        let list = discovery.resource_list("test.io", "v1").unwrap();
        let names: Vec<&str> =
            list["resources"].as_array().unwrap().iter().filter_map(|r| r["name"].as_str()).collect();
        assert_eq!(names, ["widgets", "widgets/resize", "widgets/status"]);
        assert_eq!(list["resources"][1]["group"], "autoscaling");
        assert_eq!(discovery.resource_list("", "v1").unwrap()["groupVersion"], "v1");
        assert_eq!(discovery.resource_list("", "v9"), None);
    }
}
