//! The resources of Kubernetes that are built in, a module for each group or kind: their defaults, rules, columns and
//! selectable fields, in upstream's words. What they are described with, and the pod, which many of them hold, is
//! `orrery-kind-rules`; the next kind is one more module here.
//!
//! * the core group: `pod` (below), `node`, `namespace`, `event`, `config`, `service_account`, and `core` for the rest.
//! * what runs pods: `apps`, `batch`, `autoscaling`, `disruption_budget`, `priority_class`, `runtime_class`.
//! * networks and storage: `networking`, `endpoint_slice`, `storage`, `devices`.
//! * the API itself: `rbac`, `reviews`, `certificates`, `admission`, `custom_resource`, `aggregation`, `flow_control`, `lease`.
//!
//! What it is not: it keeps nothing and reads nothing. Defaults that need other objects (a namespace's limits, a priority
//! class) are admission, which is elsewhere; so are addresses of services, and the soundness of schemas and expressions.
//!
//! Start reading at [`resources`], then a small kind (`lease`).
#![forbid(unsafe_code)]

mod admission;
mod aggregation;
mod apps;
mod autoscaling;
mod batch;
mod certificates;
mod config;
mod core;
mod custom_resource;
mod devices;
mod disruption_budget;
mod endpoint_slice;
mod event;
mod event_v1;
mod flow_control;
mod lease;
mod namespace;
mod networking;
mod node;
mod priority_class;
mod rbac;
mod reviews;
mod runtime_class;
mod service_account;
mod storage;

#[cfg(test)]
use orrery_kind_rules::testing;
use orrery_kind_rules::{cluster_wide, columns, difference, fields, namespaced, pod, quantity, review, rules};
use orrery_machinery::descriptor::{FixedResource, ResourceDescriptor};

/// Every built-in resource.
#[must_use]
pub fn resources() -> Vec<ResourceDescriptor> {
    fixed().into_iter().map(ResourceDescriptor::from).collect()
}

