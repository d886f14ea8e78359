//! Putting endpoints into slices so that few slices change. Pure.
//!
//! An endpoint stays in the slice that it is in. What is new goes into slices that change anyway, then into those that have
//! room, then into new ones. Slices that are empty go, the last one excepted: a service without pods has one empty slice,
//! so that readers can tell "nobody" from "not looked at yet".

use super::object::{Endpoint, Family, Slice, SlicePort};
use std::{collections::BTreeMap, sync::Arc};

/// The most endpoints in one slice.
pub(super) const MAX_ENDPOINTS: usize = 100;

/// What all endpoints of a slice have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) family: Family,
    pub(super) ports: Vec<SlicePort>,
}

/// A slice as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    /// The slice that becomes this; none is made anew.
    pub(super) before: Option<Arc<Slice>>,
    pub(super) group: Group,
    pub(super) endpoints: Vec<Endpoint>,
}

/// What to write.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pack {
    pub(super) write: Vec<Draft>,
    pub(super) delete: Vec<Arc<Slice>>,
}

/// Who an endpoint is, whatever it is like.
fn identity(endpoint: &Endpoint) -> (&str, Option<&str>) {
    (&endpoint.ip, endpoint.target.as_ref().map(|(_, _, uid)| uid.as_str()))
}

/// From the slices that are there to those that show `wanted`. `is_stale` says whether labels or owner of a slice are not
/// as they are to be; `families` are those that a service without endpoints shows an empty slice of.
pub(super) fn pack(
    present: &[Arc<Slice>],
    mut wanted: BTreeMap<Group, Vec<Endpoint>>,
    families: &[Family],
    is_stale: impl Fn(&Slice) -> bool,
) -> Pack {
    let mut pack = Pack::default();
    for family in families {
        if !wanted.keys().any(|group| group.family == *family) {
            wanted.insert(Group { family: *family, ports: Vec::new() }, Vec::new());
        }
    }
    let mut by_group: BTreeMap<Group, Vec<Arc<Slice>>> = BTreeMap::new();
    for slice in present {
        match slice.family {
            Some(family) => {
                let group = Group { family, ports: slice.ports.clone() };
                by_group.entry(group).or_default().push(Arc::clone(slice));
            }
            None => pack.delete.push(Arc::clone(slice)),
        }
    }
    for (group, slices) in &by_group {
        if !wanted.contains_key(group) {
            pack.delete.extend(slices.iter().cloned());
        }
    }
    for (group, endpoints) in wanted {
        let slices = by_group.remove(&group).unwrap_or_default();
        pack_group(&mut pack, &group, slices, endpoints, &is_stale);
    }
    // A slice that goes and one that is made become one that changes, when they are of one family.
    reuse(&mut pack);
    pack
}

fn pack_group(
    pack: &mut Pack,
    group: &Group,
    slices: Vec<Arc<Slice>>,
    endpoints: Vec<Endpoint>,
    is_stale: &impl Fn(&Slice) -> bool,
) {
    let mut left: BTreeMap<(String, Option<String>), Endpoint> = endpoints
        .into_iter()
        .map(|endpoint| {
            let (ip, uid) = identity(&endpoint);
            ((ip.to_owned(), uid.map(str::to_owned)), endpoint)
        })
        .collect();
    let mut drafts: Vec<(Draft, bool)> = Vec::new();
    for slice in slices {
        let mut kept = Vec::new();
        for old in &slice.endpoints {
            let (ip, uid) = identity(old);
            kept.extend(left.remove(&(ip.to_owned(), uid.map(str::to_owned))));
        }
        let changes = kept != slice.endpoints || is_stale(&slice);
        drafts.push((Draft { before: Some(slice), group: group.clone(), endpoints: kept }, changes));
    }
    let mut left: Vec<Endpoint> = left.into_values().collect();
    // Those that change anyway first, the fullest of each kind first.
    let mut order: Vec<usize> = (0..drafts.len()).collect();
    order.sort_by_key(|index| (!drafts[*index].1, std::cmp::Reverse(drafts[*index].0.endpoints.len())));
    for index in order {
        let (draft, changes) = &mut drafts[index];
        let room = MAX_ENDPOINTS.saturating_sub(draft.endpoints.len()).min(left.len());
        // A slice that is not to change is touched only if it takes all that is left.
        if room == 0 || (!*changes && room < left.len()) {
            continue;
        }
        draft.endpoints.extend(left.drain(..room));
        *changes = true;
    }
    while !left.is_empty() {
        let rest = left.split_off(left.len().min(MAX_ENDPOINTS));
        drafts.push((Draft { before: None, group: group.clone(), endpoints: left }, true));
        left = rest;
    }
    keep_what_is_needed(pack, group, drafts);
}

fn keep_what_is_needed(pack: &mut Pack, group: &Group, mut drafts: Vec<(Draft, bool)>) {
    let any = drafts.iter().any(|(draft, _)| !draft.endpoints.is_empty());
    let mut placeholder = !any;
    if drafts.is_empty() {
        drafts.push((Draft { before: None, group: group.clone(), endpoints: Vec::new() }, true));
    }
    for (draft, changes) in drafts {
        let needed = !draft.endpoints.is_empty() || std::mem::take(&mut placeholder);
        match (needed, changes, &draft.before) {
            (true, true, _) => pack.write.push(draft),
            (false, _, Some(slice)) => pack.delete.push(Arc::clone(slice)),
            (true, false, _) | (false, _, None) => {}
        }
    }
}

