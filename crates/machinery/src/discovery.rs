//! Which resources there are, as clients ask for it: the aggregated form (`apidiscovery.k8s.io/v2`, one document under
//! `/api` and one under `/apis`) and the legacy form (`APIVersions`, `APIGroupList`, `APIGroup`, `APIResourceList`).
//!
//! Groups that other servers answer for stand among those of this one, in the order that their registrations ask for.

use crate::descriptor::{ResourceDescriptor, Storage, Subresource};
use serde_json::{Value, json};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// What can be done with a resource.
#[must_use]
pub fn verbs(descriptor: &ResourceDescriptor) -> &'static [&'static str] {
    match descriptor.storage {
        Storage::Stored | Storage::StoredFor { .. } => {
            &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        }
        Storage::Review => &["create"],
        Storage::Computed => &["get", "list"],
    }
}

/// The order of groups whose registration nobody knows: that of custom resources.
const UNREGISTERED: i64 = 1000;

/// How a version of a group is registered (`APIService`), as far as discovery goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// `groupPriorityMinimum`: the greater, the earlier.
    pub group: i64,
    /// `versionPriority`: the greater, the earlier within the group.
    pub version: i64,
}

/// A version of a group that another server answers for.
#[derive(Debug, Clone, PartialEq)]
pub struct OtherVersion {
    /// The group.
    pub group: String,
    /// The version.
    pub version: String,
    /// Where it stands.
    pub priority: Priority,
    /// Whether the other server answers.
    pub available: bool,
    /// What it has last said of its resources, as `APIResourceDiscovery`.
    pub resources: Vec<Value>,
    /// Tells one content of its OpenAPI v3 document from another; none when it has no such document.
    pub openapi_hash: Option<String>,
}

/// All registrations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registered {
    /// Of what this server answers itself, by group and version.
    pub local: HashMap<(String, String), Priority>,
    /// Of what other servers answer.
    pub others: Vec<OtherVersion>,
}

impl Registered {
    /// The version of a group, if another server answers for it.
    #[must_use]
    pub fn other(&self, group: &str, version: &str) -> Option<&OtherVersion> {
        self.others.iter().find(|other| other.group == group && other.version == version)
    }

    /// The index of this server's OpenAPI v3 documents, with those of other servers.
    #[must_use]
    pub fn openapi_index(&self, own: &Value) -> Value {
        let mut index = own.clone();
        for other in self.others.iter().filter(|other| other.available) {
            let Some(hash) = &other.openapi_hash else { continue };
            let path = format!("apis/{}/{}", other.group, other.version);
            index["paths"][&path] = json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")});
        }
        index
    }

    fn priority(&self, group: &str, version: &str) -> Priority {
        let local = || self.local.iter().find(|((g, v), _)| g == group && v == version).map(|(_, priority)| *priority);
        let known = self.other(group, version).map(|other| other.priority).or_else(local);
        // The API of registrations itself is registered nowhere, and stands first.
        let first = if group == "apiregistration.k8s.io" { i64::MAX } else { UNREGISTERED };
        known.unwrap_or(Priority { group: first, version: 0 })
    }
}

/// What the discovery documents are made from.
#[derive(Clone, Copy)]
pub struct Discovery<'a> {
    /// Every resource.
    pub descriptors: &'a [Arc<ResourceDescriptor>],
    /// What other servers answer for, and the order of all.
    pub registered: &'a Registered,
}

