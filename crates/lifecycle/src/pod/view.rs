//! What is needed of a pod, projected from the whole Kubernetes object.

use super::security::{self, Privileges};
use super::unsupported;
use crate::handler::{self, Hooks, Probes};
use crate::pull::PullPolicy;
use crate::volume::{self, VolumeView};
use orrery_api::k8s::api::core::v1::{
    Container, EnvFromSource, EnvVar, Pod, PodSpec, PodStatus, ResourceRequirements, VolumeMount,
};
use orrery_api::k8s::jiff::{SignedDuration, Timestamp};
use orrery_api::names::{InvalidName, MachineId, NamespaceName};
use orrery_api::units::{Bytes, InvalidQuantity, MilliCpu};
use std::collections::BTreeMap;

/// As the API server defaults it.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// When ended containers are started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Always.
    Always,
    /// When they failed.
    OnFailure,
    /// Never.
    Never,
}

/// The pod is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// When its containers are ended for good.
    pub deadline: Timestamp,
    /// The whole grace period, in seconds.
    pub grace_seconds: i64,
}

/// What the pod says about name resolution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// Whether the cluster's name servers and search domains come first.
    pub cluster: bool,
    /// Name servers of its own.
    pub nameservers: Vec<String>,
    /// Search domains of its own.
    pub searches: Vec<String>,
    /// Options as `name` or `name:value`.
    pub options: Vec<String>,
}

/// Something that a pod asks for and that is not built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// Reason of the event: `FailedMount` for volumes, else `Failed`.
    pub event_reason: &'static str,
    /// What it is, for people.
    pub message: String,
}

/// One container as it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerView {
    /// Its name, unique in the pod.
    pub name: String,
    /// Reference of its image.
    pub image: String,
    /// When its image is pulled.
    pub pull_policy: PullPolicy,
    /// Overrides the image's entry point; empty when it does not.
    pub command: Vec<String>,
    /// Overrides the image's arguments; empty when it does not.
    pub args: Vec<String>,
    /// Overrides the image's working directory.
    pub working_dir: Option<String>,
    /// Variables, in order.
    pub env: Vec<EnvVar>,
    /// ConfigMaps and Secrets whose keys become variables.
    pub env_from: Vec<EnvFromSource>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether its standard input is connected.
    pub stdin: bool,
    /// The user that it runs as, unless the image says.
    pub run_as_user: Option<u32>,
    /// The group that it runs as, unless the image says.
    pub run_as_group: Option<u32>,
    /// Whether it must not run as root.
    pub run_as_non_root: bool,
    /// Whether its root file system may not be written.
    pub read_only_root: bool,
    /// What it may do.
    pub privileges: Privileges,
    /// CPU requested.
    pub cpu_request: Option<MilliCpu>,
    /// CPU that it may use.
    pub cpu_limit: Option<MilliCpu>,
    /// Memory requested.
    pub memory_request: Option<Bytes>,
    /// Memory that it may use.
    pub memory_limit: Option<Bytes>,
    /// What it may write to its root file system.
    pub storage_limit: Option<Bytes>,
    /// Overrides the image's stop signal, such as `SIGUSR1`.
    pub stop_signal: Option<String>,
    /// The pod's volumes as it sees them.
    pub mounts: Vec<VolumeMount>,
    /// Whether it is an init container that runs on beside the others.
    pub sidecar: bool,
    /// Its probes.
    pub probes: Probes,
    /// Its lifecycle hooks.
    pub hooks: Hooks,
    /// Where it leaves its last words.
    pub termination_message_path: String,
    /// Whether the end of its log stands for last words when it fails without any.
    pub last_words_from_log: bool,
}

