"""What changes an object: label, annotate, patch, edit, replace, set, scale."""

import json

from ..report import contains, equal, expect


def check_setting(k):
    """the objects that are changed are there"""
    k("apply", "-f", "-", input=k.deployment("web", 1) + "---" + k.pod("alone"))
    k.settled("web")


def check_label(k):
    """label sets, refuses to overwrite, overwrites, removes and lists"""
    k("label", "pod", "alone", "tier=back", says="pod/alone labeled")
    k("label", "pod", "alone", "tier=back", says="pod/alone not labeled")
    k.refused("label", "pod", "alone", "tier=front", says=["already has a value (back)", "--overwrite is false"])
    k("label", "pod", "alone", "tier=front", "--overwrite", says="labeled")
    k("label", "pod", "alone", "--list", says=["app=alone", "tier=front"])
    k("label", "pods", "-l", "app=alone", "all=yes", says="pod/alone labeled")
    k("label", "pod", "alone", "tier-", "all-", says="pod/alone unlabeled")
    equal(k.get("pod", "alone")["metadata"]["labels"], {"app": "alone"}, "labels")
    k.refused("label", "pod", "alone", "bad key=1", says="bad key")
    k.refused("label", "pod", "alone", "a=1", "--resource-version=1", says="Conflict")


def check_annotate(k):
    """annotate sets, overwrites, removes and lists"""
    k("annotate", "pod", "alone", "note=one two", says="pod/alone annotated")
    k.refused("annotate", "pod", "alone", "note=three", says="already has a value")
    k("annotate", "pod", "alone", "note=three", "--overwrite", says="annotated")
    k("annotate", "pod", "alone", "--list", says="note=three")
    k("annotate", "pod", "alone", "note-", says="annotated")
    expect("note" not in k.get("pod", "alone")["metadata"].get("annotations", {}), "the annotation is still there")


def check_patches(k):
    """patch of each of the three types"""
    k(
        "patch",
        "deployment",
        "web",
        "-p",
        json.dumps(
            {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "A", "value": "1"}]}]}}}}
        ),
        says="deployment.apps/web patched",
    )
    container = k.get("deployment", "web")["spec"]["template"]["spec"]["containers"]
    equal((len(container), container[0]["image"], container[0]["env"][0]["name"]), (1, k.image, "A"), "strategic merge")
    k("patch", "deployment", "web", "--type=merge", "-p", '{"metadata": {"labels": {"b": "2"}}}', says="patched")
    k("patch", "deployment", "web", "--type=merge", "-p", '{"metadata": {"labels": {"b": null}}}', says="patched")
    equal(k.get("deployment", "web")["metadata"]["labels"], {"app": "web"}, "merge")
    k(
        "patch",
        "deployment",
        "web",
        "--type=json",
        "-p",
        json.dumps(
            [
                {"op": "test", "path": "/spec/replicas", "value": 1},
                {"op": "add", "path": "/metadata/labels/c", "value": "3"},
            ]
        ),
        says="patched",
    )
    equal(k.value("deployment/web", ".metadata.labels.c"), "3", "JSON patch")
    k("patch", "deployment", "web", "--type=json", "-p", '[{"op": "remove", "path": "/metadata/labels/c"}]')
    k("patch", "deployment", "web", "-p", "{}", says="patched (no change)")


def check_patch_refused(k):
    """patch says what cannot be applied"""
    k.refused(
        "patch",
        "deployment",
        "web",
        "--type=json",
        "-p",
        '[{"op": "remove", "path": "/metadata/labels/none"}]',
        says=["the server rejected our request"],
    )
    k.refused(
        "patch",
        "deployment",
        "web",
        "--type=json",
        "-p",
        '[{"op": "test", "path": "/spec/replicas", "value": 7}]',
        says="replicas",
    )
    k.refused("patch", "deployment", "web", "-p", '{"spec": {"replicas": "many"}}', says="spec.replicas")
    k.refused("patch", "deployment", "nobody", "-p", "{}", says='deployments.apps "nobody" not found')


