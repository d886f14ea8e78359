//! What must hold of any objects.

use super::*;
use proptest::prelude::*;

/// Any JSON, with the names and values that mean something to the test's type among it.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        "[ab]".prop_map(Value::from)
    ];
    let name = prop_oneof![
        proptest::sample::select(vec![
            "metadata",
            "spec",
            "managedFields",
            "labels",
            "set",
            "ports",
            "port",
            "fieldsV1",
            "f:spec",
            "f:a",
            "v:1",
            ".",
            "k:{\"port\":1}",
            "operation",
            "manager",
            "apiVersion",
            "time",
        ])
        .prop_map(str::to_owned),
        "[ab]",
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_spec() -> impl Strategy<Value = Value> {
    let text = || "[a-c]";
    let ports = proptest::collection::btree_map(1..5u8, proptest::option::of(text()), 0..4);
    let ports = ports.prop_map(|ports| {
        let port = |(port, x): (u8, Option<String>)| x.map_or(json!({"port": port}), |x| json!({"port": port, "x": x}));
        Value::from_iter(ports.into_iter().map(port))
    });
    let field = prop_oneof![
        (0..3u8).prop_map(|n| ("replicas", json!(n))),
        text().prop_map(|t| ("text", json!(t))),
        proptest::collection::btree_map(text(), text(), 0..3).prop_map(|map| ("labels", json!(map))),
        proptest::collection::vec(text(), 0..3).prop_map(|list| ("list", json!(list))),
        proptest::collection::btree_set(text(), 0..3).prop_map(|set| ("set", json!(set))),
        proptest::option::of(text()).prop_map(|a| ("struct", a.map_or(json!({}), |a| json!({"a": a})))),
        ports.prop_map(|ports| ("ports", ports)),
    ];
    proptest::collection::vec(field, 0..6)
        .prop_map(|fields| Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

proptest! {
    #[test]
    fn applying_again_is_no_change(before in any_spec(), spec in any_spec()) {
        let live = applied_by("other", None, &before, false).unwrap();
        let once = applied_by("me", Some(&live), &spec, true).unwrap();
        let config = widget(&spec);
        let request = Apply { live: Some(&once), config: &config, force: false, resource: resource(), writer: at("me", T2) };
        let twice = apply(&request).unwrap();
        prop_assert!(!twice.is_changed);
        prop_assert_eq!(twice.object, once);
    }

    #[test]
    fn the_only_applier_has_just_what_it_applied_last(first in any_spec(), second in any_spec()) {
        let live = applied_by("me", None, &first, false).unwrap();
        let object = applied_by("me", Some(&live), &second, false).unwrap();
        let fresh = applied_by("me", None, &second, false).unwrap();
        // Who owned nothing is unknown at the next apply, and what there was is kept.
        prop_assume!(!owners(&live).is_empty());
        prop_assert_eq!(owners(&object), owners(&fresh));
        // An empty list is owned by nobody: it goes, and what holds nothing else goes with it.
        let without_empty_lists = |object: Value| {
            let mut spec = object["spec"].as_object().cloned().unwrap_or_default();
            spec.retain(|_, value| *value != json!([]));
            spec
        };
        prop_assert_eq!(without_empty_lists(object), without_empty_lists(fresh));
    }

    #[test]
    fn force_moves_ownership(first in any_spec(), second in any_spec()) {
        let live = applied_by("a", None, &first, false).unwrap();
        let object = applied_by("b", Some(&live), &second, true).unwrap();
        let fresh = applied_by("b", None, &second, false).unwrap();
        let of = |object: &Value| owners(object).into_iter().find(|line| line.starts_with("b "));
        prop_assert_eq!(of(&object), of(&fresh));
        // What was applied with force stands, and without force it would have stood or been a conflict.
        let (config, view) = (widget(&second), shape().view());
        let mut object = object;
        entries::take_entries(&mut object);
        let merged = crate::typed::merge::merge(&object, &config, view).unwrap();
        prop_assert!(crate::typed::compare::compare(&object, &merged, view).unwrap().is_same());
    }

    #[test]
    fn appliers_of_different_fields_commute(spec in any_spec()) {
        // Each owns something: who owns nothing is unknown at the next apply.
        let (mut left, mut right) = (json!({"replicas": 9}), json!({"text": "z"}));
        let others = spec.as_object().unwrap().iter().filter(|(name, _)| !["replicas", "text"].contains(&name.as_str()));
        for (n, (name, value)) in others.enumerate() {
            if n % 2 == 0 { left[name] = value.clone() } else { right[name] = value.clone() }
        }
        let both = |first: (&'static str, &Value), second: (&'static str, &Value)| {
            let live = applied_by(first.0, None, first.1, false).unwrap();
            applied_by(second.0, Some(&live), second.1, false).unwrap()
        };
        let (one, other) = (both(("a", &left), ("b", &right)), both(("b", &right), ("a", &left)));
        prop_assert_eq!(&one["spec"], &other["spec"]);
        let sorted = |object: &Value| {
            let mut owners = owners(object);
            owners.sort_unstable();
            owners
        };
        prop_assert_eq!(sorted(&one), sorted(&other));
    }

    #[test]
    fn a_write_leaves_each_field_that_it_sets_to_the_writer(before in any_spec(), after in any_spec()) {
        let live = applied_by("a", None, &before, false).unwrap();
        let object = updated_by("b", &live, |object| object["spec"] = after.clone());
        let (old, new) = (json!({"spec": live["spec"]}), json!({"spec": object["spec"]}));
        let change = crate::typed::compare::compare(&old, &new, shape().view()).unwrap();
        for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
            let set = FieldSet::from_v1(&entry["fieldsV1"]).unwrap();
            prop_assert!(!set.intersects(&change.removed));
            let touched = change.modified.clone().union(change.added.clone());
            if entry["manager"] == "b" {
                prop_assert_eq!(set, touched);
            } else {
                prop_assert!(!set.intersects(&touched));
            }
        }
    }

    #[test]
    fn the_short_way_leads_where_the_long_way_does(
        first in any_spec(), second in any_spec(), third in any_spec(), after in any_spec(), manager in "[abc]"
    ) {
        let live = applied_by("a", None, &first, false).unwrap();
        let live = applied_by("b", Some(&live), &second, true).unwrap();
        let live = updated_by("c", &live, |object| object["spec"] = third);
        let mut object = live.clone();
        object["spec"] = after;
        let source = entries::take_entries(&mut object).unwrap_or_default();
        let writer = Writer { manager: &manager, subresource: "", now: T2 };
        let update = Update { live: Some(&live), resource: resource(), writer };
        let ways = [true, false].map(|keep| tracking::by_entries(&update, &object, source.clone().into(), keep));
        prop_assert_eq!(&ways[0], &ways[1]);
    }

    #[test]
    fn nothing_makes_apply_or_tracking_panic(live in any_json(), config in any_json(), manager in "[ab]?") {
        let writer = Writer { manager: &manager, subresource: "", now: T1 };
        let mut typed = config.clone();
        if let Some(map) = typed.as_object_mut() {
            map.insert("apiVersion".into(), VERSION.into());
            map.insert("kind".into(), "Widget".into());
        }
        for config in [&config, &typed] {
            for shape in [shape(), &Shape::deduced()] {
                let resource = Resource { shape, ..resource() };
                for live in [None, Some(&live)] {
                    let _ = apply(&Apply { live, config, force: true, resource, writer });
                    let mut object = config.clone();
                    track(&Update { live, resource, writer }, &mut object);
                    let mut other = config.clone();
                    keep_times(&object, &mut other);
                }
            }
        }
    }
}
