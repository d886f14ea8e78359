"""delete, and waiting for it."""

from ..report import equal, expect


def deployment(k, name):
    k("apply", "-f", "-", input=k.deployment(name, 1))
    k.settled(name)
    return k("get", "rs", "-l", f"app={name}", "-o", "name").strip()


def check_waits(k):
    """delete waits until the object is gone"""
    k("apply", "-f", "-", input=k.pod("alone"))
    k("wait", "--for=condition=Ready", "pod/alone", "--timeout=60s")
    k("delete", "pod", "alone", says='pod "alone" ')
    k.refused("get", "pod", "alone", says="NotFound")
    k.refused("delete", "pod", "alone", says='pods "alone" not found')
    k("delete", "pod", "alone", "--ignore-not-found")


def check_wait_delete(k):
    """wait --for=delete"""
    k("apply", "-f", "-", input=k.pod("alone"))
    k("wait", "--for=condition=Ready", "pod/alone", "--timeout=60s")
    k.refused("wait", "--for=delete", "pod/alone", "--timeout=1s", says="timed out")
    k("delete", "pod", "alone", "--wait=false")
    result = k.run("wait", "--for=delete", "pod/alone", "--timeout=60s")
    expect(result.code == 0, "it failed", result.all)
    k.refused("get", "pod", "alone", says="NotFound")
    k("wait", "--for=delete", "pod/nobody", "--timeout=5s")


def check_grace_period(k):
    """delete --grace-period=0 --force does not wait for the node"""
    k(
        "apply",
        "-f",
        "-",
        input=k.pod("stubborn").replace("terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 600"),
    )
    k("wait", "--for=condition=Ready", "pod/stubborn", "--timeout=60s")
    k("delete", "pod", "stubborn", "--grace-period=0", "--force", says='pod "stubborn" force deleted')
    k.refused("get", "pod", "stubborn", says="NotFound")
    k("apply", "-f", "-", input=k.pod("short"))
    k("wait", "--for=condition=Ready", "pod/short", "--timeout=60s")
    k("delete", "pod", "short", "--grace-period=1", says="deleted")


def check_background(k):
    """delete takes the dependents along"""
    deployment(k, "web")
    k("delete", "deployment", "web", says='deployment.apps "web" deleted')
    k.eventually(lambda: not k("get", "rs,pods", "-l", "app=web", "-o", "name"), "the dependents go")


def check_foreground(k):
    """delete --cascade=foreground deletes the dependents first"""
    deployment(k, "web")
    k("delete", "deployment", "web", "--cascade=foreground", says="deleted")
    equal(k("get", "rs,pods", "-l", "app=web", "-o", "name"), "", "dependents when the owner is gone")


def check_orphan(k):
    """delete --cascade=orphan leaves the dependents"""
    replicas = deployment(k, "web")
    k("delete", "deployment", "web", "--cascade=orphan", says="deleted")
    expect("ownerReferences" not in k.get(replicas)["metadata"], "the owner is still named")
    equal(k.value(replicas, ".status.readyReplicas"), "1", "ready replicas")
    # A Deployment of the same selector adopts it.
    k("apply", "-f", "-", input=k.deployment("web", 1))
    k.settled("web")
    k.eventually(lambda: k.value(replicas, ".metadata.ownerReferences[0].kind") == "Deployment", "it is adopted")
    k("delete", "deployment", "web")


def check_finalizer(k):
    """delete waits for finalizers"""
    k("create", "configmap", "held")
    k("patch", "configmap", "held", "-p", '{"metadata": {"finalizers": ["of.test/hold"]}}')
    k("delete", "configmap", "held", "--wait=false")
    expect(k.value("configmap/held", ".metadata.deletionTimestamp"), "no time of deletion")
    k.refused("delete", "configmap", "held", "--timeout=1s", says="timed out")
    k("patch", "configmap", "held", "--type=json", "-p", '[{"op": "remove", "path": "/metadata/finalizers"}]')
    k.refused("get", "configmap", "held", says="NotFound")


def check_many(k):
    """delete by label, by file, all, and several types"""
    for name in ("a", "b", "c"):
        k("create", "configmap", name)
        k("label", "configmap", name, f"set={'x' if name == 'c' else 'y'}")
    out = k("delete", "configmap", "-l", "set=y")
    equal(len(out.splitlines()), 2, "lines")
    k("get", "configmap", "c")
    k("create", "secret", "generic", "c")
    k("delete", "configmap/c", "secret/c", says=['configmap "c" deleted', 'secret "c" deleted'])
    file = k.file("x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
    k("create", "-f", file)
    k("delete", "-f", file, "--dry-run=server", says="deleted")
    k("get", "configmap", "x")
    k("delete", "-f", file, says='configmap "x" deleted')
    k("create", "secret", "generic", "d")
    k("delete", "secrets", "--all", says='secret "d" deleted')
    equal(k("get", "secrets", "-o", "name"), "", "secrets")


def check_collection(k):
    """delete --all of pods deletes them in one go"""
    k("apply", "-f", "-", input="---".join(k.pod(f"p{i}") for i in range(3)))
    k("wait", "--for=condition=Ready", "pods", "--all", "--timeout=60s")
    k("delete", "pods", "--all", "--now", says='pod "p2" ')
    equal(k("get", "pods", "-o", "name"), "", "pods")


def check_raw(k):
    """delete --raw deletes by path"""
    k("create", "configmap", "raw")
    k("delete", "--raw", f"/api/v1/namespaces/{k.namespace}/configmaps/raw", says='"status":"Success"')


def check_namespace(k):
    """delete namespace deletes all in it"""
    space = f"{k.namespace}-gone"
    k("create", "namespace", space)
    k("apply", "-n", space, "-f", "-", input=k.deployment("web", 1))
    k("rollout", "status", "-n", space, "deployment/web", "--timeout=60s")
    k("delete", "namespace", space, "--timeout=60s", says=f'namespace "{space}" deleted')
    k.refused("get", "namespace", space, says="NotFound")
    k.refused("get", "deployment", "web", "-n", space, says="NotFound")
