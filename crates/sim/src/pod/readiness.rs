//! Readiness by annotation: a hollow container has nothing that could be probed.

use orrery_api::k8s::api::core::v1::{PodCondition, PodStatus};
use orrery_lifecycle::pod::PodView;

/// Annotation of a pod: with `false` none of its running containers is ready.
pub const READY: &str = "sim.orrery.dev/ready";

/// Makes `status` not ready where the pod's annotation says so. `previous` is what was last decided.
pub(super) fn apply(status: &mut PodStatus, previous: &PodStatus, pod: &PodView) {
    if pod.annotations.get(READY).map(String::as_str) != Some("false") {
        return;
    }
    let names: Vec<String> = status.container_statuses.iter().flatten().map(|status| status.name.clone()).collect();
    status.container_statuses.iter_mut().flatten().for_each(|status| status.ready = false);
    for condition in status.conditions.iter_mut().flatten() {
        if matches!(condition.type_.as_str(), "Ready" | "ContainersReady") && condition.status == "True" {
            unready(condition, previous, &names.join(" "));
        }
    }
}

fn unready(condition: &mut PodCondition, previous: &PodStatus, names: &str) {
    condition.status = "False".to_owned();
    condition.reason = Some("ContainersNotReady".to_owned());
    condition.message = Some(format!("containers with unready status: [{names}]"));
    let known = previous.conditions.iter().flatten().find(|known| known.type_ == condition.type_);
    if let Some(known) = known.filter(|known| known.status == "False") {
        condition.last_transition_time.clone_from(&known.last_transition_time);
    }
}
