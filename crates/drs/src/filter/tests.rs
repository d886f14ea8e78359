use super::*;
use crate::{
    amounts::Amounts,
    view::{Effect, NodeTerm, Operator, Requirement, Taint, Toleration},
};
use orrery_api::{
    names::HostName,
    units::{Bytes, MilliCpu},
};
use proptest::prelude::*;

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn node(name: &str) -> NodeView {
    NodeView {
        name: host(name),
        labels: [("disk", "ssd"), ("cores", "8")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        taints: Vec::new(),
        unschedulable: false,
        allocatable: Amounts::new(MilliCpu(4000), Bytes(1000)),
        allocatable_pods: 10,
        requested: Amounts::new(MilliCpu(1000), Bytes(100)),
        pods: 2,
    }
}

fn asks(cpu: u64, memory: u64) -> PodView {
    PodView { requests: Amounts::new(MilliCpu(cpu), Bytes(memory)), ..PodView::default() }
}

fn requires(key: &str, operator: Operator) -> PodView {
    let term = NodeTerm { labels: vec![Requirement { key: key.to_owned(), operator }], fields: Vec::new() };
    PodView { node_affinity: Some(vec![term]), ..PodView::default() }
}

fn insufficient(resource: &str) -> Reason {
    Reason::Insufficient(resource.to_owned())
}

#[test]
fn a_node_takes_exactly_what_is_left_and_names_everything_that_is_short() {
    let mut card = asks(0, 0);
    card.requests.other.insert("example.com/card".to_owned(), 1);
    let table = [
        (asks(3000, 900), Ok(())),
        (asks(3001, 900), Err(vec![insufficient("cpu")])),
        (asks(3001, 901), Err(vec![insufficient("cpu"), insufficient("memory")])),
        (asks(0, 0), Ok(())),
        (card, Err(vec![insufficient("example.com/card")])),
    ];
    for (pod, expected) in table {
        assert_eq!(check(&pod, &node("host-1")), expected, "{pod:?}");
    }
}

#[test]
fn a_pod_that_asks_for_nothing_goes_to_an_overfull_node_until_its_pods_are_counted_out() {
    let mut full = node("host-1");
    full.requested = Amounts::new(MilliCpu(9000), Bytes(9000));
    assert_eq!(check(&asks(0, 0), &full), Ok(()));
    full.pods = 10;
    assert_eq!(check(&asks(0, 0), &full), Err(vec![Reason::TooManyPods]));
}

#[test]
fn node_affinity_matches_as_upstream_defines_its_operators() {
    let values = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    let table = [
        (requires("disk", Operator::In(values(&["ssd", "nvme"]))), true),
        (requires("disk", Operator::In(values(&["hdd"]))), false),
        (requires("gpu", Operator::In(values(&["yes"]))), false),
        (requires("disk", Operator::NotIn(values(&["ssd"]))), false),
        (requires("gpu", Operator::NotIn(values(&["yes"]))), true),
        (requires("disk", Operator::Exists), true),
        (requires("gpu", Operator::Exists), false),
        (requires("gpu", Operator::DoesNotExist), true),
        (requires("cores", Operator::Gt(7)), true),
        (requires("cores", Operator::Gt(8)), false),
        (requires("cores", Operator::Lt(9)), true),
        (requires("disk", Operator::Gt(1)), false),
        (requires("disk", Operator::Malformed), false),
    ];
    for (pod, expected) in table {
        assert_eq!(check(&pod, &node("host-1")).is_ok(), expected, "{:?}", pod.node_affinity);
    }
}

#[test]
fn terms_are_alternatives_and_an_empty_term_matches_nothing() {
    let exists = |key: &str| Requirement { key: key.to_owned(), operator: Operator::Exists };
    let term = |keys: &[&str]| NodeTerm { labels: keys.iter().map(|k| exists(k)).collect(), fields: Vec::new() };
    let pod = |terms| PodView { node_affinity: Some(terms), ..PodView::default() };
    assert!(check(&pod(vec![term(&["gpu"]), term(&["disk"])]), &node("a")).is_ok());
    assert!(check(&pod(vec![term(&["gpu", "disk"])]), &node("a")).is_err());
    assert!(check(&pod(vec![NodeTerm::default()]), &node("a")).is_err());
    assert!(check(&pod(vec![]), &node("a")).is_err());
}

#[test]
fn a_term_may_name_the_node() {
    let by_name = |key: &str, name: &str| {
        let operator = Operator::In(vec![name.to_owned()]);
        let term = NodeTerm { labels: Vec::new(), fields: vec![Requirement { key: key.to_owned(), operator }] };
        PodView { node_affinity: Some(vec![term]), ..PodView::default() }
    };
    assert!(check(&by_name("metadata.name", "host-1"), &node("host-1")).is_ok());
    assert!(check(&by_name("metadata.name", "host-1"), &node("host-2")).is_err());
    assert!(check(&by_name("metadata.uid", "host-1"), &node("host-1")).is_err());
}

#[test]
fn a_node_selector_wants_every_label() {
    let selects = |key: &str, value: &str| PodView {
        node_selector: [(key.to_owned(), value.to_owned())].into(),
        ..PodView::default()
    };
    assert!(check(&selects("disk", "ssd"), &node("a")).is_ok());
    assert_eq!(check(&selects("disk", "hdd"), &node("a")), Err(vec![Reason::NodeAffinity]));
}

#[test]
fn tolerations_cover_taints_by_key_value_and_effect() {
    let taint = |effect| Taint { key: "dedicated".to_owned(), value: "db".to_owned(), effect };
    let toleration = |key: Option<&str>, value: Option<&str>, effect| Toleration {
        key: key.map(str::to_owned),
        value: value.map(str::to_owned),
        effect,
    };
    let table = [
        (Effect::NoSchedule, vec![], false),
        (Effect::PreferNoSchedule, vec![], true),
        (Effect::NoExecute, vec![], false),
        (Effect::NoSchedule, vec![toleration(Some("dedicated"), Some("db"), Some(Effect::NoSchedule))], true),
        (Effect::NoSchedule, vec![toleration(Some("dedicated"), Some("web"), None)], false),
        (Effect::NoSchedule, vec![toleration(Some("dedicated"), None, None)], true),
        (Effect::NoSchedule, vec![toleration(Some("dedicated"), None, Some(Effect::NoExecute))], false),
        (Effect::NoExecute, vec![toleration(None, None, None)], true),
    ];
    for (effect, tolerations, expected) in table {
        let mut tainted = node("a");
        tainted.taints.push(taint(effect));
        let pod = PodView { tolerations, ..PodView::default() };
        assert_eq!(check(&pod, &tainted).is_ok(), expected, "{effect:?} {:?}", pod.tolerations);
    }
}

#[test]
fn a_cordoned_node_takes_only_who_tolerates_that() {
    let mut cordoned = node("a");
    cordoned.unschedulable = true;
    assert_eq!(check(&asks(1, 1), &cordoned), Err(vec![Reason::Unschedulable]));
    let everything = PodView { tolerations: vec![Toleration::default()], ..PodView::default() };
    assert!(check(&everything, &cordoned).is_ok());
}

#[test]
fn the_summary_says_what_upstream_says() {
    let cpu = [insufficient("cpu")];
    let cordoned = [Reason::Unschedulable];
    assert_eq!(
        summary([&cpu[..], &cordoned, &cordoned]),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable."
    );
    let taint = [Reason::Taint { key: "k".into(), value: "v".into() }];
    assert_eq!(summary([&taint[..]]), "0/1 nodes are available: 1 node(s) had untolerated taint {k: v}.");
    assert_eq!(summary([]), "no nodes available to schedule pods");
}

#[test]
fn what_is_not_built_blocks_the_pod_and_is_named() {
    let pod = PodView { unsupported: vec![Unsupported::PodAntiAffinity], ..PodView::default() };
    let blocked = admissible(&pod).unwrap_err();
    assert_eq!(blocked, Blocked::Unsupported(vec![Unsupported::PodAntiAffinity]));
    assert!(blocked.to_string().contains("required podAntiAffinity"), "{blocked}");
    let gated = PodView { gates: vec!["example.com/wait".into()], ..PodView::default() };
    assert_eq!(admissible(&gated), Err(Blocked::Gated(vec!["example.com/wait".into()])));
    assert_eq!(admissible(&PodView::default()), Ok(()));
}

proptest! {
    #[test]
    fn a_node_that_was_charged_with_what_it_took_is_never_overfull(
        pods in prop::collection::vec((0u64..2000, 0u64..500), 0..30)
    ) {
        let mut node = node("a");
        for (cpu, memory) in pods {
            let pod = asks(cpu, memory);
            if check(&pod, &node).is_ok() {
                node.charge(&pod.requests);
            }
        }
        prop_assert!(node.requested.cpu <= node.allocatable.cpu);
        prop_assert!(node.requested.memory <= node.allocatable.memory);
        prop_assert!(node.pods <= node.allocatable_pods);
    }
}
