//! A store whose process is killed, or whose disk loses power, in the middle of writing has every write that it
//! acknowledged. `cargo xtask torture store` does the same for thousands of rounds.

#[path = "../examples/torture/child.rs"]
mod child;
#[path = "../examples/torture/disk.rs"]
mod disk;
#[path = "../examples/torture/rounds.rs"]
mod rounds;
#[path = "../examples/torture/script.rs"]
mod script;

use rounds::{End, Torture};
use std::path::Path;
use std::process::Command;

/// What the tests below run in a process of its own; by itself it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_writes_until_it_is_killed() {
    match std::env::var_os(child::PATH) {
        Some(path) => child::run(Path::new(&path)).await,
        None => println!("nothing to do: this is the child process of the tests beside it"),
    }
}

fn this_test() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"]);
    command.stderr(std::process::Stdio::null());
    command
}

fn torture(directory: &tempfile::TempDir, end: End) -> Torture {
    Torture::new(directory.path().join("store.db"), end, u64::from(std::process::id()), this_test)
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut torture = torture(&directory, End::Kill);
    let mut acknowledged = 0;
    for round in 0..20 {
        let done = torture.round().await;
        let done = done.unwrap_or_else(|error| panic!("round {round}: {error}"));
        acknowledged += done.acknowledged;
        // Each writer has one step under way at most.
        assert!(done.unannounced <= script::WRITERS);
    }
    assert!(acknowledged >= 20, "each round waits for a write");
}

#[tokio::test]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut torture = torture(&directory, End::PowerLoss);
    let mut acknowledged = 0;
    for round in 0..20 {
        let done = torture.round().await;
        acknowledged += done.unwrap_or_else(|error| panic!("round {round}: {error}")).acknowledged;
    }
    assert!(acknowledged > 0, "the power does not fail before the first write every time");
}

#[tokio::test]
async fn a_disk_that_lies_about_syncing_is_noticed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut torture = torture(&directory, End::Lie);
    for _ in 0..50 {
        if let Err(error) = torture.round().await {
            let noticed = ["does not open again", "was acknowledged", "was given twice", "do not hold"];
            assert!(noticed.iter().any(|text| error.contains(text)), "{error}");
            return;
        }
    }
    panic!("in 50 power cuts of a disk that never syncs nothing was missed: the check can't tell");
}
