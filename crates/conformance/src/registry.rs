//! The tests that are written, and the codename that each answers to.

use crate::list::List;
pub use orrery_harness::{Body, Test, test};
use std::collections::BTreeSet;

/// All tests that are written.
#[must_use]
pub fn all() -> Vec<Test> {
    let mut tests = crate::api::tests();
    tests.extend(crate::ctrl::tests());
    tests.extend(orrery_conformance_pods::tests());
    tests
}

/// What is wrong with the registry: codenames that are not in the list, and those that two tests answer to.
#[must_use]
pub fn mistakes(tests: &[Test], list: &List) -> Vec<String> {
    let known: BTreeSet<&str> = list.entries.iter().map(|entry| entry.codename.as_str()).collect();
    let mut seen = BTreeSet::new();
    let mut mistakes = Vec::new();
    for test in tests {
        if !known.contains(test.codename) {
            mistakes.push(format!("not in the list: {}", test.codename));
        }
        if !seen.insert(test.codename) {
            mistakes.push(format!("two tests answer to: {}", test.codename));
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        harness::{Context, Outcome},
        list::Entry,
        run,
    };

    async fn nothing(_: &Context) -> Outcome {
        Ok(())
    }

    #[test]
    fn no_codename_has_two_tests() {
        let tests = all();
        let list = List {
            entries: tests
                .iter()
                .map(|test| Entry {
                    codename: test.codename.to_owned(),
                    description: String::new(),
                    class: "api".to_owned(),
                })
                .collect(),
        };
        assert_eq!(mistakes(&tests, &list), Vec::<String>::new());
    }

    #[test]
    fn a_codename_that_is_not_in_the_list_and_one_twice_are_mistakes() {
        let tests = [test("a", run!(nothing)), test("a", run!(nothing))];
        let found = mistakes(&tests, &List::default());
        assert_eq!(found, ["not in the list: a", "not in the list: a", "two tests answer to: a"]);
    }
}
