//! The rules of pods, a table row each.

use super::pod;
use crate::pod::defaults;
use serde_json::{Value, json};

/// A pod that is fine, changed by `change` and filled in.
fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "demo"},
        "spec": {"containers": [{"name": "c", "image": "x:1"}], "volumes": [{"name": "v", "emptyDir": {}}],
            "securityContext": {}},
    });
    change(&mut object["spec"]);
    defaults::fill_in(&mut object);
    object
}

fn errors(object: &Value, old: Option<&Value>) -> Vec<(String, String)> {
    pod(object, old).into_iter().map(|error| (error.field, error.message)).collect()
}

/// Puts `value` at `pointer` of the spec; the one error that follows must be at `field` and contain `text`.
fn one_error(pointer: &str, value: &Value, field: &str, text: &str) {
    let object = with(|spec| {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = spec.pointer_mut(parent).unwrap();
        parent[key] = value.clone();
    });
    let found = errors(&object, None);
    assert_eq!(found.len(), 1, "{pointer} = {value}: {found:?}");
    assert_eq!(found[0].0, field, "{pointer} = {value}");
    assert!(found[0].1.contains(text), "{pointer} = {value}: {}", found[0].1);
}

#[test]
fn a_plain_pod_is_fine() {
    assert_eq!(errors(&with(|_| {}), None), []);
}

#[test]
fn containers_follow_upstreams_rules() {
    let c = "/containers/0";
    for (at, value, field, text) in [
        ("/name", json!(""), ".name", "Required value"),
        ("/name", json!("A"), ".name", "a lowercase RFC 1123 label must"),
        ("/image", json!(""), ".image", "Required value"),
        ("/image", json!(" x"), ".image", "must not have leading or trailing whitespace"),
        ("/imagePullPolicy", json!("Often"), ".imagePullPolicy", "supported values: \"Always\", \"IfNotPresent\""),
        (
            "/ports",
            json!([{"containerPort": 70000}]),
            ".ports[0].containerPort",
            "must be between 1 and 65535, inclusive",
        ),
        ("/ports", json!([{}]), ".ports[0].containerPort", "Required value"),
        ("/ports", json!([{"containerPort": 1, "protocol": "ICMP"}]), ".ports[0].protocol", "Unsupported value"),
        (
            "/ports",
            json!([{"containerPort": 1, "name": "-a"}]),
            ".ports[0].name",
            "must not begin or end with a hyphen",
        ),
        ("/env", json!([{"name": ""}]), ".env[0].name", "Required value"),
        ("/env", json!([{"name": "a=b"}]), ".env[0].name", "printable ASCII"),
        ("/env", json!([{"name": "a", "valueFrom": {}}]), ".env[0].valueFrom", "must specify one of"),
        ("/envFrom", json!([{}]), ".envFrom[0]", "must specify one of: `configMapRef` or `secretRef`"),
        ("/volumeMounts", json!([{"name": "w", "mountPath": "/w"}]), ".volumeMounts[0].name", "Not found: \"w\""),
        ("/volumeMounts", json!([{"name": "v"}]), ".volumeMounts[0].mountPath", "Required value"),
        ("/resources", json!({"limits": {"cpu": "one"}}), ".resources.limits[cpu]", "quantities must match"),
        ("/livenessProbe", json!({}), ".livenessProbe", "must specify a handler type"),
        (
            "/livenessProbe",
            json!({"tcpSocket": {"port": 1}, "successThreshold": 2}),
            ".livenessProbe.successThreshold",
            "must be 1",
        ),
    ] {
        if at == "/resources" {
            // The default copies the limit to the requests, so that both are wrong.
            let found = errors(&with(|spec| spec["containers"][0]["resources"] = value), None);
            assert!(found[0].1.contains(text), "{found:?}");
            continue;
        }
        one_error(&format!("{c}{at}"), &value, &format!("spec.containers[0]{field}"), text);
    }
    one_error("/containers", &json!([]), "spec.containers", "Required value");
    let twice = json!([{"name": "c", "image": "y:1"}]);
    one_error("/initContainers", &twice, "spec.initContainers[0].name", "Duplicate value: \"c\"");
}

