//! The same expectations of both machines: a real QEMU with a tiny kernel of our own, and the simulated one.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests, outside of test functions.

use orrery_vmm::{Console, Disk, Kernel, LaunchError, LaunchSpec, Machine, Nic, Qemu, Simulated, Start};
use orrery_wire::machine::Acceleration;
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tokio::io::AsyncReadExt;

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// A kernel of a few bytes for QEMU's multiboot loader: its header, then `code` (32 bits).
fn kernel(code: &[u8]) -> Vec<u8> {
    const LOAD: u32 = 0x10_0000;
    const HEADER: u32 = 32;
    let length = HEADER + u32::try_from(code.len()).unwrap();
    let (magic, flags) = (0x1bad_b002_u32, 0x1_0000_u32);
    let header =
        [magic, flags, 0u32.wrapping_sub(magic).wrapping_sub(flags), LOAD, LOAD, LOAD + length, 0, LOAD + HEADER];
    let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend_from_slice(code);
    bytes.resize(8192, 0);
    bytes
}

/// `cli; hlt; jmp`: runs until it is ended.
const IDLE: &[u8] = &[0xfa, 0xf4, 0xeb, 0xfd];
/// Writes "sleep" to the power management's control port.
const POWER_OFF: &[u8] = &[0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xf4, 0xeb, 0xfd];

struct Bench {
    directory: tempfile::TempDir,
    machine: Box<dyn Machine>,
}

impl Bench {
    fn spec(&self, code: &[u8]) -> LaunchSpec {
        let path = |name: &str| self.directory.path().join(name);
        std::fs::write(path("kernel"), kernel(code)).unwrap();
        std::fs::write(path("initrd"), vec![0; 4096]).unwrap();
        std::fs::write(path("disk"), vec![0; 1024 * 1024]).unwrap();
        LaunchSpec {
            name: "test".into(),
            start: Start::Kernel(Kernel { image: path("kernel"), initrd: path("initrd"), append: String::new() }),
            memory_bytes: 64 * 1024 * 1024,
            vcpus: 1,
            acceleration: Acceleration::Tcg,
            disks: vec![Disk { slot: 0, path: path("disk"), serial: "one".into(), read_only: true }],
            nics: Vec::new(),
            credentials: None,
            cgroups: Vec::new(),
            console: Console { path: path("console.log"), limit_bytes: 65536 },
        }
    }
}

fn benches() -> Vec<Bench> {
    let directory = || tempfile::tempdir().unwrap();
    let mut benches = vec![Bench { directory: directory(), machine: Box::new(Simulated::default()) }];
    if Path::new(QEMU).exists() {
        benches.push(Bench { directory: directory(), machine: Box::new(Qemu::new(PathBuf::from(QEMU))) });
    } else {
        orrery_testing::skipped(format!("the half with QEMU: {QEMU} is missing"));
    }
    benches
}

#[tokio::test]
async fn a_guest_that_is_asked_to_quit_ends_with_code_0_and_its_port_ends_too() {
    for bench in benches() {
        let mut running = bench.machine.launch(bench.spec(IDLE)).await.unwrap();
        running.guest.quit().await.unwrap();
        let exit = running.guest.wait().await;
        assert_eq!((exit.code, exit.signal), (Some(0), None), "{exit}");
        assert!(exit.detail.contains("host-qmp-quit"), "{exit}");
        let mut rest = Vec::new();
        let _ = running.control.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
        assert_eq!(running.guest.wait().await, exit);
        running.guest.kill();
    }
}

#[tokio::test]
async fn a_guest_that_is_killed_ends_with_signal_9() {
    for bench in benches() {
        let running = bench.machine.launch(bench.spec(IDLE)).await.unwrap();
        running.guest.kill();
        assert_eq!(running.guest.wait().await.signal, Some(9));
    }
}

#[tokio::test]
async fn a_missing_kernel_or_disk_is_reported_with_its_path() {
    for bench in benches() {
        let mut spec = bench.spec(IDLE);
        let (image, initrd) = ("/nonexistent/kernel".into(), "/dev/null".into());
        spec.start = Start::Kernel(Kernel { image, initrd, append: String::new() });
        let error = bench.machine.launch(spec).await.err().unwrap();
        assert!(matches!(&error, LaunchError::OpenFile { path, .. } if path == Path::new("/nonexistent/kernel")));
        let mut spec = bench.spec(IDLE);
        spec.disks[0].path = "/nonexistent/disk".into();
        let error = bench.machine.launch(spec).await.err().unwrap();
        assert!(matches!(&error, LaunchError::OpenFile { path, .. } if path == Path::new("/nonexistent/disk")));
    }
}

#[tokio::test]
async fn a_qemu_guest_that_powers_off_says_so() {
    for bench in benches().into_iter().skip(1) {
        let running = bench.machine.launch(bench.spec(POWER_OFF)).await.unwrap();
        let exit = running.guest.wait().await;
        assert_eq!((exit.code, exit.detail.as_str()), (Some(0), "guest-shutdown"), "{exit}");
    }
}