def check_patch_subresource(k):
    """patch --subresource changes status and scale only"""
    k(
        "patch",
        "deployment",
        "web",
        "--subresource=scale",
        "--type=merge",
        "-p",
        '{"spec": {"replicas": 2}}',
        says="patched",
    )
    k.settled("web")
    equal(k.value("deployment/web", ".spec.replicas"), "2", "replicas")
    patch = {"spec": {"nodeName": "elsewhere"}, "status": {"conditions": [{"type": "of.test/Own", "status": "True"}]}}
    k("patch", "pod", "alone", "--subresource=status", "-p", json.dumps(patch), says="pod/alone patched")
    conditions = k.get("pod", "alone")["status"]["conditions"]
    expect(
        any(condition["type"] == "of.test/Own" for condition in conditions), "the condition is not there", conditions
    )
    expect(k.value("pod/alone", ".spec.nodeName") != "elsewhere", "the spec was changed")
    k("get", "deployment", "web", "--subresource=scale", says="DESIRED")
    equal(json.loads(k("get", "deployment", "web", "--subresource=scale", "-o", "json"))["kind"], "Scale", "kind")


def check_edit(k):
    """edit sends what the editor wrote"""
    k("create", "configmap", "edited", "--from-literal=word=before")
    k("edit", "configmap", "edited", env={"KUBE_EDITOR": "sed -i s/before/after/"}, says="configmap/edited edited")
    equal(k.value("configmap/edited", ".data.word"), "after", "word")
    result = k.run("edit", "configmap", "edited", env={"KUBE_EDITOR": "true"})
    contains(result.out + result.err, "no changes made")


def check_edit_refused(k):
    """edit shows what the server refused"""
    # The editor is opened again with the message; without a change the client gives up.
    script = k.file(
        "editor.sh",
        '#!/bin/sh\nif [ -e "$0.done" ]; then cp "$1" "$0.second"; else touch "$0.done"; sed -i "s/replicas: 2/replicas: -2/" "$1"; fi\n',
    )
    script.chmod(0o755)
    result = k.run("edit", "deployment", "web", env={"KUBE_EDITOR": str(script)})
    expect(result.code != 0, "it was taken", result.all)
    second = k.directory / "editor.sh.second"
    expect(second.exists(), "the editor was not opened again", result.all)
    contains(second.read_text(), "spec.replicas", "must be greater than or equal to 0")
    equal(k.value("deployment/web", ".spec.replicas"), "2", "replicas")


def check_edit_subresource(k):
    """edit --subresource=status edits the status"""
    k(
        "edit",
        "pod",
        "alone",
        "--subresource=status",
        env={"KUBE_EDITOR": "sed -i s,of.test/Own,of.test/Edited,"},
        says="edited",
    )
    expect("of.test/Edited" in k.value("pod/alone", ".status.conditions[*].type"), "the condition was not edited")


def check_replace(k):
    """replace puts another object in place, unless it is outdated"""
    configmap = k.get("configmap", "edited")
    configmap["data"] = {"other": "yes"}
    k("replace", "-f", "-", input=json.dumps(configmap), says="configmap/edited replaced")
    equal(k.get("configmap", "edited")["data"], {"other": "yes"}, "data")
    k.refused(
        "replace",
        "-f",
        "-",
        input=json.dumps(configmap),
        says=["(Conflict)", "the object has been modified; please apply your changes to the latest version"],
    )
    k.refused(
        "replace",
        "-f",
        "-",
        input='{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nobody"}}',
        says='configmaps "nobody" not found',
    )