#[test]
fn a_request_is_not_above_its_limit() {
    let resources = json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}});
    let text = "Invalid value: \"2\": must be less than or equal to cpu limit of 1500m";
    one_error("/containers/0/resources", &resources, "spec.containers[0].resources.requests", text);
    let equal = with(|spec| {
        spec["containers"][0]["resources"] = json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "1024Mi"}});
    });
    assert_eq!(errors(&equal, None), []);
}

#[test]
fn the_spec_follows_upstreams_rules() {
    for (at, value, text) in [
        ("restartPolicy", json!("Sometimes"), "supported values: \"Always\", \"OnFailure\", \"Never\""),
        ("dnsPolicy", json!("Mine"), "Unsupported value"),
        ("terminationGracePeriodSeconds", json!(-1), "must be a non-negative integer"),
        ("activeDeadlineSeconds", json!(0), "must be between 1 and 2147483647, inclusive"),
        ("nodeName", json!("A"), "a lowercase RFC 1123 subdomain must"),
        ("hostname", json!("a.b"), "a lowercase RFC 1123 label must"),
        ("nodeSelector", json!({"a b": "c"}), "name part must"),
    ] {
        one_error(&format!("/{at}"), &value, &format!("spec.{at}"), text);
    }
    one_error("/dnsPolicy", &json!("None"), "spec.dnsConfig", "must provide `dnsConfig`");
    let extra = json!([{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]);
    one_error("/volumes", &extra, "spec.volumes[1].name", "Duplicate value");
    one_error("/volumes", &json!([{"name": "v", "secret": {}}]), "spec.volumes[0].secret.secretName", "Required value");
    one_error("/tolerations", &json!([{"value": "v"}]), "spec.tolerations[0].operator", "operator must be Exists");
    one_error(
        "/tolerations",
        &json!([{"key": "k", "tolerationSeconds": 1}]),
        "spec.tolerations[0].effect",
        "NoExecute",
    );
}

#[test]
fn what_reaches_for_the_host_is_refused_with_the_reason() {
    let reason = "Forbidden: a pod is a virtual machine of its own";
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        one_error(&format!("/{field}"), &json!(true), &format!("spec.{field}"), reason);
        assert_eq!(errors(&with(|spec| spec[field] = json!(false)), None), []);
    }
    one_error("/volumes", &json!([{"name": "v", "hostPath": {"path": "/"}}]), "spec.volumes[0].hostPath", reason);
    let ports = json!([{"containerPort": 80, "hostPort": 80}]);
    one_error("/containers/0/ports", &ports, "spec.containers[0].ports[0].hostPort", reason);
    let privileged = |spec: &mut Value| spec["containers"][0]["securityContext"] = json!({"privileged": true});
    assert_eq!(errors(&with(privileged), None), []);
}

