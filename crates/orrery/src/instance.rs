//! One installation on this machine: its names, paths, ports and ranges, all from its name and its state directory.

use orrery_api::names::InstanceName;
use sha2::{Digest, Sha256};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// The instance that is meant when none is named.
pub(crate) const DEFAULT_NAME: &str = "default";
/// The cluster, zone, Supervisor, host, namespace and pod that `orrery up` makes.
pub(crate) const CLUSTER: &str = "cluster-1";
pub(crate) const SUPERVISOR: &str = "supervisor-1";
pub(crate) const HOST: &str = "host-1";
pub(crate) const NAMESPACE: &str = "demo";
pub(crate) const POD: &str = "hello";

/// How many machines a host may hold; also how many user ids it takes.
pub(crate) const MACHINE_SLOTS: u32 = 250;
/// The first user id of machines. Far above what people and services have.
const UID_BASE: u32 = 1_000_000;
/// Instances beside the default one.
const OTHERS: u16 = 199;

/// One installation.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) name: InstanceName,
    /// What outlives a stop.
    pub(crate) state: PathBuf,
    /// What does not: sockets, locks, process ids.
    pub(crate) runtime: PathBuf,
    /// 0 for the default instance.
    number: u16,
}

impl Instance {
    /// The instance called `name`, with its state in `state` or the place that follows from the name.
    pub(crate) fn new(name: InstanceName, state: Option<PathBuf>) -> Self {
        let default = name.as_str() == DEFAULT_NAME;
        let number = if default { 0 } else { number_of(name.as_str()) };
        let usual = if default { "/var/lib/orrery".to_owned() } else { format!("/var/lib/orrery-{name}") };
        let state = state.unwrap_or_else(|| PathBuf::from(usual));
        let state = std::path::absolute(&state).unwrap_or(state);
        let runtime = Path::new("/run/orrery").join(name.as_str());
        Self { name, state, runtime, number }
    }

    fn address(&self, default: u16, offset: u16) -> SocketAddr {
        let port = if self.number == 0 { default } else { 20_000 + self.number * 10 + offset };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// Where the Supervisor's API is served.
    pub(crate) fn api_address(&self) -> SocketAddr {
        self.address(6443, 0)
    }

    /// Where the Supervisor's API is served for pods: on the gateway of the bridge that they are plugged into.
    pub(crate) fn pod_api_address(&self) -> Option<SocketAddr> {
        let range = self.machine_range();
        let base: Ipv4Addr = range.split('/').next()?.parse().ok()?;
        Some((Ipv4Addr::from(u32::from(base) + 1), self.api_address().port()).into())
    }

    /// Where the manager's API is served.
    pub(crate) fn manager_address(&self) -> SocketAddr {
        self.address(7443, 1)
    }

    /// Where the host's kubelet port is served.
    pub(crate) fn kubelet_address(&self) -> SocketAddr {
        self.address(10250, 2)
    }

    /// The range that machines get their addresses from.
    pub(crate) fn machine_range(&self) -> String {
        if self.number == 0 { "10.244.0.0/24".to_owned() } else { format!("10.245.{}.0/24", self.number) }
    }

    /// The bridge that machines are plugged into.
    pub(crate) fn bridge(&self) -> String {
        format!("orrery{}", self.number)
    }

    /// User id of the first machine.
    pub(crate) fn uid_base(&self) -> u32 {
        UID_BASE + u32::from(self.number) * MACHINE_SLOTS
    }

    pub(crate) fn manager_directory(&self) -> PathBuf {
        self.state.join("manager")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.state.join("pki")
    }

    pub(crate) fn manager_pki(&self) -> PathBuf {
        self.pki().join("manager")
    }

    pub(crate) fn supervisors(&self) -> PathBuf {
        self.state.join("supervisors")
    }

    pub(crate) fn host_directory(&self, host: &str) -> PathBuf {
        self.state.join("hosts").join(host)
    }

    pub(crate) fn host_runtime(&self, host: &str) -> PathBuf {
        self.runtime.join(host)
    }

    pub(crate) fn hostd_socket(&self, host: &str) -> PathBuf {
        self.host_runtime(host).join("hostd.sock")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.state.join("images")
    }

    /// How registries are reached.
    pub(crate) fn registries(&self) -> PathBuf {
        self.state.join("registries.toml")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.state.join("cache")
    }

    /// The log file of a role.
    pub(crate) fn log(&self, role: &str) -> PathBuf {
        self.state.join("logs").join(format!("{}.log", role.replace('/', "-")))
    }

    /// The audit log of a Supervisor.
    pub(crate) fn audit_log(&self, supervisor: &str) -> PathBuf {
        self.state.join("logs").join(supervisor).join("audit.log")
    }

    pub(crate) fn keeper_socket(&self) -> PathBuf {
        self.runtime.join("keeper.sock")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    pub(crate) fn manager_kubeconfig(&self) -> PathBuf {
        self.state.join("manager.kubeconfig")
    }

    /// How a role's own command names this instance.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let state = self.state.display().to_string();
        ["--instance".to_owned(), self.name.to_string(), "--state".to_owned(), state].to_vec()
    }
}

/// A number from 1 to [`OTHERS`] that follows from the name.
fn number_of(name: &str) -> u16 {
    let digest = Sha256::digest(name.as_bytes());
    u16::from_be_bytes([digest[0], digest[1]]) % OTHERS + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str) -> Instance {
        Instance::new(InstanceName::new(name).unwrap(), None)
    }

    #[test]
    fn the_default_instance_has_the_documented_names() {
        let default = instance("default");
        assert_eq!(default.state, Path::new("/var/lib/orrery"));
        assert_eq!(default.api_address().to_string(), "127.0.0.1:6443");
        assert_eq!(default.pod_api_address().unwrap().to_string(), "10.244.0.1:6443");
        assert_eq!(default.manager_address().to_string(), "127.0.0.1:7443");
        assert_eq!(default.kubeconfig(), Path::new("/var/lib/orrery/kubeconfig"));
    }

    #[test]
    fn another_instance_shares_nothing_with_the_default_one() {
        let (default, other) = (instance("default"), instance("second"));
        assert_ne!(default.state, other.state);
        assert_ne!(default.runtime, other.runtime);
        assert_ne!(default.api_address(), other.api_address());
        assert_ne!(default.machine_range(), other.machine_range());
        assert_ne!(default.bridge(), other.bridge());
        assert!(other.uid_base() >= default.uid_base() + MACHINE_SLOTS);
        assert!(other.bridge().len() < 16, "a network device's name has at most 15 characters");
    }
}