impl<'a> Discovery<'a> {
    /// Groups with their versions, in order; the core group is the empty one. The preferred version is the first. Of what
    /// other servers answer, those that do not answer are left out unless `stale`.
    fn groups(&self, stale: bool) -> Vec<(&'a str, Vec<&'a str>)> {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let own = self.descriptors.iter().map(|descriptor| (&*descriptor.group, &*descriptor.version));
        let others = self.registered.others.iter().filter(|other| stale || other.available);
        for (group, version) in own.chain(others.map(|other| (other.group.as_str(), other.version.as_str()))) {
            let versions = groups.entry(group).or_default();
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        for (group, versions) in &mut groups {
            let asked = |version: &str| self.registered.priority(group, version).version;
            versions.sort_by_key(|version| Reverse((asked(version), version_priority(version))));
        }
        groups.sort_by_cached_key(|(group, versions)| {
            let of_version = |version: &&str| self.registered.priority(group, version).group;
            Reverse(versions.iter().map(of_version).max())
        });
        groups
    }

    fn versions_of(&self, group: &str) -> Option<Vec<&'a str>> {
        self.groups(false).into_iter().find(|(name, _)| *name == group).map(|(_, versions)| versions)
    }

    fn resources(&self, group: &str, version: &str) -> Vec<&'a ResourceDescriptor> {
        let of_it = self.descriptors.iter().filter(|d| d.group == group && d.version == version);
        let mut found: Vec<_> = of_it.map(|d| &**d).collect();
        found.sort_by(|a, b| a.plural.cmp(&b.plural));
        found
    }

    /// `APIGroupDiscoveryList`: the core group's under `/api`, all others' under `/apis`.
    #[must_use]
    pub fn aggregated(&self, core: bool) -> Value {
        let groups = self.groups(true);
        let items: Vec<Value> = groups
            .iter()
            .filter(|(group, _)| group.is_empty() == core)
            .map(|(group, versions)| {
                let version = |version: &&str| {
                    if let Some(other) = self.registered.other(group, version) {
                        let freshness = if other.available { "Current" } else { "Stale" };
                        return json!({"version": version, "freshness": freshness, "resources": other.resources});
                    }
                    let resources: Vec<Value> =
                        self.resources(group, version).into_iter().map(aggregated_resource).collect();
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

    /// `APIVersions`, under `/api`.
    #[must_use]
    pub fn api_versions(&self, server_address: &str) -> Value {
        let versions = self.versions_of("").unwrap_or_default();
        json!({
            "kind": "APIVersions", "versions": versions,
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
        })
    }

    /// `APIGroupList`, under `/apis`.
    #[must_use]
    pub fn group_list(&self) -> Value {
        let names = self.groups(false);
        let named = names.iter().filter(|(group, _)| !group.is_empty());
        let groups: Vec<Value> = named.map(|(group, versions)| group_document(group, versions)).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }

    /// `APIGroup`, under `/apis/GROUP`; none when there is no such group.
    #[must_use]
    pub fn group(&self, group: &str) -> Option<Value> {
        let versions = self.versions_of(group).filter(|_| !group.is_empty())?;
        let mut document = group_document(group, &versions);
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
            resources.extend(subresources_of(descriptor).into_iter().map(|s| legacy_subresource(descriptor, s)));
        }
        let document = json!({
            "kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": group_version(group, version), "resources": resources,
        });
        (!found.is_empty()).then_some(document)
    }
}

fn subresources_of(descriptor: &ResourceDescriptor) -> Vec<&Subresource> {
    let mut found: Vec<_> = descriptor.subresources.iter().collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn aggregated_resource(descriptor: &ResourceDescriptor) -> Value {
    let subresources: Vec<Value> = subresources_of(descriptor)
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

fn legacy_subresource(descriptor: &ResourceDescriptor, subresource: &Subresource) -> Value {
    let mut document = json!({
        "name": format!("{}/{}", descriptor.plural, subresource.name),
        "singularName": "",
        "namespaced": descriptor.namespaced,
        "kind": subresource.kind,
        "verbs": subresource.verbs,
    });
    if (&subresource.kind_group, &subresource.kind_version) != (&descriptor.group, &descriptor.version) {
        document["group"] = json!(subresource.kind_group);
        document["version"] = json!(subresource.kind_version);
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

/// Orders versions of an API: `v2` before `v1`, these before `v2beta1`, betas before alphas, and what follows no pattern last,
/// by name (<https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority>).
/// The greatest is preferred.
#[must_use]
pub fn version_priority(version: &str) -> (u8, u64, u64, Reverse<String>) {
    let name = || Reverse(version.to_owned());
    let split = |text: &str| -> Option<(u8, u64, u64)> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let major = text[..digits].parse().ok()?;
        let minor = |rest: &str| if rest.is_empty() { None } else { rest.parse().ok() };
        match &text[digits..] {
            "" => Some((3, major, 0)),
            stage => match (stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
                (Some(rest), _) => Some((2, major, minor(rest)?)),
                (_, Some(rest)) => Some((1, major, minor(rest)?)),
                _ => None,
            },
        }
    };
    let parsed = version.strip_prefix('v').and_then(split);
    parsed.map_or_else(|| (0, 0, 0, name()), |(stage, major, minor)| (stage, major, minor, name()))
}

fn group_document(group: &str, versions: &[&str]) -> Value {
    let entry = |version: &&str| json!({"groupVersion": group_version(group, version), "version": version});
    let versions: Vec<Value> = versions.iter().map(entry).collect();
    let preferred = versions.first().cloned().unwrap_or(Value::Null);
    json!({"name": group, "versions": versions, "preferredVersion": preferred})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::{FixedResource, test_descriptor};

    const RESIZE: &[Subresource] = &[Subresource::handled("resize", ("autoscaling", "v1", "Resize"), &["create"])];

    fn descriptors() -> [Arc<ResourceDescriptor>; 2] {
        let review = FixedResource {
            group: "",
            kind: "Review",
            plural: "reviews",
            storage: Storage::Review,
            has_status: false,
            short_names: &[],
            ..test_descriptor()
        };
        let widget = FixedResource { subresources: RESIZE, ..test_descriptor() };
        [Arc::new(widget.into()), Arc::new(review.into())]
    }

    #[test]
    fn versions_are_preferred_as_upstream_prefers_them() {
        let mut versions =
            ["foo1", "v12alpha1", "v10", "v11beta2", "foo10", "v3beta1", "v11alpha2", "v1", "v10beta3", "v2"];
        versions.sort_by_key(|version| Reverse(version_priority(version)));
        let documented =
            ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"];
        assert_eq!(versions, documented);
    }

    #[test]
    fn the_aggregated_form_tells_core_from_named_groups() {
        let descriptors = descriptors();
        let registered = Registered::default();
        let discovery = Discovery { descriptors: &descriptors, registered: &registered };
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
        let registered = Registered::default();
        let discovery = Discovery { descriptors: &descriptors, registered: &registered };
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

    #[test]
    fn groups_of_other_servers_stand_where_their_registration_says() {
        let descriptors = descriptors();
        let priority = |group, version| Priority { group, version };
        let other = |version: &str, available| OtherVersion {
            group: "other.io".into(),
            version: version.into(),
            priority: priority(2000, if version == "v1" { 10 } else { 20 }),
            available,
            resources: vec![json!({"resource": "flunders"})],
            openapi_hash: None,
        };
        let mut registered =
            Registered { local: HashMap::new(), others: vec![other("v1", true), other("v1beta1", false)] };
        let names = |registered: &Registered| {
            let list = Discovery { descriptors: &descriptors, registered }.group_list();
            let groups = list["groups"].as_array().unwrap().iter();
            groups.map(|group| group["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&registered), ["other.io", "test.io"]);
        registered.local.insert(("test.io".into(), "v1".into()), priority(17_000, 15));
        assert_eq!(names(&registered), ["test.io", "other.io"]);
        let discovery = Discovery { descriptors: &descriptors, registered: &registered };
        let versions = &discovery.aggregated(false)["items"][1]["versions"];
        let seen: Vec<_> = versions.as_array().unwrap().iter().map(|v| (&v["version"], &v["freshness"])).collect();
        assert_eq!(seen, [(&json!("v1beta1"), &json!("Stale")), (&json!("v1"), &json!("Current"))]);
        assert_eq!(versions[1]["resources"][0]["resource"], "flunders");
        assert_eq!(discovery.group("other.io").unwrap()["versions"].as_array().unwrap().len(), 1);
    }
}
