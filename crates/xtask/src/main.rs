//! Development tasks of the workspace, as `cargo xtask NAME`.
//!
//! `cargo xtask check` looks at everything that the compiler does not: that crates import only what lies below them, that
//! files and functions stay small, that every crate and file says what it is, that nothing half-done is in the tree; then it
//! runs the formatter and clippy. Each check is one line of output; a failure lists what is wrong and what to do about it, and
//! the exit code is 1.
//!
//! Each check is a module with a pure function from what it has read to a [`Verdict`](report::Verdict):
//!
//! * `layers`: the dependencies between crates, from `cargo metadata`.
//! * `source`: reads the source files once; `sizes`, `docs` and `words` judge them.
//! * `ratchet`: the numbers so far, which may only get better.
//! * `lint`: the formatter and clippy.
//!
//! It is a mirror, not a goal: a long match that reads well stays, and splitting a function into two halves to please a
//! number is worse than leaving it.
//!
//! `cargo xtask shapes` makes a table of facts out of an OpenAPI document; `cargo xtask protobuf` one of messages.
//!
//! `cargo xtask bench` measures the product beside a peer in the same run; no number fails it. `cargo xtask torture` ends
//! processes violently and looks whether anything is lost. `cargo xtask fuzz` looks for inputs for which something does not
//! hold.
//!
//! `cargo xtask conformance` is `conformance`, a program of its own, so that nothing of its dependencies is built for a
//! check.
//!
//! Start reading at [`run_check`] or, for benchmarks, at [`bench::run`].
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command-line program")]

mod bench;
mod docs;
mod fuzz;
mod layers;
mod lint;
mod protobuf;
mod ratchet;
mod report;
mod shapes;
mod sizes;
mod source;
mod torture;
mod words;

use clap::{Parser, Subcommand};
use report::Verdict;
use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, ExitCode},
};

/// Development tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the layers, sizes, documentation and words of the workspace, then format and clippy.
    Check {
        /// Leave out `cargo fmt --check` and `cargo clippy`.
        #[arg(long)]
        no_lint: bool,
        /// Write the present numbers into ratchet.toml where they are better than what stands there.
        #[arg(long)]
        update_ratchet: bool,
    },
    /// Make crates/shapes/src/shapes.txt, the table of which lists and maps of the built-in kinds merge how.
    Shapes(shapes::Options),
    /// Make crates/protobuf/src/schema.txt, the table of protobuf messages.
    Protobuf(protobuf::Options),
    /// Measure the product beside a peer in the same run; alone, list the benchmarks.
    Bench(bench::Bench),
    /// Look for inputs for which something does not hold, with libFuzzer, for a bounded time.
    Fuzz(fuzz::Fuzz),
    /// End the product's processes violently, again and again, and check that nothing acknowledged is lost.
    Torture(torture::Torture),
    /// Measure an API server with our tests of the published conformance list; see `cargo xtask conformance --help`.
    #[command(disable_help_flag = true)]
    Conformance {
        /// What `conformance` is started with.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let (no_lint, update_ratchet) = match Arguments::parse().task {
        Task::Check { no_lint, update_ratchet } => (no_lint, update_ratchet),
        Task::Shapes(options) => return shapes::run(&root(), &options),
        Task::Protobuf(options) => return protobuf::run(&root(), &options),
        Task::Bench(options) => return bench::run(&root(), options),
        Task::Fuzz(options) => return fuzz::run(&root(), &options),
        Task::Torture(options) => return torture::run(&root(), &options),
        Task::Conformance { arguments } => return conformance(&arguments),
    };
    let verdicts = run_check(&root(), no_lint, update_ratchet);
    verdicts.iter().for_each(|verdict| println!("{verdict}"));
    if verdicts.iter().all(Verdict::is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs `conformance`, which cargo builds first. Its exit code is ours.
fn conformance(arguments: &[OsString]) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let program = ["run", "--quiet", "--package", "orrery-conformance", "--bin", "conformance", "--"];
    match Command::new(cargo).args(program).args(arguments).status() {
        Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from),
        Err(error) => {
            println!("cannot run cargo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's directory: two above this crate's.
fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).map_or_else(|| own.clone(), PathBuf::from)
}

/// All checks, in their order.
fn run_check(root: &std::path::Path, no_lint: bool, update_ratchet: bool) -> Vec<Verdict> {
    let mut verdicts = vec![layers::check(root)];
    match source::read(root) {
        Ok(tree) => {
            verdicts.push(sizes::check(&tree, &root.join("crates/xtask/ratchet.toml"), update_ratchet));
            verdicts.push(docs::check(&tree));
            verdicts.push(words::check(&tree, &root.join("crates/xtask/check.toml")));
        }
        Err(error) => verdicts.push(Verdict::cannot("source", &error)),
    }
    if !no_lint {
        verdicts.extend(lint::check(root));
    }
    verdicts
}
