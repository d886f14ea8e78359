//! Entries of updates are kept to a number.

use super::managers::{Manager, ManagerId, Managers, Operation, order_in_time};

/// So many entries of updates are kept; of more, the oldest of a version become one.
pub(super) const UPDATE_MANAGERS_LIMIT: usize = 10;

/// The manager of what has become one.
const ANCIENT: &str = "ancient-changes";

/// Puts the oldest entries of updates together until there are no more than the limit.
pub(super) fn cap(managers: &mut Managers<'_>) {
    let updates = managers.iter().filter(|manager| manager.id.operation == Operation::Update).count();
    if updates <= UPDATE_MANAGERS_LIMIT {
        return;
    }
    let all = std::mem::take(managers).into_iter();
    let (mut oldest, rest): (Vec<_>, Vec<_>) = all.partition(|manager| manager.id.operation == Operation::Update);
    oldest.sort_by(|left, right| order_in_time(left, right).then_with(|| left.id.cmp(&right.id)));
    let mut kept: Vec<Manager<'_>> = Vec::with_capacity(oldest.len());
    let mut surplus = updates - UPDATE_MANAGERS_LIMIT;
    for manager in oldest {
        let bucket =
            if surplus > 0 { kept.iter_mut().find(|older| older.api_version == manager.api_version) } else { None };
        match bucket {
            Some(bucket) => {
                bucket.id = ManagerId {
                    manager: ANCIENT.into(),
                    operation: Operation::Update,
                    api_version: manager.api_version.clone(),
                    subresource: "".into(),
                };
                bucket.replace(|set| set.union(manager.set));
                // The later time of the two.
                bucket.time = manager.time;
                surplus -= 1;
            }
            None => kept.push(manager),
        }
    }
    for mut manager in rest.into_iter().chain(kept) {
        if let Some(same) = managers.take(&manager.id) {
            manager.replace(|set| set.union(same.set));
        }
        managers.put(manager);
    }
}
