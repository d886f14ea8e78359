//! What enablement says of itself: the Supervisor's status and its task.

use super::{EnablementConfig, EnablementError, Observed, Step, inventory};
use crate::ControlPlaneConfig;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use orrery_api::{
    condition::{condition, set_condition},
    inventory::{ConfigStatus, Supervisor, SupervisorStatus, Task, TaskSpec, TaskState, TaskStatus},
    k8s::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp},
};
use serde_json::json;

/// Writes status and task, each only when it differs from what is there.
pub(super) async fn report(
    config: &EnablementConfig,
    supervisor: &Supervisor,
    observed: &Observed,
    step: &Step,
) -> Result<(), EnablementError> {
    let now = Time(Timestamp::now());
    let endpoint =
        ControlPlaneConfig::load(&config.supervisors.join(&observed.supervisor)).ok().flatten().map(|c| c.endpoint);
    let before = supervisor.status.clone().unwrap_or_default();
    let after = status(&before, observed, step, endpoint, &now);
    if supervisor.status.is_none() || after != before {
        let supervisors: Api<Supervisor> = Api::all(config.inventory.clone());
        supervisors
            .patch_status(&observed.supervisor, &PatchParams::default(), &Patch::Merge(&json!({"status": after})))
            .await
            .map_err(inventory("write the Supervisor's status"))?;
        tracing::info!(supervisor = %observed.supervisor, step = %step.describe(), "enablement");
    }
    report_task(config, observed, step, now).await
}

fn status(
    before: &SupervisorStatus,
    observed: &Observed,
    step: &Step,
    endpoint: Option<String>,
    now: &Time,
) -> SupervisorStatus {
    let mut after = before.clone();
    let said = step.describe();
    let blocked = matches!(step, Step::Blocked(_));
    let mut set = |type_, holds: bool, reason: &str| {
        let message = if holds { "" } else { said.as_str() };
        set_condition(&mut after.conditions, condition(type_, holds, reason, message, now.clone()));
    };
    set("PreconditionsMet", !blocked, if blocked { "ChecksFailed" } else { "ChecksPassed" });
    set(
        "ControlPlaneReady",
        observed.control_plane_ready,
        if observed.control_plane_ready { "Answers" } else { "NoAnswer" },
    );
    let done = *step == Step::Done;
    set("HostsEnrolled", done, if done { "AllNodesReady" } else { "Waiting" });
    after.config_status = match step {
        Step::Blocked(_) => ConfigStatus::Error,
        Step::Done => ConfigStatus::Running,
        // Once it ran, a control plane or host that is away for a while is a condition, not a new enablement.
        Step::AwaitControlPlane | Step::AwaitHosts(_) if before.config_status == ConfigStatus::Running => {
            ConfigStatus::Running
        }
        Step::MapZone { .. } | Step::DeployControlPlane | Step::AwaitControlPlane | Step::AwaitHosts(_) => {
            ConfigStatus::Configuring
        }
    };
    after.endpoint = endpoint;
    after.zones = observed.zone.iter().map(|(zone, _)| zone.clone()).collect();
    after
}

async fn report_task(
    config: &EnablementConfig,
    observed: &Observed,
    step: &Step,
    now: Time,
) -> Result<(), EnablementError> {
    let tasks: Api<Task> = Api::all(config.inventory.clone());
    let name = format!("enable-{}", observed.supervisor);
    let task = match tasks.get_opt(&name).await.map_err(inventory("read the task"))? {
        Some(task) => task,
        None => {
            let spec = TaskSpec {
                operation: "EnableSupervisor".to_owned(),
                target_kind: "Supervisor".to_owned(),
                target_name: observed.supervisor.clone(),
                abort: false,
            };
            tasks.create(&PostParams::default(), &Task::new(&name, spec)).await.map_err(inventory("make the task"))?
        }
    };
    let before = task.status.unwrap_or_default();
    if before.state == TaskState::Succeeded {
        return Ok(());
    }
    let done = *step == Step::Done;
    let after = TaskStatus {
        state: if done { TaskState::Succeeded } else { TaskState::Running },
        step: step.describe(),
        percent: step.percent(),
        message: matches!(step, Step::Blocked(_)).then(|| step.describe()),
        start_time: before.start_time.clone().or_else(|| Some(now.clone())),
        completion_time: done.then_some(now),
    };
    if after != before {
        tasks
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(&json!({"status": after})))
            .await
            .map_err(inventory("write the task's status"))?;
    }
    Ok(())
}
