//! Pod templates: when two mean the same, what they are called, and the pod that is made from one. Pure.

use k8s_openapi::{
    api::core::v1::{Pod, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde_json::Value;

/// The label by which a deployment tells its replica sets apart.
pub(crate) const TEMPLATE_HASH: &str = "pod-template-hash";
/// The letters and digits of generated names: no vowels and nothing that looks like another, so that no words come out
/// (`k8s.io/apimachinery/pkg/util/rand`).
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Stands for a template's meaning: equal for templates that differ only in the label `pod-template-hash` and in how
/// empty things are written. It is compared in memory only and may change between versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct TemplateDigest(u128);

/// The digest of a template.
pub(crate) fn digest(template: &PodTemplateSpec) -> TemplateDigest {
    TemplateDigest(fnv128(canonical(template).as_bytes()))
}

/// The text that names the template in objects' names: ten characters at most. `collisions` makes another of it.
pub(crate) fn safe_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut hash = fnv32(0x811c_9dc5, canonical(template).as_bytes());
    if let Some(collisions) = collisions {
        hash = fnv32(hash, &collisions.to_le_bytes());
    }
    hash.to_string().bytes().map(|byte| char::from(SAFE[usize::from(byte) % SAFE.len()])).collect()
}

/// JSON with sorted keys and without what is empty.
fn canonical(template: &PodTemplateSpec) -> String {
    let mut value = serde_json::to_value(template).unwrap_or_default();
    if let Some(labels) = value.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(TEMPLATE_HASH);
    }
    if let Some(metadata) = value.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
    }
    prune(&mut value);
    value.to_string()
}

/// Removes nulls and empty lists. Empty maps stay: `emptyDir: {}` says something.
fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for inner in map.values_mut() {
                prune(inner);
            }
            map.retain(|_, inner| match inner {
                Value::Null => false,
                Value::Array(list) => !list.is_empty(),
                Value::Object(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
            });
        }
        Value::Array(list) => list.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fnv32(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn fnv128(bytes: &[u8]) -> u128 {
    let step =
        |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    bytes.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, step)
}

/// The pod that `owner` makes from `template`; it still needs a name or a prefix of one.
pub(crate) fn pod_from(template: PodTemplateSpec, owner: OwnerReference) -> Pod {
    let meta = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(value: Value) -> PodTemplateSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn templates_that_mean_the_same_have_the_same_digest() {
        let plain = template(
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
        );
        let hashed = template(json!({
            "metadata": {"labels": {"app": "web", "pod-template-hash": "abc"}, "creationTimestamp": null},
            "spec": {"containers": [{"name": "c", "image": "i", "env": []}], "volumes": []}}));
        let other = template(
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "j"}]}}),
        );
        assert_eq!(digest(&plain), digest(&hashed));
        assert_eq!(safe_hash(&plain, None), safe_hash(&hashed, None));
        assert_ne!(digest(&plain), digest(&other));
        let volume = |source: Value| template(json!({"spec": {"containers": [], "volumes": [source]}}));
        assert_ne!(
            digest(&volume(json!({"name": "v", "emptyDir": {}}))),
            digest(&volume(json!({"name": "v", "hostPath": {"path": "/"}})))
        );
    }

    #[test]
    fn a_collision_gives_another_name_of_safe_characters() {
        let template = template(json!({"spec": {"containers": []}}));
        let names = [None, Some(0), Some(1)].map(|collisions| safe_hash(&template, collisions));
        assert_ne!(names[0], names[1]);
        assert_ne!(names[1], names[2]);
        assert!(
            names.iter().all(|name| name.len() <= 10 && name.bytes().all(|byte| SAFE.contains(&byte))),
            "{names:?}"
        );
    }

    #[test]
    fn a_pod_takes_labels_annotations_and_finalizers_from_its_template() {
        let owner =
            orrery_reconcile::owner_reference("apps/v1", "ReplicaSet", "web", &orrery_reconcile::Uid("u".into()));
        let pod = pod_from(
            template(
                json!({"metadata": {"name": "ignored", "labels": {"a": "b"}, "finalizers": ["f"]}, "spec": {"containers": []}}),
            ),
            owner.clone(),
        );
        assert_eq!(pod.metadata.name, None);
        assert_eq!((pod.metadata.labels.unwrap().len(), pod.metadata.finalizers.unwrap().len()), (1, 1));
        assert_eq!(pod.metadata.owner_references, Some(vec![owner]));
    }
}
