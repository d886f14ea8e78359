//! The order of a merged list: elements that the patch names stand as the patch orders them, the others as the server
//! had them, and the two are woven together by the server's order as far as that goes.

use crate::fields::compare_values;
use serde_json::Value;
use std::{cmp::Ordering, collections::BTreeMap};

/// A value as a key: in upstream's order of values.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByValue<'a>(pub(super) &'a Value);

impl Ord for ByValue<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_values(self.0, other.0)
    }
}

impl PartialOrd for ByValue<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByValue<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByValue<'_> {}

/// What makes two elements the same: their merge key, or for scalars the whole value.
pub(super) fn identity<'a>(element: &'a Value, key: Option<&str>) -> &'a Value {
    key.map_or(element, |key| &element[key])
}

/// Where each element stands first.
pub(super) fn places<'a>(list: &'a [Value], key: Option<&str>) -> BTreeMap<ByValue<'a>, usize> {
    let mut places = BTreeMap::new();
    for (place, element) in list.iter().enumerate() {
        places.entry(ByValue(identity(element, key))).or_insert(place);
    }
    places
}

/// Orders `merged`. `wanted` is the patch's order (its own elements or a `$setElementOrder` list), `server` the list
/// before the patch.
pub(super) fn enforce(merged: Vec<Value>, wanted: &[Value], server: &[Value], key: Option<&str>) -> Vec<Value> {
    let (wanted, server) = (places(wanted, key), places(server, key));
    let placed = |element: Value| {
        let id = ByValue(identity(&element, key));
        let (in_wanted, in_server) = (wanted.get(&id).copied(), server.get(&id).copied());
        Placed { element, in_wanted, in_server }
    };
    let all = merged.into_iter().map(placed);
    let (mut named, mut others): (Vec<_>, Vec<_>) = all.partition(|element| element.in_wanted.is_some());
    named.sort_by_key(|element| element.in_wanted);
    others.sort_by_key(|element| element.in_server.unwrap_or(usize::MAX));
    weave(others, named)
}

/// An element and where it stood.
struct Placed {
    element: Value,
    in_wanted: Option<usize>,
    in_server: Option<usize>,
}

/// Puts each of `others` before the first of `named` that the server had after it.
fn weave(others: Vec<Placed>, named: Vec<Placed>) -> Vec<Value> {
    let before =
        |left: &Placed, right: &Placed| left.in_server.zip(right.in_server).is_some_and(|(left, right)| left < right);
    let mut woven = Vec::with_capacity(others.len() + named.len());
    let mut others = others.into_iter().peekable();
    for named in named {
        while let Some(other) = others.next_if(|other| before(other, &named)) {
            woven.push(other.element);
        }
        woven.push(named.element);
    }
    woven.extend(others.map(|other| other.element));
    woven
}

/// Whether the elements of `list` stand in `wanted` in the same order.
pub(super) fn is_consistent(list: &[&Value], wanted: &[Value], key: Option<&str>) -> bool {
    let mut wanted = wanted.iter();
    list.iter().all(|element| wanted.any(|other| identity(other, key) == identity(element, key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn list(text: &str) -> Vec<Value> {
        text.chars().map(|c| json!({"name": c.to_string()})).collect()
    }

    fn names(list: &[Value]) -> String {
        list.iter().filter_map(|e| e["name"].as_str()).collect()
    }

    #[test]
    fn elements_are_woven_by_the_servers_order() {
        // merged, wanted by the patch, server before, expected
        let table = [
            ("abc", "abc", "abc", "abc"),
            ("abc", "cb", "abc", "acb"),
            ("abcx", "xa", "abc", "xabc"),
            ("abcx", "x", "abc", "xabc"),
            ("abcx", "bx", "abc", "abxc"),
            ("abc", "", "abc", "abc"),
            ("ax", "ax", "a", "ax"),
        ];
        for (merged, wanted, server, expected) in table {
            let ordered = enforce(list(merged), &list(wanted), &list(server), Some("name"));
            assert_eq!(names(&ordered), expected, "{merged} {wanted} {server}");
        }
    }

    #[test]
    fn a_list_is_consistent_with_an_order_that_has_its_elements_in_turn() {
        for (elements, wanted, expected) in
            [("ab", "axb", true), ("ba", "ab", false), ("az", "ab", false), ("", "", true)]
        {
            let (elements, wanted) = (list(elements), list(wanted));
            let elements: Vec<&Value> = elements.iter().collect();
            assert_eq!(is_consistent(&elements, &wanted, Some("name")), expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_both_orders_hold(
            server in proptest::sample::subsequence("abcdefgh".chars().collect::<Vec<_>>(), 0..=8).prop_shuffle(),
            wanted in proptest::sample::subsequence("defghxyz".chars().collect::<Vec<_>>(), 0..=8).prop_shuffle(),
        ) {
            let (server, wanted): (String, String) = (server.into_iter().collect(), wanted.into_iter().collect());
            let added: String = wanted.chars().filter(|c| !server.contains(*c)).collect();
            let merged = format!("{server}{added}");
            let ordered = names(&enforce(list(&merged), &list(&wanted), &list(&server), Some("name")));
            let only = |keep: &dyn Fn(char) -> bool| ordered.chars().filter(|c| keep(*c)).collect::<String>();
            prop_assert_eq!(ordered.len(), merged.len());
            prop_assert!(only(&|c| wanted.contains(c)) == wanted, "{ordered}");
            let others: String = server.chars().filter(|c| !wanted.contains(*c)).collect();
            prop_assert_eq!(only(&|c| !wanted.contains(c)), others);
        }
    }
}
