//! Who a container runs as, and what it may do.

use crate::pods::{PATIENCE, Place, holds};
use orrery_harness::{Context, Outcome, Test, ensure, run, same, test};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-node] Security Context When creating a container with runAsUser should run the container with uid 65534 [LinuxOnly] [NodeConformance] [Conformance]",
        run!(identity, json_of_user, false, "65534"),
    ),
    test(
        "[sig-node] Security Context should support container.SecurityContext.RunAsUser And container.SecurityContext.RunAsGroup [LinuxOnly] [Conformance]",
        run!(identity, json_of_both, false, "1001 2002"),
    ),
    test(
        "[sig-node] Security Context should support pod.Spec.SecurityContext.RunAsUser And pod.Spec.SecurityContext.RunAsGroup [LinuxOnly] [Conformance]",
        run!(identity, json_of_both, true, "1001 2002"),
    ),
    test(
        "[sig-node] Security Context When creating a pod with privileged should run the container as unprivileged when false [LinuxOnly] [NodeConformance] [Conformance]",
        run!(unprivileged),
    ),
    test(
        "[sig-node] Security Context When creating a pod with readOnlyRootFilesystem should run the container with writable rootfs when readOnlyRootFilesystem=false [NodeConformance] [Conformance]",
        run!(root, false),
    ),
    test(
        "[sig-node] Kubelet when scheduling a read only busybox container should not write to root filesystem [LinuxOnly] [NodeConformance] [Conformance]",
        run!(root, true),
    ),
    test(
        "[sig-node] Security Context when creating containers with AllowPrivilegeEscalation should not allow privilege escalation when false [LinuxOnly] [NodeConformance] [Conformance]",
        run!(no_escalation),
    ),
    test(
        "[sig-node] Sysctls [LinuxOnly] [NodeConformance] should support sysctls [Environment:NotInUserNS] [Conformance]",
        run!(sysctl),
    ),
];

fn json_of_user() -> Value {
    json!({ "runAsUser": 65534 })
}

fn json_of_both() -> Value {
    json!({ "runAsUser": 1001, "runAsGroup": 2002 })
}

async fn identity(context: &Context, security: fn() -> Value, of_pod: bool, expected: &str) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = place.runs("it", "echo $(id -u) $(id -g)");
    if of_pod {
        pod["spec"]["securityContext"] = security();
    } else {
        pod["spec"]["containers"][0]["securityContext"] = security();
    }
    let said = place.said(&pod).await?;
    ensure!(said.starts_with(expected), "user and group are {said:?} and not {expected}");
    Ok(())
}

async fn unprivileged(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = place.runs("it", "ip link add dummy0 type dummy 2>&1 || true");
    pod["spec"]["containers"][0]["securityContext"] = json!({ "privileged": false });
    holds(&place.said(&pod).await?, &["Operation not permitted"])
}

async fn root(context: &Context, read_only: bool) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = place.runs("it", "touch /file 2>&1 && echo written; ls /file 2>&1; true");
    pod["spec"]["containers"][0]["securityContext"] = json!({ "readOnlyRootFilesystem": read_only });
    let said = place.said(&pod).await?;
    if read_only {
        holds(&said, &["Read-only file system", "No such file"])
    } else {
        holds(&said, &["written", "/file"])
    }
}

async fn no_escalation(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = place.runs("it", "id -u; grep NoNewPrivs /proc/self/status");
    pod["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 1000, "allowPrivilegeEscalation": false });
    let said = place.said(&pod).await?;
    same!(said.split_whitespace().collect::<Vec<_>>(), ["1000", "NoNewPrivs:", "1"], "what the container may do");
    Ok(())
}

async fn sysctl(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let mut pod = place.runs("it", "cat /proc/sys/kernel/shm_rmid_forced");
    pod["spec"]["securityContext"] = json!({ "sysctls": [{ "name": "kernel.shm_rmid_forced", "value": "1" }] });
    place.pods.create(&pod).await?;
    let ended = place.pods.wait("it", "it has ended", PATIENCE, |pod| {
        pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed"
    });
    same!(ended.await?["status"]["phase"], "Succeeded", "the phase");
    same!(place.log("it", "c").await?.trim_end(), "1", "kernel.shm_rmid_forced");
    Ok(())
}