#[test]
fn only_few_fields_of_a_spec_change() {
    let old = with(|spec| {
        spec["activeDeadlineSeconds"] = json!(60);
        spec["tolerations"] = json!([{"key": "a", "operator": "Exists"}]);
    });
    type Change = fn(&mut Value);
    type Row = (&'static str, Change, Option<(&'static str, &'static str)>);
    let table: [Row; 9] = [
        ("nothing", |_| {}, None),
        ("the image", |spec| spec["containers"][0]["image"] = "x:2".into(), None),
        ("a shorter deadline", |spec| spec["activeDeadlineSeconds"] = 30.into(), None),
        (
            "a longer deadline",
            |spec| spec["activeDeadlineSeconds"] = 90.into(),
            Some(("spec.activeDeadlineSeconds", "must be less than or equal to previous value")),
        ),
        (
            "one more toleration",
            |spec| spec["tolerations"].as_array_mut().unwrap().push(json!({"key": "b", "operator": "Exists"})),
            None,
        ),
        (
            "one less",
            |spec| spec["tolerations"] = json!([]),
            Some(("spec.tolerations", "existing toleration can not be modified")),
        ),
        (
            "the command",
            |spec| spec["containers"][0]["command"] = json!(["sh"]),
            Some(("spec", "pod updates may not change fields other than `spec.containers[*].image`")),
        ),
        ("the node", |spec| spec["nodeName"] = "host-1".into(), Some(("spec", "pod updates may not change"))),
        (
            "one more container",
            |spec| spec["containers"].as_array_mut().unwrap().push(json!({"name": "d", "image": "y"})),
            Some(("spec.containers", "pod updates may not add or remove containers")),
        ),
    ];
    for (what, change, expected) in table {
        let mut new = old.clone();
        change(&mut new["spec"]);
        let found = errors(&new, Some(&old));
        match expected {
            None => assert_eq!(found, [], "{what}"),
            Some((field, text)) => {
                assert_eq!(found.len(), 1, "{what}: {found:?}");
                assert!(found[0].0 == field && found[0].1.contains(text), "{what}: {found:?}");
            }
        }
    }
}

#[test]
fn contexts_and_sysctls_follow_upstreams_rules() {
    for name in ["foo-", "bar..", "kernel shmmax"] {
        let sysctls = json!([{"name": name, "value": "1"}, {"name": "safe-and.fine", "value": "1"}]);
        let text = format!("Invalid value: {name:?}: must have at most 253 characters and match regex");
        one_error("/securityContext/sysctls", &sysctls, "spec.securityContext.sysctls[0].name", &text);
    }
    for (at, value, field, text) in [
        ("/securityContext/runAsUser", json!(-1), "securityContext.runAsUser", "must be between 0 and 2147483647"),
        ("/securityContext/fsGroupChangePolicy", json!("Now"), "securityContext.fsGroupChangePolicy", "\"Always\""),
        ("/os", json!({"name": "plan9"}), "os.name", "\"linux\", \"windows\""),
        (
            "/containers/0/securityContext",
            json!({"seccompProfile": {"type": "Localhost"}}),
            "containers[0].securityContext.seccompProfile.localhostProfile",
            "must be set when seccomp type is Localhost",
        ),
        (
            "/containers/0/securityContext",
            json!({"allowPrivilegeEscalation": false, "capabilities": {"add": ["CAP_SYS_ADMIN"]}}),
            "containers[0].securityContext",
            "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
        ),
    ] {
        one_error(at, &value, &format!("spec.{field}"), text);
    }
}

#[test]
fn placement_follows_upstreams_rules() {
    let spread = |extra: Value| {
        let mut one = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
        one.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!([one])
    };
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    for (at, value, field, text) in [
        (
            "topologySpreadConstraints",
            spread(json!({"maxSkew": 0})),
            "topologySpreadConstraints[0].maxSkew",
            "greater than zero",
        ),
        (
            "topologySpreadConstraints",
            spread(json!({"whenUnsatisfiable": "Cry"})),
            "topologySpreadConstraints[0].whenUnsatisfiable",
            "\"DoNotSchedule\", \"ScheduleAnyway\"",
        ),
        (
            "affinity",
            json!({"nodeAffinity": {required: {"nodeSelectorTerms": []}}}),
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
            "must have at least one node selector term",
        ),
        (
            "affinity",
            json!({"podAntiAffinity": {required: [{"labelSelector": {}}]}}),
            "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey",
            "can not be empty",
        ),
        ("schedulingGates", json!([{"name": "a b"}]), "schedulingGates[0].name", "name part must"),
        ("readinessGates", json!([{"conditionType": ""}]), "readinessGates[0].conditionType", "name part must"),
    ] {
        let object = with(|spec| spec[at] = value.clone());
        let found = errors(&object, None);
        let (place, message) = found.first().unwrap_or_else(|| panic!("{at} = {value} is taken"));
        assert_eq!(place, &format!("spec.{field}"), "{at} = {value}");
        assert!(message.contains(text) || field.starts_with("readinessGates"), "{at} = {value}: {message}");
    }
}

#[test]
fn each_volume_says_what_it_is() {
    let volume = |source: Value| {
        let mut volume = json!({"name": "v"});
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        json!([volume])
    };
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    for source in [
        json!({"configMap": {"name": "c", "items": [{"key": "a", "path": "b/c"}]}}),
        json!({"secret": {"secretName": "s"}}),
        json!({"emptyDir": {"sizeLimit": "1Gi"}}),
        json!({"persistentVolumeClaim": {"claimName": "c"}}),
        json!({"csi": {"driver": "d.x.io"}}),
        json!({"ephemeral": {"volumeClaimTemplate": claim}}),
        json!({"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}),
        json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"configMap": {"name": "c"}}]}}),
    ] {
        assert_eq!(errors(&with(|spec| spec["volumes"] = volume(source.clone())), None), [], "{source}");
    }
    for (source, field, text) in [
        (json!({"configMap": {}}), "configMap.name", "Required value"),
        (
            json!({"configMap": {"name": "c", "defaultMode": 512}}),
            "configMap.defaultMode",
            "between 0 and 0777 (octal)",
        ),
        (
            json!({"secret": {"secretName": "s", "items": [{"key": "k", "path": "/a"}]}}),
            "secret.items[0].path",
            "relative path",
        ),
        (
            json!({"secret": {"secretName": "s", "items": [{"key": "k", "path": "a/../b"}]}}),
            "secret.items[0].path",
            "'..'",
        ),
        (
            json!({"downwardAPI": {"items": [{"path": "l"}]}}),
            "downwardAPI.items[0]",
            "one of fieldRef and resourceFieldRef",
        ),
        (
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 5}}]}}),
            "projected.sources[0].serviceAccountToken.expirationSeconds",
            "may not specify a duration less than 10 minutes",
        ),
        (json!({"ephemeral": {}}), "ephemeral.volumeClaimTemplate", "Required value"),
        (json!({"emptyDir": {}, "secret": {"secretName": "s"}}), "secret", "may not specify more than 1 volume type"),
    ] {
        one_error("/volumes", &volume(source), &format!("spec.volumes[0].{field}"), text);
    }
}