/// One pod as it is wanted, with what was last published about it.
#[derive(Debug, Clone, PartialEq)]
pub struct PodView {
    /// Its namespace.
    pub namespace: NamespaceName,
    /// Its name.
    pub name: String,
    /// Its UID, which is its machine's id.
    pub uid: MachineId,
    /// The version of the object that this was made from.
    pub resource_version: String,
    /// Counts changes of the specification.
    pub generation: Option<i64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Set once the pod is to be deleted.
    pub deletion: Option<Deletion>,
    /// The node that it was bound to.
    pub node_name: String,
    /// Its service account.
    pub service_account: String,
    /// Whether variables tell it of the services in its namespace.
    pub service_links: bool,
    /// The host name that its guest gets.
    pub hostname: String,
    /// Its subdomain, when it has one.
    pub subdomain: Option<String>,
    /// Lines for `/etc/hosts`: address, then names.
    pub host_aliases: Vec<(String, Vec<String>)>,
    /// Secrets with credentials for registries.
    pub pull_secrets: Vec<String>,
    /// Name resolution.
    pub dns: Dns,
    /// When ended containers are started again.
    pub restart_policy: RestartPolicy,
    /// How long its containers may take to end.
    pub grace: SignedDuration,
    /// How long it may be active, in seconds.
    pub active_deadline_seconds: Option<i64>,
    /// Containers that run to their end, one after another, before the others.
    pub init_containers: Vec<ContainerView>,
    /// Containers that run together.
    pub containers: Vec<ContainerView>,
    /// Groups in addition to a user's own.
    pub supplementary_groups: Vec<u32>,
    /// Settings of the kernel, by their names with dots.
    pub sysctls: Vec<(String, String)>,
    /// Whether its containers see each other's processes.
    pub shares_processes: bool,
    /// The group of its volumes.
    pub fs_group: Option<u32>,
    /// Its volumes, as far as they are built.
    pub volumes: Vec<VolumeView>,
    /// Condition types that must be true for the pod to be ready.
    pub readiness_gates: Vec<String>,
    /// The first thing it asks for that is not built.
    pub unsupported: Option<Unsupported>,
    /// What was last published.
    pub status: PodStatus,
}

/// Why an object is not a pod that a host can take.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A field that every bound pod has is not there.
    #[error("the pod has no {0}")]
    Missing(&'static str),
    /// The namespace is not a name.
    #[error("the pod's namespace is malformed")]
    Namespace(#[source] InvalidName),
    /// The UID is not one.
    #[error("the pod's UID is malformed")]
    Uid(#[source] uuid::Error),
    /// A limit of a volume is not a quantity.
    #[error("a limit of a volume is malformed")]
    Volume(#[source] InvalidQuantity),
    /// An amount is not a quantity.
    #[error("an amount of container {container} is malformed")]
    Quantity {
        /// The container.
        container: String,
        /// Why.
        #[source]
        source: InvalidQuantity,
    },
}

impl PodView {
    /// What is needed of `pod`.
    ///
    /// # Errors
    /// When the object lacks what the API server guarantees for a bound pod.
    pub fn project(pod: &Pod) -> Result<Self, ProjectError> {
        let meta = &pod.metadata;
        let spec = pod.spec.as_ref().ok_or(ProjectError::Missing("spec"))?;
        let name = meta.name.clone().ok_or(ProjectError::Missing("name"))?;
        let namespace = meta.namespace.clone().ok_or(ProjectError::Missing("namespace"))?;
        let uid = meta.uid.as_deref().ok_or(ProjectError::Missing("uid"))?;
        let containers =
            |list: &[Container]| -> Result<Vec<_>, _> { list.iter().map(|c| container(spec, c)).collect() };
        let pod_security = spec.security_context.as_ref();
        let groups = pod_security.and_then(|s| s.supplemental_groups.clone()).unwrap_or_default();
        Ok(Self {
            namespace: NamespaceName::new(namespace).map_err(ProjectError::Namespace)?,
            uid: uid.parse().map_err(ProjectError::Uid)?,
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            generation: meta.generation,
            labels: meta.labels.clone().unwrap_or_default(),
            annotations: meta.annotations.clone().unwrap_or_default(),
            deletion: meta
                .deletion_timestamp
                .as_ref()
                .map(|at| Deletion { deadline: at.0, grace_seconds: meta.deletion_grace_period_seconds.unwrap_or(0) }),
            node_name: spec.node_name.clone().unwrap_or_default(),
            service_account: spec.service_account_name.clone().unwrap_or_default(),
            service_links: spec.enable_service_links != Some(false),
            hostname: hostname(spec, &name),
            subdomain: spec.subdomain.clone().filter(|s| !s.is_empty()),
            host_aliases: host_aliases(spec),
            pull_secrets: spec.image_pull_secrets.iter().flatten().map(|secret| secret.name.clone()).collect(),
            dns: dns(spec),
            restart_policy: match spec.restart_policy.as_deref() {
                Some("Never") => RestartPolicy::Never,
                Some("OnFailure") => RestartPolicy::OnFailure,
                Some(_) | None => RestartPolicy::Always,
            },
            grace: SignedDuration::from_secs(spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECONDS)),
            active_deadline_seconds: spec.active_deadline_seconds,
            init_containers: containers(spec.init_containers.as_deref().unwrap_or_default())?,
            containers: containers(&spec.containers)?,
            supplementary_groups: groups
                .into_iter()
                .chain(pod_security.and_then(|s| s.fs_group))
                .filter_map(id)
                .collect(),
            sysctls: pod_security.map(security::sysctls).unwrap_or_default(),
            shares_processes: spec.share_process_namespace == Some(true),
            fs_group: pod_security.and_then(|s| s.fs_group).and_then(id),
            volumes: volume::project(spec).map_err(ProjectError::Volume)?,
            readiness_gates: spec.readiness_gates.iter().flatten().map(|gate| gate.condition_type.clone()).collect(),
            unsupported: unsupported::first(spec),
            status: pod.status.clone().unwrap_or_default(),
            name,
        })
    }

    /// `name_namespace(uid)`, as the kubelet names pods in its messages.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{}_{}({})", self.name, self.namespace, self.uid)
    }

    /// Every container, init containers first.
    pub fn all_containers(&self) -> impl Iterator<Item = &ContainerView> {
        self.init_containers.iter().chain(&self.containers)
    }

    /// The user that all containers run as, when the pod says so and it is the same.
    #[must_use]
    pub fn common_user(&self) -> Option<u32> {
        let mut users = self.all_containers().map(|container| container.run_as_user);
        let first = users.next()??;
        users.all(|user| user == Some(first)).then_some(first)
    }

    /// The container of this name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&ContainerView> {
        self.all_containers().find(|container| container.name == name)
    }
}

