//! The manager's process, and the control plane's.

use super::{RoleResult, raise_file_limit, shutdown_on_signal};
use crate::{args::SupervisorArgs, instance::Instance};
use orrery_api::names::HostName;
use orrery_client::{Access, kubeconfig};
use orrery_identity::{Authority, IdentityError, Profile, Usage};
use orrery_manager::{EnrolError, Manager, NodeEnroller, Purpose, SUPERVISORS};
use orrery_supervisor::{
    AuditOptions, ControlPlane, EmbeddedControlPlane, Enablement, EnablementConfig, Enroller, Rotation, TokenOptions,
    WorkloadNamespaces,
    control_plane::{DeployError, RunConfig},
};
use orrery_wire::join::{EnrolReply, EnrolRequest};
use std::{error::Error, fs, path::Path, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long a Supervisor's access to the manager lives, and how often it is made anew.
const ACCESS_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
const ACCESS_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// Name of a Supervisor's kubeconfig for the manager, in the Supervisor's directory.
const ACCESS_FILE: &str = "manager.kubeconfig";

/// Access to the manager as `user` in `group`. Makes the manager's authorities if they are not there yet.
pub(crate) fn manager_access(
    instance: &Instance,
    user: &str,
    group: &str,
    lifetime: Duration,
) -> Result<Access, IdentityError> {
    let directory = instance.manager_pki();
    let serving = Authority::load_or_create(&directory, Purpose::Serving.file_name())?;
    let clients = Authority::load_or_create(&directory, Purpose::Clients.file_name())?;
    let credentials = clients.issue(&Profile {
        common_name: user.to_owned(),
        organization: Some(group.to_owned()),
        alternative_names: Vec::new(),
        usage: Usage::Client,
        lifetime,
    })?;
    Ok(Access {
        endpoint: format!("https://{}", instance.manager_address()),
        server_ca_pem: serving.certificate_pem().to_owned(),
        credentials,
    })
}

/// Hands the signing of nodes' credentials to the Supervisor's authorities.
struct SupervisorEnroller(Enroller);

#[async_trait::async_trait]
impl NodeEnroller for SupervisorEnroller {
    async fn enrol(&self, host: &HostName, request: EnrolRequest) -> Result<EnrolReply, EnrolError> {
        self.0.enrol(host.as_str(), &request).map_err(|error| match error {
            orrery_supervisor::EnrolError::NotEnabled(_) => EnrolError::NotReady(error.to_string()),
            orrery_supervisor::EnrolError::Name(_) => EnrolError::Refused(error.to_string()),
            error => EnrolError::Failed(Box::new(error)),
        })
    }
}

/// The control plane beside the manager, which also gets access to the manager's DRS.
struct ControlPlaneBeside {
    instance: Instance,
    embedded: EmbeddedControlPlane,
}

#[async_trait::async_trait]
impl ControlPlane for ControlPlaneBeside {
    async fn deploy(&self, supervisor: &str) -> Result<(), DeployError> {
        if let Err(error) = write_access(&self.instance, &self.instance.supervisors().join(supervisor), supervisor) {
            tracing::warn!(%supervisor, error = error.as_ref() as &dyn Error, "the Supervisor can't ask the manager's DRS");
        }
        self.embedded.deploy(supervisor).await
    }

    async fn ready(&self, supervisor: &str) -> bool {
        self.embedded.ready(supervisor).await
    }
}

fn write_access(instance: &Instance, directory: &Path, supervisor: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let user = format!("system:supervisor:{supervisor}");
    let access = manager_access(instance, &user, SUPERVISORS, ACCESS_LIFETIME)?;
    Ok(kubeconfig::write(&directory.join(ACCESS_FILE), &access, "orrery-manager", None)?)
}

/// Makes the access of every Supervisor anew, now and then.
async fn renew_access(instance: Instance, shutdown: CancellationToken) {
    loop {
        for entry in fs::read_dir(instance.supervisors()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Err(error) = write_access(&instance, &entry.path(), &name) {
                tracing::warn!(supervisor = %name, error = error.as_ref() as &dyn Error, "cannot renew its access");
            }
        }
        tokio::select! {
            // Cancel-safe: neither arm has begun anything.
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(ACCESS_INTERVAL) => {}
        }
    }
}

pub(crate) async fn manager(instance: &Instance) -> RoleResult {
    let shutdown = shutdown_on_signal()?;
    raise_file_limit();
    let supervisors = instance.supervisors();
    let manager = Manager::start(orrery_manager::Config {
        state: instance.manager_directory(),
        listen: instance.manager_address(),
        pki: instance.pki(),
        enroller: Arc::new(SupervisorEnroller(Enroller::new(supervisors.clone()))),
    })
    .await?;
    let client = manager.client();
    let embedded = EmbeddedControlPlane {
        supervisors: supervisors.clone(),
        listen: instance.api_address(),
        advertise: instance.pod_api_address(),
    };
    let enablement = Enablement::new(EnablementConfig {
        inventory: client.clone(),
        supervisors: supervisors.clone(),
        control_plane: Arc::new(ControlPlaneBeside { instance: instance.clone(), embedded }),
    });
    let namespaces = WorkloadNamespaces::new(client, supervisors);
    let tasks = [
        tokio::spawn(enablement.run(shutdown.clone())),
        tokio::spawn(namespaces.run(shutdown.clone())),
        tokio::spawn(renew_access(instance.clone(), shutdown.clone())),
    ];
    let result = manager.serve(shutdown.clone()).await;
    shutdown.cancel();
    for task in tasks {
        task.await?;
    }
    Ok(result?)
}

pub(crate) async fn supervisor(instance: &Instance, args: SupervisorArgs) -> RoleResult {
    let directory = instance.supervisors().join(args.name.as_str());
    if args.rotate_token_key {
        return Ok(orrery_supervisor::rotate_token_key(&directory)?);
    }
    let shutdown = shutdown_on_signal()?;
    raise_file_limit();
    let config = RunConfig {
        manager_kubeconfig: directory.join(ACCESS_FILE),
        directory,
        tokens: TokenOptions {
            issuers: args.service_account_issuer,
            audiences: args.api_audiences,
            max_expiration_seconds: args.service_account_max_token_expiration,
        },
        audit: AuditOptions {
            log: args.audit_log.unwrap_or_else(|| instance.audit_log(args.name.as_str())),
            policy: args.audit_policy,
            wait: args.audit_blocking,
            rotation: Rotation { max_bytes: args.audit_max_mib << 20, keep: args.audit_keep },
        },
        grace: Duration::from_secs(args.shutdown_delay),
        supervisor: args.name,
    };
    Ok(orrery_supervisor::control_plane::run(config, shutdown).await?)
}
