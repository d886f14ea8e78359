//! Real guests: QEMU, a stock kernel, `crx-init`, and an image with busybox.

use super::{Client, Shim};
use orrery_images::guest_boot::{GuestBoot, KernelSource, prepare, rehearsal};
use orrery_shim::Config;
use orrery_vmm::Qemu;
use orrery_wire::{
    host::DiskSpec,
    machine::SCRATCH_FILE,
    shim::{ShimReply, ShimRequest},
};
use std::{
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

pub const QEMU: &str = "/usr/bin/qemu-system-x86_64";
const BUSYBOX: &str = "/usr/bin/busybox";

/// What guests boot from, or why there is nothing.
pub fn guest_boot() -> Result<GuestBoot, String> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Err("only root can give QEMU a user of its own".into());
    }
    for program in [QEMU, BUSYBOX, "/usr/bin/mkfs.erofs"] {
        if !Path::new(program).exists() {
            return Err(format!("{program} is missing"));
        }
    }
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let init = init(scratch)?;
    let kernel = std::env::var_os("ORRERY_KERNEL_PACKAGE")
        .map_or(KernelSource::AptCloud, |package| KernelSource::Package(package.into()));
    prepare(&scratch.join("guest-boot"), &kernel, &init).map_err(|error| format!("{error}: {error:?}"))
}

fn init(scratch: &Path) -> Result<PathBuf, String> {
    std::env::var_os("ORRERY_CRX_INIT").map_or_else(|| build_init(scratch), |path| Ok(path.into()))
}

/// What warm machines rehearse with, once [`guest_boot`] has found that there can be guests.
pub fn rehearsal_image() -> PathBuf {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    rehearsal(&scratch.join("guest-boot"), &init(scratch).unwrap()).unwrap()
}

fn build_init(scratch: &Path) -> Result<PathBuf, String> {
    let init = scratch.join("crx-init");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest/build");
    let built = Command::new(script).arg(&init).env("CARGO_TARGET_DIR", scratch.join("guest")).status();
    match built {
        Ok(status) if status.success() => Ok(init),
        other => Err(format!("crx-init cannot be built: {other:?}")),
    }
}

/// An image with busybox and nothing else.
pub fn image(directory: &Path) -> PathBuf {
    let tree = directory.join("tree");
    std::fs::create_dir_all(tree.join("bin")).unwrap();
    std::fs::create_dir(tree.join("etc")).unwrap();
    std::fs::write(tree.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nguest:x:1234:1234::/:/bin/sh\n").unwrap();
    std::fs::copy(BUSYBOX, tree.join("bin/busybox")).unwrap();
    for applet in [
        "sh", "cat", "echo", "sleep", "id", "stty", "head", "hostname", "ip", "nc", "httpd", "stat", "mount", "grep",
        "sync", "rm", "ln", "od", "date",
    ] {
        symlink("busybox", tree.join("bin").join(applet)).unwrap();
    }
    let image = directory.join("image.erofs");
    let made = Command::new("mkfs.erofs").arg("--quiet").args([&image, &tree]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    image
}

pub async fn shim(more: impl FnOnce(&mut Config)) -> Option<Shim> {
    let boot = match tokio::task::spawn_blocking(guest_boot).await.unwrap() {
        Ok(boot) => boot,
        Err(why) => {
            orrery_testing::skipped(why);
            return None;
        }
    };
    let change = |config: &mut Config| {
        let path = image(&config.state_directory).to_str().unwrap().to_owned();
        config.machine.disks.push(DiskSpec { path, serial: "image-1".into(), read_only: true });
        config.kernel = boot.kernel;
        config.initrd = boot.initrd;
        more(config);
    };
    Some(Shim::start_with(Qemu::new(QEMU.into()), change).await)
}

pub async fn powered_on(shim: &Shim) -> Client {
    let mut client = shim.client().await;
    let reply = client.request(ShimRequest::PowerOn { identity: Box::new(super::identity()) }).await;
    let console = std::fs::read_to_string(shim.config.state_directory.join("console.log")).unwrap_or_default();
    assert_eq!(reply, ShimReply::Done, "console: {console}");
    client
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).status().is_ok_and(|status| status.success())
}

/// A tap device, removed at the end.
pub struct Tap(&'static str);

impl Tap {
    pub fn make(name: &'static str) -> Option<Self> {
        ip(&["tuntap", "add", name, "mode", "tap"]).then_some(Self(name))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        ip(&["link", "del", self.0]);
    }
}

/// The disk of a machine that has `scratch_bytes`.
pub fn scratch_disk(state_directory: &Path, bytes: u64) {
    let disk = state_directory.join(SCRATCH_FILE);
    std::fs::File::create(&disk).unwrap().set_len(bytes).unwrap();
    assert!(Command::new("/sbin/mkfs.ext4").arg("-q").arg(&disk).status().unwrap().success());
}
