//! Whether the processor's virtualization can be used here, found out by running a guest on it.
//!
//! That `/dev/kvm` exists says little: inside another virtual machine it may refuse, or hang. So QEMU is started with the
//! machine type and CPU model that real guests get, and with 64 KiB of firmware of our own, which writes to QEMU's
//! debug-exit port as its very first instructions. Only an exit with the expected code within the time-out is a yes. The
//! answer is kept in a file, valid for the same build of QEMU and the same boot of the host.

use crate::{
    qemu_version,
    version::{QemuVersion, VersionError},
};
use orrery_wire::machine::Acceleration;
use serde::{Deserialize, Serialize};
use std::{
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(3);
const ROM_BYTES: usize = 64 * 1024;
/// Where the processor begins, from the start of a ROM that ends at 4 GiB.
const RESET_VECTOR: usize = ROM_BYTES - 16;
/// `mov dx, 0xf4; mov al, 0x10; out dx, al; hlt; jmp` back to the `hlt`.
const CODE: [u8; 9] = [0xba, 0xf4, 0x00, 0xb0, 0x10, 0xee, 0xf4, 0xeb, 0xfd];
/// The debug-exit device makes `2 * value + 1` of the written value.
const EXPECTED_EXIT: i32 = 0x10 * 2 + 1;
const CACHE_FILE: &str = "accelerator.json";

/// What executes guests here, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// KVM where a guest ran on it, else emulation.
    pub acceleration: Acceleration,
    /// What was seen, for people.
    pub reason: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cached {
    qemu: PathBuf,
    version: String,
    modified: i64,
    boot_id: String,
    report: ProbeReport,
}

/// Finds out whether guests can run on the processor. Takes a few seconds at most; later calls during the same boot of
/// the host read the answer from `cache_directory`.
///
/// # Errors
/// When QEMU itself is missing or unusable. A KVM that does not work is no error: the answer is emulation, with a reason.
pub async fn probe_accelerator(qemu: &Path, cache_directory: &Path) -> Result<ProbeReport, VersionError> {
    let version = qemu_version(qemu).await?;
    let modified = std::fs::metadata(qemu).map(|metadata| metadata.mtime()).unwrap_or(0);
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let file = cache_directory.join(CACHE_FILE);
    let key = |report| Cached {
        qemu: qemu.to_owned(),
        version: version.to_string(),
        modified,
        boot_id: boot_id.trim().to_owned(),
        report,
    };
    if let Some(cached) = read_cache(&file)
        && key(cached.report.clone()) == cached
    {
        return Ok(cached.report);
    }
    let report = probe(qemu, version).await;
    tracing::info!(acceleration = report.acceleration.as_str(), reason = report.reason, "probed the accelerator");
    if let Err(error) = write_cache(&file, &key(report.clone())) {
        tracing::warn!(file = %file.display(), error = &error as &dyn std::error::Error, "the answer was not kept");
    }
    Ok(report)
}

fn read_cache(file: &Path) -> Option<Cached> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn write_cache(file: &Path, cached: &Cached) -> io::Result<()> {
    let temporary = file.with_extension("json.new");
    std::fs::write(&temporary, serde_json::to_vec(cached)?)?;
    std::fs::rename(temporary, file)
}

async fn probe(qemu: &Path, version: QemuVersion) -> ProbeReport {
    let emulate = |reason: String| ProbeReport { acceleration: Acceleration::Tcg, reason };
    if let Err(reason) = device_is_usable(Path::new("/dev/kvm")) {
        return emulate(reason);
    }
    match run_tiny_guest(qemu, "kvm").await {
        Ok(()) => {
            ProbeReport { acceleration: Acceleration::Kvm, reason: format!("a guest ran on KVM with QEMU {version}") }
        }
        Err(reason) => emulate(format!("/dev/kvm is there, but no guest runs on it: {reason}")),
    }
}

/// Machines run without privileges, each as a user of its own: they reach the device by its group or not at all.
fn device_is_usable(device: &Path) -> Result<(), String> {
    let metadata = std::fs::metadata(device)
        .map_err(|_error| format!("{} is missing; load the kernel module kvm_intel or kvm_amd", device.display()))?;
    let mode = metadata.permissions().mode();
    let by_group = metadata.gid() != 0 && mode & 0o060 == 0o060;
    if by_group || mode & 0o006 == 0o006 {
        return Ok(());
    }
    Err(format!("{0} may be used by root only; run `chgrp kvm {0} && chmod 660 {0}`", device.display()))
}

/// Runs the tiny firmware and says what happened when it did not run.
async fn run_tiny_guest(qemu: &Path, accelerator: &str) -> Result<(), String> {
    let directory = TemporaryDirectory::new().map_err(|error| format!("no temporary directory: {error}"))?;
    let rom = directory.0.join("probe.rom");
    std::fs::write(&rom, firmware()).map_err(|error| format!("the firmware cannot be written: {error}"))?;
    let child = Command::new(qemu)
        .args(["-machine", crate::qemu::MACHINE, "-accel", accelerator, "-cpu", "max", "-m", "16M"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .args(["-sandbox", crate::qemu::SANDBOX, "-device", "isa-debug-exit,iobase=0xf4,iosize=1"])
        .arg("-bios")
        .arg(&rom)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(PATIENCE, child).await {
        Err(_elapsed) => Err(format!("it hung for {} s and was killed", PATIENCE.as_secs())),
        Ok(Err(error)) => Err(format!("QEMU does not start: {error}")),
        Ok(Ok(output)) if output.status.code() == Some(EXPECTED_EXIT) => Ok(()),
        Ok(Ok(output)) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let said = stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message");
            Err(format!("{} ({said})", output.status))
        }
    }
}

fn firmware() -> Vec<u8> {
    const HLT: u8 = 0xf4;
    let mut rom = vec![HLT; ROM_BYTES];
    rom[RESET_VECTOR..][..CODE.len()].copy_from_slice(&CODE);
    rom
}

/// A directory that goes away with the value.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn new() -> io::Result<Self> {
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let path = std::env::temp_dir().join(format!("orrery-probe-{}-{nanos}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // What is left behind is in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QEMU: &str = "/usr/bin/qemu-system-x86_64";

    #[tokio::test]
    async fn the_tiny_guest_runs_under_emulation() {
        if !Path::new(QEMU).exists() {
            orrery_testing::skipped(format!("{QEMU} is missing"));
            return;
        }
        assert_eq!(run_tiny_guest(Path::new(QEMU), "tcg").await, Ok(()));
    }

    #[tokio::test]
    async fn the_answer_is_kept_for_the_same_boot_and_build() {
        if !Path::new(QEMU).exists() {
            orrery_testing::skipped(format!("{QEMU} is missing"));
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let first = probe_accelerator(Path::new(QEMU), directory.path()).await.unwrap();
        let file = directory.path().join(CACHE_FILE);
        let mut cached = read_cache(&file).unwrap();
        assert_eq!(cached.report, first);

        cached.report.reason = "from the file".into();
        write_cache(&file, &cached).unwrap();
        let second = probe_accelerator(Path::new(QEMU), directory.path()).await.unwrap();
        assert_eq!(second.reason, "from the file");

        cached.boot_id = "another".into();
        write_cache(&file, &cached).unwrap();
        assert_eq!(probe_accelerator(Path::new(QEMU), directory.path()).await.unwrap(), first);
    }

    #[test]
    fn a_device_for_root_only_is_not_usable() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let set = |mode| std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o600);
        assert!(device_is_usable(file.path()).unwrap_err().contains("chmod"));
        set(0o666);
        assert_eq!(device_is_usable(file.path()), Ok(()));
        assert!(device_is_usable(Path::new("/nonexistent")).unwrap_err().contains("missing"));
    }
}
