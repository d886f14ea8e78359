//! The whole path with nothing simulated: QEMU, a stock kernel, `crx-init`, and busybox in a container.
//!
//! Needs root, QEMU, mkfs.erofs, a static busybox, and a kernel: `ORRERY_KERNEL_PACKAGE` names a Debian kernel package at
//! hand, otherwise it is downloaded with apt. `ORRERY_CRX_INIT` names a built init, otherwise it is built.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests, outside of test functions.

mod harness;

use harness::{
    Client, Shim, Watch, container, exec, mount, process,
    real::{QEMU, Tap, powered_on, scratch_disk, shim},
    start, volume, with_mounts, with_stdin, within,
};
use orrery_vmm::Qemu;
use orrery_wire::{
    guest::{GuestInterface, reason as guest_reason},
    host::AssignedInterface,
    shim::{MachinePhase, MachineStatus, ShimReply, ShimRequest, StreamKind, TerminalSize},
    volume::{Medium, VolumeStep},
};
use std::{process::Command, time::Duration};

#[tokio::test]
async fn a_container_runs_is_logged_and_ends_and_its_machine_can_die_and_boot_again() {
    let Some(mut shim) = shim(|_| {}).await else { return };
    let mut client = powered_on(&shim).await;
    let mut watch = Watch::start(shim.client().await).await;

    client.done(start("hello", 0, process(&["sh", "-c", "echo hello from $(hostname); echo oh >&2; exit 3"]))).await;
    let ended = watch.until_ended("hello").await.exit.unwrap();
    assert_eq!((ended.exit.code, ended.machine_ended), (3, false));
    let log = shim.log("hello/0.log");
    assert!(log.contains(" stdout F hello from hello\n") && log.contains(" stderr F oh\n"), "{log}");

    let (refusal, _) = client.refused(start("none", 0, process(&["/no/such/program"]))).await;
    assert_eq!(refusal, guest_reason::EXECUTABLE_NOT_FOUND);

    client.done(start("web", 0, process(&["sleep", "1000"]))).await;
    exec_as_promised(&shim).await;
    a_port_is_reached(&shim, &mut client).await;

    let pid = i32::try_from(client.status().await.qemu_pid.unwrap()).unwrap();
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    let off = watch.until_off().await;
    let end = off.last_end.clone().unwrap();
    assert!(!end.requested && end.message.contains("signal 9"), "{end:?}");
    let web = container(&off, "web").unwrap().exit.unwrap();
    assert_eq!((web.exit.code, web.machine_ended), (137, true));

    let mut client = powered_on(&shim).await;
    client.done(start("web", 1, process(&["sleep", "1000"]))).await;
    let status = client.status().await;
    assert_eq!((status.phase, status.boot), (MachinePhase::Running, 2));
    client.done(ShimRequest::PowerOff { grace_seconds: 30 }).await;
    let end = client.status().await.last_end.unwrap();
    assert!(end.requested && end.message.contains("guest-shutdown"), "{end:?}");

    // A machine never outlives its shim, however that ends.
    let mut client = powered_on(&shim).await;
    let pid = client.status().await.qemu_pid.unwrap();
    shim.crash().await;
    within("QEMU to die with its shim", async {
        while runs(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    shim.restart(Qemu::new(QEMU.into())).await;
    let status = shim.client().await.status().await;
    assert_eq!((status.phase, status.boot), (MachinePhase::Off, 3));
    shim.stop().await.unwrap();
}

#[tokio::test]
async fn volumes_are_shared_kept_and_never_left() {
    let scratch = |config: &mut orrery_shim::Config| {
        config.machine.scratch_bytes = Some(64 << 20);
        scratch_disk(&config.state_directory, 64 << 20);
    };
    let Some(shim) = shim(scratch).await else { return };
    let mut client = powered_on(&shim).await;
    harness::volumes::files_are_published(&shim).await;
    let directory = |medium| VolumeStep::Directory { medium, group: Some(5000) };
    let make = async |client: &mut Client| {
        client.done(volume("disk", directory(Medium::Disk))).await;
        client.done(volume("memory", directory(Medium::Memory { limit_bytes: Some(1 << 20) }))).await;
    };
    make(&mut client).await;
    let mounts = [
        mount("disk", "/disk", "", false),
        mount("disk", "/below", "a/b", false),
        mount("memory", "/cache", "", false),
        mount("config", "/etc/app/key", "sub/key", true),
        mount("config", "/ro", "", true),
    ];
    let said = async |client: &mut Client, attempt: u32, script: &str| {
        let mut watch = Watch::start(shim.client().await).await;
        let mut request = with_mounts(start("v", attempt, process(&["sh", "-c", script])), &mounts);
        let ShimRequest::StartContainer { spec, .. } = &mut request else { unreachable!() };
        spec.termination_message_path = Some("/dev/termination-log".into());
        spec.read_only_root = true;
        spec.process.user = "1234".into();
        client.done(request).await;
        let ended =
            |status: &MachineStatus| container(status, "v").is_some_and(|v| v.attempt == attempt && v.exit.is_some());
        let exit = container(&watch.until("the script's end", ended).await, "v").unwrap().exit.unwrap().exit;
        (shim.log(&format!("v/{attempt}.log")), exit)
    };
    let script = "id -u; cat /etc/app/key; echo; echo kept >/disk/file; echo below >/below/x; cat /disk/a/b/x;
        echo y >/ro/y; echo y >/y; stat -c %g:%a /disk /disk/file; mount | grep cache;
        head -c 2000000 /dev/zero >/cache/big; stat -c size:%s /cache/big; echo enough >/dev/termination-log; sync; exit 7";
    let (log, exit) = said(&mut client, 0, script).await;
    assert_eq!((exit.code, exit.message.as_deref()), (7, Some("enough\n")), "{log}");
    for expected in [
        "stdout F 1234\n",
        "stdout F two\n",
        "stdout F below\n",
        "can't create /ro/y: Read-only file system",
        "can't create /y: Read-only file system",
        "stdout F 5000:2777\n",
        "stdout F 5000:644\n",
        "tmpfs on /cache type tmpfs",
        "stdout F size:1048576\n",
    ] {
        assert!(log.contains(expected), "no {expected} in {log}");
    }
    let (log, _) = said(&mut client, 1, "rm -r /disk/a; ln -s /etc /disk/a; ln -s .. /disk/up").await;
    assert_eq!(log, "");
    let mut leaving = with_mounts(start("v", 2, process(&["cat", "/below/passwd"])), &mounts);
    let (refusal, text) = client.refused(leaving.clone()).await;
    assert_eq!(refusal, guest_reason::VOLUME_UNAVAILABLE, "{text}");
    assert!(text.contains("leads out of the volume"), "{text}");

    let pid = i32::try_from(client.status().await.qemu_pid.unwrap()).unwrap();
    let mut watch = Watch::start(shim.client().await).await;
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    watch.until_off().await;
    let mut client = powered_on(&shim).await;
    let (refusal, _) = client
        .refused({
            leaving = with_mounts(leaving, &mounts[..1]);
            leaving
        })
        .await;
    assert_eq!(refusal, guest_reason::VOLUME_UNAVAILABLE);
    make(&mut client).await;
    let request = with_mounts(start("again", 0, process(&["cat", "/disk/file"])), &mounts[..1]);
    client.done(request).await;
    let mut watch = Watch::start(shim.client().await).await;
    watch.until_ended("again").await;
    assert!(shim.log("again/0.log").contains("stdout F kept\n"));
    client.done(ShimRequest::PowerOff { grace_seconds: 30 }).await;
}

/// Whether a process is there and not merely waiting to be collected.
fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_network_interface_gets_its_address() {
    const TAP: &str = "orrshimtest0";
    let interface = AssignedInterface {
        mac: "52:54:00:12:34:56".into(),
        address: "192.0.2.7/24".into(),
        gateway: "192.0.2.1".into(),
        mtu: 1400,
        tap: TAP.into(),
    };
    let Some(shim) = shim(|config| config.admission.interfaces.push(interface.clone())).await else { return };
    // It is plugged into nothing and stays down: no packet goes anywhere.
    let Some(_tap) = Tap::make(TAP) else {
        orrery_testing::skipped("no tap device can be made here");
        return;
    };
    let mut identity = harness::identity();
    identity.interfaces.push(GuestInterface {
        mac: interface.mac,
        address: interface.address,
        gateway: Some(interface.gateway),
        mtu: interface.mtu,
    });
    let mut client = shim.client().await;
    client.done(ShimRequest::PowerOn { identity: Box::new(identity) }).await;
    client.done(start("web", 0, process(&["sleep", "1000"]))).await;
    let (stdout, _, _) = shim.client().await.stream(exec("web", process(&["ip", "addr"]))).await.finish().await;
    let text = String::from_utf8_lossy(&stdout).into_owned();
    for expected in ["52:54:00:12:34:56", "192.0.2.7/24", "mtu 1400"] {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
    client.done(ShimRequest::PowerOff { grace_seconds: 30 }).await;
}

/// Connects to a port of the machine, once something listens there and no longer than it does.
async fn a_port_is_reached(shim: &Shim, client: &mut Client) {
    client.done(start("port", 0, process(&["nc", "-l", "-p", "8080", "-e", "cat"]))).await;
    within("the port to be open", async {
        loop {
            let mut forwarding = shim.client().await;
            match forwarding.request(ShimRequest::Forward { port: 8080 }).await {
                ShimReply::Streaming => break forwarding.streaming(),
                ShimReply::Failed { reason, .. } if reason == guest_reason::NOT_CONNECTED => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => panic!("{other:?}"),
            }
        }
    })
    .await
    .echoes(&vec![b'x'; 1_000_000])
    .await;
    // Listens on the loopback alone, so that no way from outside leads there.
    client.done(start("page", 0, process(&["httpd", "-f", "-p", "127.0.0.1:8081", "-h", "/etc"]))).await;
    within("the page", async {
        loop {
            let mut forwarding = shim.client().await;
            if forwarding.request(ShimRequest::Forward { port: 8081 }).await == ShimReply::Streaming {
                let mut page = forwarding.streaming();
                page.send(StreamKind::Stdin, b"GET /passwd HTTP/1.0\r\n\r\n").await;
                let (said, _, _) = page.finish().await;
                break assert!(String::from_utf8_lossy(&said).contains("guest:x:1234"), "{said:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    // It listens once.
    let (refusal, text) = shim.client().await.refused(ShimRequest::Forward { port: 8080 }).await;
    assert_eq!((refusal.as_str(), text.contains("Connection refused")), (guest_reason::NOT_CONNECTED, true), "{text}");
}

/// Execs with input, with much output, as another user and with a terminal.
async fn exec_as_promised(shim: &Shim) {
    let cat = shim.client().await.stream(exec("web", with_stdin(process(&["cat"])))).await;
    cat.echoes(&(0..400_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).await;

    let mut as_guest = process(&["id", "-u"]);
    as_guest.user = "guest".into();
    let (stdout, _, _) = shim.client().await.stream(exec("web", as_guest)).await.finish().await;
    assert_eq!(stdout, b"1234\n");

    let zeroes = exec("web", process(&["head", "-c", "5000000", "/dev/zero"]));
    let (stdout, _, exit) = shim.client().await.stream(zeroes).await.finish().await;
    assert_eq!((stdout.len(), exit.code), (5_000_000, 0));

    let mut terminal = with_stdin(process(&["sh", "-c", "read line; stty size; exit 4"]));
    terminal.tty = true;
    let mut terminal = shim.client().await.stream(exec("web", terminal)).await;
    let size = serde_json::to_vec(&TerminalSize { rows: 40, columns: 111 }).unwrap();
    terminal.send(StreamKind::Resize, &size).await;
    terminal.send(StreamKind::Stdin, b"\n").await;
    let (stdout, _, exit) = terminal.finish().await;
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(text.contains("40 111"), "{text:?}");
    assert_eq!(exit.code, 4);
}
