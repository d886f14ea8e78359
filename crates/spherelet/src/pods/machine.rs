//! What a pod's machine and its containers are, in the words of the host and the guest. Pure.

use crate::images::ResolvedImage;
use k8s_openapi::api::core::v1 as k8s;
use orrery_lifecycle::{
    env::{self, Addresses, EnvError, KnownValues},
    pod::{ContainerView, PodView},
    size,
    volume::VolumeKind,
};
use orrery_wire::{
    guest::{Confinement, ContainerSpec, GuestInterface, Identity, ProcessSpec},
    host::{Admission, DiskSpec, InterfaceSpec, MachineSpec, Owner, POD_SEGMENT},
    volume::VolumeMount,
};
use std::collections::{BTreeMap, BTreeSet};

/// The resource pool of pods.
pub const POOL: &str = "pods";
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Images by container name.
pub(super) type Images = BTreeMap<String, ResolvedImage>;

/// Why a container cannot be described to its guest. Shown as `CreateContainerConfigError`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConfigError {
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error("no command is given and image {0} has none; set command in the container")]
    NoCommand(String),
    #[error("error SubPath `{0}` must not be an absolute path")]
    AbsoluteSubPath(String),
    #[error("unable to provision SubPath `{0}`: must not contain '..'")]
    SubPathBacksteps(String),
    #[error("container's runAsUser breaks non-root policy ({0})")]
    AskedForRoot(Place),
    #[error("container has runAsNonRoot and image will run as root ({0})")]
    ImageRunsAsRoot(Place),
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root ({place})"
    )]
    UserUnknown { user: String, place: Place },
}

/// A container, as the kubelet names it in its errors.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pod: String,
    container: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "pod: {:?}, container: {}", self.pod, self.container)
    }
}

/// The machine of `pod`, whose images are all here.
pub(super) fn machine_spec(pod: &PodView, images: &Images) -> MachineSpec {
    let size = size::machine_size(pod);
    // A set: two containers of one image share its disk, and the order does not depend on the containers'.
    let disks: BTreeSet<(String, String)> =
        images.values().map(|image| (image.serial(), image.erofs_path.display().to_string())).collect();
    MachineSpec {
        id: pod.uid.to_string(),
        name: format!("{}/{}", pod.namespace, pod.name),
        owner: Owner::Pod { namespace: pod.namespace.to_string(), name: pod.name.clone(), uid: pod.uid.to_string() },
        pool: POOL.to_owned(),
        namespace: pod.namespace.to_string(),
        vcpus: size.vcpus,
        cpu_milli: size.cpu.0,
        memory_bytes: size.memory.0,
        overhead_bytes: size.overhead.0,
        scratch_bytes: size::scratch(pod).map(|bytes| bytes.0),
        disks: disks.into_iter().map(|(serial, path)| DiskSpec { path, serial, read_only: true }).collect(),
        interfaces: vec![InterfaceSpec { segment: POD_SEGMENT.to_owned(), address: None }],
    }
}

/// What the host gives every guest.
pub(super) struct Surroundings<'a> {
    /// Name servers.
    pub(super) cluster_dns: &'a [String],
    /// Processes that a pod may have.
    pub(super) pod_pids_limit: Option<u64>,
}

