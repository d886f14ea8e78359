//! `bench store`: the embedded store beside plain SQLite and etcd.
//!
//! The engines are measured by a program of their own (the example `store-bench` of the crate `orrery-store-etcd`), so that
//! this one needs none of them; it says a number a line, which is put beside the others' here.

use super::{
    BenchError, StoreBench,
    engines::Numbers,
    interrupt::Children,
    measure::{self, Measure},
    note,
};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What of plain SQLite's puts the store has to reach, and how many times etcd's.
const OF_SQLITE: f64 = 0.85;
const TIMES_ETCD: f64 = 2.5;

/// Builds the program and runs it. Its progress goes to standard error.
pub(super) fn run(root: &Path, options: &StoreBench) -> Result<Vec<Measure>, BenchError> {
    let children = Children::guard().map_err(BenchError::io("take signals"))?;
    let etcd = etcd(root, options.etcd.clone(), &children)?;
    let directory = tempfile::Builder::new().prefix("orrery-bench-store.").tempdir_in(&options.directory);
    let directory =
        directory.map_err(BenchError::io(format!("make a directory in {}", options.directory.display())))?;
    let machine = measure::machine();
    note("building the benchmark (release profile)");
    let arguments = [
        directory.path().into(),
        etcd.into(),
        options.objects.to_string().into(),
        options.rounds.to_string().into(),
        options.slice_ms.to_string().into(),
    ];
    let numbers = Numbers::of(root, ("orrery-store-etcd", "store-bench"), &arguments, &children)?;
    Ok(machine.into_iter().chain(judge(&numbers)?).collect())
}

/// The etcd that was given, one of the tests' tools, or a fresh one.
fn etcd(root: &Path, given: Option<PathBuf>, children: &Children) -> Result<PathBuf, BenchError> {
    if let Some(given) = given {
        return Ok(given);
    }
    let tools = std::env::var_os("ORRERY_TEST_TOOLS").map_or_else(|| root.join("target/tools"), PathBuf::from);
    let etcd = tools.join("etcd");
    if !etcd.exists() {
        note("getting etcd");
        let mut command = Command::new(root.join("scripts/get-etcd"));
        let mut getting = children.start(command.arg(&tools)).map_err(BenchError::io("run scripts/get-etcd"))?;
        let status = getting.child.wait().map_err(BenchError::io("wait for scripts/get-etcd"))?;
        if !status.success() {
            let command = "scripts/get-etcd".to_owned();
            return Err(BenchError::Command {
                command,
                said: "its error is above; or give an etcd with --etcd".to_owned(),
            });
        }
    }
    Ok(etcd)
}

/// Puts the store's numbers beside the others'.
fn judge(numbers: &Numbers) -> Result<Vec<Measure>, BenchError> {
    let mut measures = Vec::new();
    let rows = [
        ("durable puts, 1 writer", "puts 1", "1/s"),
        ("durable puts, 64 writers", "puts 64", "1/s"),
        ("gets, 1 reader", "gets", "1/s"),
        ("range of 10,000", "range", "ms"),
        ("open after kill -9", "open", "ms"),
    ];
    for (name, what, unit) in rows {
        let value = numbers.get("embedded", what)?;
        for (peer, factor) in [("sqlite", OF_SQLITE), ("etcd", TIMES_ETCD)] {
            let beside = numbers.get(peer, what)?;
            let measure = Measure::new(format!("{name}; peer {peer}"), value, unit).beside(beside);
            let has_goal = what.starts_with("puts");
            measures.push(if has_goal { measure.at_least(factor * beside) } else { measure });
        }
    }
    Ok(measures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::engines::Number;

    fn numbers() -> Numbers {
        let mut numbers = Vec::new();
        for (engine, value) in [("embedded", 90.0), ("sqlite", 100.0), ("etcd", 40.0)] {
            for what in ["puts 1", "puts 64", "gets", "range", "open"] {
                numbers.push(Number { engine: engine.into(), what: what.into(), value });
            }
        }
        Numbers(numbers)
    }

    #[test]
    fn puts_have_goals_and_every_number_both_peers() {
        let measures = judge(&numbers()).unwrap();
        let rows: Vec<_> = measures.iter().map(|measure| (measure.goal, measure.ratio, measure.met)).collect();
        assert_eq!(rows[..2], [(Some(85.0), Some(0.9), Some(true)), (Some(100.0), Some(2.25), Some(false))]);
        assert_eq!(rows[8], (None, Some(0.9), None));
        assert_eq!(rows.len(), 10);
    }

    #[test]
    fn a_number_that_is_missing_is_told() {
        let mut numbers = numbers();
        numbers.0.retain(|number| number.what != "gets" || number.engine != "etcd");
        assert!(judge(&numbers).unwrap_err().to_string().contains("no gets of etcd"));
    }
}
