//! Forgets history after some minutes, in agreement with whoever else does the same in this etcd.
//!
//! All agree through one key, as kube-apiserver does and by the same key: who manages to write it in a round compacts to the
//! revision of the round before, the others take over what it says. So history is compacted once in each interval however
//! many there are, and is at least one interval long.

use crate::client::{Client, is_compacted};
use crate::convert::{header, number};
use crate::proto;
use orrery_store::Revision;
use std::time::Duration;

/// What kube-apiserver calls it.
const KEY: &[u8] = b"compact_rev_key";

/// What is known of the rounds so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rounds {
    /// How often the key was written.
    version: i64,
    /// The revision of the last round.
    revision: Revision,
}

/// Compacts again and again.
pub(crate) async fn run(client: Client, age: Duration) {
    let mut rounds = Rounds::default();
    loop {
        tokio::time::sleep(age).await;
        match round(&client, rounds).await {
            Ok(next) => rounds = next,
            Err(error) => tracing::warn!(%error, "cannot compact etcd's history; trying again later"),
        }
    }
}

async fn round(client: &Client, rounds: Rounds) -> Result<Rounds, tonic::Status> {
    let range = proto::RangeRequest { key: KEY.to_vec(), ..proto::RangeRequest::default() };
    let put = proto::PutRequest { key: KEY.to_vec(), value: rounds.revision.0.to_string().into_bytes(), lease: 0 };
    let op = |request| vec![proto::RequestOp { request: Some(request) }];
    let txn = proto::TxnRequest {
        compare: vec![proto::Compare {
            result: proto::EQUAL,
            target: proto::VERSION,
            key: KEY.to_vec(),
            with: Some(proto::Target::Version(rounds.version)),
        }],
        success: op(proto::Request::Put(put)),
        failure: op(proto::Request::Range(range)),
    };
    let response: proto::TxnResponse = client.call("/etcdserverpb.KV/Txn", txn).await?;
    let now = header(response.header).map_err(|error| tonic::Status::internal(error.to_string()))?;
    if !response.succeeded {
        let version = response.responses.into_iter().find_map(|response| match response.response {
            Some(proto::Response::Range(range)) => range.kvs.first().map(|kv| kv.version),
            None => None,
        });
        return Ok(Rounds { version: version.unwrap_or(0), revision: now });
    }
    if rounds.revision > Revision(0) {
        let request = proto::CompactionRequest { revision: number(rounds.revision) };
        match client.call::<_, proto::CompactionResponse>("/etcdserverpb.KV/Compact", request).await {
            Err(status) if !is_compacted(&status) => return Err(status),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(Rounds { version: rounds.version + 1, revision: now })
}
