//! What `orrery up` prints on standard error: a line for each step.

use std::time::Duration;

/// A step that ended: `  ✓ NAME   1.2 s (OUTCOME)`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) name: String,
    /// As printed, to a tenth.
    pub(super) seconds: f64,
}

/// A step and when its line was printed, since the program was started.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) step: Step,
    pub(super) at: Duration,
}

/// Reads a line; none when it tells of no step that went well.
pub(super) fn parse(line: &str) -> Option<Step> {
    let rest = line.trim_start().strip_prefix("✓ ")?;
    // A name may hold " s" too; only the time has a number before it, and after it nothing or the outcome.
    let end = rest.match_indices(" s").map(|(at, _)| at).find(|at| {
        let after = &rest[at + 2..];
        (after.is_empty() || after.starts_with(" (")) && number_before(rest, *at).is_some()
    })?;
    let (start, seconds) = number_before(rest, end)?;
    let name = rest[..start].trim();
    (!name.is_empty()).then(|| Step { name: name.to_owned(), seconds })
}

/// The number that ends at `end`, and where it begins.
fn number_before(text: &str, end: usize) -> Option<(usize, f64)> {
    let start = text[..end].rfind(' ')? + 1;
    Some((start, text[start..end].parse().ok()?))
}

/// When the step of this name had ended.
pub(super) fn end_of(seen: &[Seen], name: &str) -> Option<Duration> {
    seen.iter().find(|seen| seen.step.name == name).map(|seen| seen.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_finished_step_has_name_and_seconds() {
        // line, name, seconds
        let table = [
            ("  ✓ keeper                                        0.1 s", "keeper", 0.1),
            ("  ✓ manager                                       0.1 s (127.0.0.1:21971)", "manager", 0.1),
            (
                "  ✓ host-1 joins cluster-1                       12.5 s (QEMU 7.2.22, TCG)",
                "host-1 joins cluster-1",
                12.5,
            ),
            (
                "  ✓ pod demo/hello runs                        1234.0 s (already there, 10.0.0.2)",
                "pod demo/hello runs",
                1234.0,
            ),
            (
                "  ✓ a name that fills its whole column, and more    9.9 s (3 s (or 4 s))",
                "a name that fills its whole column, and more",
                9.9,
            ),
            ("  ✓ waits 5 sure seconds 2.0 s", "waits 5 sure seconds", 2.0),
        ];
        for (line, name, seconds) in table {
            assert_eq!(parse(line), Some(Step { name: name.to_owned(), seconds }), "{line}");
        }
    }

    #[test]
    fn other_lines_tell_of_no_step() {
        for line in [
            "",
            "  ✗ manager                                     180.0 s (failed)",
            "stopping what was started (--keep leaves it as it is)",
            "  ✓ keeper",
            "  ✓  0.1 s",
            "  ✓ keeper soon s",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_step_is_found_by_its_name() {
        let seen =
            |name: &str, at| Seen { step: Step { name: name.to_owned(), seconds: 0.0 }, at: Duration::from_millis(at) };
        let all = [seen("keeper", 10), seen("manager", 30)];
        assert_eq!(end_of(&all, "manager"), Some(Duration::from_millis(30)));
        assert_eq!(end_of(&all, "host"), None);
    }
}
