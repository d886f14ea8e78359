//! One-time tokens.
//!
//! ```text
//! (none) --create--> fresh --spend--> spent, by one claim --the same claim--> spent (the answer is given again)
//!                      |                |
//!                      `---time--> expired, then forgotten
//! ```
//!
//! A token is `ID.SECRET.CAHASH`. The store keeps a hash of the secret under `/tokens/ID`, so that whoever reads the store
//! can't join with what it finds.

use crate::inventory::chain;
use bytes::Bytes;
use orrery_api::names::{ClusterName, HostName};
use orrery_machinery::status::ApiError;
use orrery_store::{Compare, Op, Revision, Store, StoreError, Txn, TxnOutcome};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// An expired token is remembered for so long, to say that it expired.
const REMEMBER: Duration = Duration::from_secs(24 * 3600);
/// What an administrator does about a refused token.
const ASK: &str = "ask an administrator for a new one";

/// Why a token is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is not `ID.SECRET.CAHASH`.
    #[error("the join token is malformed: copy the whole of it, or {ASK}")]
    Malformed,
    /// Nobody made it, or it was made long ago.
    #[error("the join token is unknown: {ASK}")]
    Unknown,
    /// Its time is over.
    #[error("the join token has expired: {ASK}")]
    Expired,
    /// Another host, or the same with another key, has used it.
    #[error("the join token was used already, by the host {0:?}: {ASK}")]
    Used(String),
    /// It was made for another manager.
    #[error("the join token is another manager's: look whether the manager's address is right, or {ASK}")]
    OtherManager,
    /// The store failed.
    #[error("the manager's store failed; try again")]
    Store(#[from] StoreError),
}

impl TokenError {
    /// The answer to who showed the token.
    pub(crate) fn to_api(&self) -> ApiError {
        match self {
            Self::Malformed => ApiError::bad_request(self.to_string()),
            Self::Unknown | Self::Expired | Self::Used(_) | Self::OtherManager => {
                ApiError { code: 403, reason: "Forbidden", message: self.to_string(), details: None }
            }
            Self::Store(_) => {
                tracing::error!(error = chain(self), "a join token could not be read or written");
                ApiError::internal(self.to_string())
            }
        }
    }
}

/// What the store keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    secret_hash: String,
    cluster: ClusterName,
    /// Unix seconds.
    expires: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spent_by: Option<Claim>,
}

/// Who wants in: a name, and a key by the hash of its signing request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Claim {
    host: HostName,
    request_hash: String,
}

impl Claim {
    pub(super) fn new(host: &HostName, request_pem: &str) -> Self {
        Self { host: host.clone(), request_hash: hash(request_pem) }
    }
}

/// A token that is good for a claim.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) cluster: ClusterName,
    /// Whether the same claim has spent it before.
    pub(super) again: bool,
    key: String,
    record: Record,
    revision: Revision,
}

/// The tokens of a manager.
pub(crate) struct Tokens {
    store: Arc<dyn Store>,
    ca_hash: String,
}

impl Tokens {
    /// Those in `store`; `ca_hash` is what new ones end with.
    pub(crate) fn new(store: Arc<dyn Store>, ca_hash: String) -> Self {
        Self { store, ca_hash }
    }

    /// A new token for a host of `cluster`.
    pub(crate) async fn create(&self, cluster: &ClusterName, lifetime: Duration) -> Result<String, TokenError> {
        let secret = hex(&rand::random::<[u8; 24]>());
        let record = Record {
            secret_hash: hash(&secret),
            cluster: cluster.clone(),
            expires: unix_now().saturating_add(lifetime.as_secs()),
            spent_by: None,
        };
        loop {
            let id = hex(&rand::random::<[u8; 6]>());
            let key = key(&id);
            let ops = vec![put(&key, &record, unix_now())];
            match self.store.txn(Txn { compare: vec![Compare::Absent(key)], ops }).await? {
                TxnOutcome::Committed(_) => return Ok(format!("{id}.{secret}.{}", self.ca_hash)),
                // The number is taken: draw another.
                TxnOutcome::Conflict(_) => {}
            }
        }
    }

    /// Whether `token` is good for `claim`. Nothing is spent yet.
    pub(super) async fn check(&self, token: &str, claim: &Claim) -> Result<Admission, TokenError> {
        let [id, secret, ca_hash] = split(token)?;
        if ca_hash != self.ca_hash {
            return Err(TokenError::OtherManager);
        }
        let key = key(id);
        let entry = self.store.get(&key).await?.ok_or(TokenError::Unknown)?;
        let record: Record = serde_json::from_slice(&entry.value).map_err(|_| TokenError::Unknown)?;
        let again = judge(&record, secret, claim, unix_now())?;
        Ok(Admission { cluster: record.cluster.clone(), again, key, record, revision: entry.mod_revision })
    }

