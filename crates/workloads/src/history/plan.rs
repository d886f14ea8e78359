//! What becomes of the revisions. Pure.

use super::TemplateRevision;
use crate::pods::TemplateDigest;
use std::sync::Arc;

/// What to write.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct HistoryPlan {
    /// The revision of the present template; none when it is to be made.
    pub(crate) current: Option<Arc<TemplateRevision>>,
    /// The number of the revision that is to be made.
    pub(crate) next: i64,
    /// A revision that is to be the newest again, and its number then.
    pub(crate) renumber: Option<(Arc<TemplateRevision>, i64)>,
    /// Beyond what is kept.
    pub(crate) delete: Vec<Arc<TemplateRevision>>,
}

/// `revisions` are those of the owner, by number. `in_use` says of which there are still pods; `kept` is how many of the
/// others are kept.
pub(crate) fn plan(
    revisions: &[Arc<TemplateRevision>],
    template: TemplateDigest,
    kept: usize,
    in_use: impl Fn(&TemplateRevision) -> bool,
) -> HistoryPlan {
    let newest = revisions.iter().map(|revision| revision.number).max().unwrap_or_default();
    // Of several with the same template the newest counts; the others are history.
    let current = revisions.iter().rev().find(|revision| revision.template == template).cloned();
    let renumber = current.clone().filter(|current| current.number < newest).map(|current| (current, newest + 1));
    let is_current = |revision: &TemplateRevision| current.as_ref().is_some_and(|c| c.meta.uid == revision.meta.uid);
    let unused: Vec<Arc<TemplateRevision>> =
        revisions.iter().filter(|revision| !is_current(revision) && !in_use(revision)).cloned().collect();
    let surplus = unused.len().saturating_sub(kept);
    HistoryPlan { next: newest + 1, renumber, delete: unused.into_iter().take(surplus).collect(), current }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::digest;
    use k8s_openapi::api::core::v1::PodTemplateSpec;
    use orrery_reconcile::{ObjectKey, Uid};
    use serde_json::json;

    fn template(image: &str) -> TemplateDigest {
        let value = json!({"spec": {"containers": [{"name": "c", "image": image}]}});
        digest(&serde_json::from_value::<PodTemplateSpec>(value).unwrap())
    }

    fn revision(number: i64, image: &str) -> Arc<TemplateRevision> {
        let mut revision = TemplateRevision { number, template: template(image), ..TemplateRevision::default() };
        revision.meta.key = ObjectKey::new("demo", format!("r{number}"));
        revision.meta.uid = Uid(format!("r{number}"));
        Arc::new(revision)
    }

    #[test]
    fn a_template_that_comes_back_is_the_newest_again_and_only_unused_history_goes() {
        let revisions = [revision(1, "a"), revision(2, "b"), revision(3, "c"), revision(4, "d")];
        let fresh = plan(&revisions, template("e"), 10, |_| false);
        assert_eq!((fresh.current, fresh.next, fresh.renumber), (None, 5, None));
        let back = plan(&revisions, template("a"), 10, |_| false);
        assert_eq!((back.current, back.renumber), (Some(revisions[0].clone()), Some((revisions[0].clone(), 5))));
        let last = plan(&revisions, template("d"), 1, |revision| revision.number == 1);
        assert_eq!((last.renumber, last.delete), (None, vec![revisions[1].clone()]));
    }
}