fn id(number: i64) -> Option<u32> {
    u32::try_from(number).ok()
}

fn container(spec: &PodSpec, container: &Container) -> Result<ContainerView, ProjectError> {
    let pod_security = spec.security_context.as_ref();
    let own_security = container.security_context.as_ref();
    let user = own_security.and_then(|s| s.run_as_user).or(pod_security.and_then(|s| s.run_as_user));
    let group = own_security.and_then(|s| s.run_as_group).or(pod_security.and_then(|s| s.run_as_group));
    let non_root = own_security.and_then(|s| s.run_as_non_root).or(pod_security.and_then(|s| s.run_as_non_root));
    let quantity_error = |source| ProjectError::Quantity { container: container.name.clone(), source };
    let resources = container.resources.clone().unwrap_or_default();
    let ResourceRequirements { limits, requests, .. } = &resources;
    let cpu = |list: &Option<BTreeMap<_, _>>| amount(list, "cpu", MilliCpu::from_quantity).map_err(quantity_error);
    let bytes = |list, name| amount(list, name, Bytes::from_quantity).map_err(quantity_error);
    Ok(ContainerView {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        pull_policy: PullPolicy::of(container),
        command: container.command.clone().unwrap_or_default(),
        args: container.args.clone().unwrap_or_default(),
        working_dir: container.working_dir.clone().filter(|dir| !dir.is_empty()),
        env: container.env.clone().unwrap_or_default(),
        env_from: container.env_from.clone().unwrap_or_default(),
        tty: container.tty.unwrap_or_default(),
        stdin: container.stdin.unwrap_or_default(),
        run_as_user: user.and_then(id),
        run_as_group: group.and_then(id),
        run_as_non_root: non_root.unwrap_or_default(),
        read_only_root: own_security.and_then(|s| s.read_only_root_filesystem).unwrap_or_default(),
        privileges: security::privileges(pod_security, own_security),
        cpu_request: cpu(requests)?,
        cpu_limit: cpu(limits)?,
        memory_request: bytes(requests, "memory")?,
        memory_limit: bytes(limits, "memory")?,
        storage_limit: bytes(limits, "ephemeral-storage")?,
        stop_signal: container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone()),
        mounts: container.volume_mounts.clone().unwrap_or_default(),
        sidecar: container.restart_policy.as_deref() == Some("Always"),
        probes: handler::probes(container),
        hooks: handler::hooks(container),
        termination_message_path: container.termination_message_path.clone().unwrap_or_default(),
        last_words_from_log: container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError"),
    })
}

