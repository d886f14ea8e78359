//! The algebra against a naive model, and the format against upstream's text.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn element(kind: u8, id: u8) -> PathElement<'static> {
    match kind % 4 {
        0 => PathElement::Field(Cow::Owned(format!("f{id}"))),
        1 => PathElement::Key(
            [("name".into(), Cow::Owned(format!("k{id}").into())), ("port".into(), Cow::Owned(id.into()))].into(),
        ),
        2 => PathElement::Value(Cow::Owned(id.into())),
        _ => PathElement::Index(id.into()),
    }
}

type Path = Vec<(u8, u8)>;

fn any_paths() -> impl Strategy<Value = BTreeSet<Path>> {
    let path = proptest::collection::vec((0..4u8, 0..3u8), 1..4);
    proptest::collection::btree_set(path, 0..12)
}

fn set_of(paths: &BTreeSet<Path>) -> FieldSet<'static> {
    let mut set = FieldSet::new();
    for path in paths {
        set.insert(&path.iter().map(|(kind, id)| element(*kind, *id)).collect::<Vec<_>>());
    }
    set
}

fn below(path: &Path, paths: &BTreeSet<Path>) -> bool {
    paths.iter().any(|other| path.starts_with(other))
}

proptest! {
    #[test]
    fn the_algebra_is_that_of_sets_of_paths(left in any_paths(), right in any_paths()) {
        let (a, b) = (set_of(&left), set_of(&right));
        prop_assert_eq!(a.len(), left.len());
        prop_assert_eq!(a.clone().union(b.clone()), set_of(&left.union(&right).cloned().collect()));
        prop_assert_eq!(a.intersection(&b), set_of(&left.intersection(&right).cloned().collect()));
        prop_assert_eq!(a.clone().difference(&b), set_of(&left.difference(&right).cloned().collect()));
        let apart = left.iter().filter(|path| !below(path, &right)).cloned().collect();
        prop_assert_eq!(a.clone().recursive_difference(&b), set_of(&apart));
        prop_assert_eq!(a.intersects(&b), left.intersection(&right).next().is_some());
        prop_assert_eq!(a.is_subset(&b), left.is_subset(&right));
        for path in &right {
            let steps: Vec<_> = path.iter().map(|(kind, id)| element(*kind, *id)).collect();
            prop_assert_eq!(a.contains(&steps), left.contains(path));
        }
    }

    #[test]
    fn a_set_is_read_as_it_was_written(paths in any_paths()) {
        let set = set_of(&paths);
        let value = set.to_v1();
        prop_assert_eq!(&FieldSet::from_v1(&value).unwrap(), &set);
        let text: Value = serde_json::from_str(&set.to_v1_text()).unwrap();
        prop_assert_eq!(text, value);
    }

    #[test]
    fn no_value_makes_the_reader_panic(value in crate::apply::tests::any_json()) {
        if let Ok(set) = FieldSet::from_v1(&value) {
            let again = set.to_v1();
            prop_assert_eq!(FieldSet::from_v1(&again).unwrap(), set);
        }
    }
}

#[test]
fn the_text_is_byte_for_byte_upstreams() {
    // Members before and after, itself first, keys by their size and not by their text.
    let text = r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:ports":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}},"k:{\"port\":443,\"protocol\":\"TCP\"}":{}},"f:set":{"v:\"a\"":{},"v:\"b\\u003c\"":{}}}}"#;
    let value: Value = serde_json::from_str(text).unwrap();
    let set = FieldSet::from_v1(&value).unwrap();
    assert_eq!(set.to_v1_text(), text);
    assert_eq!(set.to_v1(), value);
}

#[test]
fn paths_are_shown_as_in_conflicts() {
    let value = json!({
        "f:spec": {
            "f:replicas": {},
            "f:containers": {r#"k:{"name":"web"}"#: {".": {}, "f:image": {}}},
            "f:finalizers": {r#"v:"a\"b""#: {}, "v:1": {}, "v:true": {}},
            "f:list": {"i:3": {}},
        },
    });
    let shown = FieldSet::from_v1(&value).unwrap().paths();
    let expected = [
        ".spec.replicas",
        r#".spec.containers[name="web"]"#,
        r#".spec.containers[name="web"].image"#,
        ".spec.finalizers[=1]",
        r#".spec.finalizers[="a\"b"]"#,
        ".spec.finalizers[=true]",
        ".spec.list[3]",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn what_is_unknown_is_skipped_and_what_is_malformed_refused() {
    let unknown = json!({"x:new": {}, "f:a": {"x:new": {}}});
    assert_eq!(FieldSet::from_v1(&unknown).unwrap().paths(), [".a"]);
    for bad in [
        json!({"a": {}}),
        json!({"f": {}}),
        json!({"i:x": {}}),
        json!({"k:[]": {}}),
        json!({"v:{": {}}),
        json!([]),
        json!({"f:a": 1}),
    ] {
        assert!(FieldSet::from_v1(&bad).is_err(), "{bad}");
    }
}

#[test]
fn keys_are_the_same_whatever_their_order_and_however_numbers_are_written() {
    let value = json!({r#"k:{"b":1.0,"a":"x"}"#: {"f:p": {}}, r#"k:{"a":"x","b":1}"#: {"f:q": {}}});
    assert_eq!(FieldSet::from_v1(&value).unwrap().paths().len(), 2);
    assert_eq!(FieldSet::from_v1(&value).unwrap().entries().count(), 1);
}

#[test]
fn patterns_keep_what_they_lead_to() {
    const RESOURCES: Pattern = Pattern(&[Some("spec"), Some("containers"), None, Some("resources")]);
    let value = json!({"f:spec": {
        "f:nodeName": {},
        "f:containers": {r#"k:{"name":"web"}"#: {".": {}, "f:image": {}, "f:resources": {"f:limits": {"f:cpu": {}}}}},
    }});
    let kept = FieldSet::from_v1(&value).unwrap().matching(&[RESOURCES]);
    assert_eq!(
        kept.paths(),
        [r#".spec.containers[name="web"]"#, r#".spec.containers[name="web"].resources.limits.cpu"#]
    );
}
