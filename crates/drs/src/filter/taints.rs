//! Taints and tolerations.

use crate::view::{Effect, Taint, Toleration};

/// The taint that stands for a cordoned node.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The first taint that keeps the pod away and that no toleration covers.
pub(super) fn first_untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration]) -> Option<&'a Taint> {
    taints.iter().filter(|taint| keeps_away(taint)).find(|taint| !tolerated(taint, tolerations))
}

/// Whether the pod may go to a cordoned node.
pub(super) fn tolerates_unschedulable(tolerations: &[Toleration]) -> bool {
    let taint = Taint { key: UNSCHEDULABLE.to_owned(), value: String::new(), effect: Effect::NoSchedule };
    tolerated(&taint, tolerations)
}

fn keeps_away(taint: &Taint) -> bool {
    match taint.effect {
        Effect::NoSchedule | Effect::NoExecute => true,
        Effect::PreferNoSchedule => false,
    }
}

fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| {
        toleration.key.as_ref().is_none_or(|key| *key == taint.key)
            && toleration.value.as_ref().is_none_or(|value| *value == taint.value)
            && toleration.effect.is_none_or(|effect| effect == taint.effect)
    })
}
