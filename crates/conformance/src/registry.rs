//! The tests that are written, and the codename that each answers to.

use crate::{
    harness::{Context, Outcome},
    list::List,
};
use futures::future::BoxFuture;
use std::{collections::BTreeSet, time::Duration};

/// What a test does.
pub type Body = for<'a> fn(&'a Context) -> BoxFuture<'a, Outcome>;

/// How long a test may take unless it says otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(180);

/// A test of ours that answers to an entry of the published list.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// The entry's name.
    pub codename: &'static str,
    /// Whether it runs alone, after all others.
    pub serial: bool,
    /// How long it may take.
    pub limit: Duration,
    /// What it does.
    pub body: Body,
}

/// A test; see [`run!`](crate::run) for its body.
#[must_use]
pub const fn test(codename: &'static str, body: Body) -> Test {
    Test { codename, serial: false, limit: DEFAULT_LIMIT, body }
}

impl Test {
    /// It runs alone, after all others: it looks at or changes what is everybody's.
    #[must_use]
    pub const fn serial(mut self) -> Self {
        self.serial = true;
        self
    }

    /// It may take this long, in seconds.
    #[must_use]
    pub const fn within(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }
}

/// The body of a test out of an asynchronous function of the context, and of more arguments if need be:
/// `run!(restart)` or `run!(lifecycle, kind())`.
#[macro_export]
macro_rules! run {
    ($function:path $(, $argument:expr)*) => {
        |context| Box::pin($function(context $(, $argument)*))
    };
}

/// All tests that are written.
#[must_use]
pub fn all() -> Vec<Test> {
    let mut tests = crate::api::tests();
    tests.extend(crate::ctrl::tests());
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
    use crate::list::Entry;

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