fn fixed() -> Vec<FixedResource> {
    let mut all = vec![pod::descriptor(), node::descriptor(), namespace::descriptor(), event::descriptor()];
    all.extend([config::config_map(), config::secret(), service_account::descriptor(), lease::descriptor()]);
    all.extend(core::descriptors());
    all.extend(apps::descriptors());
    all.extend(batch::descriptors());
    all.extend([endpoint_slice::descriptor(), disruption_budget::descriptor()]);
    all.extend([priority_class::descriptor(), runtime_class::descriptor()]);
    all.extend(storage::descriptors());
    all.extend(networking::descriptors());
    all.extend(flow_control::descriptors());
    all.extend(admission::descriptors());
    all.extend(autoscaling::descriptors());
    all.extend(devices::descriptors());
    all.extend([custom_resource::descriptor(), aggregation::descriptor(), certificates::descriptor()]);
    all.push(event_v1::descriptor());
    all.extend(rbac::descriptors());
    all.extend(reviews::descriptors());
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_machinery::openapi;
    use serde_json::{Value, json};
    use std::{collections::BTreeSet, sync::Arc};

    #[test]
    fn each_resource_is_registered_once_and_named_as_upstream_names_it() {
        let all = fixed();
        let names: BTreeSet<_> = all.iter().map(|d| (d.group, d.version, d.plural)).collect();
        assert_eq!(names.len(), all.len());
        for d in &all {
            assert_eq!(d.singular, d.kind.to_lowercase());
        }
    }

    #[test]
    fn a_new_object_has_the_status_that_upstreams_structures_have() {
        let table = [
            ("Deployment", json!({})),
            ("ReplicaSet", json!({"replicas": 0})),
            ("StatefulSet", json!({"replicas": 0, "availableReplicas": 0})),
            ("Job", json!({})),
            ("CronJob", json!({})),
            ("ResourceQuota", json!({})),
        ];
        for (kind, status) in table {
            let all = fixed();
            let descriptor = all.iter().find(|descriptor| descriptor.kind == kind).unwrap();
            let mut object = json!({"metadata": {"name": "a"}});
            (descriptor.prepare_create)(&mut object);
            assert_eq!(object["status"], status, "{kind}");
        }
    }

    /// Objects that are no objects of any kind, or of the wrong types all the way down.
    fn odd() -> Vec<Value> {
        let list = || json!([1, {"ports": 2, "env": [3]}, null, "x", [[]]]);
        let deep = || {
            json!({
                "containers": list(), "volumes": list(), "template": {"metadata": 4, "spec": {"containers": list()}}, "rules": list(),
                "selector": [], "strategy": "x", "updateStrategy": 5, "jobTemplate": {"spec": []}, "limits": list(),
                "hard": {"pods": []}, "versions": list(), "names": 1, "ports": list(), "subsets": list(), "devices": {"requests": list()},
                "metrics": list(), "behavior": {"scaleUp": 1}, "ingress": list(), "egress": list(), "tls": list(), "cidrs": list(),
                "limited": {"limitResponse": 3}, "tolerations": list(), "affinity": {"nodeAffinity": list()}, "taints": list(),
            })
        };
        vec![
            Value::Null,
            json!([]),
            json!("text"),
            json!(7),
            json!({"metadata": 1, "spec": "x", "status": [], "data": 3, "stringData": {"a": 1}, "rules": [1]}),
            json!({"metadata": {"name": 5, "labels": [], "annotations": 1, "ownerReferences": list()}, "spec": deep(), "status": deep(),
                "webhooks": list(), "endpoints": list(), "subsets": list(), "ports": list(), "parameters": [], "template": list(),
                "overhead": 1, "scheduling": [], "series": 1, "regarding": [], "conditions": list()}),
            json!({"spec": {"spec": deep(), "matchConstraints": {"resourceRules": list()}, "paramRef": 1}, "status": {"conditions": list()}}),
        ]
    }

    #[test]
    fn no_function_of_a_descriptor_minds_what_it_is_given() {
        use orrery_machinery::descriptor::Does;
        for d in fixed() {
            for before in odd() {
                for object in odd() {
                    let mut object = object;
                    (d.decode)(&object).ok();
                    (d.prepare_create)(&mut object);
                    (d.prepare_update)(&before, &mut object);
                    (d.default)(&mut object);
                    (d.validate)(&object, None).clear();
                    (d.validate)(&object, Some(&before)).clear();
                    (d.warnings)(&object, Some(&before)).clear();
                    for part in d.subresources {
                        if let Does::Part(does) = part.does {
                            drop(does(&before, object.clone()));
                        }
                    }
                    if let Some(validate) = d.validate_part {
                        ["status", "scale", "resize", "ephemeralcontainers", "approval"]
                            .iter()
                            .for_each(|part| validate(part, &object, &before).clear());
                    }
                    if let Some(other) = d.stored_as {
                        (other.on_write)(&mut object);
                        (other.on_read)(&mut object);
                    }
                    d.columns.iter().for_each(|column| drop((column.cell)(&object, 0)));
                    d.selectable_fields.iter().for_each(|field| drop((field.value)(&object)));
                }
            }
        }
    }

    #[test]
    fn every_kind_that_the_conformance_tests_write_is_here() {
        let all = fixed();
        let expected = [
            (
                "",
                "pods services endpoints podtemplates replicationcontrollers limitranges resourcequotas persistentvolumes \
                  persistentvolumeclaims nodes namespaces events configmaps secrets serviceaccounts",
            ),
            ("apps", "deployments replicasets statefulsets daemonsets controllerrevisions"),
            ("batch", "jobs cronjobs"),
            ("autoscaling", "horizontalpodautoscalers"),
            ("policy", "poddisruptionbudgets"),
            ("discovery.k8s.io", "endpointslices"),
            ("events.k8s.io", "events"),
            ("networking.k8s.io", "ingresses ingressclasses networkpolicies servicecidrs ipaddresses"),
            (
                "storage.k8s.io",
                "storageclasses csidrivers csinodes csistoragecapacities volumeattachments \
                                volumeattributesclasses",
            ),
            ("resource.k8s.io", "deviceclasses resourceclaims resourceclaimtemplates resourceslices"),
            ("node.k8s.io", "runtimeclasses"),
            ("scheduling.k8s.io", "priorityclasses"),
            ("certificates.k8s.io", "certificatesigningrequests"),
            ("coordination.k8s.io", "leases"),
            ("flowcontrol.apiserver.k8s.io", "flowschemas prioritylevelconfigurations"),
            ("apiextensions.k8s.io", "customresourcedefinitions"),
            ("apiregistration.k8s.io", "apiservices"),
            (
                "admissionregistration.k8s.io",
                "validatingwebhookconfigurations mutatingwebhookconfigurations \
                validatingadmissionpolicies validatingadmissionpolicybindings mutatingadmissionpolicies \
                mutatingadmissionpolicybindings",
            ),
            ("rbac.authorization.k8s.io", "roles rolebindings clusterroles clusterrolebindings"),
        ];
        for (group, plurals) in expected {
            for plural in plurals.split_whitespace() {
                assert!(all.iter().any(|d| d.group == group && d.plural == plural), "{group} {plural}");
            }
        }
    }

    #[test]
    fn the_openapi_documents_have_the_kinds_under_upstreams_names() {
        let documents = openapi::documents(&resources().into_iter().map(Arc::new).collect::<Vec<_>>());
        let paths: Vec<&str> = documents.iter().map(|d| d.path.as_str()).collect();
        assert!(paths.contains(&"api/v1") && paths.contains(&"apis/rbac.authorization.k8s.io/v1"), "{paths:?}");
        let core = &documents[0].content["components"]["schemas"];
        assert_eq!(core["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
        assert!(core["io.k8s.api.core.v1.Container"]["properties"]["image"].is_object());
        for document in &documents {
            let schemas = document.content["components"]["schemas"].as_object().unwrap();
            let text = document.content.to_string();
            assert!(!text.contains("$defs"));
            for reference in text.split("\"$ref\":\"#/").skip(1).filter_map(|rest| rest.split('"').next()) {
                let name = reference.strip_prefix("components/schemas/").unwrap_or_else(|| panic!("{reference}"));
                assert!(schemas.contains_key(name), "{name}");
            }
        }
    }
}
