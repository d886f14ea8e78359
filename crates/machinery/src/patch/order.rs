//! The order of a merged list: elements that the patch names stand as the patch orders them, the others as the server
//! had them, and the two are woven together by the server's order as far as that goes.

use serde_json::Value;

/// What makes two elements the same: their merge key, or for scalars the whole value.
pub(super) fn identity<'a>(element: &'a Value, key: Option<&str>) -> &'a Value {
    key.map_or(element, |key| &element[key])
}

fn position(list: &[Value], element: &Value, key: Option<&str>) -> Option<usize> {
    list.iter().position(|other| identity(other, key) == identity(element, key))
}

/// Orders `merged`. `wanted` is the patch's order (its own elements or a `$setElementOrder` list), `server` the list
/// before the patch.
pub(super) fn enforce(merged: Vec<Value>, wanted: &[Value], server: &[Value], key: Option<&str>) -> Vec<Value> {
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|element| position(wanted, element, key).is_some());
    let last = usize::MAX;
    named.sort_by_key(|element| position(wanted, element, key).unwrap_or(last));
    others.sort_by_key(|element| position(server, element, key).unwrap_or(last));
    weave(others, named, server, key)
}

/// Puts each of `others` before the first of `named` that the server had after it.
fn weave(others: Vec<Value>, named: Vec<Value>, server: &[Value], key: Option<&str>) -> Vec<Value> {
    let before = |left: &Value, right: &Value| matches!((position(server, left, key), position(server, right, key)), (Some(l), Some(r)) if l < r);
    let mut woven = Vec::with_capacity(others.len() + named.len());
    let mut others = others.into_iter().peekable();
    for element in named {
        while let Some(other) = others.next_if(|other| before(other, &element)) {
            woven.push(other);
        }
        woven.push(element);
    }
    woven.extend(others);
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