/// Who the guest is. `entropy` comes from the host's random source.
pub(super) fn identity(
    pod: &PodView,
    admission: &Admission,
    known: &Surroundings<'_>,
    entropy: &[u8; 32],
    unix_nanos: u64,
) -> Identity {
    let interfaces = admission.interfaces.iter().map(|interface| GuestInterface {
        mac: interface.mac.clone(),
        address: interface.address.clone(),
        gateway: Some(interface.gateway.clone()).filter(|gateway| !gateway.is_empty()),
        mtu: interface.mtu,
    });
    // Search domains are of use only with somebody to ask.
    let cluster_dns = known.cluster_dns;
    let cluster = pod.dns.cluster && !cluster_dns.is_empty();
    let zone = "cluster.local";
    let domains = [format!("{}.svc.{zone}", pod.namespace), format!("svc.{zone}"), zone.to_owned()];
    let cluster_part = |values: Vec<String>| if cluster { values } else { Vec::new() };
    let with = |mut first: Vec<String>, own: &[String]| {
        first.extend_from_slice(own);
        first
    };
    Identity {
        hostname: pod.hostname.clone(),
        interfaces: interfaces.collect(),
        disks: None,
        nameservers: with(cluster_part(cluster_dns.to_vec()), &pod.dns.nameservers),
        search_domains: with(cluster_part(domains.to_vec()), &pod.dns.searches),
        resolver_options: with(cluster_part(vec!["ndots:5".to_owned()]), &pod.dns.options),
        host_aliases: pod.host_aliases.clone(),
        entropy_hex: entropy.iter().map(|byte| format!("{byte:02x}")).collect(),
        unix_nanos,
        most_processes: known.pod_pids_limit,
    }
}

/// The pod's address: its first interface's, without the prefix length.
pub(super) fn pod_ip(admission: &Admission) -> Option<String> {
    let address = &admission.interfaces.first()?.address;
    Some(address.split('/').next().unwrap_or(address).to_owned())
}

/// One container, as its guest is told.
pub(super) fn container_spec(
    pod: &PodView,
    container: &ContainerView,
    image: &ResolvedImage,
    known: &KnownValues,
    addresses: &Addresses,
) -> Result<ContainerSpec, ConfigError> {
    let mut variables = env::resolve(pod, container, &image.env, known, addresses)?;
    let own = env::resolve(pod, container, &[], known, addresses)?;
    let expanded = |list: &[String]| -> Vec<String> { list.iter().map(|text| env::expand(text, &own)).collect() };
    let argv = if container.command.is_empty() {
        let args = if container.args.is_empty() { image.cmd.clone() } else { expanded(&container.args) };
        [image.entrypoint.clone(), args].concat()
    } else {
        [expanded(&container.command), expanded(&container.args)].concat()
    };
    if argv.is_empty() {
        return Err(ConfigError::NoCommand(container.image.clone()));
    }
    variables.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
    variables.entry("HOSTNAME".to_owned()).or_insert_with(|| pod.hostname.clone());
    if container.tty {
        variables.entry("TERM".to_owned()).or_insert_with(|| "xterm".to_owned());
    }
    let mounts = mounts(pod, container, &own)?;
    let directory = container.working_dir.clone().unwrap_or_else(|| image.working_dir.clone());
    let memory = size::machine_size(pod).memory;
    Ok(ContainerSpec {
        stream: 0,
        name: container.name.clone(),
        image_serial: image.serial(),
        writable_bytes: container.storage_limit.map_or(memory.0 / 2, |limit| limit.0),
        read_only_root: container.read_only_root,
        process: ProcessSpec {
            argv,
            env: variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
            working_directory: if directory.is_empty() { "/".to_owned() } else { directory },
            user: user(pod, container, image)?,
            supplementary_groups: pod.supplementary_groups.clone(),
            tty: container.tty,
            stdin: container.stdin,
            confinement: Confinement {
                capabilities: container.privileges.capabilities.clone(),
                filter_system_calls: container.privileges.filter_system_calls,
                no_new_privileges: container.privileges.no_new_privileges,
            },
        },
        memory_limit_bytes: container.memory_limit.map(|limit| limit.0),
        cpu_limit_milli: container.cpu_limit.map(|limit| limit.0).filter(|milli| *milli > 0),
        cpu_weight: Some(size::cpu_weight(container.cpu_request.or(container.cpu_limit))),
        privileged: container.privileges.privileged,
        unmasked_proc: container.privileges.unmasked_proc,
        shares_processes: pod.shares_processes,
        sysctls: pod.sysctls.clone(),
        mounts,
        termination_message_path: Some(container.termination_message_path.clone()).filter(|path| !path.is_empty()),
    })
}

