//! A pod's state in a few words, as `kubectl get pods` shows it (`k8s.io/kubernetes/pkg/printers/internalversion`).

use crate::fields::{elements, is_set, size, text};
use orrery_machinery::{meta, table::unix_seconds};
use serde_json::Value;

/// A pod at one glance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Such as `Running`, `Init:0/2`, `CrashLoopBackOff`, `Terminating`.
    pub(super) reason: String,
    /// Containers that are ready, sidecars included.
    pub(super) ready: usize,
    /// All containers, sidecars included.
    pub(super) containers: usize,
    /// How often they were restarted.
    pub(super) restarts: i64,
    /// When that was last; Unix seconds.
    pub(super) last_restart: Option<i64>,
}

impl State {
    pub(super) fn of(pod: &Value) -> Self {
        let sidecars = elements(&pod["spec"]["initContainers"]).filter(|c| is_sidecar(c)).count();
        let mut state = Self {
            reason: initial_reason(pod),
            containers: size(&pod["spec"]["containers"]) + sidecars,
            ..Self::default()
        };
        let initializing = state.add_init_containers(pod);
        if !initializing || has_condition(pod, "Initialized") {
            state.add_containers(pod);
        }
        if meta::is_deleting(pod) {
            if pod["status"]["reason"] == "NodeLost" {
                state.reason = "Unknown".to_owned();
            } else if !matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed") {
                state.reason = "Terminating".to_owned();
            }
        }
        state
    }

    fn count_restarts(&mut self, container: &Value) {
        self.restarts += container["restartCount"].as_i64().unwrap_or_default();
        let finished = unix_seconds(text(&container["lastState"]["terminated"]["finishedAt"]));
        self.last_restart = self.last_restart.max(finished);
    }

    /// Whether the init containers are still at work, or have failed. Afterwards only the sidecars' restarts count.
    fn add_init_containers(&mut self, pod: &Value) -> bool {
        let mut sidecars = Self::default();
        let specs = &pod["spec"]["initContainers"];
        for (index, container) in elements(&pod["status"]["initContainerStatuses"]).enumerate() {
            let sidecar = elements(specs).any(|spec| spec["name"] == container["name"] && is_sidecar(spec));
            self.count_restarts(container);
            if sidecar {
                sidecars.count_restarts(container);
            }
            let (terminated, waiting) =
                (&container["state"]["terminated"], text(&container["state"]["waiting"]["reason"]));
            if is_set(terminated) && terminated["exitCode"].as_i64().unwrap_or_default() == 0 {
                continue;
            }
            if sidecar && container["started"] == Value::Bool(true) {
                self.ready += usize::from(container["ready"] == Value::Bool(true));
                continue;
            }
            self.reason = match waiting {
                _ if is_set(terminated) => format!("Init:{}", exit_reason(terminated)),
                "" | "PodInitializing" => format!("Init:{index}/{}", size(specs)),
                reason => format!("Init:{reason}"),
            };
            if has_condition(pod, "Initialized") {
                (self.restarts, self.last_restart) = (sidecars.restarts, sidecars.last_restart);
            }
            return true;
        }
        (self.restarts, self.last_restart) = (sidecars.restarts, sidecars.last_restart);
        false
    }

    fn add_containers(&mut self, pod: &Value) {
        let mut running = false;
        // From the last to the first, so that the first container's reason is the one that is shown.
        for container in elements(&pod["status"]["containerStatuses"]).collect::<Vec<_>>().into_iter().rev() {
            self.count_restarts(container);
            let state = &container["state"];
            let waiting = text(&state["waiting"]["reason"]);
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if is_set(&state["terminated"]) {
                self.reason = exit_reason(&state["terminated"]);
            } else if container["ready"] == Value::Bool(true) && is_set(&state["running"]) {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if has_condition(pod, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }
}

fn initial_reason(pod: &Value) -> String {
    let status = &pod["status"];
    let gated = elements(&status["conditions"])
        .any(|condition| condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated");
    match text(&status["reason"]) {
        _ if gated => "SchedulingGated",
        "" => text(&status["phase"]),
        reason => reason,
    }
    .to_owned()
}

fn exit_reason(terminated: &Value) -> String {
    let number = |field: &str| terminated[field].as_i64().unwrap_or_default();
    match text(&terminated["reason"]) {
        "" if number("signal") != 0 => format!("Signal:{}", number("signal")),
        "" => format!("ExitCode:{}", number("exitCode")),
        reason => reason.to_owned(),
    }
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn has_condition(pod: &Value, kind: &str) -> bool {
    elements(&pod["status"]["conditions"])
        .any(|condition| condition["type"] == kind && text(&condition["status"]) == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(status: &Value, init: &Value, deleting: bool) -> State {
        let mut pod = json!({
            "metadata": {}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": init}, "status": status,
        });
        if deleting {
            pod["metadata"]["deletionTimestamp"] = "1970-01-01T00:00:00Z".into();
        }
        State::of(&pod)
    }

    #[test]
    fn the_reason_is_what_kubectl_shows() {
        let running = json!({"ready": true, "state": {"running": {}}});
        let with = |phase: &str, a: Value, b: Value| json!({"phase": phase, "containerStatuses": [a, b]});
        let waiting = |reason: &str| json!({"state": {"waiting": {"reason": reason}}});
        let ended = |code: i64, reason: &str| json!({"state": {"terminated": {"exitCode": code, "reason": reason}}});
        let table = [
            (json!({"phase": "Pending"}), false, "Pending", 0),
            (json!({"phase": "Failed", "reason": "Evicted"}), false, "Evicted", 0),
            (with("Running", running.clone(), running.clone()), false, "Running", 2),
            (with("Running", running.clone(), running.clone()), true, "Terminating", 2),
            (with("Running", waiting("CrashLoopBackOff"), running.clone()), false, "CrashLoopBackOff", 1),
            (with("Pending", waiting("ErrImagePull"), waiting("ContainerCreating")), false, "ErrImagePull", 0),
            (with("Succeeded", ended(0, "Completed"), ended(0, "Completed")), false, "Completed", 0),
            (with("Succeeded", ended(0, "Completed"), ended(0, "Completed")), true, "Completed", 0),
            (with("Running", ended(0, "Completed"), running.clone()), false, "NotReady", 1),
            (with("Failed", ended(3, ""), running), false, "ExitCode:3", 1),
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
                false,
                "SchedulingGated",
                0,
            ),
            (json!({"phase": "Running", "reason": "NodeLost"}), true, "Unknown", 0),
        ];
        for (status, deleting, reason, ready) in table {
            let found = state(&status, &json!([]), deleting);
            assert_eq!((found.reason.as_str(), found.ready, found.containers), (reason, ready, 2), "{status}");
        }
    }

    #[test]
    fn init_containers_come_first() {
        let init = || json!([{"name": "i"}, {"name": "j"}]);
        let one = |state: Value| json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": state}]});
        let table = [
            (one(json!({"waiting": {"reason": "PodInitializing"}})), "Init:0/2"),
            (one(json!({"running": {}})), "Init:0/2"),
            (one(json!({"waiting": {"reason": "ImagePullBackOff"}})), "Init:ImagePullBackOff"),
            (one(json!({"terminated": {"exitCode": 1, "reason": "Error"}})), "Init:Error"),
            (one(json!({"terminated": {"exitCode": 137, "signal": 9}})), "Init:Signal:9"),
            (one(json!({"terminated": {"exitCode": 0}})), "Pending"),
        ];
        for (status, reason) in table {
            assert_eq!(state(&status, &init(), false).reason, reason, "{status}");
        }
    }

    #[test]
    fn a_sidecar_counts_as_a_container() {
        let status = json!({
            "phase": "Running",
            "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "restartCount": 4, "state": {"running": {}}}],
            "containerStatuses": [{"ready": true, "state": {"running": {}}, "restartCount": 1}],
        });
        let found = state(&status, &json!([{"name": "s", "restartPolicy": "Always"}]), false);
        assert_eq!((found.ready, found.containers, found.restarts), (2, 3, 5));
    }

    #[test]
    fn the_last_restart_is_the_latest_end_of_any_container() {
        let ended = |at: &str| json!({"restartCount": 1, "lastState": {"terminated": {"finishedAt": at}}, "state": {"running": {}}});
        let statuses = json!([ended("1970-01-01T00:00:09Z"), ended("1970-01-01T00:00:05Z")]);
        let found = state(&json!({"phase": "Running", "containerStatuses": statuses}), &json!([]), false);
        assert_eq!((found.restarts, found.last_restart), (2, Some(9)));
    }
}
