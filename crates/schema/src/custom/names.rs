//! Names of custom resources: in a group, a name belongs to the definition that had it first. Pure.

use orrery_machinery::meta;
use serde_json::{Value, json};

/// What becomes of a definition's names.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The names under which it is served.
    pub accepted: Value,
    /// Why not all that it asks for are accepted.
    pub conflict: Option<(&'static str, String)>,
}

/// Judges the names that `definition` asks for, beside all other definitions.
#[must_use]
pub fn judge<'a>(definition: &Value, others: impl Iterator<Item = &'a Value> + Clone) -> Verdict {
    let asked = with_defaults(&definition["spec"]["names"]);
    let mut accepted = definition["status"]["acceptedNames"].clone();
    if !accepted.is_object() {
        accepted = json!({});
    }
    let group = &definition["spec"]["group"];
    let rivals = others.filter(|other| {
        other["spec"]["group"] == *group && meta::name(other) != meta::name(definition) && !meta::is_deleting(other)
    });
    let mut conflict = None;
    for (field, reason) in [
        ("plural", "PluralConflict"),
        ("singular", "SingularConflict"),
        ("shortNames", "ShortNamesConflict"),
        ("kind", "KindConflict"),
        ("listKind", "ListKindConflict"),
    ] {
        let taken = texts(&asked[field]).find(|name| rivals.clone().any(|rival| has(rival, field, name)));
        match taken {
            Some(name) => conflict = conflict.or(Some((reason, format!("{name:?} is already in use")))),
            None if asked[field].is_null() => super::set_field(&mut accepted, field, None),
            None => accepted[field] = asked[field].clone(),
        }
    }
    // Categories are shared.
    super::set_field(&mut accepted, "categories", asked.get("categories").cloned());
    Verdict { accepted, conflict }
}

fn with_defaults(names: &Value) -> Value {
    let mut names = names.clone();
    let kind = super::text(&names, "/kind").to_owned();
    if super::text(&names, "/singular").is_empty() {
        names["singular"] = kind.to_lowercase().into();
    }
    if super::text(&names, "/listKind").is_empty() {
        names["listKind"] = format!("{kind}List").into();
    }
    names
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let one = value.as_str();
    one.into_iter().chain(value.as_array().into_iter().flatten().filter_map(Value::as_str))
}

/// Whether a definition has this name. Words for resources share one space, kinds another.
fn has(rival: &Value, field: &str, name: &str) -> bool {
    let accepted = &rival["status"]["acceptedNames"];
    let fields: &[&str] = if matches!(field, "kind" | "listKind") {
        &["kind", "listKind"]
    } else {
        &["plural", "singular", "shortNames"]
    };
    fields.iter().any(|field| texts(&accepted[*field]).any(|taken| taken == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str, names: &Value, accepted: bool) -> Value {
        let mut definition =
            json!({"metadata": {"name": name}, "spec": {"group": "test.io", "names": names}, "status": {}});
        if accepted {
            definition["status"]["acceptedNames"] = names.clone();
        }
        definition
    }

    #[test]
    fn names_that_nobody_has_are_accepted_with_their_defaults() {
        let asked = json!({"plural": "widgets", "kind": "Widget", "shortNames": ["w"]});
        let verdict = judge(&definition("widgets.test.io", &asked, false), std::iter::empty());
        let expected = json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList",
            "shortNames": ["w"]});
        assert_eq!(verdict, Verdict { accepted: expected, conflict: None });
    }

    #[test]
    fn who_comes_second_does_not_get_the_name() {
        let first = definition("widgets.test.io", &json!({"plural": "widgets", "kind": "Widget"}), true);
        let second =
            definition("wids.test.io", &json!({"plural": "wids", "kind": "Widget", "shortNames": ["widgets"]}), false);
        let verdict = judge(&second, [&first, &second].into_iter());
        assert_eq!(verdict.conflict.unwrap().0, "ShortNamesConflict");
        assert_eq!(verdict.accepted["plural"], "wids");
        assert_eq!(verdict.accepted.get("kind"), None);
        let mut elsewhere = first;
        elsewhere["spec"]["group"] = json!("other.io");
        assert_eq!(judge(&second, [&elsewhere].into_iter()).conflict, None);
    }
}
