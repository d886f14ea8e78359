//! The replica sets of a deployment as they are to be: a working copy that the plan changes. Pure.

use super::{
    object::{Deployment, Strategy},
    revision::{DESIRED, MAX, mark_newest, note_size, noted, revision},
};
use crate::{pods::TEMPLATE_HASH, replicas::ReplicaSet};
use k8s_openapi::jiff::Timestamp;
use orrery_reconcile::{ObjectKey, Uid};
use std::{cmp::Reverse, sync::Arc};

/// A set, and what was read of it; none for one that is to be made.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) before: Option<Arc<ReplicaSet>>,
    pub(super) set: ReplicaSet,
    pub(super) min_ready_seconds: Option<i32>,
    /// To be deleted: it is empty and beyond the history that is kept.
    pub(super) delete: bool,
}

impl Draft {
    fn created(&self) -> Option<Timestamp> {
        // What is yet to be made is youngest.
        self.set.meta.created.or_else(|| self.before.is_none().then_some(Timestamp::MAX))
    }

    pub(super) fn name(&self) -> &str {
        &self.set.meta.key.name
    }
}

/// All sets of a deployment, oldest first.
pub(super) struct Sets<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) drafts: Vec<Draft>,
    /// The one of the present template.
    pub(super) newest: Option<usize>,
}

impl<'a> Sets<'a> {
    pub(super) fn new(deployment: &'a Deployment, sets: &[Arc<ReplicaSet>]) -> Self {
        let draft = |set: &Arc<ReplicaSet>| Draft {
            before: Some(Arc::clone(set)),
            set: (**set).clone(),
            min_ready_seconds: None,
            delete: false,
        };
        let mut drafts: Vec<Draft> = sets.iter().map(draft).collect();
        drafts.sort_by_key(|draft| (draft.created(), draft.name().to_owned()));
        // With several of the same template the oldest counts, so that none is made newest by a race.
        let newest = drafts.iter().position(|draft| draft.set.template == deployment.template);
        Self { deployment, drafts, newest }
    }

    pub(super) fn newest(&self) -> Option<&ReplicaSet> {
        self.newest.map(|index| &self.drafts[index].set)
    }

    /// Indexes of the sets of earlier templates, oldest first.
    pub(super) fn old(&self) -> Vec<usize> {
        (0..self.drafts.len()).filter(|index| Some(*index) != self.newest).collect()
    }

    pub(super) fn active_old(&self) -> Vec<usize> {
        self.old().into_iter().filter(|index| self.replicas(*index) > 0).collect()
    }

    pub(super) fn replicas(&self, index: usize) -> i32 {
        self.drafts[index].set.replicas
    }

    pub(super) fn available(&self, index: usize) -> i32 {
        self.drafts[index].set.status.available
    }

    /// `spec.replicas` of all sets together.
    pub(super) fn total(&self) -> i32 {
        self.drafts.iter().map(|draft| draft.set.replicas).sum()
    }

    pub(super) fn total_available(&self) -> i32 {
        self.drafts.iter().map(|draft| draft.set.status.available).sum()
    }

    /// Brings annotations and `minReadySeconds` of the newest set up to date.
    pub(super) fn sync_newest(&mut self) {
        let Some(index) = self.newest else { return };
        let revision = self.next_revision();
        let (deployment, draft) = (self.deployment, &mut self.drafts[index]);
        mark_newest(deployment, &mut draft.set, revision);
        let wanted = deployment.min_ready_seconds;
        if draft.set.min_ready != crate::replicas::seconds(Some(wanted)) {
            draft.min_ready_seconds = Some(wanted);
        }
    }

    /// Adds a set for the present template.
    pub(super) fn add_newest(&mut self) {
        let deployment = self.deployment;
        let mut set = ReplicaSet { template: deployment.template, ..ReplicaSet::default() };
        set.meta.key =
            ObjectKey::new(&deployment.meta.key.namespace, format!("{}-{}", deployment.meta.key.name, deployment.hash));
        set.meta.uid = Uid::default();
        set.meta.labels = [(TEMPLATE_HASH.to_owned(), deployment.hash.clone())].into();
        mark_newest(deployment, &mut set, self.next_revision());
        note_size(deployment, &mut set);
        self.drafts.push(Draft { before: None, set, min_ready_seconds: None, delete: false });
        self.newest = Some(self.drafts.len() - 1);
        let index = self.drafts.len() - 1;
        self.drafts[index].set.replicas = self.replicas_of_newest();
    }

    fn next_revision(&self) -> i64 {
        self.old().into_iter().map(|index| revision(&self.drafts[index].set)).max().unwrap_or_default() + 1
    }