#[test]
fn a_container_to_look_with_has_little() {
    let with_one = |extra: Value| {
        let mut one = json!({"name": "debug", "image": "x:1"});
        one.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!([one])
    };
    let why = "cannot be set for an Ephemeral Container";
    for (extra, field, text) in [
        (json!({"ports": [{"containerPort": 80}]}), "ports", why),
        (json!({"livenessProbe": {"exec": {"command": ["a"]}}}), "livenessProbe", why),
        (json!({"targetContainerName": "other"}), "targetContainerName", "Not found: \"other\""),
    ] {
        one_error("/ephemeralContainers", &with_one(extra), &format!("spec.ephemeralContainers[0].{field}"), text);
    }
}

#[test]
fn a_template_is_checked_at_its_own_path() {
    let template = json!({
        "metadata": {"labels": {"a b": "c"}},
        "spec": {"containers": [{"name": "c", "image": ""}], "ephemeralContainers": [{"name": "e", "image": "x"}]},
    });
    let mut found = Vec::new();
    super::template(&template, "spec.template", &mut found);
    let fields: Vec<&str> = found.iter().map(|error| error.field.as_str()).collect();
    let expected =
        ["spec.template.labels", "spec.template.spec.containers[0].image", "spec.template.spec.ephemeralContainers"];
    assert_eq!(fields, expected);
}

#[test]
fn where_a_pod_may_go_narrows_until_its_gates_are_open() {
    let gated = |gates: Value| {
        with(|spec| {
            spec["schedulingGates"] = gates;
            spec["nodeSelector"] = json!({"a": "b"});
        })
    };
    for (gates, narrow, wide) in [(json!([{"name": "x.io/g"}]), true, false), (json!([]), false, false)] {
        let old = gated(gates);
        let mut more = old.clone();
        more["spec"]["nodeSelector"]["c"] = "d".into();
        assert_eq!(errors(&more, Some(&old)).is_empty(), narrow);
        let mut less = old.clone();
        less["spec"]["nodeSelector"] = json!({});
        assert_eq!(errors(&less, Some(&old)).is_empty(), wide);
    }
}
