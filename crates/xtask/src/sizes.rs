//! Files, functions and crates stay small.

use crate::{
    ratchet::{Numbers, Ratchet},
    report::{Problem, Verdict},
    source::{RustFile, Tree},
};
use std::{collections::BTreeMap, path::Path};

/// What the numbers may be at most, whatever the ratchet says.
const CEILINGS: Numbers = Numbers {
    median_file_lines: 170,
    p95_file_lines: 500,
    largest_file_lines: 800,
    long_functions_per_10000: 100,
    largest_crate_lines: 12_000,
};

/// A function longer than this is long.
const LONG_FUNCTION: usize = 70;

pub(crate) fn check(tree: &Tree, ratchet_file: &Path, update: bool) -> Verdict {
    let numbers = measure(&tree.rust);
    let mut ratchet = match Ratchet::read(ratchet_file) {
        Ok(ratchet) => ratchet,
        Err(error) => return Verdict::cannot("sizes", &error),
    };
    if update {
        ratchet.tighten(numbers);
        if let Err(error) = ratchet.write(ratchet_file) {
            return Verdict::cannot("sizes", &error);
        }
    }
    let mut problems: Vec<Problem> = tree
        .broken
        .iter()
        .map(|(path, why)| Problem { what: format!("{}: {why}", path.display()), fix: "make it parse".to_owned() })
        .collect();
    problems.extend(judge(numbers, ratchet.numbers(), &tree.rust));
    let summary = format!(
        "{} files, median {} lines, 95th percentile {}, largest {} without tests; {}.{:02}% of functions over {} lines; \
         largest crate {} lines",
        tree.rust.len(),
        numbers.median_file_lines,
        numbers.p95_file_lines,
        numbers.largest_file_lines,
        numbers.long_functions_per_10000 / 100,
        numbers.long_functions_per_10000 % 100,
        LONG_FUNCTION,
        numbers.largest_crate_lines,
    );
    Verdict::new("sizes", summary, problems)
}

fn measure(files: &[RustFile]) -> Numbers {
    let mut lines: Vec<usize> = files.iter().map(|file| file.lines).collect();
    lines.sort_unstable();
    let functions: usize = files.iter().map(|file| file.functions.len()).sum();
    let long: usize = files.iter().flat_map(|file| &file.functions).filter(|(_, lines)| *lines > LONG_FUNCTION).count();
    Numbers {
        median_file_lines: percentile(&lines, 50),
        p95_file_lines: percentile(&lines, 95),
        largest_file_lines: files.iter().map(|file| file.lines_without_tests).max().unwrap_or_default(),
        long_functions_per_10000: (long * 10_000).checked_div(functions).unwrap_or_default(),
        largest_crate_lines: packages(files).into_values().max().unwrap_or_default(),
    }
}

/// The nearest rank of `sorted`.
fn percentile(sorted: &[usize], percent: usize) -> usize {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn packages(files: &[RustFile]) -> BTreeMap<String, usize> {
    let mut packages = BTreeMap::new();
    for file in files {
        *packages.entry(file.package().display().to_string()).or_default() += file.lines;
    }
    packages
}

fn judge(numbers: Numbers, ratchet: Numbers, files: &[RustFile]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((name, number), ((_, ceiling), (_, so_far))) in
        numbers.named().into_iter().zip(CEILINGS.named().into_iter().zip(ratchet.named()))
    {
        if number <= ceiling.min(so_far) {
            continue;
        }
        let limit = if number > ceiling { format!("the ceiling is {ceiling}") } else { format!("it was {so_far}") };
        let fix = match name {
            "long_functions_per_10000" => "name the steps of the longest functions",
            "largest_crate_lines" => "split the crate along a boundary that has a name",
            _ => "split the longest files by concern",
        };
        problems.push(Problem {
            what: format!("{name} is {number}, and {limit}: {}", worst(name, files)),
            fix: fix.to_owned(),
        });
    }
    problems
}

/// The three that a number is worst for.
fn worst(name: &str, files: &[RustFile]) -> String {
    let mut found: Vec<(usize, String)> = match name {
        "long_functions_per_10000" => files
            .iter()
            .flat_map(|file| file.functions.iter().map(move |f| (f.1, format!("{}: {}", file.path.display(), f.0))))
            .collect(),
        "largest_crate_lines" => packages(files).into_iter().map(|(name, lines)| (lines, name)).collect(),
        "largest_file_lines" => {
            files.iter().map(|file| (file.lines_without_tests, file.path.display().to_string())).collect()
        }
        _ => files.iter().map(|file| (file.lines, file.path.display().to_string())).collect(),
    };
    found.sort_unstable_by(|a, b| b.cmp(a));
    let texts: Vec<String> = found.iter().take(3).map(|(lines, name)| format!("{name} ({lines})")).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, lines: usize, functions: &[usize]) -> RustFile {
        RustFile {
            path: format!("crates/{name}").into(),
            lines,
            lines_without_tests: lines,
            doc_lines: 0,
            groups: 0,
            functions: functions.iter().map(|lines| ("f".to_owned(), *lines)).collect(),
        }
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred: Vec<usize> = (1..=100).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 95), percentile(&[], 50)), (50, 95, 0));
        assert_eq!((percentile(&[7], 95), percentile(&[1, 2, 3], 50)), (7, 2));
    }

    #[test]
    fn numbers_are_taken_over_all_files() {
        let files =
            [file("a/src/x.rs", 100, &[10, 71]), file("a/src/y.rs", 300, &[70, 5]), file("b/src/z.rs", 350, &[])];
        let expected = Numbers {
            median_file_lines: 300,
            p95_file_lines: 350,
            largest_file_lines: 350,
            long_functions_per_10000: 2500,
            largest_crate_lines: 400,
        };
        assert_eq!(measure(&files), expected);
    }

    #[test]
    fn a_number_beyond_its_ceiling_or_worse_than_before_is_a_problem() {
        let files = [file("a/src/x.rs", 200, &[])];
        let numbers = Numbers { median_file_lines: 160, ..Numbers::default() };
        let at = |median_file_lines| Numbers { median_file_lines, ..CEILINGS };
        assert_eq!(judge(numbers, at(160), &files), []);
        assert!(judge(numbers, at(159), &files)[0].what.contains("median_file_lines is 160, and it was 159"));
        let high = Numbers { median_file_lines: 171, ..Numbers::default() };
        let problem = &judge(high, at(500), &files)[0];
        assert!(problem.what.contains("the ceiling is 170: crates/a/src/x.rs (200)"), "{}", problem.what);
    }
}
