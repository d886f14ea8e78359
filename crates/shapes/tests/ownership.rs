//! Ownership, apply and strategic merge patches of kinds that everybody knows, as upstream's API server shows them.

use orrery_machinery::shape::Shape;
use orrery_merge::{
    apply::{Apply, Ignored, OneVersion, Resource, Update, Writer, apply, track},
    fields::FieldSet,
    patch::{self, PatchKind},
};
use serde_json::{Value, json};

const NOW: &str = "2026-01-01T00:00:00Z";

/// A kind of the table.
struct Known {
    shape: Shape,
    api_version: &'static str,
    kind: &'static str,
    ignored: Ignored<'static>,
}

impl Known {
    fn new(group: &str, api_version: &'static str, kind: &'static str) -> Self {
        let version = api_version.rsplit('/').next().unwrap_or(api_version);
        let shape = orrery_shapes::of(group, version, kind).unwrap_or_else(|| panic!("no {kind}"));
        Self { shape, api_version, kind, ignored: Ignored::Fields(FieldSet::of(&[&["status"]])) }
    }

    fn resource(&self) -> Resource<'_> {
        Resource {
            api_version: self.api_version,
            kind: self.kind,
            shape: &self.shape,
            ignored: &self.ignored,
            versions: &OneVersion,
        }
    }

    /// The entry's `fieldsV1` after a create by an update.
    fn created(&self, object: &Value) -> Value {
        let mut object = object.clone();
        let writer = Writer { manager: "kubectl-create", subresource: "", now: NOW };
        assert_eq!(track(&Update { live: None, resource: self.resource(), writer }, &mut object), None);
        object["metadata"]["managedFields"][0]["fieldsV1"].clone()
    }

    fn applied(&self, manager: &str, live: Option<&Value>, config: &Value) -> Result<Value, String> {
        let writer = Writer { manager, subresource: "", now: NOW };
        let request = Apply { live, config, force: false, resource: self.resource(), writer };
        apply(&request).map(|applied| applied.object).map_err(|error| error.message)
    }
}

/// A deployment with upstream's defaults, as `kubectl create deployment web --image=nginx --port=80` makes it.
fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "progressDeadlineSeconds": 600, "replicas": 1, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [{
                        "name": "nginx", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                        "ports": [{"containerPort": 80, "protocol": "TCP"}],
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    }],
                    "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                    "securityContext": {}, "terminationGracePeriodSeconds": 30,
                },
            },
        },
        "status": {},
    })
}

#[test]
fn a_created_deployment_is_owned_as_upstream_shows_it() {
    let apps = Known::new("apps", "apps/v1", "Deployment");
    // Selectors are one value; structures by value, such as spec, strategy and template, are nobody's.
    let expected = json!({
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {
            "f:progressDeadlineSeconds": {}, "f:replicas": {}, "f:revisionHistoryLimit": {}, "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:containers": {r#"k:{"name":"nginx"}"#: {
                        ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {},
                        "f:ports": {".": {}, r#"k:{"containerPort":80,"protocol":"TCP"}"#: {
                            ".": {}, "f:containerPort": {}, "f:protocol": {},
                        }},
                        "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
                    }},
                    "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {}, "f:securityContext": {},
                    "f:terminationGracePeriodSeconds": {},
                },
            },
        },
    });
    assert_eq!(apps.created(&deployment()), expected);
}

