//! Pods and claims of a stateful set. Pure.

use super::{object::StatefulSet, plan::NewPod};
use crate::{
    history::REVISION_HASH,
    pods::{Owner, pod_from},
};
use k8s_openapi::api::{
    apps::v1::StatefulSetSpec,
    core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume},
};

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// How events tell of pods that were made or deleted.
pub(super) fn wording(verb: &str, pod: &str, owner: &Owner) -> String {
    format!("{verb} Pod {pod} in StatefulSet {} successful", owner.key.name)
}

fn claim_name(template: &PersistentVolumeClaim, set: &str, ordinal: i32) -> String {
    format!("{}-{set}-{ordinal}", template.metadata.name.as_deref().unwrap_or_default())
}

/// The claims that the pod of this number needs.
pub(super) fn claims(set: &StatefulSet, spec: &StatefulSetSpec, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let claim = |template: &PersistentVolumeClaim| {
        let mut claim = template.clone();
        claim.metadata.name = Some(claim_name(template, &set.meta.key.name, ordinal));
        claim.metadata.namespace = Some(set.meta.key.namespace.clone());
        let labels = claim.metadata.labels.get_or_insert_default();
        labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
        claim.status = None;
        claim
    };
    spec.volume_claim_templates.iter().flatten().map(claim).collect()
}

/// The pod of a number, from the template of its revision.
pub(super) fn pod(owner: &Owner, spec: &StatefulSetSpec, template: PodTemplateSpec, new: &NewPod) -> Pod {
    let mut pod = pod_from(template, owner.reference());
    let name = format!("{}-{}", owner.key.name, new.ordinal);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.to_owned(), name.clone());
    labels.insert(POD_INDEX.to_owned(), new.ordinal.to_string());
    labels.insert(REVISION_HASH.to_owned(), new.revision.clone());
    if let Some(pod) = &mut pod.spec {
        pod.hostname = Some(name.clone());
        pod.subdomain.clone_from(&spec.service_name);
        let volumes = pod.volumes.get_or_insert_default();
        for template in spec.volume_claim_templates.iter().flatten() {
            let volume = template.metadata.name.clone().unwrap_or_default();
            volumes.retain(|present| present.name != volume);
            let claim = PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(template, &owner.key.name, new.ordinal),
                ..PersistentVolumeClaimVolumeSource::default()
            };
            volumes.push(Volume { name: volume, persistent_volume_claim: Some(claim), ..Volume::default() });
        }
    }
    pod.metadata.name = Some(name);
    pod
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_reconcile::{ObjectKey, Projected, Uid};
    use serde_json::json;

    #[test]
    fn a_pod_has_name_host_labels_and_claims_of_its_number() {
        let object: k8s_openapi::api::apps::v1::StatefulSet = serde_json::from_value(json!({
            "metadata": {"namespace": "demo", "name": "db", "uid": "u"},
            "spec": {"serviceName": "dbs", "selector": {"matchLabels": {"app": "db"}},
                "template": {"metadata": {"labels": {"app": "db"}}, "spec": {
                    "containers": [], "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]},
        }))
        .unwrap();
        let spec = object.spec.clone().unwrap();
        let set = StatefulSet::project(object).unwrap();
        let owner = Owner {
            api_version: "apps/v1",
            kind: "StatefulSet",
            key: ObjectKey::new("demo", "db"),
            uid: Uid("u".into()),
        };
        let pod = pod(&owner, &spec, spec.template.clone(), &NewPod { ordinal: 2, revision: "db-abc".into() });
        assert_eq!(pod.metadata.name.as_deref(), Some("db-2"));
        let labels = pod.metadata.labels.unwrap();
        assert_eq!(
            (labels[POD_NAME].as_str(), labels[POD_INDEX].as_str(), labels[REVISION_HASH].as_str()),
            ("db-2", "2", "db-abc")
        );
        let inner = pod.spec.unwrap();
        assert_eq!((inner.hostname.as_deref(), inner.subdomain.as_deref()), (Some("db-2"), Some("dbs")));
        let volumes = inner.volumes.unwrap();
        assert_eq!(volumes.len(), 2);
        assert_eq!(volumes[1].persistent_volume_claim.as_ref().unwrap().claim_name, "data-db-2");
        let claims = claims(&set, &spec, 2);
        assert_eq!(claims[0].metadata.name.as_deref(), Some("data-db-2"));
        assert_eq!(claims[0].metadata.labels.as_ref().unwrap()["app"], "db");
    }
}