type Quantities = Option<BTreeMap<String, orrery_api::k8s::apimachinery::pkg::api::resource::Quantity>>;

fn amount<T>(
    list: &Quantities,
    name: &str,
    read: impl Fn(&str) -> Result<T, InvalidQuantity>,
) -> Result<Option<T>, InvalidQuantity> {
    list.as_ref().and_then(|list| list.get(name)).map(|quantity| read(&quantity.0)).transpose()
}

/// The first label of the pod's host name, at most 63 characters and not ending in `-`, as Linux and DNS want it.
fn hostname(spec: &PodSpec, name: &str) -> String {
    let wanted =
        spec.hostname_override.as_deref().or(spec.hostname.as_deref()).filter(|h| !h.is_empty()).unwrap_or(name);
    let cut: String = wanted.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn host_aliases(spec: &PodSpec) -> Vec<(String, Vec<String>)> {
    let aliases = spec.host_aliases.iter().flatten();
    aliases.map(|alias| (alias.ip.clone(), alias.hostnames.clone().unwrap_or_default())).collect()
}

fn dns(spec: &PodSpec) -> Dns {
    let config = spec.dns_config.clone().unwrap_or_default();
    let options = config.options.unwrap_or_default().into_iter().filter_map(|option| {
        let name = option.name?;
        Some(option.value.map_or(name.clone(), |value| format!("{name}:{value}")))
    });
    Dns {
        cluster: !matches!(spec.dns_policy.as_deref(), Some("None" | "Default")),
        nameservers: config.nameservers.unwrap_or_default(),
        searches: config.searches.unwrap_or_default(),
        options: options.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_pod;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_takes_the_pods_security_settings_unless_it_has_its_own() {
        let pod = test_pod(&json!({ "spec": {
            "securityContext": { "runAsUser": 1000, "runAsGroup": 2000, "supplementalGroups": [7], "fsGroup": 8 },
            "containers": [
                { "name": "a", "image": "i" },
                { "name": "b", "image": "i", "securityContext": { "runAsUser": 5, "readOnlyRootFilesystem": true } },
            ]
        } }));
        assert_eq!((pod.containers[0].run_as_user, pod.containers[0].run_as_group), (Some(1000), Some(2000)));
        assert_eq!((pod.containers[1].run_as_user, pod.containers[1].read_only_root), (Some(5), true));
        assert_eq!(pod.supplementary_groups, [7, 8]);
    }

    #[test]
    fn the_host_name_fits_a_dns_label() {
        let spec = PodSpec::default();
        assert_eq!(hostname(&spec, "web"), "web");
        assert_eq!(hostname(&spec, &format!("{}-{}", "a".repeat(62), "b")), "a".repeat(62));
        let named = PodSpec { hostname: Some("own".into()), ..PodSpec::default() };
        assert_eq!(hostname(&named, "web"), "own");
    }

    #[test]
    fn an_object_without_uid_or_with_a_bad_amount_is_refused() {
        assert!(matches!(PodView::project(&Pod::default()), Err(ProjectError::Missing("spec"))));
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "n", "uid": "0f8fad5b-d9cb-469f-a165-70867728950e" },
            "spec": { "containers": [{ "name": "a", "resources": { "limits": { "memory": "much" } } }] }
        }))
        .unwrap();
        assert!(matches!(PodView::project(&pod), Err(ProjectError::Quantity { .. })));
    }
}