#[test]
fn the_status_of_a_pod_is_owned_as_upstream_shows_it() {
    let pods = Known { ignored: Ignored::Nothing, ..Known::new("", "v1", "Pod") };
    let live = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "uid": "u", "managedFields": [{
            "manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "time": NOW,
            "fieldsV1": {"f:spec": {"f:nodeName": {}}},
        }]},
        "spec": {"nodeName": "n"},
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]},
    });
    let mut object = live.clone();
    object["status"] = json!({
        "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "c", "ready": true}],
    });
    let writer = Writer { manager: "kubelet", subresource: "status", now: NOW };
    assert_eq!(track(&Update { live: Some(&live), resource: pods.resource(), writer }, &mut object), None);
    let kubelet = &object["metadata"]["managedFields"][0];
    assert_eq!((&kubelet["manager"], &kubelet["subresource"]), (&json!("kubelet"), &json!("status")));
    let expected = json!({"f:status": {
        "f:conditions": {r#"k:{"type":"Ready"}"#: {".": {}, "f:status": {}, "f:type": {}}},
        "f:containerStatuses": {}, "f:phase": {}, "f:podIP": {},
        "f:podIPs": {".": {}, r#"k:{"ip":"10.0.0.1"}"#: {".": {}, "f:ip": {}}},
    }});
    assert_eq!(kubelet["fieldsV1"], expected);
}

#[test]
fn an_autoscaler_takes_the_replicas_over_as_documented() {
    // kubernetes.io/docs/reference/using-api/server-side-apply, "Transferring ownership".
    let apps = Known::new("apps", "apps/v1", "Deployment");
    let config = |replicas: Option<u8>| {
        let mut config = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default", "labels": {"app": "nginx"}},
            "spec": {
                "selector": {"matchLabels": {"app": "nginx"}},
                "template": {
                    "metadata": {"labels": {"app": "nginx"}},
                    "spec": {"containers": [{"name": "nginx", "image": "nginx:1.14.2"}]},
                },
            },
        });
        if let Some(replicas) = replicas {
            config["spec"]["replicas"] = replicas.into();
        }
        config
    };
    let mut live = apps.applied("kubectl", None, &config(Some(3))).unwrap();
    live["metadata"]["uid"] = "u".into();
    // The autoscaler writes another number: the user's next apply with replicas is a conflict, without them it is none.
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = 5.into();
    let writer = Writer { manager: "kube-controller-manager", subresource: "scale", now: NOW };
    track(&Update { live: Some(&live), resource: apps.resource(), writer }, &mut scaled);
    let error = apps.applied("kubectl", Some(&scaled), &config(Some(3))).unwrap_err();
    let expected = r#"Apply failed with 1 conflict: conflict with "kube-controller-manager" with subresource "scale" using apps/v1: .spec.replicas"#;
    assert_eq!(error, expected);
    let without = apps.applied("kubectl", Some(&scaled), &config(None)).unwrap();
    assert_eq!(without["spec"]["replicas"], 5);
    // Handing over first: another applier shares the number, then the user lets it go, and it stays.
    let only_replicas = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": 3},
    });
    let shared = apps.applied("handover-to-hpa", Some(&live), &only_replicas).unwrap();
    let handed_over = apps.applied("kubectl", Some(&shared), &config(None)).unwrap();
    assert_eq!(handed_over["spec"]["replicas"], 3);
}

#[test]
fn ports_with_the_same_number_are_two_for_apply() {
    let services = Known::new("", "v1", "Service");
    let config = |ports: &Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "dns"}, "spec": {"ports": ports}});
    let both = json!([{"port": 53, "name": "tcp"}, {"port": 53, "name": "udp", "protocol": "UDP"}]);
    let mut live = services.applied("me", None, &config(&both)).unwrap();
    live["metadata"]["uid"] = "u".into();
    // The default of the protocol is the protocol, said or not.
    let one = json!([{"port": 53, "protocol": "TCP", "name": "tcp"}]);
    let object = services.applied("me", Some(&live), &config(&one)).unwrap();
    assert_eq!(object["spec"]["ports"], json!([{"port": 53, "protocol": "TCP", "name": "tcp"}]));
    let twice = json!([{"port": 53}, {"port": 53, "protocol": "TCP"}]);
    let expected = r#"failed to create typed patch object (/dns; /v1, Kind=Service): .spec.ports: duplicate entries for key [port=53,protocol="TCP"]"#;
    assert_eq!(services.applied("me", None, &config(&twice)).unwrap_err(), expected);
}

#[test]
fn strategic_patches_ask_the_same_table() {
    let patched = |group: &str, version: &str, kind: &str, object: &Value, patch: &Value| {
        let shape = orrery_shapes::of(group, version, kind).unwrap();
        patch::apply(PatchKind::Strategic, object, patch, Some(&shape)).unwrap()
    };
    let pod = json!({"metadata": {"finalizers": ["a"]}, "spec": {
        "containers": [{"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}], "command": ["run"]}, {"name": "b"}],
        "tolerations": [{"key": "k"}],
    }});
    let patch = json!({"metadata": {"finalizers": ["b"]}, "spec": {
        "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
        "containers": [{"name": "a", "image": "y", "env": [{"name": "F", "value": "2"}], "command": ["go"]}],
        "tolerations": [{"key": "l"}],
    }});
    // What the patch adds stands first unless it says otherwise.
    let expected = json!({"metadata": {"finalizers": ["b", "a"]}, "spec": {
        "containers": [
            {"name": "b"},
            {"name": "a", "image": "y", "env": [{"name": "F", "value": "2"}, {"name": "E", "value": "1"}], "command": ["go"]},
        ],
        "tolerations": [{"key": "l"}],
    }});
    assert_eq!(patched("", "v1", "Pod", &pod, &patch), expected);
    // A budget's selector is replaced; a deployment's strategy keeps the keys that the patch lists.
    let budget = json!({"spec": {"selector": {"matchLabels": {"a": "1"}}}});
    let patch = json!({"spec": {"selector": {"matchLabels": {"b": "2"}}}});
    assert_eq!(patched("policy", "v1", "PodDisruptionBudget", &budget, &patch), patch);
    let recreate = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let result = patched("apps", "v1", "Deployment", &deployment(), &recreate);
    assert_eq!(result["spec"]["strategy"], json!({"type": "Recreate"}));
}
