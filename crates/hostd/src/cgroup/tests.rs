use super::*;
use orrery_wire::host::Owner;
use std::process::Command;

fn spec() -> MachineSpec {
    MachineSpec {
        id: "1".into(),
        name: "demo/hello".into(),
        owner: Owner::Pod { namespace: "demo".into(), name: "hello".into(), uid: "1".into() },
        pool: "demo".into(),
        namespace: "demo".into(),
        vcpus: 2,
        cpu_milli: 500,
        memory_bytes: 128 << 20,
        overhead_bytes: 64 << 20,
        disks: Vec::new(),
        scratch_bytes: None,
        interfaces: Vec::new(),
    }
}

#[test]
fn limits_are_guest_and_overhead_and_shares_follow_the_reservation() {
    let lines = |hierarchy| -> Vec<String> {
        plan(hierarchy, &spec()).iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect()
    };
    assert_eq!(
        lines(Hierarchy::Unified),
        ["memory.max=201326592", "cpu.weight=20", "cpu.max=250000 100000", "pids.max=258"]
    );
    assert_eq!(
        lines(Hierarchy::PerController),
        [
            "memory.limit_in_bytes=201326592",
            "cpu.shares=512",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=250000",
            "pids.max=258"
        ]
    );
}

#[tokio::test]
async fn a_real_group_limits_its_machine_and_is_removed_with_what_runs_in_it() {
    let groups = Groups::new(Path::new("/sys/fs/cgroup"));
    let above = PathBuf::from(format!("orrery-test-{}", std::process::id()));
    let (one, other) = (above.join("host-1/demo/demo/one"), above.join("host-1/demo/demo/other"));
    if let Err(error) = groups.create(&one, &spec()) {
        orrery_testing::skipped(format!("control groups need root and the controllers cpu, memory and pids ({error})"));
        return;
    }
    groups.create(&one, &spec()).unwrap();
    groups.create(&other, &spec()).unwrap();
    assert_eq!(groups.list(&above, 4).unwrap(), [one.clone(), other.clone()]);
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    for directory in groups.directories(&one) {
        fs::write(directory.join("cgroup.procs"), child.id().to_string()).unwrap();
    }
    // The child stays a zombie until it is waited for, which does not keep a group.
    groups.remove(&one).await.unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(groups.list(&above, 4).unwrap(), std::slice::from_ref(&other));
    groups.remove(&one).await.unwrap();
    groups.remove(&other).await.unwrap();
    assert!(groups.directories(&above).iter().all(|directory| !directory.exists()), "empty levels go too");
}

#[test]
fn in_a_unified_hierarchy_controllers_are_enabled_from_the_top_down_to_the_machine() {
    // Plain files in the place of the kernel's: what is written where is all that is looked at.
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("cgroup.controllers"), "cpu memory pids").unwrap();
    let groups = Groups::new(root.path());
    let machine = Path::new("orrery-test/host-1/one");
    groups.create(machine, &spec()).unwrap();
    for above in ["", "orrery-test", "orrery-test/host-1"] {
        let enabled = fs::read_to_string(root.path().join(above).join("cgroup.subtree_control")).unwrap();
        assert_eq!(enabled, "+cpu +memory +pids", "{above}");
    }
    assert!(!root.path().join(machine).join("cgroup.subtree_control").exists(), "processes are only allowed in leaves");
    assert_eq!(fs::read_to_string(root.path().join(machine).join("memory.max")).unwrap(), "201326592");
    assert_eq!(groups.directories(machine), [root.path().join(machine)]);
}
