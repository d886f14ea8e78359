//! What must hold before anything is started. Every check is made, and every failure names its fix.

use crate::instance::Instance;
use orrery_network::{InterfaceName, Network};
use std::{
    fmt, fs, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

/// Free space that an installation needs, in bytes.
const DISK_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Name of the file in the runtime directory that says whose it is.
const OWNER_FILE: &str = "state";

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    what: String,
    fix: String,
}

/// All checks that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) struct PreflightError(Vec<Failure>);

impl fmt::Display for PreflightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this machine is not ready:")?;
        self.0.iter().try_for_each(|failure| write!(f, "\n  ✗ {}\n    fix: {}", failure.what, failure.fix))
    }
}

/// Where QEMU is: on the path, at Debian's place, or wherever `ORRERY_QEMU` says.
pub(crate) fn qemu() -> PathBuf {
    std::env::var_os("ORRERY_QEMU").map_or_else(|| PathBuf::from("/usr/bin/qemu-system-x86_64"), PathBuf::from)
}

/// Makes every check. `running` says that this installation's keeper answers: its ports and range are then its own.
pub(crate) async fn check(instance: &Instance, running: bool) -> Result<(), PreflightError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(PreflightError(vec![failure(
            "not root: bridges, taps and control groups need it",
            "run it as root: sudo orrery up",
        )]));
    }
    let mut failures = Vec::new();
    failures.extend(check_owner(instance));
    failures.extend(check_qemu().await);
    failures.extend(check_programs());
    failures.extend(check_device(Path::new("/dev/net/tun")));
    failures.extend(check_disk(&instance.state));
    if !running {
        let ports = [instance.api_address(), instance.manager_address(), instance.kubelet_address()];
        failures.extend(ports.into_iter().filter_map(check_port));
        failures.extend(check_range(instance).await);
    }
    if failures.is_empty() { Ok(()) } else { Err(PreflightError(failures)) }
}

/// Notes in the runtime directory whose it is.
pub(crate) fn claim(instance: &Instance) -> io::Result<()> {
    fs::create_dir_all(&instance.runtime)?;
    fs::write(instance.runtime.join(OWNER_FILE), instance.state.display().to_string())
}

fn failure(what: impl Into<String>, fix: impl Into<String>) -> Failure {
    Failure { what: what.into(), fix: fix.into() }
}

/// Two states can't share an instance's name: sockets, ports and devices follow from it.
fn check_owner(instance: &Instance) -> Option<Failure> {
    let owner = fs::read_to_string(instance.runtime.join(OWNER_FILE)).ok()?;
    (Path::new(&owner) != instance.state).then(|| {
        let name = &instance.name;
        failure(
            format!("another instance called {name} runs, with its state in {owner}"),
            format!("stop it (orrery down --instance {name} --state {owner}), or choose another --instance NAME"),
        )
    })
}

async fn check_qemu() -> Option<Failure> {
    let path = qemu();
    match orrery_vmm::qemu_version(&path).await {
        Ok(_) => None,
        Err(error) => Some(failure(
            error.to_string(),
            "apt-get install --no-install-recommends qemu-system-x86, or set ORRERY_QEMU",
        )),
    }
}

fn check_programs() -> Vec<Failure> {
    let needed = [
        ("mkfs.erofs", "erofs-utils"),
        ("mkfs.ext4", "e2fsprogs"),
        ("nft", "nftables"),
        ("apt-get", "apt"),
        ("dpkg-deb", "dpkg"),
    ];
    let missing = |program: &str| {
        let path = std::env::var("PATH").unwrap_or_default();
        !path.split(':').chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"]).any(|d| Path::new(d).join(program).exists())
    };
    needed
        .iter()
        .filter(|(program, _)| missing(program))
        .map(|(program, package)| {
            failure(format!("{program} is missing"), format!("apt-get install --no-install-recommends {package}"))
        })
        .collect()
}

fn check_device(path: &Path) -> Option<Failure> {
    (!path.exists()).then(|| {
        failure(
            format!("{} is missing: machines can't get network devices", path.display()),
            "load the module: modprobe tun",
        )
    })
}

fn check_disk(state: &Path) -> Option<Failure> {
    let existing = state.ancestors().find(|path| path.exists())?;
    let space = nix::sys::statvfs::statvfs(existing).ok()?;
    let free = space.blocks_available() * space.fragment_size();
    (free < DISK_BYTES).then(|| {
        failure(
            format!("{} has {} MiB free, {} MiB are needed", existing.display(), free >> 20, DISK_BYTES >> 20),
            "free some space, or choose another place with --state DIRECTORY",
        )
    })
}

fn check_port(address: SocketAddr) -> Option<Failure> {
    let error = TcpListener::bind(address).err()?;
    Some(failure(
        format!("port {address} can't be had: {error}"),
        format!(
            "see who has it (ss -ltnp 'sport = :{}') and stop that, or choose another --instance NAME",
            address.port()
        ),
    ))
}

async fn check_range(instance: &Instance) -> Vec<Failure> {
    let range = instance.machine_range();
    let conflicts = async {
        let network = Network::connect().map_err(|error| error.to_string())?;
        let parsed = range.parse().map_err(|_| format!("{range} is no range"))?;
        let bridge = InterfaceName::new(instance.bridge()).map_err(|error| error.to_string())?;
        network.range_conflicts(parsed, &bridge).await.map_err(|error| error.to_string())
    };
    match conflicts.await {
        Ok(conflicts) => conflicts
            .iter()
            .map(|conflict| {
                failure(
                    format!("the machines' address range {range} is in use: {conflict}"),
                    "remove that address or route, or choose another --instance NAME, which has another range",
                )
            })
            .collect(),
        Err(error) => vec![failure(format!("cannot look at the machine's routes: {error}"), "run it as root")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::names::InstanceName;

    #[test]
    fn a_port_that_is_taken_is_named_with_its_fix() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let failure = check_port(taken.local_addr().unwrap()).unwrap();
        assert!(failure.what.contains("can't be had") && failure.fix.contains("ss -ltnp"), "{failure:?}");
    }

    #[test]
    fn an_instance_of_the_same_name_elsewhere_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let mut instance = Instance::new(InstanceName::new("x").unwrap(), Some(directory.path().join("state")));
        instance.runtime = directory.path().join("run");
        assert_eq!(check_owner(&instance), None);
        claim(&instance).unwrap();
        assert_eq!(check_owner(&instance), None);
        instance.state = directory.path().join("other");
        assert!(check_owner(&instance).unwrap().what.contains("another instance"));
    }

    #[test]
    fn every_failure_is_shown_with_its_fix() {
        let text = PreflightError(vec![failure("a is wrong", "do b"), failure("c is wrong", "do d")]).to_string();
        for part in ["a is wrong", "fix: do b", "c is wrong", "fix: do d"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
