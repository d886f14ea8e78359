//! `WorkloadNamespace` objects of the inventory become namespaces with role bindings on their Supervisor.

use crate::{Authorities, ControlPlaneConfig, enablement::ACCESS_LIFETIME};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use orrery_api::{
    inventory::{
        ConfigStatus, NamespaceAccess, NamespaceRole, SubjectType, WorkloadNamespace, WorkloadNamespaceStatus,
    },
    k8s::api::{
        core::v1::Namespace,
        rbac::v1::{RoleBinding, RoleRef, Subject},
    },
};
use serde_json::json;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use tokio_util::sync::CancellationToken;

/// Keeps a `WorkloadNamespace` until its namespace is gone.
const FINALIZER: &str = "inventory.orrery.dev/namespace";
/// Marks what this controller made.
const OWNER_LABEL: &str = "inventory.orrery.dev/workload-namespace";
/// How often all of them are looked at.
const INTERVAL: Duration = Duration::from_millis(1000);

/// Why a workload namespace is not as asked; it is looked at again.
#[derive(Debug, thiserror::Error)]
enum NamespaceError {
    #[error("cannot {doing}")]
    Api {
        doing: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("Supervisor {0} does not run yet")]
    NoSupervisor(String),
}

fn api(doing: &'static str) -> impl Fn(kube::Error) -> NamespaceError {
    move |source| NamespaceError::Api { doing, source: Box::new(source) }
}

/// The controller of `WorkloadNamespace` objects.
pub struct WorkloadNamespaces {
    inventory: Client,
    supervisors: PathBuf,
    clients: BTreeMap<String, (Client, tokio::time::Instant)>,
}

impl WorkloadNamespaces {
    /// `supervisors` is the directory that holds one directory for each Supervisor.
    #[must_use]
    pub fn new(inventory: Client, supervisors: PathBuf) -> Self {
        Self { inventory, supervisors, clients: BTreeMap::new() }
    }

    /// Works until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let all: Api<WorkloadNamespace> = Api::all(self.inventory.clone());
            match all.list(&ListParams::default()).await {
                Ok(list) => {
                    for namespace in list.items {
                        self.reconcile(&all, &namespace).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot list workload namespaces");
                }
            }
            tokio::select! {
                // Cancel-safe: neither arm has begun anything.
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    async fn reconcile(&mut self, all: &Api<WorkloadNamespace>, object: &WorkloadNamespace) {
        let name = object.metadata.name.clone().unwrap_or_default();
        let deleting = object.metadata.deletion_timestamp.is_some();
        let result =
            if deleting { self.remove(all, &name, object).await } else { self.ensure(all, &name, object).await };
        let status = match &result {
            Ok(()) if deleting => WorkloadNamespaceStatus { config_status: ConfigStatus::Removing, message: None },
            Ok(()) => WorkloadNamespaceStatus { config_status: ConfigStatus::Running, message: None },
            Err(error) => {
                let source = std::error::Error::source(error).map(|s| format!(": {s}")).unwrap_or_default();
                WorkloadNamespaceStatus {
                    config_status: ConfigStatus::Configuring,
                    message: Some(format!("{error}{source}")),
                }
            }
        };
        if object.status.as_ref() != Some(&status) && !deleting {
            let patch =
                Patch::Merge(json!({"status": {"configStatus": status.config_status, "message": status.message}}));
            if let Err(error) = all.patch_status(&name, &PatchParams::default(), &patch).await {
                tracing::warn!(%name, error = &error as &dyn std::error::Error, "cannot write the status");
            }
        }
    }

    async fn ensure(
        &mut self,
        all: &Api<WorkloadNamespace>,
        name: &str,
        object: &WorkloadNamespace,
    ) -> Result<(), NamespaceError> {
        let client = self.client(&object.spec.supervisor).await?;
        if !object.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER) {
            set_finalizers(all, name, &[FINALIZER]).await?;
        }
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let wanted = namespace(name);
        match namespaces.get_opt(name).await.map_err(api("read the namespace"))? {
            Some(_) => {}
            None => {
                drop(namespaces.create(&PostParams::default(), &wanted).await.map_err(api("make the namespace"))?);
                tracing::info!(%name, supervisor = %object.spec.supervisor, "made a namespace");
            }
        }
        sync_bindings(&Api::namespaced(client, name), name, &object.spec.access).await
    }

    async fn remove(
        &mut self,
        all: &Api<WorkloadNamespace>,
        name: &str,
        object: &WorkloadNamespace,
    ) -> Result<(), NamespaceError> {
        let client = self.client(&object.spec.supervisor).await?;
        let namespaces: Api<Namespace> = Api::all(client);
        match namespaces.get_opt(name).await.map_err(api("read the namespace"))? {
            None => set_finalizers(all, name, &[]).await,
            Some(present) if present.metadata.deletion_timestamp.is_some() => Ok(()),
            Some(_) => {
                namespaces.delete(name, &DeleteParams::default()).await.map(drop).map_err(api("delete the namespace"))
            }
        }
    }

    /// Access to a Supervisor, made anew when half of its life is over.
    async fn client(&mut self, supervisor: &str) -> Result<Client, NamespaceError> {
        if let Some((client, made)) = self.clients.get(supervisor)
            && made.elapsed() < ACCESS_LIFETIME / 2
        {
            return Ok(client.clone());
        }
        let missing = || NamespaceError::NoSupervisor(supervisor.to_owned());
        let directory = self.supervisors.join(supervisor);
        let config = ControlPlaneConfig::load(&directory).ok().flatten().ok_or_else(missing)?;
        let authorities = Authorities::load_or_create(&directory.join("pki")).map_err(|_| missing())?;
        let access = authorities
            .access(&config.endpoint, "orrery:namespaces", "system:masters", ACCESS_LIFETIME)
            .map_err(|_| missing())?;
        let client = access.client().await.map_err(|_| missing())?;
        self.clients.insert(supervisor.to_owned(), (client.clone(), tokio::time::Instant::now()));
        Ok(client)
    }
}

async fn set_finalizers(all: &Api<WorkloadNamespace>, name: &str, to: &[&str]) -> Result<(), NamespaceError> {
    let patch = Patch::Merge(json!({"metadata": {"finalizers": to}}));
    all.patch(name, &PatchParams::default(), &patch).await.map(drop).map_err(api("write the finalizers"))
}

fn namespace(name: &str) -> Namespace {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    namespace.metadata.labels = Some([(OWNER_LABEL.to_owned(), name.to_owned())].into());
    namespace
}

/// The cluster role that a permission binds to.
fn cluster_role(role: NamespaceRole) -> &'static str {
    match role {
        NamespaceRole::Owner => "admin",
        NamespaceRole::Edit => "edit",
        NamespaceRole::View => "view",
    }
}