    /// Spends the token on `claim`. Of two claims at once one wins.
    pub(super) async fn spend(&self, admission: Admission, claim: &Claim) -> Result<(), TokenError> {
        let Admission { again, key, mut record, revision, .. } = admission;
        if again {
            return Ok(());
        }
        record.spent_by = Some(claim.clone());
        let ops = vec![put(&key, &record, unix_now())];
        match self.store.txn(Txn { compare: vec![Compare::ModRevision(key, revision)], ops }).await? {
            TxnOutcome::Committed(_) => Ok(()),
            TxnOutcome::Conflict(present) => Err(TokenError::Used(winner(present.into_iter().flatten().next()))),
        }
    }
}

/// Whether the record lets the claim in; true when it did so before.
fn judge(record: &Record, secret: &str, claim: &Claim, now: u64) -> Result<bool, TokenError> {
    // Hashes are compared, so the time it takes tells nothing of the secret.
    if record.secret_hash != hash(secret) {
        return Err(TokenError::Unknown);
    }
    match &record.spent_by {
        Some(spent) if spent != claim => Err(TokenError::Used(spent.host.to_string())),
        _ if now >= record.expires => Err(TokenError::Expired),
        Some(_) => Ok(true),
        None => Ok(false),
    }
}

fn winner(entry: Option<orrery_store::Entry>) -> String {
    let record = entry.and_then(|entry| serde_json::from_slice::<Record>(&entry.value).ok());
    record.and_then(|record| record.spent_by).map(|claim| claim.host.to_string()).unwrap_or_default()
}

fn split(token: &str) -> Result<[&str; 3], TokenError> {
    let parts: Vec<&str> = token.trim().split('.').collect();
    let parts: [&str; 3] = parts.try_into().map_err(|_| TokenError::Malformed)?;
    let is_hex = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    if parts.iter().all(is_hex) { Ok(parts) } else { Err(TokenError::Malformed) }
}

fn put(key: &str, record: &Record, now: u64) -> Op {
    let left = Duration::from_secs(record.expires.saturating_sub(now));
    let value = serde_json::to_vec(record).expect("a record is JSON");
    Op::Put { key: key.to_owned(), value: Bytes::from(value), ttl: Some(left + REMEMBER) }
}

fn key(id: &str) -> String {
    format!("/tokens/{id}")
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(host: &str, request: &str) -> Claim {
        Claim::new(&HostName::new(host).unwrap(), request)
    }

    #[test]
    fn a_token_lets_in_one_claim_until_it_expires() {
        let fresh = Record {
            secret_hash: hash("secret"),
            cluster: ClusterName::new("cluster-1").unwrap(),
            expires: 100,
            spent_by: None,
        };
        let spent = Record { spent_by: Some(claim("host-1", "key")), ..fresh.clone() };
        let table = [
            (&fresh, "secret", claim("host-1", "key"), 99, "fresh"),
            (&fresh, "secret", claim("host-1", "key"), 100, "expired"),
            (&fresh, "guess", claim("host-1", "key"), 99, "unknown"),
            (&spent, "secret", claim("host-1", "key"), 99, "again"),
            (&spent, "secret", claim("host-1", "other key"), 99, "used"),
            (&spent, "secret", claim("host-2", "key"), 99, "used"),
            (&spent, "secret", claim("host-1", "key"), 100, "expired"),
        ];
        for (record, secret, claim, now, expected) in table {
            let verdict = match judge(record, secret, &claim, now) {
                Ok(false) => "fresh",
                Ok(true) => "again",
                Err(TokenError::Expired) => "expired",
                Err(TokenError::Used(_)) => "used",
                Err(TokenError::Unknown) => "unknown",
                Err(error) => panic!("{error}"),
            };
            assert_eq!(verdict, expected, "{record:?} {secret} {claim:?} {now}");
        }
    }

    #[test]
    fn only_three_hexadecimal_parts_are_a_token() {
        assert_eq!(split("ab.cd.ef\n").unwrap(), ["ab", "cd", "ef"]);
        for bad in ["", "ab.cd", "ab..ef", "ab.cd.ef.01", "../x.cd.ef", "ab.cd.xy"] {
            assert!(matches!(split(bad), Err(TokenError::Malformed)), "{bad}");
        }
    }
}
