//! What a run came to: a line for each test, then a line for each class, as text or JSON.

use crate::{harness::Failure, list::List, runner::Verdict};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// How a test or an entry of the list stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It was run and holds.
    Holds,
    /// It was run and does not hold.
    Fails,
    /// It could not be run against this cluster.
    Skipped,
    /// It is written and was not chosen.
    NotRun,
    /// No test answers to it.
    NotWritten,
}

/// An entry of the list and how it stands.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// The entry's name.
    pub codename: String,
    /// Its class.
    pub class: String,
    /// How it stands.
    pub standing: Standing,
    /// Why it does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Every entry of the list.
    pub lines: Vec<Line>,
}

/// Words that say the same of every codename.
const NOISE: [&str; 5] = ["[Conformance]", "[NodeConformance]", "[LinuxOnly]", "[Privileged:ClusterAdmin]", "[Serial]"];

/// A codename without the words that every other has.
#[must_use]
pub fn short(codename: &str) -> String {
    let mut text = codename.to_owned();
    for noise in NOISE {
        text = text.replace(noise, "");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The line that is printed when a test is done.
#[must_use]
pub fn line(verdict: &Verdict) -> String {
    let (word, reason) = match &verdict.result {
        Ok(()) => ("ok     ", String::new()),
        Err(Failure::Wrong(why)) => ("FAILED ", format!("\n        {}", indent(why))),
        Err(Failure::Skipped(why)) => ("skipped", format!("\n        {}", indent(why))),
    };
    let mut text = format!("{word} {:6.1}s {}{reason}", verdict.took.as_secs_f64(), short(verdict.codename));
    for left in &verdict.left {
        let _ = write!(text, "\n        left behind: {}", indent(left));
    }
    text
}

fn indent(text: &str) -> String {
    text.trim().replace('\n', "\n        ")
}

impl Report {
    /// Joins the list, what is written and what was run.
    #[must_use]
    pub fn new(list: &List, written: &BTreeSet<&str>, verdicts: &[Verdict]) -> Self {
        let verdicts: BTreeMap<&str, &Verdict> = verdicts.iter().map(|verdict| (verdict.codename, verdict)).collect();
        let line = |entry: &crate::list::Entry| {
            let verdict = verdicts.get(entry.codename.as_str());
            let (standing, reason) = match verdict.map(|verdict| &verdict.result) {
                Some(Ok(())) => (Standing::Holds, None),
                Some(Err(Failure::Wrong(why))) => (Standing::Fails, Some(why.clone())),
                Some(Err(Failure::Skipped(why))) => (Standing::Skipped, Some(why.clone())),
                None if written.contains(entry.codename.as_str()) => (Standing::NotRun, None),
                None => (Standing::NotWritten, None),
            };
            Line {
                codename: entry.codename.clone(),
                class: entry.class.clone(),
                standing,
                reason,
                seconds: verdict.map(|verdict| (verdict.took.as_secs_f64() * 10.0).round() / 10.0),
            }
        };
        Self { lines: list.entries.iter().map(line).collect() }
    }

    /// How many of a class hold.
    #[must_use]
    pub fn holding(&self, class: &str) -> usize {
        self.count(class, Standing::Holds)
    }

    /// Whether nothing that was run fails or had to be skipped.
    #[must_use]
    pub fn all_that_ran_hold(&self) -> bool {
        !self.lines.iter().any(|line| matches!(line.standing, Standing::Fails | Standing::Skipped))
    }

    fn count(&self, class: &str, standing: Standing) -> usize {
        self.lines.iter().filter(|line| line.class == class && line.standing == standing).count()
    }

    fn classes(&self) -> BTreeMap<&str, usize> {
        let mut classes = BTreeMap::new();
        for line in &self.lines {
            *classes.entry(line.class.as_str()).or_default() += 1;
        }
        classes
    }

    /// A line for each class of `chosen` (all when it is empty), such as
    /// `api 112/144 (20 fail, 2 skipped, 0 not run, 10 not written)`.
    #[must_use]
    pub fn summary(&self, chosen: &[String]) -> String {
        let mut text = String::new();
        for (class, total) in self.classes() {
            if !chosen.is_empty() && !chosen.iter().any(|name| name == class) {
                continue;
            }
            let _ = write!(text, "{class} {}/{total}", self.holding(class));
            let rest = [
                (Standing::Fails, "fail"),
                (Standing::Skipped, "skipped"),
                (Standing::NotRun, "not run"),
                (Standing::NotWritten, "not written"),
            ];
            let rest = rest.map(|(standing, word)| (self.count(class, standing), word));
            let rest: Vec<String> =
                rest.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
            if !rest.is_empty() {
                let _ = write!(text, " ({})", rest.join(", "));
            }
            text.push('\n');
        }
        text
    }

    /// Every entry of `chosen` classes that does not hold, with the reason.
    #[must_use]
    pub fn missing(&self, chosen: &[String]) -> String {
        let mut text = String::new();
        for line in &self.lines {
            if line.standing == Standing::Holds || (!chosen.is_empty() && !chosen.contains(&line.class)) {
                continue;
            }
            let word = match line.standing {
                Standing::Holds => continue,
                Standing::Fails => "FAILED",
                Standing::Skipped => "skipped",
                Standing::NotRun => "not run",
                Standing::NotWritten => "not written",
            };
            let _ = write!(text, "{:11} {:8} {}", word, line.class, short(&line.codename));
            let first = line.reason.as_deref().and_then(|reason| reason.lines().next());
            let _ = first.map(|reason| write!(text, ": {reason}"));
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::Entry;
    use std::time::Duration;

    fn list(names: &[&str]) -> List {
        let entry =
            |name: &&str| Entry { codename: (*name).to_owned(), description: String::new(), class: "api".to_owned() };
        List { entries: names.iter().map(entry).collect() }
    }

    fn verdict(codename: &'static str, result: Result<(), Failure>) -> Verdict {
        Verdict { codename, result, took: Duration::from_secs(1), left: Vec::new() }
    }

    #[test]
    fn only_what_was_run_and_holds_counts() {
        let written = BTreeSet::from(["a", "b", "c", "d"]);
        let verdicts = [
            verdict("a", Ok(())),
            verdict("b", Err(Failure::wrong("no"))),
            verdict("c", Err(Failure::skipped("one node only"))),
        ];
        let report = Report::new(&list(&["a", "b", "c", "d", "e"]), &written, &verdicts);
        assert_eq!(report.summary(&[]), "api 1/5 (1 fail, 1 skipped, 1 not run, 1 not written)\n");
        assert!(!report.all_that_ran_hold());
        assert_eq!(report.missing(&["ctrl".to_owned()]), "");
        assert_eq!(report.missing(&[]).lines().count(), 4);
    }

    #[test]
    fn a_codename_loses_the_words_that_all_have() {
        assert_eq!(short("[sig-a] B [Serial] should c [NodeConformance] [Conformance]"), "[sig-a] B should c");
    }
}