/// The pod's volumes as the container sees them.
fn mounts(
    pod: &PodView,
    container: &ContainerView,
    variables: &BTreeMap<String, String>,
) -> Result<Vec<VolumeMount>, ConfigError> {
    let one = |mount: &k8s::VolumeMount| {
        let sub_path = match mount.sub_path_expr.as_deref().filter(|path| !path.is_empty()) {
            Some(expression) => sub_path(expression, variables)?,
            None => mount.sub_path.clone().unwrap_or_default(),
        };
        let volume = pod.volumes.iter().find(|volume| volume.name == mount.name);
        let files = volume.is_some_and(|volume| matches!(volume.kind, VolumeKind::Files { .. }));
        let path = &mount.mount_path;
        Ok(VolumeMount {
            volume: mount.name.clone(),
            path: if path.starts_with('/') { path.clone() } else { format!("/{path}") },
            sub_path,
            read_only: files || mount.read_only == Some(true),
        })
    };
    container.mounts.iter().map(one).collect()
}

fn sub_path(expression: &str, variables: &BTreeMap<String, String>) -> Result<String, ConfigError> {
    let path = env::expand_strictly(expression, variables)?;
    if path.starts_with('/') {
        return Err(ConfigError::AbsoluteSubPath(path));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(ConfigError::SubPathBacksteps(path));
    }
    Ok(path)
}

