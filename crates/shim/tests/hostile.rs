//! Containers that want what is not theirs, in real guests: what they get of the machine, of their neighbours, and of the host.
//!
//! Needs what `real_guest.rs` needs, and `rustc`, for a program that makes any system call.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests, outside of test functions.

mod harness;

use harness::{
    Client, Shim, Watch, container, exec, mount, process,
    real::{powered_on, shim},
    start, volume, with_mounts, within,
};
use orrery_wire::{
    guest::{Confinement, ContainerSpec, Identity},
    machine::SCRATCH_FILE,
    shim::ShimRequest,
    volume::{Medium, VolumeStep},
};
use std::{collections::BTreeSet, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

const SCRATCH_BYTES: u64 = 48 << 20;
/// Fewer than one container may have of the machine's.
const MOST_PROCESSES: u64 = 200;

/// Gives the machine a scratch disk, and its image the program `probe`, as root's with a set-user-ID bit.
fn prepared(config: &mut orrery_shim::Config) {
    config.machine.scratch_bytes = Some(SCRATCH_BYTES);
    let disk = config.state_directory.join(SCRATCH_FILE);
    std::fs::File::create(&disk).unwrap().set_len(SCRATCH_BYTES).unwrap();
    assert!(Command::new("/sbin/mkfs.ext4").arg("-q").arg(&disk).status().unwrap().success());
    let (tree, image) = (config.state_directory.join("tree"), config.state_directory.join("image.erofs"));
    let probe = tree.join("bin/probe");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness/probe.rs");
    let options = ["--edition=2024", "-Ctarget-feature=+crt-static", "-Copt-level=s", "-Cstrip=symbols", "-o"];
    assert!(Command::new("rustc").args(options).arg(&probe).arg(source).status().unwrap().success());
    std::fs::set_permissions(&probe, std::fs::Permissions::from_mode(0o4755)).unwrap();
    std::fs::remove_file(&image).unwrap();
    assert!(Command::new("mkfs.erofs").arg("--quiet").args([&image, &tree]).status().unwrap().success());
}

/// A container that runs `script`.
fn runs(name: &str, script: &str, change: impl FnOnce(&mut ContainerSpec)) -> ShimRequest {
    let mut request = start(name, 0, process(&["sh", "-c", script]));
    let ShimRequest::StartContainer { spec, .. } = &mut request else { unreachable!() };
    change(spec);
    request
}

const IDLE: &str = "sleep 100000";

/// What `script` prints in a container.
async fn said(shim: &Shim, name: &str, script: &str) -> String {
    let (stdout, stderr, _) =
        shim.client().await.stream(exec(name, process(&["sh", "-c", script]))).await.finish().await;
    String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()
}

/// What the system calls give in a container: `ok` or the error number of each.
async fn tried(shim: &Shim, name: &str, calls: &[&str]) -> Vec<String> {
    let script: String = calls.iter().map(|call| format!("probe {call}; ")).collect();
    said(shim, name, &script).await.lines().map(str::to_owned).collect()
}

fn filtered(spec: &mut ContainerSpec) {
    spec.process.confinement = Confinement { filter_system_calls: true, ..Confinement::default() };
}

fn kill(name: &str) -> ShimRequest {
    ShimRequest::SignalContainer { name: name.into(), signal: 9, all: true }
}

const EPERM: &str = "1";
const EBUSY: &str = "16";
const EACCES: &str = "13";
const ENOSYS: &str = "38";

#[tokio::test]
async fn a_hostile_container_gets_nothing_that_is_not_its_own() {
    let Some(shim) = shim(prepared).await else { return };
    let mut client = powered_on(&shim).await;
    let memory = VolumeStep::Directory { medium: Medium::Memory { limit_bytes: None }, group: None };
    client.done(volume("memory", memory)).await;
    let volumes = [mount("memory", "/data", "", false)];
    client.done(with_mounts(runs("filtered", IDLE, filtered), &volumes)).await;
    client.done(with_mounts(runs("plain", IDLE, |_| {}), &volumes)).await;
    system_calls_are_refused(&shim).await;
    the_machine_is_out_of_reach(&shim).await;
    new_privileges_are_as_asked(&shim, &mut client).await;
    a_privileged_container_has_its_machine_and_no_more(&shim, &mut client).await;
    processes_are_shared_where_asked(&shim, &mut client).await;
    client.done(ShimRequest::PowerOff { grace_seconds: 30 }).await;
}

async fn system_calls_are_refused(shim: &Shim) {
    // mount, pivot_root, unshare(NEWNS), setns, keyctl, bpf, init_module, finit_module, kexec_load, io_uring_setup, perf_event_open,
    // clone with NEWUSER, socket(AF_VSOCK), open_by_handle_at, swapon, reboot.
    let calls = [
        "165 :none :/data :tmpfs 0 0",
        "155 :. :.",
        "272 131072",
        "308 0 0",
        "250 0 0",
        "321 0 0 0",
        "175 0 0 :",
        "313 0 : 0",
        "246 0 0 0 0",
        "425 1 0",
        "298 0 0 0 0 0",
        "56 268435456 0",
        "41 40 1 0",
        "304 0 0 0",
        "167 :/dev/vda 0",
        "169 4276215469 672274793 19088743",
    ];
    assert_eq!(tried(shim, "filtered", &calls).await, vec![EPERM; calls.len()]);
    // Without a filter, what needs a capability is refused all the same.
    let needing: Vec<&str> = [0, 1, 2, 5, 6, 7, 8, 13, 14, 15].iter().map(|index| calls[*index]).collect();
    assert_eq!(tried(shim, "plain", &needing).await, vec![EPERM; needing.len()]);
    // clone3, a call that no kernel has, and one by its number of x32.
    assert_eq!(tried(shim, "filtered", &["435 0 0", "1000", "1073741863"]).await, vec![ENOSYS; 3]);
    let (_, _, exit) = shim.client().await.stream(exec("filtered", process(&["probe", "int80"]))).await.finish().await;
    assert_eq!(exit.signal, Some(31), "a program of 32 bits: {exit:?}");
    // What programs need works: a program of its own was run for each line above.
    assert_eq!(tried(shim, "filtered", &["39", "41 2 1 0", "157 3"]).await, vec!["ok"; 3]);
}

async fn the_machine_is_out_of_reach(shim: &Shim) {
    for name in ["filtered", "plain"] {
        let text = said(
            shim,
            name,
            "echo c >/proc/sysrq-trigger; echo 1 >/proc/sys/kernel/panic; echo $$ >/sys/fs/cgroup/cgroup.procs;
            busybox mkdir /sys/fs/cgroup/own; echo x >/sys/power/state; busybox wc -c </proc/kcore; busybox ls -A /sys/firmware; echo end",
        )
        .await;
        assert_eq!(text.matches("Read-only file system").count(), 5, "{text}");
        assert!(text.contains("0\nend\n"), "{text}");
        // Any node of a disk or of the shim's port, wherever it is made.
        let script = "set -- $(busybox tr : ' ' </sys/block/vda/dev); port=$(cat /sys/class/virtio-ports/vport*/dev | busybox tr : ' ')
            for place in / /dev/ /dev/shm/ /data/; do
                busybox mknod ${place}disk b $1 $2; busybox mknod ${place}port c $port; busybox mknod ${place}mem c 1 1
                for node in disk port mem; do probe 2 :$place$node 2; done; rm ${place}disk ${place}port ${place}mem
            done";
        let nodes: Vec<_> = said(shim, name, script).await.lines().map(str::to_owned).collect();
        assert_eq!(nodes, vec![EACCES; 12]);
        // The other container's processes are not there.
        assert_eq!(said(shim, name, "busybox ps -o comm | grep -c sleep").await, "1\n");
    }
}

async fn new_privileges_are_as_asked(shim: &Shim, client: &mut Client) {
    let as_guest = |kept: bool| {
        move |spec: &mut ContainerSpec| {
            spec.process.user = "1234".into();
            spec.process.confinement.no_new_privileges = kept;
            spec.process.confinement.filter_system_calls = true;
        }
    };
    client.done(runs("kept", IDLE, as_guest(true))).await;
    client.done(runs("given", IDLE, as_guest(false))).await;
    // setuid(0), as a set-user-ID program of root's.
    assert_eq!(tried(shim, "kept", &["105 0"]).await, [EPERM]);
    assert_eq!(tried(shim, "given", &["105 0"]).await, ["ok"]);
    let status = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status";
    assert_eq!(said(shim, "kept", status).await, "NoNewPrivs:\t1\nSeccomp:\t2\n");
    assert_eq!(said(shim, "given", status).await, "NoNewPrivs:\t0\nSeccomp:\t2\n");
}

async fn a_privileged_container_has_its_machine_and_no_more(shim: &Shim, client: &mut Client) {
    let open = |spec: &mut ContainerSpec| {
        spec.privileged = true;
        spec.process.confinement.capabilities = Some(vec!["ALL".into()]);
    };
    client.done(runs("privileged", IDLE, open)).await;
    let status = said(shim, "privileged", "grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status").await;
    assert!(status.contains("Seccomp:\t0") && status.contains("NoNewPrivs:\t0"), "{status}");
    assert!(status.contains("CapEff:\t000001ffffffffff"), "{status}");
    let text = said(
        shim,
        "privileged",
        "busybox mkdir /m /sys/fs/cgroup/own && mount -t tmpfs none /m && echo mounted; busybox rmdir /sys/fs/cgroup/own
        echo 10 >/proc/sys/kernel/panic && echo set; head -c 1 /dev/vda >/dev/null && echo disk
        busybox mknod /dev/x c 1 5 && head -c 1 /dev/x | busybox wc -c",
    )
    .await;
    assert_eq!(text, "mounted\nset\ndisk\n1\n");
    // The port is init's; the kernel takes no more modules, and user namespaces are off until it turns them on itself.
    let found = tried(shim, "privileged", &["2 :$(echo /dev/vport*) 2", "175 0 0 :", "272 268435456"]).await;
    assert_eq!(found, [EBUSY, EPERM, "28"]);
    client.done(runs("unmasked", IDLE, |spec| spec.unmasked_proc = true)).await;
    let mounts = "grep -c ' /proc' /proc/mounts; grep -c 'sysfs ro' /proc/mounts";
    assert_eq!(said(shim, "unmasked", mounts).await, "1\n1\n");
}

async fn processes_are_shared_where_asked(shim: &Shim, client: &mut Client) {
    let shared = |spec: &mut ContainerSpec| spec.shares_processes = true;
    let mut watch = Watch::start(shim.client().await).await;
    client.done(runs("one", "sleep 20000 & exec sleep 10000", shared)).await;
    client.done(runs("two", "sleep 30000", shared)).await;
    let listed = said(shim, "two", "busybox ps -o pid,user,args").await;
    for part in ["1 65534", "sleep 10000", "sleep 20000", "sleep 30000"] {
        assert!(listed.contains(part), "no {part} in {listed}");
    }
    assert!(!listed.contains("sleep 100000"), "{listed}");
    // Process 1 minds no signal and shows nothing; those who are left without parents are collected.
    let text = said(
        shim,
        "two",
        "kill -KILL 1; kill -TERM 1; busybox ls /proc/1/root /proc/1/cwd; (sleep 0.1 & exec busybox true); sleep 0.5
        busybox ps -o pid,stat | grep -c Z; probe 101 16 1",
    )
    .await;
    assert!(text.starts_with("0\n1\n") && text.contains("/proc/1/root: Permission denied"), "{text}");
    // A container's end is the end of all its processes, and of nobody else's.
    assert_eq!(
        said(
            shim,
            "two",
            "kill -TERM $(busybox ps -o pid,args | grep '[0-9] sleep 10000$' | busybox awk '{ print $1 }')"
        )
        .await,
        ""
    );
    let end = watch.until_ended("one").await.exit.unwrap().exit;
    assert_eq!((end.code, end.signal), (143, Some(15)));
    let left: BTreeSet<String> =
        said(shim, "two", "sleep 0.2; busybox ps -o args | grep ^sleep").await.lines().map(str::to_owned).collect();
    assert_eq!(left, ["sleep 30000".to_owned()].into());
}

#[tokio::test]
async fn a_greedy_container_harms_neither_its_neighbours_nor_the_machine() {
    let Some(shim) = shim(prepared).await else { return };
    let mut client = shim.client().await;
    let identity = Identity { most_processes: Some(MOST_PROCESSES), ..harness::identity() };
    client.done(ShimRequest::PowerOn { identity: Box::new(identity) }).await;
    let disk = VolumeStep::Directory { medium: Medium::Disk, group: None };
    client.done(volume("disk", disk)).await;
    client.done(runs("neighbour", "while true; do echo tick; sleep 1; done", |_| {})).await;
    limits_are_told_to_the_kernel(&shim, &mut client).await;
    memory_ends_the_container_that_takes_it(&shim, &mut client).await;
    a_full_disk_is_full_inside_only(&shim, &mut client).await;
    a_flood_of_output_is_bounded(&shim, &mut client).await;
    a_fork_bomb_stays_in_its_container(&shim, &mut client).await;
    client.done(ShimRequest::PowerOff { grace_seconds: 30 }).await;
}

/// Waits until the neighbour has said one thing more.
async fn neighbour_lives(shim: &Shim) {
    let ticks = || shim.log("neighbour/0.log").matches("tick").count();
    let before = ticks();
    within("the neighbour's next word", async {
        while ticks() <= before {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(said(shim, "neighbour", "echo fine").await, "fine\n");
}

async fn limits_are_told_to_the_kernel(shim: &Shim, client: &mut Client) {
    let limited = |spec: &mut ContainerSpec| {
        spec.cpu_limit_milli = Some(250);
        spec.cpu_weight = Some(20);
        spec.memory_limit_bytes = Some(16 << 20);
    };
    client.done(runs("limited", IDLE, limited)).await;
    let text = said(shim, "limited", "cd /sys/fs/cgroup; cat cpu.max cpu.weight memory.max memory.oom.group").await;
    assert_eq!(text, "25000 100000\n20\n16777216\n1\n");
    let used = said(
        shim,
        "limited",
        "now() { busybox cut -d. -f1 /proc/uptime; }; end=$(($(now) + 3)); while test $(now) -lt $end; do :; done
        grep nr_throttled /sys/fs/cgroup/cpu.stat",
    )
    .await;
    let throttled: u64 = used.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(throttled > 3, "{used}");
}

async fn memory_ends_the_container_that_takes_it(shim: &Shim, client: &mut Client) {
    // One with a limit, and one that takes all there is.
    for (name, limit) in [("eater", Some(24 << 20)), ("glutton", None)] {
        let mut watch = Watch::start(shim.client().await).await;
        client
            .done(runs(name, "busybox tail /dev/zero; echo still here", |spec| spec.memory_limit_bytes = limit))
            .await;
        let end = watch.until_ended(name).await.exit.unwrap();
        assert!(end.exit.out_of_memory && end.exit.signal == Some(9) && !end.machine_ended, "{end:?}");
        assert_eq!(shim.log(&format!("{name}/0.log")), "");
        neighbour_lives(shim).await;
    }
}

async fn a_full_disk_is_full_inside_only(shim: &Shim, client: &mut Client) {
    let mut watch = Watch::start(shim.client().await).await;
    let script = "for file in /data/big /big; do busybox dd if=/dev/zero of=$file bs=1M count=100; done
        rm /big; echo room >/small; cat /small";
    client.done(with_mounts(runs("filler", script, |_| {}), &[mount("disk", "/data", "", false)])).await;
    watch.until_ended("filler").await;
    let log = shim.log("filler/0.log");
    assert_eq!(log.matches("No space left on device").count(), 2, "{log}");
    assert!(log.contains("stdout F room"), "{log}");
    let size = std::fs::metadata(shim.config.state_directory.join(SCRATCH_FILE)).unwrap().len();
    assert_eq!(size, SCRATCH_BYTES);
    neighbour_lives(shim).await;
}

async fn a_flood_of_output_is_bounded(shim: &Shim, client: &mut Client) {
    client.done(runs("flood", "busybox yes $(busybox seq -s . 300)", |_| {})).await;
    let file = |name: &str| shim.config.log_directory.join("flood").join(name);
    within("the log to be set aside", async {
        while !file("0.log.1").exists() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    neighbour_lives(shim).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    neighbour_lives(shim).await;
    client.done(kill("flood")).await;
    let held: u64 = ["0.log", "0.log.1"].iter().map(|name| std::fs::metadata(file(name)).unwrap().len()).sum();
    assert!(held < 21 << 20, "{held} bytes are held");
    assert_eq!(std::fs::read_dir(file("0.log").parent().unwrap()).unwrap().count(), 2);
}

async fn a_fork_bomb_stays_in_its_container(shim: &Shim, client: &mut Client) {
    let mut watch = Watch::start(shim.client().await).await;
    let fork = "while true; do sleep 1000 & echo born; done";
    client.done(runs("forker", fork, |_| {})).await;
    watch.until_ended("forker").await;
    let log = shim.log("forker/0.log");
    let born = u64::try_from(log.matches("born").count()).unwrap();
    assert!(log.contains("can't fork") && (MOST_PROCESSES / 2..MOST_PROCESSES).contains(&born), "{born}: {log}");
    // With little CPU time, so that the test is about processes and not about patience.
    client.done(runs("bomb", "exec probe bomb", |spec| spec.cpu_limit_milli = Some(300))).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    neighbour_lives(shim).await;
    client.done(kill("bomb")).await;
    watch.until_ended("bomb").await;
    neighbour_lives(shim).await;
    assert!(container(&client.status().await, "neighbour").unwrap().exit.is_none());
}
