//! A few nodes, and a world in which an update is rolled out over them.

use super::*;
use orrery_reconcile::{Meta, ObjectKey, Projected, Uid};
use proptest::prelude::*;
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "a literal reads best by value")]
fn set(spec: Value) -> DaemonSet {
    let mut object = json!({"metadata": {"namespace": "demo", "name": "d", "uid": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": []}}}});
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    DaemonSet::project(serde_json::from_value(object).unwrap()).unwrap()
}

fn node(name: &str, labels: &[(&str, &str)], taints: Value) -> Arc<Node> {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let meta = Meta { key: ObjectKey::cluster(name), labels, ..Meta::default() };
    let taints = serde_json::from_value(taints).unwrap();
    Arc::new(Node { meta, unschedulable: false, taints, conditions: Vec::new(), heartbeat: None })
}

fn pod(name: &str, node: &str, hash: &str, ready: bool) -> Pod {
    let mut pod =
        Pod { bound_to: Some(node.into()), node: Some(node.into()), phase: Phase::Running, ready, ..Pod::default() };
    pod.meta.key = ObjectKey::new("demo", name);
    pod.meta.uid = Uid(name.into());
    pod.meta.labels = [(REVISION_HASH.to_owned(), hash.to_owned())].into();
    pod
}

fn look(set: &DaemonSet, hash: &str, nodes: &[Arc<Node>], pods: &[Pod]) -> Plan {
    let pods: Vec<Arc<Pod>> = pods.iter().cloned().map(Arc::new).collect();
    plan(set, hash, nodes, &pods, |_| None, at(100))
}

fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
    pods.iter().map(|pod| pod.meta.key.name.as_str()).collect()
}

#[test]
fn each_node_that_fits_gets_one_and_others_lose_theirs() {
    let set = set(json!({"template": {"spec": {"containers": [], "nodeSelector": {"color": "blue"}}}}));
    let nodes = [
        node("blue-1", &[("color", "blue")], json!([])),
        node("blue-2", &[("color", "blue")], json!([])),
        node("red", &[("color", "red")], json!([])),
        node(
            "cordoned",
            &[("color", "blue")],
            json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]),
        ),
        node("kept", &[("color", "blue")], json!([{"key": "other", "effect": "NoSchedule"}])),
        node("expelled", &[("color", "blue")], json!([{"key": "other", "effect": "NoExecute"}])),
    ];
    let pods = [
        pod("a", "blue-1", "h", true),
        pod("b", "blue-1", "h", true),
        pod("c", "red", "h", true),
        pod("d", "kept", "h", true),
        pod("e", "expelled", "h", true),
        pod("f", "gone", "h", true),
    ];
    let plan = look(&set, "h", &nodes, &pods);
    assert_eq!(plan.create, ["blue-2", "cordoned"]);
    assert_eq!(names(&plan.delete), ["b", "e", "c"]);
    let status = &plan.status;
    assert_eq!((status.desired, status.current, status.misscheduled), (3, 1, 3));
    assert_eq!((status.ready, status.unavailable, status.updated), (1, 2, 1));
}

#[test]
fn failed_pods_are_deleted_and_their_node_waits() {
    let (set, nodes) = (set(json!({})), [node("n", &[], json!([]))]);
    let failed = Pod { phase: Phase::Failed, ..pod("a", "n", "h", false) };
    let first = look(&set, "h", &nodes, std::slice::from_ref(&failed));
    assert_eq!((names(&first.delete), first.failed.len(), first.create.len()), (vec!["a"], 1, 0));
    let pods = [Arc::new(failed)];
    let wait = Duration::from_secs(5);
    let later = plan(&set, "h", &nodes, &pods, |_| Some(wait), at(100));
    assert_eq!((later.delete.len(), later.again), (0, Some(wait)));
    assert_eq!(backoff(1, at(100), at(100)), Some(Duration::from_secs(1)));
    assert_eq!(backoff(3, at(100), at(101)), Some(Duration::from_secs(3)));
    assert_eq!(backoff(3, at(100), at(104)), None);
}

#[test]
fn with_surge_the_old_pod_goes_when_the_new_one_is_well() {
    let set = set(json!({"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}));
    let nodes = [node("n1", &[], json!([])), node("n2", &[], json!([]))];
    let mut pods = vec![pod("a", "n1", "old", true), pod("b", "n2", "old", true)];
    let first = look(&set, "new", &nodes, &pods);
    assert_eq!((first.create.as_slice(), first.delete.len()), (["n1".to_owned()].as_slice(), 0));
    pods.push(pod("c", "n1", "new", false));
    let second = look(&set, "new", &nodes, &pods);
    assert_eq!((second.create.len(), second.delete.len()), (0, 0));
    pods[2].ready = true;
    let third = look(&set, "new", &nodes, &pods);
    assert_eq!(names(&third.delete), ["a"]);
}

proptest! {
    #[test]
    fn a_rolling_update_keeps_its_bound_and_ends(count in 1..12usize, bound in 1..5usize, order in prop::collection::vec(0..12usize, 0..60)) {
        let set = set(json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": bound}}}));
        let nodes: Vec<Arc<Node>> = (0..count).map(|index| node(&format!("n{index}"), &[], json!([]))).collect();
        let mut pods: Vec<Pod> = (0..count).map(|index| pod(&format!("p{index}"), &format!("n{index}"), "old", true)).collect();
        let mut made = count;
        let mut steps = order.into_iter();
        for _ in 0..200 {
            let plan = look(&set, "new", &nodes, &pods);
            pods.retain(|pod| !plan.delete.iter().any(|gone| gone.meta.uid == pod.meta.uid));
            for node in &plan.create {
                made += 1;
                pods.push(pod(&format!("p{made}"), node, "new", false));
            }
            let available = pods.iter().filter(|pod| pod.ready).count();
            prop_assert!(available + bound >= count, "{available} of {count}, {bound} may be missing");
            // Pods get ready in any order, in the end all of them.
            match steps.next() {
                Some(index) => if let Some(pod) = pods.get_mut(index) { pod.ready = true },
                None => pods.iter_mut().for_each(|pod| pod.ready = true),
            }
        }
        prop_assert_eq!(pods.len(), count);
        prop_assert!(pods.iter().all(|pod| is_new(pod, "new")));
        prop_assert_eq!(look(&set, "new", &nodes, &pods).status.updated, i32::try_from(count).unwrap());
    }
}
