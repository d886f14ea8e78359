//! The resources of Kubernetes that are built in, a module for each group or kind: their defaults, rules, columns,
//! selectable fields and merge keys, in upstream's words.
//!
//! Three tables are the starting points, taken from a type of `k8s-openapi`: `namespaced`, `cluster_wide` and `review`.
//! Everything else stands in the kind's own module. The next kind is one more such module.
//!
//! What it is not: it keeps nothing and reads nothing; defaults that need other objects (a namespace's limits, a priority
//! class) are admission, which is elsewhere.
//!
//! Start reading at [`resources`], then a small kind (`lease`).
#![forbid(unsafe_code)]

mod admission;
mod aggregation;
mod apps;
mod autoscaling;
mod batch;
mod certificates;
mod columns;
mod config;
mod core;
mod custom_resource;
mod devices;
mod difference;
mod disruption_budget;
mod endpoint_slice;
mod event;
mod event_v1;
mod fields;
mod flow_control;
mod lease;
mod namespace;
mod networking;
mod node;
mod pod;
mod priority_class;
mod quantity;
mod rbac;
mod reviews;
mod rules;
mod runtime_class;
mod service_account;
mod storage;
#[cfg(test)]
mod testing;

use orrery_api::k8s::{ClusterResourceScope, NamespaceResourceScope, Resource};
use orrery_machinery::{
    descriptor::{FixedResource, MergeKey, ResourceDescriptor, Storage, decode_as, schema_of},
    meta,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

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

/// Merge keys of `metadata`, which every kind has, and those listed: `path => key`, or a path alone for a set of scalars.
macro_rules! merge_keys {
    ($($path:expr $(=> $key:literal)?),* $(,)?) => {
        &[
            orrery_machinery::descriptor::MergeKey { path: "metadata.finalizers", key: None },
            orrery_machinery::descriptor::MergeKey { path: "metadata.ownerReferences", key: Some("uid") },
            $(orrery_machinery::descriptor::MergeKey {
                path: $path,
                key: $crate::merge_keys!(@key $($key)?),
            }),*
        ]
    };
    (@key) => { None };
    (@key $key:literal) => { Some($key) };
}
use merge_keys;

/// Merge keys of a kind with a pod's spec at `$spec`, and those listed.
macro_rules! pod_merge_keys {
    ($spec:literal $(, $path:expr => $key:literal)* $(,)?) => {
        $crate::merge_keys![
            concat!($spec, ".containers") => "name",
            concat!($spec, ".containers.env") => "name",
            concat!($spec, ".containers.ports") => "containerPort",
            concat!($spec, ".containers.volumeDevices") => "devicePath",
            concat!($spec, ".containers.volumeMounts") => "mountPath",
            concat!($spec, ".ephemeralContainers") => "name",
            concat!($spec, ".ephemeralContainers.env") => "name",
            concat!($spec, ".ephemeralContainers.ports") => "containerPort",
            concat!($spec, ".ephemeralContainers.volumeDevices") => "devicePath",
            concat!($spec, ".ephemeralContainers.volumeMounts") => "mountPath",
            concat!($spec, ".hostAliases") => "ip",
            concat!($spec, ".imagePullSecrets") => "name",
            concat!($spec, ".initContainers") => "name",
            concat!($spec, ".initContainers.env") => "name",
            concat!($spec, ".initContainers.ports") => "containerPort",
            concat!($spec, ".initContainers.volumeDevices") => "devicePath",
            concat!($spec, ".initContainers.volumeMounts") => "mountPath",
            concat!($spec, ".resourceClaims") => "name",
            concat!($spec, ".schedulingGates") => "name",
            concat!($spec, ".topologySpreadConstraints") => "topologyKey",
            concat!($spec, ".volumes") => "name",
            concat!($spec, ".volumes.ephemeral.volumeClaimTemplate.metadata.finalizers"),
            concat!($spec, ".volumes.ephemeral.volumeClaimTemplate.metadata.ownerReferences") => "uid",
            $($path => $key),*
        ]
    };
}
use pod_merge_keys;

const METADATA_KEYS: &[MergeKey] = merge_keys![];

fn base<T: Resource + DeserializeOwned + JsonSchema>(singular: &'static str) -> FixedResource {
    FixedResource {
        group: T::GROUP,
        version: T::VERSION,
        kind: T::KIND,
        plural: T::URL_PATH_SEGMENT,
        singular,
        decode: decode_as::<T>,
        validate: |object, old| meta::validate(object, old, true, meta::NameRule::DnsSubdomain),
        merge_keys: METADATA_KEYS,
        schema: schema_of::<T>,
        ..FixedResource::PLAIN
    }
}

/// A resource whose objects live in namespaces.
fn namespaced<T>(singular: &'static str) -> FixedResource
where
    T: Resource<Scope = NamespaceResourceScope> + DeserializeOwned + JsonSchema,
{
    base::<T>(singular)
}

/// A resource whose objects live outside of namespaces.
fn cluster_wide<T>(singular: &'static str) -> FixedResource
where
    T: Resource<Scope = ClusterResourceScope> + DeserializeOwned + JsonSchema,
{
    FixedResource {
        namespaced: false,
        validate: |object, old| meta::validate(object, old, false, meta::NameRule::DnsSubdomain),
        ..base::<T>(singular)
    }
}

/// A resource that is answered at once and not stored.
fn review<T>(singular: &'static str) -> FixedResource
where
    T: Resource<Scope = ClusterResourceScope> + DeserializeOwned + JsonSchema,
{
    FixedResource { storage: Storage::Review, validate: |_, _| Vec::new(), ..cluster_wide::<T>(singular) }
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
    fn no_function_of_a_descriptor_minds_what_it_is_given() {
        let odd = [
            Value::Null,
            json!([]),
            json!("text"),
            json!({"metadata": 1, "spec": "x", "status": [], "data": 3, "stringData": {"a": 1}, "rules": [1]}),
            json!({"metadata": {"name": 5}, "spec": {"containers": [1, {"ports": 2, "env": [3]}], "volumes": [null]}}),
        ];
        for d in fixed() {
            for object in &odd {
                let mut object = object.clone();
                (d.default)(&mut object);
                (d.prepare_create)(&mut object);
                (d.validate)(&object, None).clear();
                (d.validate)(&object, Some(&object)).clear();
                d.columns.iter().for_each(|column| drop((column.cell)(&object, 0)));
                d.selectable_fields.iter().for_each(|field| drop((field.value)(&object)));
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
