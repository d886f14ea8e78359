//! The pods of a job. Pure.

use super::{
    fill::NewPod,
    tally::{FAILURES, FINALIZER, IGNORED_FAILURES, INDEX},
};
use crate::pods::{Owner, pod_from};
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodTemplateSpec};

/// The variable that tells a container its index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// The longest prefix that leaves room for what the API completes it with.
const MAX_PREFIX: usize = 58;

/// The pod that `owner` makes from its template for `new`.
pub(super) fn pod(owner: &Owner, template: PodTemplateSpec, new: &NewPod) -> Pod {
    let mut pod = pod_from(template, owner.reference());
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    let Some(index) = new.index else { return pod };
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.to_owned(), index.to_string());
    if let Some((counted, ignored)) = new.failures {
        annotations.insert(FAILURES.to_owned(), counted.to_string());
        if ignored > 0 {
            annotations.insert(IGNORED_FAILURES.to_owned(), ignored.to_string());
        }
    }
    pod.metadata.labels.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    let suffix = format!("-{index}-");
    let mut prefix = owner.key.name.clone();
    prefix.truncate(MAX_PREFIX - suffix.len());
    pod.metadata.generate_name = Some(prefix + &suffix);
    if let Some(spec) = &mut pod.spec {
        spec.hostname = Some(format!("{}-{index}", owner.key.name));
        spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(tell_index);
    }
    pod
}

fn tell_index(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { api_version: None, field_path: format!("metadata.labels['{INDEX}']") };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    variables.push(EnvVar { name: INDEX_VARIABLE.to_owned(), value: None, value_from: Some(source) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_reconcile::{ObjectKey, Uid};
    use serde_json::json;

    #[test]
    fn an_indexed_pod_knows_its_index_by_name_host_label_annotation_and_variable() {
        let owner =
            Owner { api_version: "batch/v1", kind: "Job", key: ObjectKey::new("demo", "work"), uid: Uid("u".into()) };
        let template: PodTemplateSpec = serde_json::from_value(
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]}}),
        )
        .unwrap();
        let pod = pod(&owner, template.clone(), &NewPod { index: Some(3), failures: Some((2, 1)) });
        assert_eq!(pod.metadata.generate_name.as_deref(), Some("work-3-"));
        assert_eq!(pod.metadata.labels.unwrap()[INDEX], "3");
        let annotations = pod.metadata.annotations.unwrap();
        assert_eq!(
            (annotations[INDEX].as_str(), annotations[FAILURES].as_str(), annotations[IGNORED_FAILURES].as_str()),
            ("3", "2", "1")
        );
        let spec = pod.spec.unwrap();
        assert_eq!(spec.hostname.as_deref(), Some("work-3"));
        assert_eq!(spec.containers[0].env.as_ref().unwrap()[0].name, INDEX_VARIABLE);
        let plain = super::pod(&owner, template, &NewPod::default());
        assert_eq!(plain.metadata.finalizers, Some(vec![FINALIZER.to_owned()]));
        assert_eq!((plain.metadata.generate_name, plain.metadata.annotations), (None, None));
    }
}
