//! Which objects belong to a controller. Pure.
//!
//! ```text
//! no controller, labels match, owner lives   --adopt-->   owned
//! owned, labels don't match, owner lives     --release--> no controller
//! owned by another                           (never touched)
//! ```

use orrery_reconcile::{Meta, Projected, Selector, Uid};
use std::sync::Arc;

/// The controller that claims.
#[derive(Debug, Clone)]
pub(crate) struct Claimant<'a> {
    pub(crate) uid: &'a Uid,
    /// A controller that is being deleted neither adopts nor releases: the garbage collector decides.
    pub(crate) deleting: bool,
    pub(crate) selector: &'a Selector,
}

/// What is its own, and what is to be changed so that it is.
#[derive(Debug, PartialEq)]
pub(crate) struct Claim<T> {
    /// Owned, and rightly so.
    pub(crate) owned: Vec<Arc<T>>,
    /// To be adopted; counts as owned once that has been written.
    pub(crate) adopt: Vec<Arc<T>>,
    /// To be released.
    pub(crate) release: Vec<Arc<T>>,
}

/// Sorts `candidates` (what the controller owns and what nobody does; others are ignored).
pub(crate) fn claim<T: Projected>(
    by: &Claimant<'_>,
    candidates: impl IntoIterator<Item = Arc<T>>,
    is_adoptable: impl Fn(&T) -> bool,
) -> Claim<T> {
    let mut claim = Claim { owned: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for candidate in candidates {
        let meta: &Meta = candidate.meta();
        let matches = by.selector.matches_explicitly(&meta.labels);
        match meta.controller() {
            Some(owner) if owner.uid != by.uid.0 => {}
            Some(_) if matches => claim.owned.push(candidate),
            Some(_) if by.deleting || meta.deleting.is_some() => {}
            Some(_) => claim.release.push(candidate),
            None if !matches || by.deleting || meta.deleting.is_some() => {}
            None if is_adoptable(&candidate) => claim.adopt.push(candidate),
            None => {}
        }
    }
    claim
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_reconcile::{ObjectKey, objects::Pod, owner_reference};

    fn pod(name: &str, app: &str, owner: Option<&str>, deleting: bool) -> Arc<Pod> {
        let mut pod = Pod::default();
        pod.meta.key = ObjectKey::new("demo", name);
        pod.meta.labels = [("app".to_owned(), app.to_owned())].into();
        pod.meta.owners =
            owner.map(|uid| owner_reference("apps/v1", "ReplicaSet", "rs", &Uid(uid.into()))).into_iter().collect();
        pod.meta.deleting = deleting.then(k8s_openapi::jiff::Timestamp::now);
        Arc::new(pod)
    }

    fn names(list: &[Arc<Pod>]) -> Vec<&str> {
        list.iter().map(|pod| pod.meta.key.name.as_str()).collect()
    }

    #[test]
    fn matching_orphans_are_adopted_and_strangers_among_the_owned_released() {
        let selector = Selector::of_map(Some(&[("app".to_owned(), "web".to_owned())].into()));
        let uid = Uid("me".into());
        let pods = || {
            [
                pod("mine", "web", Some("me"), false),
                pod("mine-going", "web", Some("me"), true),
                pod("relabelled", "db", Some("me"), false),
                pod("relabelled-going", "db", Some("me"), true),
                pod("orphan", "web", None, false),
                pod("orphan-going", "web", None, true),
                pod("orphan-other", "db", None, false),
                pod("others", "web", Some("you"), false),
            ]
        };
        let alive = claim(&Claimant { uid: &uid, deleting: false, selector: &selector }, pods(), |_| true);
        assert_eq!(names(&alive.owned), ["mine", "mine-going"]);
        assert_eq!(names(&alive.adopt), ["orphan"]);
        assert_eq!(names(&alive.release), ["relabelled"]);
        let dying = claim(&Claimant { uid: &uid, deleting: true, selector: &selector }, pods(), |_| true);
        assert_eq!((names(&dying.owned).len(), dying.adopt.len(), dying.release.len()), (2, 0, 0));
        let everything = Selector::of(Some(&serde_json::from_value(serde_json::json!({})).unwrap()));
        let greedy = claim(&Claimant { uid: &uid, deleting: false, selector: &everything }, pods(), |_| true);
        assert!(greedy.adopt.is_empty(), "an empty selector adopts nothing");
    }
}
