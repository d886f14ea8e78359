//! The process that is killed: it writes what the script says, and says what was acknowledged.

use crate::{disk, script};
use bytes::Bytes;
use orrery_store::{Compare, Embedded, EmbeddedOptions, Op, Store, Txn, TxnOutcome};
use std::io::Write as _;
use std::path::Path;

/// The variables that a child is started with: the store's path, and the disk if it is to be a simulated one.
pub(crate) const PATH: &str = "ORRERY_STORE_TORTURE_PATH";
pub(crate) const DISK: &str = "ORRERY_STORE_TORTURE_DISK";

/// Writes until the process is killed, or the disk ends it.
pub(crate) async fn run(path: &Path) {
    if let Ok(settings) = std::env::var(DISK) {
        disk::install(settings.parse().expect("the parent knows how to say it"));
    }
    let store = Embedded::open(path, EmbeddedOptions::default()).await.expect("the store opens");
    let writers: Vec<_> = (0..script::WRITERS).map(|writer| tokio::spawn(write(store.clone(), writer))).collect();
    for writer in writers {
        writer.await.expect("the writers go on until the end");
    }
}

async fn write(store: Embedded, writer: usize) {
    let counter = script::counter(writer);
    let present = store.get(&counter).await.expect("the store can be read");
    let (mut compare, mut number) = match present {
        None => (Compare::Absent(counter.clone()), 0),
        Some(entry) => {
            let text = String::from_utf8(entry.value.to_vec()).expect("a counter is text");
            let number: u64 = text.parse().expect("a counter is a number");
            (Compare::ModRevision(counter.clone(), entry.mod_revision), number + 1)
        }
    };
    loop {
        let ops = script::step(writer, number).into_iter().map(|(key, value)| match value {
            Some(value) => Op::Put { key, value: Bytes::from(value), ttl: None },
            None => Op::Delete { key },
        });
        let txn = Txn { compare: vec![compare], ops: ops.collect() };
        let Ok(TxnOutcome::Committed(revision)) = store.txn(txn).await else { panic!("it was to commit") };
        let line = format!("ack {writer} {number} {} .\n", revision.0);
        std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent reads");
        compare = Compare::ModRevision(counter.clone(), revision);
        number += 1;
    }
}
