//! Templates with real guests: what a clone has of its own, and what it cannot do to the others.
//!
//! Needs what `real_guest.rs` needs.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests, outside of test functions.

mod harness;

use harness::{
    Shim, Watch, mount, process,
    real::{QEMU, Tap, powered_on, scratch_disk, shim},
    start, volume, with_mounts,
};
use orrery_shim::make_template;
use orrery_vmm::{Qemu, Template};
use orrery_wire::{
    guest::GuestInterface,
    host::AssignedInterface,
    shim::{ShimReply, ShimRequest},
    volume::{Medium, VolumeStep},
};
use std::{
    fs::File,
    hash::{DefaultHasher, Hasher},
    io::Read,
    os::fd::AsRawFd,
    sync::Arc,
};

/// A template for machines such as that of `shim`.
async fn template(shim: &Shim) -> Template {
    let template = Template::create(shim.config.machine.memory_bytes).unwrap();
    make_template(Arc::new(Qemu::new(QEMU.into())), &shim.config, &template).await.unwrap();
    assert!(template.is_sealed());
    template
}

/// What stands for the template's memory and state as they are.
fn content(template: &Template) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in template.files() {
        let mut file = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        let mut chunk = vec![0; 1 << 20];
        while let length @ 1.. = file.read(&mut chunk).unwrap() {
            hasher.write(&chunk[..length]);
        }
    }
    hasher.finish()
}

/// What `command` prints in a container of the machine.
async fn output(shim: &Shim, name: &str, command: &str) -> String {
    let mut watch = Watch::start(shim.client().await).await;
    shim.client().await.done(start(name, 0, process(&["sh", "-c", command]))).await;
    let end = watch.until_ended(name).await.exit.unwrap();
    let log = shim.log(&format!("{name}/0.log"));
    assert_eq!(end.exit.code, 0, "{log}");
    log.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn real_clones_of_a_template_share_its_memory_and_nothing_else() {
    let Some(mut first) = shim(|_| {}).await else { return };
    let template = template(&first).await;
    let held = content(&template);
    let mut second = shim(|config| config.uid += 1).await.unwrap();
    let mut said = Vec::new();
    for clone in [&mut first, &mut second] {
        clone.template = Some(template.clone());
        clone.crash().await;
        clone.restart(Qemu::new(QEMU.into())).await;
        let began = std::time::Instant::now();
        let mut client = powered_on(clone).await;
        let ready = began.elapsed();
        // What is random, what was settled at the template's boot, and what is the clone's own disk.
        let words =
            output(clone, "who", "head -c 16 /dev/urandom | od -An -tx1; hostname; echo $(($(date +%s) / 60))").await;
        println!("ready {} ms, said {} ms: {words:?}", ready.as_millis(), began.elapsed().as_millis());
        said.push(words);
        // It runs on by itself: QEMU says so of a guest that boots, and of one that was never a clone, alike.
        assert_eq!(client.status().await.boot, 1);
    }
    assert_ne!(said[0], said[1], "two clones drew the same random bytes");
    let minutes = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 60;
    for words in &said {
        let minute: u64 = words.lines().last().unwrap().parse().unwrap();
        assert!(minutes - minute <= 1, "the clock of a clone stands at {minute}, not {minutes} minutes");
    }
    assert_eq!(content(&template), held, "a clone changed its template");
    for clone in [&first, &second] {
        clone.client().await.done(ShimRequest::PowerOff { grace_seconds: 5 }).await;
    }
}

#[tokio::test]
async fn real_clones_have_the_address_that_they_are_given_and_a_disk_that_they_write() {
    const TAP: &str = "orrshimtest1";
    let interface = AssignedInterface {
        mac: "52:54:00:00:00:77".into(),
        address: "192.0.2.7/24".into(),
        gateway: "192.0.2.1".into(),
        mtu: 1400,
        tap: TAP.into(),
    };
    let Some(mut clone) = shim(|_| {}).await else { return };
    clone.template = Some(template(&clone).await);
    // It is plugged into nothing and stays down: no packet goes anywhere.
    let Some(_tap) = Tap::make(TAP) else {
        orrery_testing::skipped("no tap device can be made here");
        return;
    };
    clone.crash().await;
    clone.config.admission.interfaces.push(interface.clone());
    clone.config.machine.scratch_bytes = Some(64 << 20);
    scratch_disk(&clone.config.state_directory, 64 << 20);
    clone.restart(Qemu::new(QEMU.into())).await;
    let mut identity = harness::identity();
    let AssignedInterface { mac, address, gateway, mtu, .. } = interface;
    identity.interfaces.push(GuestInterface { mac, address, gateway: Some(gateway), mtu });
    let mut client = clone.client().await;
    client.done(ShimRequest::PowerOn { identity: Box::new(identity) }).await;
    client.done(volume("disk", VolumeStep::Directory { medium: Medium::Disk, group: None })).await;
    let command = "ip addr; cat /sys/class/net/*/address; echo kept > /disk/file; cat /disk/file";
    let mounts = [mount("disk", "/disk", "", false)];
    let mut watch = Watch::start(clone.client().await).await;
    client.done(with_mounts(start("look", 0, process(&["sh", "-c", command])), &mounts)).await;
    watch.until_ended("look").await;
    let log = clone.log("look/0.log");
    for expected in ["52:54:00:00:00:77", "192.0.2.7/24", "mtu 1400", "stdout F kept"] {
        assert!(log.contains(expected), "no {expected} in {log}");
    }
    client.done(ShimRequest::PowerOff { grace_seconds: 5 }).await;
}

#[tokio::test]
async fn real_machines_boot_when_their_template_does_not_fit() {
    let Some(mut larger) = shim(|config| config.machine.memory_bytes += 32 << 20).await else { return };
    // Of another size than the machine.
    let small = Template::create(192 << 20).unwrap();
    small.seal().await.unwrap();
    larger.template = Some(small);
    larger.crash().await;
    larger.restart(Qemu::new(QEMU.into())).await;
    let mut client = powered_on(&larger).await;
    assert_eq!(client.request(ShimRequest::PowerOff { grace_seconds: 5 }).await, ShimReply::Done);
}
