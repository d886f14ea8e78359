//! The steps that fill the inventory: cluster, host, Supervisor, namespace.

use super::{StepError, progress, start, wait_for};
use crate::instance::{CLUSTER, HOST, Instance, NAMESPACE, SUPERVISOR};
use kube::{Api, Client, api::PostParams};
use orrery_api::{
    condition::is_true,
    inventory::{
        ComputeCluster, ComputeClusterSpec, ConfigStatus, Host, Supervisor, SupervisorSpec, Task, WorkloadNamespace,
        WorkloadNamespaceSpec,
    },
    k8s::api::core::v1::Namespace,
};
use orrery_client::Access;
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt::Debug, fs, os::unix::fs::PermissionsExt};

/// Makes an object, unless it is there; whether it was made.
pub(super) async fn ensure<K>(api: &Api<K>, name: &str, object: &K) -> Result<bool, StepError>
where
    K: Clone + DeserializeOwned + Serialize + Debug,
{
    if api.get_opt(name).await?.is_some() {
        return Ok(false);
    }
    match api.create(&PostParams::default(), object).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn outcome(made: bool) -> String {
    if made { String::new() } else { "already there".to_owned() }
}

/// Makes the cluster, starts the host's processes and waits until the host has joined.
pub(super) async fn host(
    instance: &Instance,
    manager: &Access,
    step: &progress::Step,
) -> Result<((), String), StepError> {
    let client = manager.client().await?;
    ensure(&Api::all(client.clone()), CLUSTER, &ComputeCluster::new(CLUSTER, ComputeClusterSpec::default())).await?;
    let hosts: Api<Host> = Api::all(client);
    let known = hosts.get_opt(HOST).await?.is_some();
    if !known {
        let token = start::join_token(manager).await?;
        let path = instance.host_directory(HOST).join("join-token");
        fs::create_dir_all(instance.host_directory(HOST))?;
        fs::write(&path, token)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    start::host_roles(instance).await?;
    step.note("waiting for its heartbeat");
    let facts = wait_for(|| async {
        let status = hosts.get_opt(HOST).await.ok()??.status?;
        if is_true(&status.conditions, "Ready") { status.facts } else { None }
    })
    .await;
    let accelerator = serde_json::to_value(facts.accelerator)?;
    Ok(((), format!("QEMU {}, {}", facts.qemu_version, accelerator.as_str().unwrap_or_default())))
}

/// Enables the Supervisor and waits until it runs.
pub(super) async fn supervisor(
    instance: &Instance,
    manager: &Access,
    step: &progress::Step,
) -> Result<((), String), StepError> {
    let client = manager.client().await?;
    let supervisors: Api<Supervisor> = Api::all(client.clone());
    let tasks: Api<Task> = Api::all(client);
    let spec = SupervisorSpec { cluster: CLUSTER.to_owned(), allow_emulation: true };
    let made = ensure(&supervisors, SUPERVISOR, &Supervisor::new(SUPERVISOR, spec)).await?;
    let end = wait_for(|| async {
        if let Ok(Some(Task { status: Some(status), .. })) = tasks.get_opt(&format!("enable-{SUPERVISOR}")).await {
            step.note(&format!("{} % {}", status.percent, status.step));
        }
        let status = supervisors.get_opt(SUPERVISOR).await.ok()??.status?;
        let message = status.conditions.iter().find(|c| c.type_ == "PreconditionsMet").map(|c| c.message.clone());
        match status.config_status {
            ConfigStatus::Running if is_true(&status.conditions, "ControlPlaneReady") => Some(Ok(())),
            ConfigStatus::Running | ConfigStatus::Configuring | ConfigStatus::Removing => None,
            ConfigStatus::Error => Some(Err(message.unwrap_or_default())),
        }
    })
    .await;
    end?;
    Ok(((), if made { instance.api_address().to_string() } else { outcome(false) }))
}

/// Makes the demo namespace and waits until it is on the Supervisor.
pub(super) async fn namespace(
    manager: &Access,
    supervisor: &Access,
    step: &progress::Step,
) -> Result<((), String), StepError> {
    let client: Client = manager.client().await?;
    let spec = WorkloadNamespaceSpec {
        supervisor: SUPERVISOR.to_owned(),
        description: Some("A first place to try things".to_owned()),
        access: Vec::new(),
    };
    let made = ensure(&Api::all(client), NAMESPACE, &WorkloadNamespace::new(NAMESPACE, spec)).await?;
    step.note("waiting for it on the Supervisor");
    let namespaces: Api<Namespace> = Api::all(supervisor.client().await?);
    wait_for(|| async { namespaces.get_opt(NAMESPACE).await.ok()? }).await;
    Ok(((), outcome(made)))
}
