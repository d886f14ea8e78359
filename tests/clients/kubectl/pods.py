"""run, wait, and what streams from containers."""

import json

from ..report import Skip, contains, equal, expect


def check_run(k):
    """run makes a pod"""
    k(
        "run",
        "runner",
        f"--image={k.image}",
        "--image-pull-policy=IfNotPresent",
        "--labels=app=runner",
        "--env=A=1",
        "--command",
        "--",
        "sleep",
        "3600",
        says="pod/runner created",
    )
    k("wait", "--for=condition=Ready", "pod/runner", "--timeout=60s", says="pod/runner condition met")
    pod = k.get("pod", "runner")["spec"]["containers"][0]
    equal((pod["command"], pod["env"]), (["sleep", "3600"], [{"name": "A", "value": "1"}]), "command and variables")
    k("run", "dry", f"--image={k.image}", "--dry-run=client", "-o", "yaml", says="kind: Pod")


def check_run_restart(k):
    """run --restart=Never runs to its end"""
    k("run", "ends", f"--image={k.image}", "--restart=Never", "--command", "--", "true", says="pod/ends created")
    k("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/ends", "--timeout=60s", says="pod/ends condition met")
    k("run", "fails", f"--image={k.image}", "--restart=Never", "--command", "--", "false", says="created")
    k("wait", "--for=jsonpath={.status.phase}=Failed", "pod/fails", "--timeout=60s", says="condition met")
    equal(k.value("pod/fails", ".status.containerStatuses[0].state.terminated.exitCode"), "1", "exit code")
    contains(k("get", "pod", "fails"), "Error")


def check_wait(k):
    """wait gives up in time, and says when nothing is there"""
    k.refused(
        "wait",
        "--for=condition=Ready=False",
        "pod/runner",
        "--timeout=1s",
        says="timed out waiting for the condition on pods/runner",
    )
    k.refused("wait", "--for=condition=Ready", "pod/nobody", "--timeout=1s", says='pods "nobody" not found')
    k.refused(
        "wait", "--for=condition=Ready", "pods", "-l", "app=nobody", "--timeout=1s", says="no matching resources found"
    )
    k("wait", "--for=jsonpath={.status.podIP}", "pod/runner", "--timeout=30s", says="condition met")


def check_wait_create(k):
    """wait --for=create"""
    if k.minor < 31:
        raise Skip("kubectl 1.30 does not have it")
    k("wait", "--for=create", "pod/runner", "--timeout=30s", says="pod/runner condition met")


def check_crash(k):
    """a container that fails is restarted and told of"""
    k("run", "crash", f"--image={k.image}", "--command", "--", "false", says="created")
    k(
        "wait",
        "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff",
        "pod/crash",
        "--timeout=60s",
    )
    contains(k("get", "pod", "crash"), "CrashLoopBackOff")
    contains(k("describe", "pod", "crash"), "Reason:       CrashLoopBackOff", "Exit Code:    1")


def check_pending(k):
    """a pod that fits nowhere says why"""
    k("apply", "-f", "-", input=k.pod("huge", more="    resources: {requests: {cpu: '100000'}}\n"))
    k("wait", "--for=condition=PodScheduled=False", "pod/huge", "--timeout=30s", says="condition met")
    contains(k("get", "pod", "huge"), "Pending")
    k.eventually(lambda: "FailedScheduling" in k("describe", "pod", "huge"), "the event of the scheduler")
    contains(k("describe", "pod", "huge"), "Insufficient cpu" if not k.hollow else "cpu")


def check_streams(k):
    """logs, exec, attach, cp and port-forward say what hollow nodes cannot"""
    if not k.hollow:
        raise Skip("the nodes are real")
    unreachable = "cannot reach the kubelet"
    k.refused("logs", "runner", says=unreachable)
    k.refused("exec", "runner", "--", "true", says=unreachable)
    k.refused("attach", "runner", says=unreachable)
    k.refused("cp", k.kubeconfig, "runner:/tmp/x", says=unreachable)
    k.refused("port-forward", "runner", ":80", says=unreachable)
    k.refused("logs", "nobody", says='pods "nobody" not found')
    k.refused("logs", "runner", "-c", "other", says="other")
    k.refused("exec", "runner", "-c", "other", "--", "true", says="other")


def check_streams_real(k):
    """logs and exec reach the container"""
    if k.hollow:
        raise Skip("hollow nodes run nothing")
    equal(k("exec", "runner", "--", "echo", "hello").strip(), "hello", "output of exec") if k.minor > 30 else None
    k("logs", "runner")


def check_top(k):
    """top says that there are no metrics"""
    for what in ("pods", "nodes"):
        result = k.run("top", what)
        if result.code == 0:
            raise Skip("this server has metrics")
        expect("Metrics API not available" in result.err, "another error", result.all)


def check_ephemeral(k):
    """debug adds an ephemeral container to the pod's spec"""
    k("debug", "runner", f"--image={k.image}", "--container=helper", "--attach=false", "--", "sleep", "60")
    equal(k.value("pod/runner", ".spec.ephemeralContainers[0].name"), "helper", "name")


def check_copy(k):
    """debug --copy-to makes a pod like it"""
    k(
        "debug",
        "runner",
        "--copy-to=copied",
        f"--image={k.image}",
        "--container=helper",
        "--attach=false",
        "--",
        "sleep",
        "60",
    )
    equal(sorted(k.value("pod/copied", ".spec.containers[*].name").split()), ["helper", "runner"], "containers")
    expect("app" not in k.get("pod", "copied")["metadata"].get("labels", {}), "labels were copied")


def check_immutable(k):
    """the spec of a pod can be changed only where it may"""
    k("set", "image", "pod/runner", f"runner={k.image}-next", says="image updated")
    k.refused(
        "patch",
        "pod",
        "runner",
        "-p",
        json.dumps({"spec": {"restartPolicy": "Never"}}),
        says=["spec: Forbidden", "pod updates may not change fields other than"],
    )
