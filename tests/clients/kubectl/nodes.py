"""What is done to nodes. Only pods of the check are evicted."""

import re

from ..report import contains, equal, expect


def node_of(k):
    return k.value("pod/alone", ".spec.nodeName")


def check_setting(k):
    """pods run on a node"""
    k(
        "apply",
        "-f",
        "-",
        input=k.pod("alone", labels=f"drained: {k.namespace}")
        + "---"
        + k.deployment("web", 2).replace(
            "metadata: {labels: {app: web}}", f"metadata: {{labels: {{app: web, drained: {k.namespace}}}}}"
        ),
    )
    k.settled("web")
    k("wait", "--for=condition=Ready", "pod/alone", "--timeout=60s")
    expect(node_of(k), "no node")


def check_get(k):
    """get and describe show a node"""
    contains(k("get", "nodes"), "STATUS", "ROLES", "VERSION", "Ready")
    out = k("describe", "node", node_of(k))
    for pattern in [r"^Name: +\S+$", r"^Unschedulable: +false$", r"^ +Ready +True ", r"^Lease:$", r"^Allocatable:$"]:
        expect(re.search(pattern, out, re.M), f"no line {pattern}", out)


def check_cordon(k):
    """cordon keeps new pods away"""
    node = node_of(k)
    try:
        k("cordon", node, says=f"node/{node} cordoned")
        contains(k("get", "node", node), "Ready,SchedulingDisabled")
        k("cordon", node, says="already cordoned")
        k(
            "run",
            "pinned",
            f"--image={k.image}",
            "--overrides",
            f'{{"spec": {{"nodeSelector": {{"kubernetes.io/hostname": "{node}"}}}}}}',
            "--command",
            "--",
            "sleep",
            "60",
        )
        k("wait", "--for=condition=PodScheduled=False", "pod/pinned", "--timeout=30s")
    finally:
        k("uncordon", node, says="uncordoned")
    k("wait", "--for=condition=Ready", "pod/pinned", "--timeout=60s")
    k("delete", "pod", "pinned", "--now")


def check_drain(k):
    """drain evicts pods, and asks before it loses one that nobody makes again"""
    node = node_of(k)
    ours = f"--pod-selector=drained={k.namespace}"
    try:
        k.refused("drain", node, ours, "--ignore-daemonsets", says=["cannot delete", "use --force", "alone"])
        k("drain", node, ours, "--force", "--ignore-daemonsets", "--timeout=60s", says=[f"node/{node} drained"])
        k.refused("get", "pod", "alone", says="NotFound")
        contains(k("get", "node", node), "SchedulingDisabled")
        left = [
            pod["metadata"]["name"]
            for pod in k.get("pods", "-l", "app=web", f"--field-selector=spec.nodeName={node}")["items"]
        ]
        equal(left, [], "pods that are left on the node")
    finally:
        k("uncordon", node)
    k.settled("web")


def check_drain_budget(k):
    """drain respects a disruption budget"""
    k("create", "pdb", "all", "--selector=app=web", "--max-unavailable=0")
    k("wait", "--for=jsonpath={.status.expectedPods}=2", "pdb/all", "--timeout=30s")
    node = k("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].spec.nodeName}")
    try:
        result = k.run("drain", node, f"--pod-selector=drained={k.namespace}", "--ignore-daemonsets", "--timeout=3s")
        expect(result.code != 0, "it was drained", result.all)
        contains(result.out + result.err, "Cannot evict pod as it would violate the pod's disruption budget")
    finally:
        k("uncordon", node)
        k("delete", "pdb", "all")


def check_taint(k):
    """taint sets and removes taints"""
    key = f"of.test/{k.namespace}"
    node = k("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].spec.nodeName}")
    try:
        k("taint", "node", node, f"{key}=yes:NoSchedule", says=f"node/{node} tainted")
        k.refused("taint", "node", node, f"{key}=no:NoSchedule", says="already has")
        k("taint", "node", node, f"{key}=no:NoSchedule", "--overwrite", says="modified")
        contains(k("describe", "node", node), f"{key}=no:NoSchedule")
    finally:
        k("taint", "node", node, f"{key}-", says="untainted")
    expect(key not in str(k.get("node", node)["spec"].get("taints", [])), "the taint is still there")


def check_label(k):
    """label of a node steers pods"""
    node = k("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].spec.nodeName}")
    key = f"of.test/{k.namespace}"
    try:
        k("label", "node", node, f"{key}=here", says="labeled")
        k(
            "run",
            "steered",
            f"--image={k.image}",
            "--overrides",
            f'{{"spec": {{"nodeSelector": {{"{key}": "here"}}}}}}',
            "--command",
            "--",
            "sleep",
            "60",
        )
        k("wait", "--for=condition=Ready", "pod/steered", "--timeout=60s")
        equal(k.value("pod/steered", ".spec.nodeName"), node, "node")
    finally:
        k("label", "node", node, f"{key}-")
