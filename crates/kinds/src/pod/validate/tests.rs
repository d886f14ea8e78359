//! The rules of pods, a table row each.

use super::pod;
use crate::pod::defaults;
use serde_json::{Value, json};

/// A pod that is fine, changed by `change` and filled in.
fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "demo"},
        "spec": {"containers": [{"name": "c", "image": "x:1"}], "volumes": [{"name": "v", "emptyDir": {}}]},
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
    let context = json!({"privileged": true});
    let field = "spec.containers[0].securityContext.privileged";
    one_error("/containers/0/securityContext", &context, field, reason);
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
