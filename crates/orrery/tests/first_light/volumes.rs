//! A pod as a careful team writes it: no privileges, configuration and secrets as files, probes, hooks, data that it keeps.

use crate::installation::{Installation, wait_until};

pub(crate) fn a_restricted_pod_has_what_it_asks_for_and_keeps_its_data(orrery: &Installation) {
    orrery.kubectl_input(&["apply", "-f", "-"], CAREFUL);
    orrery.kubectl(&["wait", "--for=condition=Ready", "pod/careful", "--timeout=120s"]);
    let sh = |script: &str| orrery.kubectl(&["exec", "careful", "-c", "main", "--", "sh", "-c", script]);
    assert_eq!(
        sh("cat /etc/app/color /etc/secret/password; id -u; cat /shared/started"),
        "bluehidden1000\nby its hook\n"
    );
    assert_eq!(sh("grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t\\n' ' '"), CONFINED);
    let token = "/var/run/secrets/kubernetes.io/serviceaccount";
    assert_eq!(sh(&format!("cat {token}/namespace; test -s {token}/token && echo")), "demo\n");
    sh("echo kept >/data/file; sync");

    orrery.kill(orrery.machine_pid("demo/careful"));
    wait_until("the pod to be ready again", || {
        let path =
            "jsonpath={.status.containerStatuses[0].restartCount}{.status.conditions[?(@.type=='Ready')].status}";
        (orrery.kubectl(&["get", "pod", "careful", "-o", path]) == "1True").then_some(())
    });
    assert_eq!(sh("cat /data/file"), "kept\n");

    // It says that it is no longer well, and is started anew.
    sh("touch /data/sick");
    wait_until("the restart", || {
        let path = "jsonpath={.status.containerStatuses[0].restartCount}";
        (orrery.kubectl(&["get", "pod", "careful", "-o", path]) == "2").then_some(())
    });
    let events = orrery.kubectl(&["get", "events", "--field-selector=involvedObject.name=careful"]);
    for part in ["Unhealthy", "Liveness probe failed: sick", "Container main failed liveness probe, will be restarted"]
    {
        assert!(events.contains(part), "no {part:?} in:\n{events}");
    }
    let last = orrery.kubectl(&[
        "get",
        "pod",
        "careful",
        "-o",
        "jsonpath={.status.containerStatuses[0].lastState.terminated.message}",
    ]);
    assert_eq!(last.trim_end(), "told to end", "its last words");
    orrery.kubectl(&["delete", "pod/careful", "configmap/settings", "secret/login", "--wait=true"]);
}

/// No capability, no new privileges, and a filter of system calls.
const CONFINED: &str = "CapBnd: 0000000000000000 NoNewPrivs: 1 Seccomp: 2 ";

const CAREFUL: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: blue}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {password: hidden}
---
apiVersion: v1
kind: Pod
metadata: {name: careful}
spec:
  terminationGracePeriodSeconds: 5
  securityContext:
    runAsUser: 1000
    runAsNonRoot: true
    fsGroup: 2000
    seccompProfile: {type: RuntimeDefault}
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: login, secret: {secretName: login, defaultMode: 256}}
  - {name: data, emptyDir: {sizeLimit: 64Mi}}
  - {name: started, emptyDir: {medium: Memory}}
  initContainers:
  - name: beside
    image: localhost/demo/busybox:latest
    imagePullPolicy: IfNotPresent
    restartPolicy: Always
    command: [sleep, '3600']
    securityContext: &none {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
  containers:
  - name: main
    image: localhost/demo/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'trap "echo told to end >/dev/termination-log; exit 0" TERM; rm -f /data/sick; while true; do sleep 1; done']
    securityContext: *none
    resources: {limits: {memory: 32Mi}}
    lifecycle: {postStart: {exec: {command: [sh, -c, 'echo by its hook >/shared/started']}}}
    readinessProbe: {exec: {command: [test, -s, /shared/started]}, periodSeconds: 1}
    livenessProbe: {exec: {command: [sh, -c, 'test ! -e /data/sick || { echo sick; exit 1; }']}, periodSeconds: 1, failureThreshold: 2, timeoutSeconds: 10}
    volumeMounts:
    - {name: settings, mountPath: /etc/app}
    - {name: login, mountPath: /etc/secret}
    - {name: data, mountPath: /data}
    - {name: started, mountPath: /shared}
"#;
