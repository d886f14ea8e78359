//! Keys, entries and changes, from the trait's words into etcd's and back. Pure.

use crate::proto;
use bytes::Bytes;
use orrery_store::{Change, Compare, Entry, Op, Revision, StoreError};
use std::collections::HashSet;
use std::sync::Arc;

/// What a store's keys begin with in etcd. Ends with a slash, so that no root is the beginning of another's keys.
#[derive(Debug, Clone)]
pub(crate) struct Root(String);

/// Something in etcd was not written by this program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForeignData {
    #[error("etcd has a key that is no text: {0:?}")]
    Key(Vec<u8>),
    #[error("etcd's answer has no {0}")]
    Missing(&'static str),
}

/// A transaction that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("the transaction writes the key {0:?} twice")]
struct WrittenTwice(String);

impl Root {
    pub(crate) fn new(root: &str) -> Self {
        Self(format!("{}/", root.trim_end_matches('/')))
    }

    pub(crate) fn key(&self, key: &str) -> Vec<u8> {
        [self.0.as_bytes(), key.as_bytes()].concat()
    }

    /// The key and end of a range: what begins with `prefix`, and comes after `after`.
    pub(crate) fn range(&self, prefix: &str, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
        let first = match after {
            // The least key that is greater.
            Some(after) if after >= prefix => [&*self.key(after), b"\0"].concat(),
            Some(_) | None => self.key(prefix),
        };
        (first, end_of(&self.key(prefix)))
    }

    pub(crate) fn entry(&self, kv: proto::KeyValue) -> Result<Entry, ForeignData> {
        let key = String::from_utf8(kv.key).map_err(|error| ForeignData::Key(error.into_bytes()))?;
        let key = key.strip_prefix(&self.0).map(str::to_owned).ok_or(ForeignData::Missing("key of this store"))?;
        Ok(Entry {
            key,
            value: Bytes::from(kv.value),
            create_revision: revision(kv.create_revision),
            mod_revision: revision(kv.mod_revision),
        })
    }

    /// What an event says; none when history was forgotten before etcd had read what was there before the change.
    pub(crate) fn change(&self, event: proto::Event) -> Result<Option<Change>, ForeignData> {
        let kv = event.kv.ok_or(ForeignData::Missing("key and value of an event"))?;
        let deleted = event.kind == 1;
        let was_there = deleted || kv.version > 1;
        let previous = event.prev_kv.map(|previous| self.entry(previous)).transpose()?;
        if was_there && previous.is_none() {
            return Ok(None);
        }
        let entry = self.entry(kv)?;
        let (key, revision) = (entry.key.clone(), entry.mod_revision);
        let previous = previous.filter(|_| was_there).map(Arc::new);
        Ok(Some(Change { key, current: (!deleted).then(|| Arc::new(entry)), previous, revision }))
    }

    pub(crate) fn compare(&self, compare: &Compare) -> proto::Compare {
        let (key, result, at) = match compare {
            // etcd has revision 0 for what is not there.
            Compare::Absent(key) => (key, proto::EQUAL, 0),
            // No key has that one, and in etcd a missing key would.
            Compare::ModRevision(key, Revision(0)) => (key, proto::LESS, 0),
            Compare::ModRevision(key, at) => (key, proto::EQUAL, number(*at)),
        };
        let with = Some(proto::Target::ModRevision(at));
        proto::Compare { result, target: proto::MOD, key: self.key(key), with }
    }

    pub(crate) fn read(&self, compare: &Compare) -> proto::RequestOp {
        let (Compare::Absent(key) | Compare::ModRevision(key, _)) = compare;
        let range = proto::RangeRequest { key: self.key(key), ..proto::RangeRequest::default() };
        proto::RequestOp { request: Some(proto::Request::Range(range)) }
    }

    /// A write; `lease` is that of its time to live.
    pub(crate) fn write(&self, op: Op, lease: i64) -> proto::RequestOp {
        let request = match op {
            Op::Put { key, value, .. } => {
                proto::Request::Put(proto::PutRequest { key: self.key(&key), value: value.to_vec(), lease })
            }
            Op::Delete { key } => proto::Request::DeleteRange(proto::DeleteRangeRequest { key: self.key(&key) }),
        };
        proto::RequestOp { request: Some(request) }
    }
}

/// etcd refuses only some of what writes a key twice.
pub(crate) fn check_ops(ops: &[Op]) -> Result<(), StoreError> {
    let mut written = HashSet::new();
    for Op::Put { key, .. } | Op::Delete { key } in ops {
        if !written.insert(key) {
            let source = Box::new(WrittenTwice(key.clone()));
            return Err(StoreError::Backend { doing: "checking a transaction", source });
        }
    }
    Ok(())
}

pub(crate) fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or(0))
}

/// Revisions beyond what etcd can count are in its future all the same.
pub(crate) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

pub(crate) fn header(header: Option<proto::ResponseHeader>) -> Result<Revision, StoreError> {
    let header = header.ok_or_else(|| foreign(ForeignData::Missing("header")))?;
    Ok(revision(header.revision))
}

pub(crate) fn foreign(error: ForeignData) -> StoreError {
    StoreError::Backend { doing: "reading etcd's answer", source: Box::new(error) }
}

/// The least bytes that are greater than everything that begins with `prefix`, which begins with a root.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let kept = prefix.iter().rposition(|byte| *byte < u8::MAX).expect("a root has a slash");
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &str, version: i64, mod_revision: i64) -> proto::KeyValue {
        proto::KeyValue { key: key.into(), create_revision: 1, mod_revision, version, value: b"v".to_vec() }
    }

    #[test]
    fn ranges_begin_after_the_last_key_and_end_with_the_prefix() {
        let root = Root::new("/r");
        assert_eq!(root.range("/a/", None), (b"/r//a/".to_vec(), b"/r//a0".to_vec()));
        assert_eq!(root.range("/a/", Some("/a/x")), (b"/r//a/x\0".to_vec(), b"/r//a0".to_vec()));
        assert_eq!(root.range("/a/", Some("/")), (b"/r//a/".to_vec(), b"/r//a0".to_vec()));
        assert_eq!(Root::new("").range("", None), (b"/".to_vec(), b"0".to_vec()));
        assert_eq!(Root::new("/r/").key("/a"), root.key("/a"));
    }

    #[test]
    fn an_event_without_what_was_there_before_is_only_taken_for_a_creation() {
        let root = Root::new("/r");
        let event = |kind, kv, prev_kv| root.change(proto::Event { kind, kv: Some(kv), prev_kv }).unwrap();
        let created = event(0, kv("/r//a", 1, 7), None).unwrap();
        assert_eq!((created.key.as_str(), created.revision, created.previous), ("/a", Revision(7), None));
        assert_eq!(event(0, kv("/r//a", 2, 8), None), None);
        assert_eq!(event(1, kv("/r//a", 0, 9), None), None);
        let deleted = event(1, kv("/r//a", 0, 9), Some(kv("/r//a", 2, 8))).unwrap();
        assert_eq!((deleted.current, deleted.previous.unwrap().mod_revision), (None, Revision(8)));
    }

    #[test]
    fn other_keys_than_the_stores_are_refused() {
        let root = Root::new("/r");
        assert!(root.entry(kv("/other", 1, 1)).is_err());
        assert!(root.entry(proto::KeyValue { key: vec![0xff], ..proto::KeyValue::default() }).is_err());
    }
}
