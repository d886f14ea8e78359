//! What a hollow container does: nothing but end, some time, with some code.
//!
//! It is read from the container's command and arguments, in the few shapes that tests of controllers use: `sleep N`, `true`,
//! `false`, `exit N`, and `sh -c SCRIPT` in a small part of the shell's language ([`script`]). Whatever else a container
//! is told, it runs for ever. Two annotations of its pod go before the command:
//!
//! * `sim.orrery.dev/exit-code`: every container of the pod ends with this code,
//! * `sim.orrery.dev/after-ms`: so many milliseconds after its start; at once when it is not given.

mod arithmetic;
mod script;
mod words;

use orrery_api::k8s::jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// Every container of the pod ends with this code.
pub const EXIT_CODE: &str = "sim.orrery.dev/exit-code";
/// So many milliseconds after its start.
pub const AFTER_MS: &str = "sim.orrery.dev/after-ms";

/// Exit code of a process that SIGTERM ended.
const TERMINATED: i32 = 143;

/// What becomes of a container that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// It runs until it is stopped.
    ForEver,
    /// It ends by itself.
    Ends {
        /// So long after its start.
        after: SignedDuration,
        /// The exit code.
        code: i32,
    },
}

/// What a container that was told to stop ends with: a server ends well, a command is interrupted.
pub(crate) fn code_when_stopped(argv: &[String]) -> i32 {
    if argv.is_empty() { 0 } else { TERMINATED }
}

/// What a container with this command does. `files` are those that its pod's containers have made so far.
pub(crate) fn course(
    argv: &[String],
    variables: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    files: &mut BTreeSet<String>,
) -> Course {
    if let Some(code) = annotations.get(EXIT_CODE).and_then(|code| code.parse().ok()) {
        let after = annotations.get(AFTER_MS).and_then(|after| after.parse().ok()).unwrap_or(0);
        return Course::Ends { after: SignedDuration::from_millis(after), code };
    }
    let ended = match argv {
        [shell, flag, text, ..] if is_shell(shell) && flag == "-c" => script::run(text, variables, files),
        [] => None,
        [program, arguments @ ..] => {
            let name = program.rsplit('/').next().unwrap_or(program);
            let words: Vec<String> = [name.to_owned()].into_iter().chain(arguments.iter().cloned()).collect();
            script::run_words(&words, files)
        }
    };
    ended.map_or(Course::ForEver, |ended| Course::Ends { after: ended.after, code: ended.code })
}

fn is_shell(program: &str) -> bool {
    matches!(program.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn does(argv: &[&str], variables: &[(&str, &str)]) -> Course {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        course(&argv, &variables, &BTreeMap::new(), &mut BTreeSet::new())
    }

    fn ends(seconds: i64, code: i32) -> Course {
        Course::Ends { after: SignedDuration::from_secs(seconds), code }
    }

    #[test]
    fn the_shapes_that_tests_use_end_as_they_say() {
        let odd = [("JOB_COMPLETION_INDEX", "3")];
        let even = [("JOB_COMPLETION_INDEX", "4")];
        let parity = "exit $(expr ${JOB_COMPLETION_INDEX} % 2)";
        let chosen = "if [ \"$JOB_COMPLETION_INDEX\" -eq 3 ]; then exit 7; elif false; then exit 1; else sleep 2; fi";
        let table = [
            (vec!["true"], &odd, ends(0, 0)),
            (vec!["/bin/false"], &odd, ends(0, 1)),
            (vec!["sleep", "30"], &odd, ends(30, 0)),
            (vec!["sleep", "1.5"], &odd, Course::Ends { after: SignedDuration::from_millis(1500), code: 0 }),
            (vec!["sleep", "infinity"], &odd, Course::ForEver),
            (vec!["sh", "-c", "exit 42"], &odd, ends(0, 42)),
            (vec!["/bin/sh", "-c", "sleep 2; sleep 3 && exit 1"], &odd, ends(5, 1)),
            (vec!["/bin/bash", "-c", "echo 'a; b' && false || true"], &odd, ends(0, 0)),
            (vec!["sh", "-c", parity], &odd, ends(0, 1)),
            (vec!["sh", "-c", parity], &even, ends(0, 0)),
            (vec!["sh", "-c", "exit $((JOB_COMPLETION_INDEX % 2))"], &odd, ends(0, 1)),
            (vec!["sh", "-c", "[ $JOB_COMPLETION_INDEX -ge 4 ] && exit 9"], &even, ends(0, 9)),
            (vec!["sh", "-c", "[ $JOB_COMPLETION_INDEX -ge 4 ] && exit 9"], &odd, ends(0, 1)),
            (vec!["sh", "-c", chosen], &odd, ends(0, 7)),
            (vec!["sh", "-c", chosen], &even, ends(2, 0)),
            (vec!["sh", "-c", "while true; do sleep 1; done"], &odd, Course::ForEver),
            (vec!["sh", "-c", "! true"], &odd, ends(0, 1)),
            (vec!["/agnhost", "pause"], &odd, Course::ForEver),
            (vec![], &odd, Course::ForEver),
        ];
        for (argv, variables, expected) in table {
            assert_eq!(does(&argv, variables), expected, "{argv:?} {variables:?}");
        }
    }

    #[test]
    fn a_file_that_a_container_made_is_there_when_it_is_started_again() {
        let argv = ["sh", "-c", "if [ -e /data/once ]; then exit 0; fi; touch /data/once; exit 1"].map(str::to_owned);
        let mut files = BTreeSet::new();
        let mut again = || course(&argv, &BTreeMap::new(), &BTreeMap::new(), &mut files);
        assert_eq!((again(), again()), (ends(0, 1), ends(0, 0)));
    }

    #[test]
    fn what_is_nested_too_deep_or_never_ends_runs_for_ever() {
        let deep = format!("{}true", "! ".repeat(100_000));
        let tests = format!("[ {}-z '' ]", "! ".repeat(100_000));
        for script in [deep.as_str(), "sleep 1e300", "sleep -1", "sleep 9e18; sleep 9e18"] {
            assert_eq!(does(&["sh", "-c", script], &[]), Course::ForEver, "{script:.40}");
        }
        assert_eq!(does(&["sh", "-c", &tests], &[]), ends(0, 0));
    }

    proptest::proptest! {
        #[test]
        fn no_script_is_minded(script in "(if|then|else|fi|!|sleep 1|exit 3|true|\\[|\\]|;|&&|\\|\\||\\$\\(\\(|\\)|\\$A|\"|'| |\n|[a-z0-9]){0,60}") {
            let _ = does(&["sh", "-c", &script], &[("A", "7")]);
        }
    }

    #[test]
    fn annotations_go_before_the_command() {
        let annotations = BTreeMap::from([(EXIT_CODE.to_owned(), "3".to_owned()), (AFTER_MS.to_owned(), "20".into())]);
        let course = course(&["true".to_owned()], &BTreeMap::new(), &annotations, &mut BTreeSet::new());
        assert_eq!(course, Course::Ends { after: SignedDuration::from_millis(20), code: 3 });
    }
}