/// One binding for each role that somebody has.
fn bindings(namespace: &str, access: &[NamespaceAccess]) -> Vec<RoleBinding> {
    let mut by_role: BTreeMap<&str, Vec<Subject>> = BTreeMap::new();
    for permission in access {
        let kind = match permission.subject_type {
            SubjectType::User => "User",
            SubjectType::Group => "Group",
        };
        by_role.entry(cluster_role(permission.role)).or_default().push(Subject {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: kind.to_owned(),
            name: permission.subject.clone(),
            namespace: None,
        });
    }
    let binding = |(role, subjects): (&str, Vec<Subject>)| {
        let mut binding = RoleBinding {
            role_ref: RoleRef {
                api_group: Some("rbac.authorization.k8s.io".to_owned()),
                kind: "ClusterRole".to_owned(),
                name: role.to_owned(),
            },
            subjects: Some(subjects),
            ..RoleBinding::default()
        };
        binding.metadata.name = Some(format!("orrery-{role}"));
        binding.metadata.namespace = Some(namespace.to_owned());
        binding.metadata.labels = Some([(OWNER_LABEL.to_owned(), namespace.to_owned())].into());
        binding
    };
    by_role.into_iter().map(binding).collect()
}

async fn sync_bindings(
    present: &Api<RoleBinding>,
    namespace: &str,
    access: &[NamespaceAccess],
) -> Result<(), NamespaceError> {
    let ours = ListParams::default().labels(OWNER_LABEL);
    let list = present.list(&ours).await.map_err(api("list role bindings"))?;
    let wanted = bindings(namespace, access);
    for binding in &wanted {
        let name = binding.metadata.name.as_deref().unwrap_or_default();
        match list.items.iter().find(|other| other.metadata.name.as_deref() == Some(name)) {
            Some(other) if other.subjects == binding.subjects => {}
            Some(_) => {
                let patch = Patch::Merge(json!({"subjects": binding.subjects}));
                drop(present.patch(name, &PatchParams::default(), &patch).await.map_err(api("change a role binding"))?);
            }
            None => drop(present.create(&PostParams::default(), binding).await.map_err(api("make a role binding"))?),
        }
    }
    for other in &list.items {
        if !wanted.iter().any(|binding| binding.metadata.name == other.metadata.name) {
            let name = other.metadata.name.as_deref().unwrap_or_default();
            drop(present.delete(name, &DeleteParams::default()).await.map_err(api("delete a role binding"))?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_become_one_binding_for_each_role() {
        let permission =
            |subject: &str, subject_type, role| NamespaceAccess { subject_type, subject: subject.into(), role };
        let access = [
            permission("alice", SubjectType::User, NamespaceRole::Owner),
            permission("devs", SubjectType::Group, NamespaceRole::Edit),
            permission("bob", SubjectType::User, NamespaceRole::Edit),
        ];
        let made = bindings("demo", &access);
        let summary: Vec<(String, Vec<String>)> = made
            .iter()
            .map(|b| {
                let subjects = b.subjects.iter().flatten().map(|s| format!("{}/{}", s.kind, s.name)).collect();
                (b.role_ref.name.clone(), subjects)
            })
            .collect();
        assert_eq!(
            summary,
            [
                ("admin".into(), vec!["User/alice".to_owned()]),
                ("edit".into(), vec!["Group/devs".to_owned(), "User/bob".to_owned()]),
            ]
        );
    }
}
