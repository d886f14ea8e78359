//! `cargo xtask fuzz`: lets libFuzzer look for inputs for which something does not hold.
//!
//! What is tried and what must hold is in the crate `orrery-fuzzing`; `fuzz/` is the program around it. It is built here with
//! the flags that libFuzzer needs, which a stable compiler takes, so that no other tool has to be installed. It needs a C++
//! compiler. Each target runs for a bounded time, with bounded memory for each, some at once.
//!
//! What is found lies in `fuzz/artifacts/TARGET`; put among `fuzz/seeds/TARGET` it is tried by every test run from then on.

use crate::report;
use clap::Args;
use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
    sync::Mutex,
};

/// For which machines it is built.
#[cfg(target_arch = "x86_64")]
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
#[cfg(target_arch = "aarch64")]
const TRIPLE: &str = "aarch64-unknown-linux-gnu";
/// What makes the compiler count which code is reached.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// What `cargo xtask fuzz` is told.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// Which targets [default: all]
    targets: Vec<String>,
    /// How long each runs.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    seconds: u64,
    /// How many run at once.
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Memory that each may use.
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    memory_mib: u64,
    /// Longest input.
    #[arg(long, default_value_t = 8192, value_name = "BYTES")]
    longest: u64,
    /// Only say which targets there are.
    #[arg(long)]
    list: bool,
}

/// Why it could not be tried.
#[derive(Debug, thiserror::Error)]
enum FuzzError {
    #[error("cannot run {0}")]
    Run(String, #[source] io::Error),
    #[error("the fuzzing program does not build; it needs a C++ compiler (Debian: g++)")]
    Build,
    #[error("cannot read {0}")]
    Read(String, #[source] io::Error),
    #[error("{0} is no target; see `cargo xtask fuzz --list`")]
    NoTarget(String),
}

/// What came of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    target: String,
    /// Inputs that were tried.
    executions: u64,
    /// What did not hold, and with which input.
    finding: Option<String>,
}

/// Runs it.
pub(crate) fn run(root: &Path, fuzz: &Fuzz) -> ExitCode {
    match try_run(root, fuzz) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {}", report::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn try_run(root: &Path, fuzz: &Fuzz) -> Result<bool, FuzzError> {
    let all = targets(root)?;
    if fuzz.list {
        all.iter().for_each(|target| println!("{target}"));
        return Ok(true);
    }
    if let Some(odd) = fuzz.targets.iter().find(|target| !all.contains(target)) {
        return Err(FuzzError::NoTarget(odd.clone()));
    }
    let chosen = if fuzz.targets.is_empty() { all } else { fuzz.targets.clone() };
    let program = build(root)?;
    let left = Mutex::new(chosen.iter());
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..fuzz.jobs {
            scope.spawn(|| {
                loop {
                    let next = left.lock().ok().and_then(|mut left| left.next().cloned());
                    let Some(target) = next else { return };
                    let outcome = one(root, &program, &target, fuzz);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push(outcome);
                    }
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_default().into_iter().collect::<Result<Vec<_>, _>>()?;
    for Outcome { target, executions, finding } in &outcomes {
        println!("{target:16} {executions:>10} executions{}", if finding.is_some() { ", and a finding" } else { "" });
    }
    let findings: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.finding.as_ref()).collect();
    findings.iter().for_each(|finding| println!("{finding}"));
    let executions: u64 = outcomes.iter().map(|outcome| outcome.executions).sum();
    println!("{} targets, {executions} executions, {} findings", outcomes.len(), findings.len());
    Ok(findings.is_empty() && outcomes.len() == chosen.len())
}

/// The names of the targets: each has a directory of seeds, which a test sees to.
fn targets(root: &Path) -> Result<Vec<String>, FuzzError> {
    let seeds = root.join("fuzz/seeds");
    let unreadable = |error| FuzzError::Read(seeds.display().to_string(), error);
    let entries = std::fs::read_dir(&seeds).map_err(unreadable)?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn build(root: &Path) -> Result<PathBuf, FuzzError> {
    let directory = root.join("target/fuzz");
    let mut command = Command::new("cargo");
    // Its lock file follows when a crate of the workspace gets a dependency.
    command.current_dir(root.join("fuzz")).args(["build", "--release", "--target", TRIPLE]);
    command.env("CARGO_TARGET_DIR", &directory).env("RUSTFLAGS", FLAGS);
    let status = command.status().map_err(|error| FuzzError::Run("cargo".to_owned(), error))?;
    if !status.success() {
        return Err(FuzzError::Build);
    }
    Ok(directory.join(TRIPLE).join("release/targets"))
}

fn one(root: &Path, program: &Path, target: &str, fuzz: &Fuzz) -> Result<Outcome, FuzzError> {
    let own = |part: &str| root.join("fuzz").join(part).join(target);
    let (corpus, artifacts) = (own("corpus"), own("artifacts"));
    for directory in [&corpus, &artifacts] {
        std::fs::create_dir_all(directory).map_err(|error| FuzzError::Read(directory.display().to_string(), error))?;
    }
    let mut command = Command::new(program);
    command.env("ORRERY_FUZZ_TARGET", target).arg(&corpus).arg(own("seeds"));
    command.args([
        format!("-max_total_time={}", fuzz.seconds),
        format!("-rss_limit_mb={}", fuzz.memory_mib),
        format!("-max_len={}", fuzz.longest),
        format!("-artifact_prefix={}/", artifacts.display()),
        // One input may take so many seconds: far more than any does, on a machine that is busy with much else.
        "-timeout=20".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    let dictionary = root.join("fuzz/dictionaries").join(format!("{target}.dict"));
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    let output = command.output().map_err(|error| FuzzError::Run(program.display().to_string(), error))?;
    Ok(judge(target, &output))
}

/// Reads what libFuzzer says.
fn judge(target: &str, output: &Output) -> Outcome {
    let said = String::from_utf8_lossy(&output.stderr);
    let executions = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let executions = executions.and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    let finding = (!output.status.success()).then(|| {
        let marks =
            ["panicked at", "does not hold", "assertion", "ERROR: libFuzzer", "Test unit written to", "SUMMARY"];
        let lines: Vec<&str> = said.lines().filter(|line| marks.iter().any(|mark| line.contains(mark))).collect();
        format!("{target}: {}\n  {}", output.status, lines.join("\n  "))
    });
    Outcome { target: target.to_owned(), executions, finding }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn a_finding_is_told_with_its_input() {
        let output = |code: i32, said: &str| Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: Vec::new(),
            stderr: said.as_bytes().to_vec(),
        };
        let good = judge("cel", &output(0, "INFO: x\nstat::number_of_executed_units: 4213\n"));
        assert_eq!(good, Outcome { target: "cel".into(), executions: 4213, finding: None });
        let bad = judge("cel", &output(77, "thread panicked at src/a.rs:1\nnoise\nTest unit written to x/crash-1\n"));
        let finding = bad.finding.unwrap();
        assert!(
            finding.contains("panicked at") && finding.contains("crash-1") && !finding.contains("noise"),
            "{finding}"
        );
    }
}