fn reuse(pack: &mut Pack) {
    for draft in pack.write.iter_mut().filter(|draft| draft.before.is_none()) {
        let same = pack.delete.iter().position(|slice| slice.family == Some(draft.group.family));
        draft.before = same.map(|index| pack.delete.swap_remove(index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_reconcile::{Meta, ObjectKey};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn group(port: i32) -> Group {
        let port = SlicePort { name: String::new(), port, protocol: "TCP".into(), app_protocol: None };
        Group { family: Family::V4, ports: vec![port] }
    }

    fn endpoint(number: u16, ready: bool) -> Endpoint {
        Endpoint { ip: format!("10.0.{}.{}", number / 256, number % 256), ready, ..Endpoint::default() }
    }

    fn apply(slices: &mut Vec<Arc<Slice>>, made: &mut usize, pack: Pack) {
        slices.retain(|slice| !pack.delete.iter().any(|gone| gone.meta.key == slice.meta.key));
        for draft in pack.write {
            let key = draft.before.as_ref().map_or_else(
                || {
                    *made += 1;
                    ObjectKey::new("demo", format!("s{made}"))
                },
                |before| before.meta.key.clone(),
            );
            slices.retain(|slice| slice.meta.key != key);
            let meta = Meta { key, ..Meta::default() };
            let (family, ports) = (Some(draft.group.family), draft.group.ports);
            slices.push(Arc::new(Slice {
                meta,
                annotations: BTreeMap::new(),
                family,
                ports,
                endpoints: draft.endpoints,
            }));
        }
    }

    #[test]
    fn a_change_of_one_endpoint_changes_one_slice() {
        let (mut slices, mut made) = (Vec::new(), 0);
        let all = |changed: u16| (0..250).map(|number| endpoint(number, number != changed)).collect::<Vec<_>>();
        let wanted = |list| BTreeMap::from([(group(80), list)]);
        apply(&mut slices, &mut made, pack(&[], wanted(all(999)), &[Family::V4], |_| false));
        assert_eq!(slices.iter().map(|slice| slice.endpoints.len()).collect::<Vec<_>>(), [100, 100, 50]);
        let one = pack(&slices, wanted(all(7)), &[Family::V4], |_| false);
        assert_eq!((one.write.len(), one.delete.len()), (1, 0));
        let mut more = all(999);
        more.push(endpoint(900, true));
        let grown = pack(&slices, wanted(more), &[Family::V4], |_| false);
        assert_eq!((grown.write.len(), grown.write[0].endpoints.len()), (1, 51));
    }

    #[test]
    fn nobody_is_one_empty_slice() {
        let (mut slices, mut made) = (Vec::new(), 0);
        let nobody = || pack(&[], BTreeMap::new(), &[Family::V4], |_| false);
        apply(&mut slices, &mut made, nobody());
        assert_eq!((slices.len(), slices[0].endpoints.len()), (1, 0));
        assert_eq!(pack(&slices, BTreeMap::new(), &[Family::V4], |_| false), Pack::default());
        let some = BTreeMap::from([(group(80), vec![endpoint(1, true)])]);
        let first = pack(&slices, some, &[Family::V4], |_| false);
        assert_eq!((first.write.len(), first.delete.len()), (1, 0), "the empty slice becomes the first");
    }

    proptest! {
        #[test]
        fn slices_always_show_what_is_wanted(
            rounds in prop::collection::vec(prop::collection::btree_map((0..3i32, 0..400u16), any::<bool>(), 0..300), 1..6)
        ) {
            let (mut slices, mut made) = (Vec::new(), 0);
            for round in rounds {
                let mut wanted: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
                for ((port, number), ready) in &round {
                    wanted.entry(group(*port)).or_default().push(endpoint(*number, *ready));
                }
                let plan = pack(&slices, wanted.clone(), &[Family::V4], |_| false);
                apply(&mut slices, &mut made, plan);
                let flat = |group: &Group, list: &[Endpoint]| {
                    list.iter().map(|e| (group.clone(), e.clone())).collect::<Vec<_>>()
                };
                let shown: Vec<_> = slices.iter().flat_map(|slice| {
                    flat(&Group { family: Family::V4, ports: slice.ports.clone() }, &slice.endpoints)
                }).collect();
                let expected: BTreeSet<_> = wanted.iter().flat_map(|(group, list)| flat(group, list)).collect();
                prop_assert_eq!(shown.len(), expected.len());
                prop_assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), expected);
                prop_assert!(slices.iter().all(|slice| slice.endpoints.len() <= MAX_ENDPOINTS));
                prop_assert!(!slices.is_empty());
                prop_assert!(round.is_empty() || slices.iter().all(|slice| !slice.endpoints.is_empty()));
                prop_assert_eq!(pack(&slices, wanted, &[Family::V4], |_| false), Pack::default());
            }
        }
    }
}