#[tokio::test]
async fn qemus_own_words_explain_a_machine_that_it_refuses() {
    for bench in benches().into_iter().skip(1) {
        let mut spec = bench.spec(IDLE);
        spec.disks[0].serial = "longer than the twenty characters of a serial".into();
        spec.vcpus = 100_000;
        let error = bench.machine.launch(spec).await.err().unwrap();
        assert!(matches!(&error, LaunchError::EndedAtOnce(exit) if exit.code == Some(1)), "{error}");
        assert!(error.to_string().to_lowercase().contains("cpus"), "{error}");
    }
}

#[tokio::test]
async fn a_tap_device_that_is_missing_is_named() {
    for bench in benches().into_iter().skip(1) {
        let mut spec = bench.spec(IDLE);
        spec.nics.push(Nic { tap: "orr-none".into(), mac: "52:54:00:00:00:01".into() });
        let error = bench.machine.launch(spec).await.err().unwrap();
        assert!(matches!(&error, LaunchError::OpenTap { tap, .. } if tap == "orr-none"), "{error}");
    }
}

#[tokio::test]
async fn a_program_that_is_missing_is_reported_with_the_command_that_installs_it() {
    let bench = Bench {
        directory: tempfile::tempdir().unwrap(),
        machine: Box::new(Qemu::new(PathBuf::from("/nonexistent/qemu"))),
    };
    let error = bench.machine.launch(bench.spec(IDLE)).await.err().unwrap();
    assert!(error.to_string().contains("apt-get install"), "{error}");
}

#[tokio::test]
async fn qemu_runs_as_its_own_user_in_its_group_without_privileges_or_stray_descriptors() {
    if !is_root() {
        orrery_testing::skipped("only root can change the user");
        return;
    }
    let stray = std::fs::File::open("/dev/null").unwrap();
    inheritable(&stray);
    let group = ControlGroup::make();
    for bench in benches().into_iter().skip(1) {
        let mut spec = bench.spec(IDLE);
        // Readable for everybody, in a directory that is not.
        for file in ["kernel", "initrd", "disk"] {
            make_readable(&bench.directory.path().join(file));
        }
        spec.credentials = Some(orrery_vmm::Credentials { uid: 64_123, gid: 64_124 });
        spec.cgroups.extend(group.iter().map(|group| group.0.clone()));
        let running = bench.machine.launch(spec).await.unwrap();
        let pid = running.guest.pid().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for expected in [
            "Uid:\t64123\t64123\t64123\t64123",
            "Gid:\t64124\t64124\t64124\t64124",
            "CapEff:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "Seccomp:\t2",
        ] {
            assert!(status.contains(expected), "no {expected:?} in {status}");
        }
        assert!(status.lines().any(|line| line.trim_end() == "Groups:"), "{status}");
        match &group {
            Some(group) => assert_eq!(group.members(), [pid]),
            None => orrery_testing::skipped("the control group: none can be made here"),
        }
        let network = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net")).unwrap();
        assert_ne!(network(&pid.to_string()), network("self"));
        let links = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
        assert_eq!(links.lines().skip(2).filter(|line| !line.trim_start().starts_with("lo:")).count(), 0, "{links}");
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let targets: Vec<PathBuf> = open.map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap()).collect();
        // Standard input and output are the only ones that are meant to be this.
        assert_eq!(
            targets.iter().filter(|target| target.as_path() == Path::new("/dev/null")).count(),
            2,
            "{targets:?}"
        );
        running.guest.kill();
        running.guest.wait().await;
    }
}

#[tokio::test]
async fn a_nic_is_attached_to_its_tap_until_qemu_ends() {
    const TAP: &str = "orrvmmtest0";
    let Some(_tap) = Tap::make(TAP) else {
        orrery_testing::skipped("no tap device can be made here");
        return;
    };
    // Attached, a tap has a carrier; its own value cannot be read while it is down.
    assert!(ip(&["link", "set", TAP, "up"]));
    let carrier = || std::fs::read_to_string(format!("/sys/class/net/{TAP}/carrier")).unwrap().trim() == "1";
    for bench in benches().into_iter().skip(1) {
        let mut spec = bench.spec(IDLE);
        spec.nics.push(Nic { tap: TAP.into(), mac: "52:54:00:00:00:01".into() });
        assert!(!carrier());
        let running = bench.machine.launch(spec.clone()).await.unwrap();
        assert!(carrier());
        let error = bench.machine.launch(spec).await.err().unwrap();
        assert!(matches!(&error, LaunchError::OpenTap { .. }), "{error}");
        running.guest.kill();
        running.guest.wait().await;
        assert!(!carrier());
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).status().is_ok_and(|status| status.success())
}

/// A tap device, removed at the end.
struct Tap(&'static str);

impl Tap {
    fn make(name: &'static str) -> Option<Self> {
        (is_root() && ip(&["tuntap", "add", name, "mode", "tap"])).then_some(Self(name))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        ip(&["link", "del", self.0]);
    }
}

/// A control group of its own, removed at the end.
struct ControlGroup(PathBuf);

impl ControlGroup {
    fn make() -> Option<Self> {
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
        let root = roots.into_iter().map(Path::new).find(|root| root.join("cgroup.procs").exists())?;
        let group = root.join(format!("orrery-vmm-test-{}", std::process::id()));
        std::fs::create_dir(&group).ok().map(|()| Self(group))
    }

    fn members(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Makes a descriptor one that children inherit, as a careless library might.
fn inheritable(file: &std::fs::File) {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open; only its own flag is changed.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) }, 0);
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}

fn make_readable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
}
