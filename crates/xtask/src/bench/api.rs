//! `bench api`: the API server of a control plane beside a bare server with the same TLS, HTTP and store.

use super::{
    ApiBench, BenchError,
    engines::Numbers,
    interrupt::Children,
    measure::{self, Measure},
    note,
};
use std::path::Path;

/// Watchers for which there is a goal.
const WATCHERS: usize = 10_000;
/// Pods of the list for which there is a goal.
const LISTED: &str = "10000";

/// Builds the program and runs it. Its progress goes to standard error.
pub(super) fn run(root: &Path, options: &ApiBench) -> Result<Vec<Measure>, BenchError> {
    let children = Children::guard().map_err(BenchError::io("take signals"))?;
    let program = options.program.clone().unwrap_or_else(|| root.join("target/release/orrery"));
    if !program.is_file() {
        return Err(BenchError::NoProgram(program));
    }
    let directory = tempfile::Builder::new().prefix("orrery-bench-api.").tempdir_in(&options.directory);
    let directory =
        directory.map_err(BenchError::io(format!("make a directory in {}", options.directory.display())))?;
    let machine = measure::machine();
    note("building the benchmark (release profile)");
    let watchers: Vec<String> = options.watchers.iter().map(ToString::to_string).collect();
    let arguments = [
        program.into(),
        directory.path().into(),
        options.pods.to_string().into(),
        options.rounds.to_string().into(),
        options.slice_ms.to_string().into(),
        watchers.join(",").into(),
    ];
    let numbers = Numbers::of(root, ("orrery-sim", "api-bench"), &arguments, &children)?;
    Ok(machine.into_iter().chain(judge(&numbers, options.pods, &options.watchers)?).collect())
}

/// Puts the product's numbers beside the bare server's, and beside the goals.
fn judge(numbers: &Numbers, pods: usize, watchers: &[usize]) -> Result<Vec<Measure>, BenchError> {
    let of = |what: &str| numbers.get("orrery", what);
    let beside = |name: String, what: &str, unit: &'static str| -> Result<Measure, BenchError> {
        Ok(Measure::new(name, of(what)?, unit).beside(numbers.get("bare", what)?))
    };
    let mut measures = vec![Measure::new("idle control plane, PSS", of("idle")?, "MiB").below(60.0)];
    for (what, name) in [("creates", "durable creates"), ("gets", "gets"), ("applies", "server-side applies")] {
        for clients in [1, 64] {
            let measure = beside(format!("{name}, {clients} at a time"), &format!("{what} {clients}"), "1/s")?;
            let has_goal = what == "creates" && clients == 64;
            measures.push(if has_goal { measure.at_least(3_000.0) } else { measure });
        }
    }
    for (what, count) in [(LISTED, 10_000), ("all", pods)] {
        for (suffix, how) in [("", "whole"), (" paged", "pages of 500")] {
            let measure = beside(format!("list of {count}, {how}"), &format!("list {what}{suffix}"), "ms")?;
            let has_goal = what == LISTED && suffix.is_empty();
            measures.push(if has_goal { measure.below(60.0) } else { measure });
        }
    }
    measures.push(Measure::new("encoded size of a pod", of("size")?, "KiB"));
    measures.push(Measure::new(format!("memory of a pod beyond that, {pods} pods"), of("memory")?, "KiB").below(4.0));
    for watchers in watchers {
        let what = format!("fan-out {watchers}");
        let name = format!("{watchers} watchers, 20 events/s");
        measures.push(beside(format!("{name}, median"), &format!("{what} median"), "ms")?);
        let slowest = beside(format!("{name}, p99"), &format!("{what} p99"), "ms")?;
        measures.push(if *watchers == WATCHERS { slowest.below(250.0) } else { slowest });
        measures.push(beside(format!("{name}, events that did not arrive"), &format!("{what} missed"), "1")?);
    }
    Ok(measures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::engines::Number;

    fn numbers() -> Numbers {
        let mut all = vec![("idle", 20.0), ("size", 3.5), ("memory", 1.5)];
        let beside = [
            ("creates 1", 500.0),
            ("creates 64", 2_900.0),
            ("gets 1", 9_000.0),
            ("gets 64", 30_000.0),
            ("applies 1", 400.0),
            ("applies 64", 2_000.0),
            ("list 10000", 50.0),
            ("list 10000 paged", 70.0),
            ("list all", 500.0),
            ("list all paged", 700.0),
            ("fan-out 10000 median", 100.0),
            ("fan-out 10000 p99", 260.0),
            ("fan-out 10000 missed", 0.0),
        ];
        all.extend(beside);
        let own = all.into_iter().map(|(what, value)| ("orrery", what, value));
        let peers = beside.into_iter().map(|(what, value)| ("bare", what, value * 2.0));
        let number =
            |(engine, what, value): (&str, &str, f64)| Number { engine: engine.into(), what: what.into(), value };
        Numbers(own.chain(peers).map(number).collect())
    }

    #[test]
    fn the_goals_are_judged_and_what_has_a_peer_is_put_beside_it() {
        let measures = judge(&numbers(), 100_000, &[10_000]).unwrap();
        let judged: Vec<_> = measures.iter().filter_map(|m| Some((m.name.as_str(), m.goal?, m.met?))).collect();
        assert_eq!(
            judged,
            [
                ("idle control plane, PSS", 60.0, true),
                ("durable creates, 64 at a time", 3_000.0, false),
                ("list of 10000, whole", 60.0, true),
                ("memory of a pod beyond that, 100000 pods", 4.0, true),
                ("10000 watchers, 20 events/s, p99", 250.0, false),
            ]
        );
        assert_eq!(measures.iter().filter(|measure| measure.ratio == Some(0.5)).count(), 12);
    }

    #[test]
    fn a_number_that_is_missing_is_told() {
        assert!(
            judge(&numbers(), 100_000, &[1_000]).unwrap_err().to_string().contains("no fan-out 1000 median of orrery")
        );
    }
}
