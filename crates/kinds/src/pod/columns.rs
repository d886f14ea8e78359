//! The columns of a pod's table.

use super::{first_address, state::State};
use crate::columns::column;
use crate::fields::{elements, size, text, text_or};
use orrery_machinery::{descriptor::Column, table::human_duration};
use serde_json::Value;

pub(super) const COLUMNS: &[Column] = &[
    column("Ready", 0, "The aggregate readiness state of this pod for accepting traffic.", |pod, _| {
        let state = State::of(pod);
        format!("{}/{}", state.ready, state.containers).into()
    }),
    column("Status", 0, "The aggregate status of the containers in this pod.", |pod, _| State::of(pod).reason.into()),
    column(
        "Restarts",
        0,
        "The number of times the containers in this pod have been restarted and when the last container in this pod has \
         restarted.",
        |pod, now| restarts(&State::of(pod), now).into(),
    ),
    column("IP", 1, "The pod's first address.", |pod, _| text_or(&first_address(pod).into(), "<none>")),
    column("Node", 1, "The node that the pod is bound to.", |pod, _| text_or(&pod["spec"]["nodeName"], "<none>")),
    column("Nominated Node", 1, "The node that the pod may go to once others have left it.", |pod, _| {
        text_or(&pod["status"]["nominatedNodeName"], "<none>")
    }),
    column("Readiness Gates", 1, "How many of the pod's readiness gates are open.", |pod, _| gates(pod).into()),
];

fn restarts(state: &State, now: i64) -> String {
    match state.last_restart {
        Some(then) if state.restarts != 0 => format!("{} ({} ago)", state.restarts, human_duration(now - then)),
        _ => state.restarts.to_string(),
    }
}

fn gates(pod: &Value) -> String {
    let gates = &pod["spec"]["readinessGates"];
    if size(gates) == 0 {
        return "<none>".to_owned();
    }
    let open = |gate: &&Value| {
        elements(&pod["status"]["conditions"])
            .any(|condition| condition["type"] == gate["conditionType"] && text(&condition["status"]) == "True")
    };
    format!("{}/{}", elements(gates).filter(open).count(), size(gates))
}

#[cfg(test)]
mod tests {
    use crate::pod::descriptor;
    use orrery_machinery::{
        descriptor::ResourceDescriptor,
        table::{self, IncludeObject},
    };
    use serde_json::json;

    #[test]
    fn the_wide_table_reads_as_upstreams() {
        let pod = json!({
            "metadata": {"name": "web", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"nodeName": "host-1", "containers": [{"name": "c"}], "readinessGates": [{"conditionType": "g"}]},
            "status": {
                "phase": "Running", "podIPs": [{"ip": "10.0.0.2"}], "conditions": [{"type": "g", "status": "True"}],
                "containerStatuses": [{
                    "name": "c", "ready": true, "restartCount": 2, "state": {"running": {}},
                    "lastState": {"terminated": {"finishedAt": "1970-01-01T00:05:00Z"}},
                }],
            },
        });
        let row = table::row(&descriptor().into(), &pod, IncludeObject::None, 600);
        let expected = json!(["web", "1/1", "Running", "2 (5m ago)", "10m", "10.0.0.2", "host-1", "<none>", "1/1"]);
        assert_eq!(row["cells"], expected);
        let resource = ResourceDescriptor::from(descriptor());
        let headings: Vec<&str> = resource.columns.iter().map(|column| &*column.name).collect();
        let expected =
            ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"];
        assert_eq!(headings, expected);
    }
}
