//! Which local registrations there have to be.

use orrery_machinery::meta;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Says that a registration is the server's own: `onstart` for what is built in, `true` for custom resources.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// `groupPriorityMinimum` of what is built in (kubernetes/kubernetes, `pkg/controlplane/apiserver/aggregator.go`).
const GROUPS: &[(&str, i64)] = &[
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("resource.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
    // As metrics-server registers it.
    ("metrics.k8s.io", 100),
];
/// The group whose registrations these are has none itself.
const OWN: &str = "apiregistration.k8s.io";
/// Custom resources stand behind all that is built in.
const CUSTOM: (i64, i64) = (1000, 100);

/// Group and version.
pub(crate) type Version = (String, String);

/// The versions of groups that are built in.
pub(crate) fn built_in() -> BTreeSet<Version> {
    let resources = orrery_kinds::resources();
    let versions = resources.iter().map(|resource| (resource.group.to_string(), resource.version.to_string()));
    versions.filter(|(group, _)| group != OWN).collect()
}

/// The versions of groups that definitions have served.
pub(crate) fn custom(definitions: &[Value]) -> BTreeSet<Version> {
    let established = |definition: &&Value| {
        let conditions = definition["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|c| c["type"] == "Established" && c["status"] == "True")
    };
    let served = definitions.iter().filter(established).flat_map(|definition| {
        let group = definition["spec"]["group"].as_str().unwrap_or_default();
        let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
        let served = versions.filter(|version| version["served"] == true);
        served.map(move |version| (group.to_owned(), version["name"].as_str().unwrap_or_default().to_owned()))
    });
    served.collect()
}

/// What has to be done about local registrations.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// New ones.
    pub(crate) create: Vec<Value>,
    /// Names of those that stand for nothing any more.
    pub(crate) delete: Vec<String>,
}

/// Compares the registrations that there are with what this server answers itself.
pub(crate) fn plan(present: &[Value], built_in: &BTreeSet<Version>, custom: &BTreeSet<Version>) -> Plan {
    let known: BTreeMap<&str, &Value> = present.iter().map(|object| (meta::name(object), object)).collect();
    let wanted = built_in.iter().map(|version| (version, "onstart"));
    let wanted = wanted.chain(custom.difference(built_in).map(|version| (version, "true")));
    let wanted: BTreeMap<String, Value> =
        wanted.map(|(version, managed)| (name(version), local(version, managed))).collect();
    let create = wanted.iter().filter(|(name, _)| !known.contains_key(name.as_str()));
    let gone = present.iter().filter(|object| {
        meta::label(object, MANAGED).is_some() && is_local(object) && !wanted.contains_key(meta::name(object))
    });
    Plan {
        create: create.map(|(_, object)| object.clone()).collect(),
        delete: gone.map(|object| meta::name(object).to_owned()).collect(),
    }
}

/// Whether this server answers itself.
pub(crate) fn is_local(registration: &Value) -> bool {
    !registration["spec"]["service"].is_object()
}

fn name((group, version): &Version) -> String {
    format!("{version}.{group}")
}

fn local(version: &Version, managed: &str) -> Value {
    let (group_priority, version_priority) = match GROUPS.iter().find(|(group, _)| *group == version.0) {
        Some((_, priority)) => (*priority, version_priority(version)),
        None => CUSTOM,
    };
    let (group, of_group) = version;
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": name(version), "labels": {MANAGED: managed}},
        "spec": {"group": group, "version": of_group, "groupPriorityMinimum": group_priority,
            "versionPriority": version_priority},
    })
}

/// `versionPriority` of what is built in.
fn version_priority((group, version): &Version) -> i64 {
    match (group.as_str(), version.as_str()) {
        ("", _) => 1,
        ("flowcontrol.apiserver.k8s.io", "v1") => 21,
        ("metrics.k8s.io", _) => 100,
        ("autoscaling", "v2") => 30,
        (_, version) if version.contains("alpha") => 9,
        (_, version) if version.contains("beta") => 12,
        _ => 15,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(all: &[(&str, &str)]) -> BTreeSet<Version> {
        all.iter().map(|(group, version)| ((*group).to_owned(), (*version).to_owned())).collect()
    }

    #[test]
    fn what_is_served_is_registered_and_what_is_gone_is_not() {
        let built_in = versions(&[("", "v1"), ("autoscaling", "v2")]);
        let first = plan(&[], &built_in, &versions(&[("x.io", "v1")]));
        let names: Vec<&str> = first.create.iter().map(meta::name).collect();
        assert_eq!(names, ["v1.", "v1.x.io", "v2.autoscaling"]);
        assert_eq!(first.create[0]["spec"]["groupPriorityMinimum"], 18_000);
        assert_eq!(
            (&first.create[1]["spec"]["versionPriority"], &first.create[2]["spec"]["versionPriority"]),
            (&json!(100), &json!(30))
        );
        assert_eq!(plan(&first.create, &built_in, &versions(&[("x.io", "v1")])), Plan::default());
        let after = plan(&first.create, &built_in, &versions(&[]));
        assert_eq!((after.create.len(), after.delete), (0, vec!["v1.x.io".to_owned()]));
    }

    #[test]
    fn what_people_register_is_left_alone() {
        let mut remote = local(&("x.io".into(), "v1".into()), "true");
        remote["spec"]["service"] = json!({"namespace": "n", "name": "api"});
        let own = json!({"metadata": {"name": "v1.y.io"}, "spec": {"group": "y.io"}});
        assert_eq!(plan(&[remote, own], &versions(&[]), &versions(&[])), Plan::default());
    }

    #[test]
    fn each_group_that_is_built_in_has_a_place() {
        for (group, _) in built_in() {
            assert!(GROUPS.iter().any(|(known, _)| *known == group), "{group}");
        }
    }

    #[test]
    fn only_established_definitions_are_registered() {
        let definition = |status: &str| {
            json!({"spec": {"group": "x.io", "versions": [{"name": "v1", "served": true}, {"name": "v2", "served": false}]},
                "status": {"conditions": [{"type": "Established", "status": status}]}})
        };
        assert_eq!(custom(&[definition("True")]), versions(&[("x.io", "v1")]));
        assert_eq!(custom(&[definition("False")]), versions(&[]));
    }
}
