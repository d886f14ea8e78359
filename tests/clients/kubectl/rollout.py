"""Roll-outs of Deployments, DaemonSets and StatefulSets."""

import re

from ..report import contains, equal, expect


def set_marker(k, value):
    k("set", "env", "deployment/web", f"MARKER={value}", says="env updated")


def marker(k):
    return k.value("deployment/web", ".spec.template.spec.containers[0].env[0].value")


def check_history(k):
    """rollout history lists the revisions with their causes"""
    k("apply", "-f", "-", input=k.deployment("web", 2))
    set_marker(k, "one")
    k("annotate", "deployment/web", "kubernetes.io/change-cause=marker one", says="annotated")
    k.settled("web")
    set_marker(k, "two")
    k("annotate", "deployment/web", "kubernetes.io/change-cause=marker two", "--overwrite", says="annotated")
    k.settled("web")
    k.eventually(
        lambda: re.search(r"^3 +marker two$", k("rollout", "history", "deployment/web"), re.M),
        "the third revision has its cause",
    )
    contains(k("rollout", "history", "deployment/web"), "REVISION", "CHANGE-CAUSE", "marker one")
    contains(k("rollout", "history", "deployment/web", "--revision=2"), "MARKER:\tone")


def check_undo(k):
    """rollout undo goes back by one, and to a revision"""
    k("rollout", "undo", "deployment/web", says="deployment.apps/web rolled back")
    k.settled("web")
    equal(marker(k), "one", "marker after undo")
    k("rollout", "undo", "deployment/web", "--to-revision=3", says="rolled back")
    k.settled("web")
    equal(marker(k), "two", "marker after undo to revision 3")
    pods = k.get("pods", "-l", "app=web", "--field-selector=status.phase=Running")["items"]
    equal(
        {pod["spec"]["containers"][0]["env"][0]["value"] for pod in pods if "deletionTimestamp" not in pod["metadata"]},
        {"two"},
        "marker of the pods",
    )
    k.refused("rollout", "undo", "deployment/web", "--to-revision=99", says="unable to find specified revision 99")


def check_restart(k):
    """rollout restart replaces every pod"""
    before = set(k("get", "pods", "-l", "app=web", "-o", "name").split())
    k("rollout", "restart", "deployment/web", says="deployment.apps/web restarted")
    k.settled("web")
    k.eventually(lambda: not before & set(k("get", "pods", "-l", "app=web", "-o", "name").split()), "the old pods go")


def check_pause(k):
    """rollout pause and resume"""
    k("rollout", "pause", "deployment/web", says="deployment.apps/web paused")
    generation = k.value("deployment/web", ".metadata.generation")
    sets = len(k.get("rs", "-l", "app=web")["items"])
    set_marker(k, "paused")
    k("wait", f"--for=jsonpath={{.status.observedGeneration}}={int(generation) + 1}", "deployment/web", "--timeout=30s")
    equal(len(k.get("rs", "-l", "app=web")["items"]), sets, "ReplicaSets while paused")
    k.refused("rollout", "pause", "deployment/web", says="already paused")
    k.refused("rollout", "restart", "deployment/web", says="can't restart paused deployment")
    k("rollout", "resume", "deployment/web", says="deployment.apps/web resumed")
    k.settled("web")
    equal(len(k.get("rs", "-l", "app=web")["items"]), sets + 1, "ReplicaSets afterwards")


def check_stuck(k):
    """rollout status gives up on what does not get ready"""
    k("apply", "-f", "-", input=k.deployment("stuck").replace('["sleep", "3600"]', '["false"]'))
    k.refused("rollout", "status", "deployment/stuck", "--timeout=3s", says="timed out waiting for the condition")
    k(
        "patch",
        "deployment",
        "stuck",
        "-p",
        '{"spec": {"progressDeadlineSeconds": 1, "template": {"metadata": {"labels": {"a": "b"}}}}}',
    )
    k.refused(
        "rollout",
        "status",
        "deployment/stuck",
        "--timeout=60s",
        says='deployment "stuck" exceeded its progress deadline',
    )
    k("delete", "deployment", "stuck")


def check_stateful(k):
    """StatefulSets roll out in order, and are undone"""
    k(
        "apply",
        "-f",
        "-",
        input=k.deployment("db", 2)
        .replace("kind: Deployment", "kind: StatefulSet")
        .replace("  selector:", "  serviceName: db\n  selector:"),
    )
    k("rollout", "status", "statefulset/db", "--timeout=60s", says="complete")
    equal(k("get", "pods", "-l", "app=db", "-o", "name").split(), ["pod/db-0", "pod/db-1"], "pods")
    k("set", "env", "statefulset/db", "MARKER=one", says="env updated")
    k("rollout", "status", "statefulset/db", "--timeout=60s", says="complete")
    equal(k.value("pod/db-0", ".spec.containers[0].env[0].value"), "one", "marker of the first pod")
    contains(k("rollout", "history", "statefulset/db"), "REVISION")
    k("rollout", "undo", "statefulset/db", says="rolled back")
    k("rollout", "status", "statefulset/db", "--timeout=60s", says="complete")
    equal(k.value("pod/db-0", ".spec.containers[0].env"), "", "variables of the first pod")


def check_daemon(k):
    """DaemonSets have a pod on each node, and restart"""
    k(
        "apply",
        "-f",
        "-",
        input=k.deployment("agent").replace("kind: Deployment", "kind: DaemonSet").replace("  replicas: 1\n", ""),
    )
    k("rollout", "status", "daemonset/agent", "--timeout=60s", says='daemon set "agent" successfully rolled out')
    nodes = [node for node in k.get("nodes")["items"] if not node.get("spec", {}).get("taints")]
    equal(len(k.get("pods", "-l", "app=agent")["items"]), len(nodes), "pods")
    k("rollout", "restart", "daemonset/agent", says="daemonset.apps/agent restarted")
    k("rollout", "status", "daemonset/agent", "--timeout=60s", says="successfully rolled out")
    contains(k("rollout", "history", "daemonset/agent"), "2")
    k("delete", "daemonset", "agent")


def check_expose(k):
    """expose makes a Service whose endpoints follow the pods"""
    k("expose", "deployment/web", "--port=80", "--target-port=8080", "--name=front", says="service/front exposed")
    equal(k.get("service", "front")["spec"]["selector"], {"app": "web"}, "selector")
    addresses = "{.items[*].endpoints[?(@.conditions.ready==true)].addresses[0]}"
    k.eventually(
        lambda: len(
            k("get", "endpointslice", "-l", "kubernetes.io/service-name=front", "-o", f"jsonpath={addresses}").split()
        )
        == 2,
        "two ready endpoints",
    )
    k("scale", "deployment/web", "--replicas=1")
    k.eventually(
        lambda: len(
            k("get", "endpointslice", "-l", "kubernetes.io/service-name=front", "-o", f"jsonpath={addresses}").split()
        )
        == 1,
        "one ready endpoint",
    )
    expect(k.get("endpoints", "front")["subsets"], "no Endpoints")
