//! What a pod's author leaves out (`k8s.io/kubernetes/pkg/apis/core/v1/defaults.go`, and the admission plug-ins for the
//! service account and the priority).

use super::qos;
use crate::fields::{default_text, existing_map, map_at, maps_in, set_default, text};
use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

/// `0644`
const FILE_MODE: i64 = 420;

/// Fills in what is missing.
pub(super) fn fill_in(pod: &mut Value) {
    let Some(spec) = pod.as_object_mut().and_then(|pod| map_at(pod, "spec")) else { return };
    fill_in_spec(spec);
    set_default(spec, "enableServiceLinks", true);
    for list in ["containers", "initContainers"] {
        for container in maps_in(spec, list) {
            if let Some(resources) = existing_map(container, "resources") {
                requests_from_limits(resources);
            }
        }
    }
    service_account(spec, Some("default"));
    if spec.get("priorityClassName").is_none_or(|name| text(name).is_empty()) {
        set_default(spec, "priority", 0);
        set_default(spec, "preemptionPolicy", "PreemptLowerPriority");
    }
}

/// Fills in what is missing in the `template` of what makes pods. Less than in a pod itself: the rest follows when the
/// pod is made.
pub fn fill_in_template(parent: &mut Fields) {
    let Some(spec) = map_at(parent, "template").and_then(|template| map_at(template, "spec")) else { return };
    fill_in_spec(spec);
    service_account(spec, None);
}

/// What is filled in everywhere a pod's spec may stand.
fn fill_in_spec(spec: &mut Fields) {
    for (field, value) in
        [("restartPolicy", "Always"), ("dnsPolicy", "ClusterFirst"), ("schedulerName", "default-scheduler")]
    {
        default_text(spec, field, value);
    }
    set_default(spec, "terminationGracePeriodSeconds", 30);
    set_default(spec, "securityContext", json!({}));
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        maps_in(spec, list).for_each(container);
    }
    maps_in(spec, "volumes").for_each(volume);
}

/// The status of a pod that was just made.
pub(super) fn prepare_create(pod: &mut Value) {
    // The class depends on requests, which may come from limits.
    fill_in(pod);
    let class = qos::class(pod);
    if let Some(pod) = pod.as_object_mut() {
        pod.insert("status".into(), json!({"phase": "Pending", "qosClass": class}));
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are shown.
fn service_account(spec: &mut Fields, otherwise: Option<&str>) {
    let named = |field: &str| spec.get(field).filter(|name| !text(name).is_empty()).cloned();
    let named = named("serviceAccountName").or_else(|| named("serviceAccount"));
    let Some(name) = named.or_else(|| otherwise.map(Value::from)) else { return };
    spec.insert("serviceAccountName".into(), name.clone());
    spec.insert("serviceAccount".into(), name);
}

fn container(container: &mut Fields) {
    default_text(container, "terminationMessagePath", "/dev/termination-log");
    default_text(container, "terminationMessagePolicy", "File");
    let image = container.get("image").map(text).unwrap_or_default();
    let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
    default_text(container, "imagePullPolicy", policy);
    set_default(container, "resources", json!({}));
    maps_in(container, "ports").for_each(|port| default_text(port, "protocol", "TCP"));
    for variable in maps_in(container, "env") {
        if let Some(source) = existing_map(variable, "valueFrom") {
            field_reference(source);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(found) = existing_map(container, name) {
            probe(found);
        }
    }
    if let Some(lifecycle) = existing_map(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(handler) = existing_map(lifecycle, hook) {
                http_get(handler);
            }
        }
    }
}

/// Whether an image's reference has the tag `latest`, or neither tag nor digest.
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_none(),
    }
}

fn requests_from_limits(resources: &mut Fields) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    let Some(requests) = map_at(resources, "requests") else { return };
    for (name, limit) in limits {
        set_default(requests, &name, limit);
    }
}

fn probe(probe: &mut Fields) {
    for (field, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if probe.get(field) == Some(&json!(0)) {
            probe.remove(field);
        }
        set_default(probe, field, value);
    }
    if let Some(grpc) = existing_map(probe, "grpc") {
        set_default(grpc, "service", "");
    }
    http_get(probe);
}

fn http_get(handler: &mut Fields) {
    if let Some(get) = existing_map(handler, "httpGet") {
        default_text(get, "path", "/");
        default_text(get, "scheme", "HTTP");
    }
}

fn field_reference(source: &mut Fields) {
    if let Some(reference) = existing_map(source, "fieldRef") {
        default_text(reference, "apiVersion", "v1");
    }
}

