//! A store whose process is killed in the middle of writing has every write that it acknowledged.

use bytes::Bytes;
use orrery_store::{Embedded, EmbeddedOptions, Op, Revision, Store, Txn, TxnOutcome};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const CHILD: &str = "ORRERY_STORE_TEST_CHILD";
const WRITERS: usize = 8;

/// What the test below runs in a process of its own; by itself it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else {
        println!("nothing to do: this is the child process of the kill test");
        return;
    };
    let store = Embedded::open(Path::new(&path), EmbeddedOptions::default()).await.expect("open");
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0_u64.. {
                    let key = format!("/{writer}/{}", number % 50);
                    let value = Bytes::from(number.to_string().repeat(50));
                    let txn = Txn { compare: Vec::new(), ops: vec![Op::Put { key: key.clone(), value, ttl: None }] };
                    let Ok(TxnOutcome::Committed(revision)) = store.txn(txn).await else { panic!("it was to commit") };
                    let line = format!("ack {key} {} .\n", revision.0);
                    std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent reads");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("the writers go on until the end");
    }
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store.db");
    let mut acknowledged: HashMap<String, u64> = HashMap::new();
    let mut last = 0;
    for round in 0..3 {
        for (key, revision) in write_and_kill(path.clone(), 300 + 100 * round) {
            assert!(revision > last, "revision {revision} was given again");
            let known = acknowledged.entry(key).or_default();
            *known = revision.max(*known);
        }
        let store = Embedded::open(&path, EmbeddedOptions::default()).await.expect("open after the kill");
        let highest = acknowledged.values().copied().max().expect("something was acknowledged");
        let Revision(current) = store.current_revision().await.expect("revision");
        assert!(current >= highest, "revision {current} after {highest} was acknowledged");
        for (key, revision) in &acknowledged {
            let entry = store.get(key).await.expect("get").expect("an acknowledged write is there");
            assert!(entry.mod_revision.0 >= *revision, "{key} is older than what was acknowledged");
        }
        last = current;
        store.close().await;
    }
}

/// Runs a child until it has acknowledged `enough` writes, kills it, and gives all that it acknowledged.
fn write_and_kill(path: PathBuf, enough: usize) -> Vec<(String, u64)> {
    let program = std::env::current_exe().expect("this program has a path");
    let mut child: Child = Command::new(program)
        .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        let line = line.expect("lines are text");
        // The kill may cut the last line off; one that ends with the dot is whole.
        if let ["ack", key, revision, "."] = line.split(' ').collect::<Vec<_>>()[..] {
            acknowledged.push((key.to_owned(), revision.parse().expect("a revision is a number")));
        }
        if acknowledged.len() == enough {
            child.kill().expect("the child is there");
        }
    }
    child.wait().expect("the child ends");
    assert!(acknowledged.len() >= enough, "the child ended too early, after {}", acknowledged.len());
    acknowledged
}
