//! Pods that want more of their machine, and one that wants to be another: what they get, through the whole installation.

use crate::installation::{Installation, wait_until};

pub(crate) fn a_privileged_pod_has_its_own_machine_and_nobody_elses_address(orrery: &Installation) {
    orrery.kubectl_input(&["apply", "-f", "-"], PODS);
    orrery.kubectl(&["wait", "--for=condition=Ready", "pod/privileged", "pod/shared", "--timeout=120s"]);
    let sh = |script: &str| orrery.kubectl(&["exec", "privileged", "--", "sh", "-c", script]);
    assert_eq!(
        sh("grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t\\n' ' '"),
        "NoNewPrivs: 0 Seccomp: 0 "
    );
    assert_eq!(
        sh("cat /sys/fs/cgroup/cpu.max; mkdir /m; mount -t tmpfs none /m && echo mounted"),
        "50000 100000\nmounted\n"
    );

    let gateway = sh("ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'");
    let reaches = |from: &str| {
        let script =
            format!("ping -c 1 -W 2 {from} {gateway} >/dev/null && echo yes || echo no", gateway = gateway.trim());
        sh(&script).trim() == "yes"
    };
    assert!(reaches(""), "the gateway answers");
    let other = orrery.kubectl(&["get", "pod", "shared", "-o", "jsonpath={.status.podIP}"]);
    sh(&format!("ip addr add {other}/24 dev eth0"));
    assert!(!reaches(&format!("-I {other}")), "it speaks as another pod");
    assert!(reaches(""), "under its own address it still does");

    let seen = orrery.kubectl(&["exec", "shared", "-c", "one", "--", "ps", "-o", "pid,args"]);
    assert!(seen.contains("sleep 11111") && seen.contains("sleep 22222"), "{seen}");
    let path = "jsonpath={.status.containerStatuses[0].state.waiting.reason} {.status.containerStatuses[0].state.waiting.message}";
    wait_until("the refusal to run as root", || {
        let waiting = orrery.kubectl(&["get", "pod", "rooted", "-o", path]);
        waiting
            .starts_with(
                "CreateContainerConfigError container has runAsNonRoot and image will run as root (pod: \"rooted_demo(",
            )
            .then_some(())
    });
    orrery.kubectl(&["delete", "pod", "privileged", "shared", "rooted", "--wait=true"]);
}

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: privileged}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: localhost/demo/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sleep, '33333']
    securityContext: {privileged: true}
    resources: {limits: {cpu: 500m, memory: 32Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: shared}
spec:
  terminationGracePeriodSeconds: 1
  shareProcessNamespace: true
  containers:
  - {name: one, image: 'localhost/demo/busybox:latest', imagePullPolicy: IfNotPresent, command: [sleep, '11111']}
  - {name: two, image: 'localhost/demo/busybox:latest', imagePullPolicy: IfNotPresent, command: [sleep, '22222']}
---
apiVersion: v1
kind: Pod
metadata: {name: rooted}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true}
  containers:
  - {name: main, image: 'localhost/demo/busybox:latest', imagePullPolicy: IfNotPresent, command: [sleep, '1']}
";