    /// How many pods the newest set may have now.
    pub(super) fn replicas_of_newest(&self) -> i32 {
        let (wanted, present) = (self.deployment.replicas, self.newest().map_or(0, |set| set.replicas));
        match self.deployment.strategy {
            Strategy::Recreate => wanted,
            Strategy::Rolling { .. } => {
                let room = wanted + self.deployment.max_surge() - self.total();
                if room <= 0 { present } else { present + room.min(wanted - present) }
            }
        }
    }

    /// Sets the size. Whether it differs from before; the size that the deployment wants is noted in any case that
    /// something is written.
    pub(super) fn scale(&mut self, index: usize, to: i32) -> bool {
        let differs = self.drafts[index].set.replicas != to;
        if differs {
            self.resize(index, to);
        }
        differs
    }

    /// Sets the size, and notes the size that the deployment wants even if it is the same.
    pub(super) fn resize(&mut self, index: usize, to: i32) {
        self.drafts[index].set.replicas = to;
        note_size(self.deployment, &mut self.drafts[index].set);
    }

    /// Whether `spec.replicas` of the deployment has changed since a set was sized.
    pub(super) fn was_scaled(&self) -> bool {
        let sized_for = |draft: &Draft| noted(&draft.set, DESIRED);
        let active = self.drafts.iter().filter(|draft| draft.set.replicas > 0);
        active.filter_map(sized_for).any(|desired| desired != self.deployment.replicas)
    }

    /// Brings the sets to the deployment's size without going on with an update.
    pub(super) fn scale_all(&mut self) {
        let wanted = self.deployment.replicas;
        let mut active: Vec<usize> = (0..self.drafts.len()).filter(|index| self.replicas(*index) > 0).collect();
        if active.len() <= 1 {
            let latest = self.newest.or_else(|| self.old().last().copied());
            if let Some(index) = active.first().copied().or(latest) {
                self.scale(index, wanted);
            }
            return;
        }
        if self.is_saturated() {
            for index in self.active_old() {
                self.scale(index, 0);
            }
            return;
        }
        if matches!(self.deployment.strategy, Strategy::Recreate) {
            return;
        }
        let allowed = if wanted > 0 { wanted + self.deployment.max_surge() } else { 0 };
        let to_add = allowed - self.total();
        // Large before small; of equals the newer grows first and the older shrinks first.
        let age = |index: usize| if to_add > 0 { self.drafts.len() - index } else { index };
        active.sort_by_key(|index| (Reverse(self.replicas(*index)), age(*index)));
        let (mut added, mut sizes) = (0, Vec::new());
        for index in active {
            let share = if to_add == added { 0 } else { self.share(index, to_add, added) };
            sizes.push((index, self.replicas(index) + share));
            added += share;
        }
        if let Some(first) = sizes.first_mut() {
            first.1 = (first.1 + to_add - added).max(0);
        }
        for (index, size) in sizes {
            self.resize(index, size);
        }
    }

    /// The newest set is all that is wanted, and all of it is available.
    fn is_saturated(&self) -> bool {
        let wanted = self.deployment.replicas;
        self.newest().is_some_and(|set| {
            set.replicas == wanted && noted(set, DESIRED) == Some(wanted) && set.status.available == wanted
        })
    }

    /// What part of `to_add` falls to a set, by the share it had of the largest size before.
    fn share(&self, index: usize, to_add: i32, added: i32) -> i32 {
        let left = to_add - added;
        let fraction = self.fraction(index);
        if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
    }

    fn fraction(&self, index: usize) -> i32 {
        let set = &self.drafts[index].set;
        if self.deployment.replicas == 0 {
            return -set.replicas;
        }
        let before = noted(set, MAX).filter(|max| *max != 0).unwrap_or(self.deployment.status.replicas);
        if before == 0 {
            return 0;
        }
        let allowed = self.deployment.replicas + self.deployment.max_surge();
        // Rounded half away from zero; all amounts are positive.
        let product = 2 * i64::from(set.replicas) * i64::from(allowed) + i64::from(before);
        let size = product.div_euclid(2 * i64::from(before));
        i32::try_from(size).unwrap_or(i32::MAX) - set.replicas
    }

    /// Marks old sets that are empty and beyond the history that is kept.
    pub(super) fn forget_history(&mut self) {
        let Some(limit) = self.deployment.history_limit else { return };
        let mut old = self.old();
        old.retain(|index| self.drafts[*index].set.meta.deleting.is_none());
        old.sort_by_key(|index| (revision(&self.drafts[*index].set), *index));
        for index in &old[..old.len().saturating_sub(limit)] {
            let draft = &mut self.drafts[*index];
            let set = &draft.set;
            draft.delete = set.status.replicas == 0 && set.replicas == 0 && set.meta.generation <= set.status.observed;
        }
    }
}
