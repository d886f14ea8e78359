//! The kinds that the API serves, and where.

use super::graph::GroupKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, APIResourceList};
use orrery_reconcile::{ControllerError, ObjectKey, chain};
use std::collections::BTreeMap;

/// Kinds that own nothing, are owned by nobody, and change all the time.
const IGNORED: [(&str, &str); 2] = [("", "events"), ("events.k8s.io", "events")];

/// Where objects of a kind are found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) namespaced: bool,
    /// Whether it can be listed, watched and deleted.
    pub(super) collectable: bool,
}

impl Place {
    /// The path of all objects of the kind.
    pub(super) fn root(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}/{}", self.version, self.plural)
        } else {
            format!("/apis/{}/{}/{}", self.group, self.version, self.plural)
        }
    }

    /// The path of the collection that an object lies in.
    pub(crate) fn collection(&self, key: &ObjectKey) -> String {
        if key.namespace.is_empty() {
            return self.root();
        }
        let (plural, namespace) = (&self.plural, &key.namespace);
        if self.group.is_empty() {
            format!("/api/{}/namespaces/{namespace}/{plural}", self.version)
        } else {
            format!("/apis/{}/{}/namespaces/{namespace}/{plural}", self.group, self.version)
        }
    }
}

/// All kinds, by group and kind, at their preferred version.
#[derive(Debug, Default)]
pub(super) struct Kinds(BTreeMap<GroupKind, Place>);

impl Kinds {
    pub(super) fn get(&self, kind: &GroupKind) -> Option<&Place> {
        self.0.get(kind)
    }

    /// The place of a resource.
    pub(super) fn place_of(&self, group: &str, plural: &str) -> Option<&Place> {
        self.0.values().find(|place| place.group == group && place.plural == plural)
    }

    /// The kinds that are watched.
    pub(super) fn collectable(&self) -> impl Iterator<Item = (&GroupKind, &Place)> {
        self.0.iter().filter(|(_, place)| place.collectable)
    }

    /// Asks the API. A group that does not answer keeps what was known of it: its objects must not seem gone.
    pub(super) async fn discover(client: &kube::Client, known: &Self) -> Result<Self, ControllerError> {
        let api = ControllerError::api("discover the API's resources");
        let mut kinds = BTreeMap::new();
        kinds.extend(of_list("", "v1", &client.list_core_api_resources("v1").await.map_err(&api)?));
        for group in client.list_api_groups().await.map_err(&api)?.groups {
            // Older versions first, so that the preferred one has the last word.
            let preferred = group.preferred_version.as_ref().map(|version| version.version.clone());
            let mut versions: Vec<_> = group.versions.iter().collect();
            versions.sort_by_key(|version| Some(&version.version) == preferred.as_ref());
            for version in versions {
                match client.list_api_group_resources(&version.group_version).await {
                    Ok(list) => kinds.extend(of_list(&group.name, &version.version, &list)),
                    Err(error) => {
                        let error = chain(&error);
                        tracing::debug!(group = group.name, error, "the group does not answer");
                        let of_group = known.0.iter().filter(|(kind, _)| kind.group == group.name);
                        kinds.extend(of_group.map(|(kind, place)| (kind.clone(), place.clone())));
                    }
                }
            }
        }
        Ok(Self(kinds))
    }
}

fn of_list(group: &str, version: &str, list: &APIResourceList) -> Vec<(GroupKind, Place)> {
    let can = |resource: &APIResource, verb: &str| resource.verbs.iter().any(|known| known == verb);
    let read = |resource: &APIResource| {
        let ignored = IGNORED.contains(&(group, resource.name.as_str()));
        let place = Place {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: resource.name.clone(),
            namespaced: resource.namespaced,
            collectable: !ignored && ["list", "watch", "delete"].iter().all(|verb| can(resource, verb)),
        };
        (GroupKind { group: group.to_owned(), kind: resource.kind.clone() }, place)
    };
    let whole = list.resources.iter().filter(|resource| !resource.name.contains('/') && can(resource, "get"));
    whole.map(read).collect()
}