/// `user[:group]`: what the pod says, else what the image says.
fn user(pod: &PodView, container: &ContainerView, image: &ResolvedImage) -> Result<String, ConfigError> {
    let (image_user, image_group) = match image.user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (image.user.as_str(), None),
    };
    let user = container.run_as_user.map_or_else(|| image_user.to_owned(), |user| user.to_string());
    if container.run_as_non_root {
        let place = Place { pod: pod.describe(), container: container.name.clone() };
        match (container.run_as_user, user.as_str()) {
            (Some(0), _) => return Err(ConfigError::AskedForRoot(place)),
            (None, "" | "0") => return Err(ConfigError::ImageRunsAsRoot(place)),
            (None, name) if name.parse::<u32>().is_err() => {
                return Err(ConfigError::UserUnknown { user: user.clone(), place });
            }
            (Some(_) | None, _) => {}
        }
    }
    // The image's group belongs to the image's user.
    let group = container.run_as_group.map(|group| group.to_string());
    let group = group.or_else(|| image_group.filter(|_| container.run_as_user.is_none()).map(str::to_owned));
    Ok(match group {
        Some(group) => format!("{}:{group}", if user.is_empty() { "0" } else { &user }),
        None => user,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_images::Access;
    use orrery_wire::host::AssignedInterface;
    use serde_json::{Value, json};

    fn pod(spec: &Value) -> PodView {
        let pod = json!({
            "metadata": { "name": "web", "namespace": "demo", "uid": "0f8fad5b-d9cb-469f-a165-70867728950e" },
            "spec": spec,
        });
        PodView::project(&serde_json::from_value(pod).unwrap()).unwrap()
    }

    fn image(id: &str) -> ResolvedImage {
        ResolvedImage {
            id: format!("sha256:{id:0>64}"),
            erofs_path: format!("/images/{id}.erofs").into(),
            entrypoint: vec!["/entry".into()],
            cmd: vec!["serve".into()],
            env: vec!["A=image".into()],
            working_dir: "/srv".into(),
            user: "web:staff".into(),
            stop_signal: None,
            pinned: String::new(),
            access: Access::open(),
        }
    }

    fn spec_of(container: &Value) -> Result<ContainerSpec, ConfigError> {
        let mut container = container.clone();
        container["name"] = json!("main");
        container["image"] = json!("busybox");
        let pod = pod(&json!({ "containers": [container] }));
        container_spec(&pod, &pod.containers[0], &image("1"), &KnownValues::default(), &Addresses::default())
    }

    #[test]
    fn command_and_args_override_the_image_as_kubernetes_says() {
        let table = [
            (json!({}), vec!["/entry", "serve"]),
            (json!({ "args": ["x"] }), vec!["/entry", "x"]),
            (json!({ "command": ["sh"] }), vec!["sh"]),
            (
                json!({ "command": ["sh"], "args": ["-c", "$(A) $(B)"], "env": [{ "name": "B", "value": "b" }] }),
                vec!["sh", "-c", "$(A) b"],
            ),
        ];
        for (container, argv) in table {
            assert_eq!(spec_of(&container).unwrap().process.argv, argv, "{container}");
        }
    }

    #[test]
    fn the_user_is_the_pods_or_the_images_and_not_root_when_root_is_forbidden() {
        let security = |context: Value| json!({ "securityContext": context });
        let table = [
            (json!({}), Ok("web:staff")),
            (security(json!({ "runAsUser": 5 })), Ok("5")),
            (security(json!({ "runAsUser": 5, "runAsGroup": 6 })), Ok("5:6")),
            (security(json!({ "runAsGroup": 6 })), Ok("web:6")),
            (security(json!({ "runAsNonRoot": true, "runAsUser": 5 })), Ok("5")),
            (
                security(json!({ "runAsNonRoot": true, "runAsUser": 0 })),
                Err("container's runAsUser breaks non-root policy"),
            ),
            (
                security(json!({ "runAsNonRoot": true })),
                Err("container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root"),
            ),
        ];
        // As the kubelet says it.
        let place = "(pod: \"web_demo(0f8fad5b-d9cb-469f-a165-70867728950e)\", container: main)";
        for (container, expected) in table {
            let user = spec_of(&container).map(|spec| spec.process.user).map_err(|error| error.to_string());
            assert_eq!(user, expected.map(str::to_owned).map_err(|text| format!("{text} {place}")), "{container}");
        }
        let pod = pod(&json!({ "containers": [{ "name": "main", "securityContext": { "runAsNonRoot": true } }] }));
        let root = ResolvedImage { user: String::new(), ..image("1") };
        let error = user(&pod, &pod.containers[0], &root).unwrap_err().to_string();
        assert_eq!(error, format!("container has runAsNonRoot and image will run as root {place}"));
    }

    #[test]
    fn containers_of_one_image_share_its_disk() {
        let pod = pod(&json!({ "containers": [{ "name": "a" }, { "name": "b" }, { "name": "c" }] }));
        let images = [("a", "2"), ("b", "1"), ("c", "2")].map(|(name, id)| (name.to_owned(), image(id)));
        let spec = machine_spec(&pod, &images.into());
        assert_eq!(spec.disks.len(), 2);
        assert!(spec.disks.iter().all(|disk| disk.read_only && disk.serial.len() == 20));
        assert_eq!((spec.name.as_str(), spec.pool.as_str(), spec.namespace.as_str()), ("demo/web", "pods", "demo"));
    }

    #[test]
    fn a_guest_gets_the_clusters_name_servers_only_when_there_are_some() {
        let pod = pod(
            &json!({ "containers": [], "dnsConfig": { "searches": ["corp"], "options": [{ "name": "a", "value": "1" }] } }),
        );
        let assigned = AssignedInterface {
            mac: "52:54:00:00:00:01".into(),
            address: "10.244.0.7/24".into(),
            gateway: "10.244.0.1".into(),
            mtu: 1500,
            tap: "t".into(),
        };
        let admission =
            Admission { shim_socket: String::new(), log_directory: String::new(), interfaces: vec![assigned] };
        let dns = ["10.96.0.10".to_owned()];
        let known = Surroundings { cluster_dns: &dns, pod_pids_limit: Some(512) };
        let with = identity(&pod, &admission, &known, &[7; 32], 1);
        assert_eq!(with.search_domains, ["demo.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp"]);
        assert_eq!((with.resolver_options.join(" ").as_str(), with.entropy_hex.len()), ("ndots:5 a:1", 64));
        let without = identity(&pod, &admission, &Surroundings { cluster_dns: &[], ..known }, &[7; 32], 1);
        assert_eq!(without.most_processes, Some(512));
        assert_eq!((without.nameservers.len(), without.search_domains.join(" ").as_str()), (0, "corp"));
        assert_eq!(pod_ip(&admission).as_deref(), Some("10.244.0.7"));
    }
}