fn volume(volume: &mut Fields) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".into(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = existing_map(volume, source) {
            set_default(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(downward) = existing_map(volume, "downwardAPI") {
        maps_in(downward, "items").for_each(field_reference);
    }
    if let Some(path) = existing_map(volume, "hostPath") {
        set_default(path, "type", "");
    }
    if let Some(image) = existing_map(volume, "image") {
        let reference = image.get("reference").map(text).unwrap_or_default();
        let policy = if is_latest(reference) { "Always" } else { "IfNotPresent" };
        default_text(image, "pullPolicy", policy);
    }
    if let Some(target) = existing_map(volume, "iscsi") {
        default_text(target, "iscsiInterface", "default");
    }
    if let Some(block) = existing_map(volume, "rbd") {
        for (field, value) in [("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")] {
            default_text(block, field, value);
        }
    }
    let template = existing_map(volume, "ephemeral").and_then(|source| existing_map(source, "volumeClaimTemplate"));
    if let Some(spec) = template.and_then(|template| map_at(template, "spec")) {
        set_default(spec, "volumeMode", "Filesystem");
    }
    let Some(projected) = existing_map(volume, "projected") else { return };
    for source in maps_in(projected, "sources") {
        if let Some(token) = existing_map(source, "serviceAccountToken") {
            set_default(token, "expirationSeconds", 3600);
        }
        if let Some(downward) = existing_map(source, "downwardAPI") {
            maps_in(downward, "items").for_each(field_reference);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(spec: &Value) -> Value {
        let mut pod = json!({"metadata": {"name": "a"}, "spec": spec});
        fill_in(&mut pod);
        let once = pod.clone();
        fill_in(&mut pod);
        assert_eq!(pod, once, "filling in twice changes nothing more");
        pod["spec"].take()
    }

    #[test]
    fn a_bare_pod_gets_upstreams_defaults() {
        let expected = json!({
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {}, "enableServiceLinks": true,
            "serviceAccountName": "default", "serviceAccount": "default",
            "priority": 0, "preemptionPolicy": "PreemptLowerPriority",
            "containers": [{
                "name": "c", "image": "x:1", "imagePullPolicy": "IfNotPresent", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
        });
        assert_eq!(filled(&json!({"containers": [{"name": "c", "image": "x:1"}]})), expected);
        assert_eq!(filled(&json!({"serviceAccount": "robot"}))["serviceAccountName"], "robot");
    }

    #[test]
    fn an_image_without_a_version_is_always_pulled() {
        let table = [
            ("x", true),
            ("x:latest", true),
            ("x:1", false),
            ("host:5000/x", true),
            ("host:5000/x:1", false),
            ("x@sha256:00", false),
            ("x:latest@sha256:00", true),
        ];
        for (image, always) in table {
            assert_eq!(is_latest(image), always, "{image}");
        }
    }

    #[test]
    fn parts_of_a_container_are_filled_in() {
        let spec = filled(&json!({"containers": [{
            "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
            "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 5},
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        }]}));
        let container = &spec["containers"][0];
        assert_eq!(container["ports"][0]["protocol"], "TCP");
        assert_eq!(container["resources"]["requests"], json!({"cpu": "100m", "memory": "1Gi"}));
        let probe = json!({
            "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
            "periodSeconds": 5, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3,
        });
        assert_eq!(container["livenessProbe"], probe);
        assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    }

    #[test]
    fn an_empty_text_that_upstream_holds_by_value_is_as_if_unset() {
        // `kubectl create deployment --port` sends the first so.
        let spec = filled(&json!({"restartPolicy": "", "schedulerName": "", "containers": [{
            "image": "a:1", "imagePullPolicy": "", "ports": [{"containerPort": 80, "protocol": ""}],
        }]}));
        let container = &spec["containers"][0];
        assert_eq!(
            (&container["ports"][0]["protocol"], &container["imagePullPolicy"]),
            (&json!("TCP"), &json!("IfNotPresent"))
        );
        assert_eq!((&spec["restartPolicy"], &spec["schedulerName"]), (&json!("Always"), &json!("default-scheduler")));
    }

    #[test]
    fn a_volume_without_a_source_is_an_empty_directory() {
        let spec = filled(&json!({"volumes": [
            {"name": "a"}, {"name": "b", "configMap": {"name": "c"}},
            {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
        ]}));
        assert_eq!(spec["volumes"][0], json!({"name": "a", "emptyDir": {}}));
        assert_eq!(spec["volumes"][1]["configMap"]["defaultMode"], 420);
        assert_eq!(spec["volumes"][2]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3600);
    }

    #[test]
    fn a_new_pod_is_pending_whatever_its_author_says() {
        let mut pod = json!({"spec": {"containers": []}, "status": {"phase": "Running", "podIP": "1.2.3.4"}});
        prepare_create(&mut pod);
        assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
        let limits = json!({"cpu": "1", "memory": "1Gi"});
        let mut limited = json!({"spec": {"containers": [{"resources": {"limits": limits}}]}});
        prepare_create(&mut limited);
        assert_eq!(limited["status"]["qosClass"], "Guaranteed");
    }
}