def check_replace_force(k):
    """replace --force deletes and creates"""
    uid = k.value("pod/alone", ".metadata.uid")
    k(
        "replace",
        "--force",
        "--grace-period=0",
        "-f",
        k.file("alone.yaml", k.pod("alone", labels="made: again")),
        says="pod/alone replaced",
    )
    expect(k.value("pod/alone", ".metadata.uid") != uid, "it is the same pod")
    equal(k.value("pod/alone", ".metadata.labels.made"), "again", "label")


def check_set(k):
    """set image, env, resources, serviceaccount and selector"""
    container = ".spec.template.spec.containers[0]"
    k("set", "image", "deployment/web", f"main={k.image}-next", says="deployment.apps/web image updated")
    equal(k.value("deployment/web", f"{container}.image"), f"{k.image}-next", "image")
    k("set", "image", "deployment/web", f"*={k.image}", says="image updated")
    k("set", "env", "deployment/web", "B=2", "A-", says="env updated")
    equal(k.value("deployment/web", f"{container}.env[*].name"), "B", "names of variables")
    k("set", "env", "deployment/web", "--list", says="B=2")
    k("create", "configmap", "settings", "--from-literal=COLOUR=blue")
    k("set", "env", "deployment/web", "--from=configmap/settings", says="env updated")
    equal(k.value("deployment/web", f"{container}.env[1].valueFrom.configMapKeyRef.key"), "COLOUR", "key")
    k(
        "set",
        "resources",
        "deployment/web",
        "--requests=cpu=10m,memory=16Mi",
        "--limits=memory=64Mi",
        says="resource requirements updated",
    )
    equal(
        k.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["resources"],
        {"limits": {"memory": "64Mi"}, "requests": {"cpu": "10m", "memory": "16Mi"}},
        "resources",
    )
    k("create", "serviceaccount", "robot")
    k("set", "serviceaccount", "deployment/web", "robot", says="serviceaccount updated")
    k("create", "service", "clusterip", "web", "--tcp=80")
    k("set", "selector", "service/web", "app=web,tier=front", says="selector updated")
    equal(k.get("service", "web")["spec"]["selector"], {"app": "web", "tier": "front"}, "selector")
    k.settled("web")


def check_set_subject(k):
    """set subject adds to a binding"""
    k("create", "rolebinding", "viewers", "--clusterrole=view", "--user=ann")
    k(
        "set",
        "subject",
        "rolebinding",
        "viewers",
        "--user=bob",
        f"--serviceaccount={k.namespace}:robot",
        says="subjects updated",
    )
    equal(k.value("rolebinding/viewers", ".subjects[*].name"), "ann bob robot", "subjects")


def check_scale(k):
    """scale sets the replicas, on condition too"""
    k("scale", "deployment/web", "--replicas=3", says="deployment.apps/web scaled")
    k.settled("web")
    equal(k.value("deployment/web", ".status.readyReplicas"), "3", "ready replicas")
    k.refused(
        "scale", "deployment/web", "--replicas=5", "--current-replicas=1", says="Expected replicas to be 1, was 3"
    )
    k("scale", "deployment", "--all", "--replicas=1", "--current-replicas=3", says="scaled")
    k("wait", "--for=jsonpath={.status.replicas}=1", "deployment/web", "--timeout=60s")
    k("scale", "deployment/web", "--replicas=0", "--timeout=60s", says="scaled")
    k.eventually(lambda: not k.get("pods", "-l", "app=web")["items"], "pods go")
    k.refused("scale", "service/web", "--replicas=1", says="could not find the requested resource")


def check_autoscale(k):
    """autoscale makes an autoscaler"""
    k(
        "autoscale",
        "deployment/web",
        "--min=2",
        "--max=4",
        "--cpu-percent=70" if k.minor < 34 else "--cpu=70%",
        says="horizontalpodautoscaler.autoscaling/web autoscaled",
    )
    k("get", "hpa", "web", says=["Deployment/web", "70%", "2", "4"])
    equal(k.value("hpa/web", ".spec.metrics[0].resource.target.averageUtilization"), "70", "target")
    k("delete", "hpa", "web", says="deleted")
