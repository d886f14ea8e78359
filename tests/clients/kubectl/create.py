"""create, with each of its generators, and what it refuses."""

import base64
import json

from ..report import equal, expect
from ..pki import make_certificate


def check_configmap(k):
    """create configmap takes literals and files"""
    file = k.file("motd.txt", "good morning\n")
    k("create", "configmap", "settings", "--from-literal=a=1", f"--from-file={file}", says="configmap/settings created")
    equal(k.get("configmap", "settings")["data"], {"a": "1", "motd.txt": "good morning\n"}, "data")


def check_secrets(k):
    """create secret makes generic, registry and TLS secrets"""
    k("create", "secret", "generic", "password", "--from-literal=value=s3cret", says="secret/password created")
    secret = k.get("secret", "password")
    equal(base64.b64decode(secret["data"]["value"]), b"s3cret", "value")
    equal(secret["type"], "Opaque", "type")
    k(
        "create",
        "secret",
        "docker-registry",
        "pull",
        "--docker-server=registry.test",
        "--docker-username=u",
        "--docker-password=p",
        says="secret/pull created",
    )
    pull = json.loads(base64.b64decode(k.get("secret", "pull")["data"][".dockerconfigjson"]))
    equal(pull["auths"]["registry.test"]["username"], "u", "user name")


def check_tls_secret(k):
    """create secret tls takes a certificate"""
    key, certificate = make_certificate(k.directory, "tls")
    k("create", "secret", "tls", "web", f"--cert={certificate}", f"--key={key}", says="secret/web created")
    equal(k.value("secret/web", ".type"), "kubernetes.io/tls", "type")


def check_deployment(k):
    """create deployment makes running pods"""
    k(
        "create",
        "deployment",
        "web",
        f"--image={k.image}",
        "--replicas=2",
        "--port=80",
        "--",
        "sleep",
        "3600",
        says="deployment.apps/web created",
    )
    k.settled("web")
    equal(k.value("deployment/web", ".status.readyReplicas"), "2", "ready replicas")
    equal(len(k.get("pods", "-l", "app=web")["items"]), 2, "pods")


def check_job(k):
    """create job runs to its end, also from a CronJob"""
    k(
        "create",
        "cronjob",
        "nightly",
        f"--image={k.image}",
        "--schedule=0 3 * * *",
        "--",
        "true",
        says="cronjob.batch/nightly created",
    )
    k("create", "job", "once", f"--image={k.image}", "--", "true", says="job.batch/once created")
    k("create", "job", "now", "--from=cronjob/nightly", says="job.batch/now created")
    k(
        "wait",
        "--for=condition=complete",
        "job/once",
        "job/now",
        "--timeout=60s",
        says=["job.batch/once condition met", "job.batch/now condition met"],
    )
    equal(k.value("job/now", ".status.succeeded"), "1", "pods that succeeded")
    equal(k.value("job/now", ".metadata.ownerReferences[0].kind"), "CronJob", "owner")


def check_services(k):
    """create service makes the four types"""
    k("create", "service", "clusterip", "inner", "--tcp=80:8080", says="service/inner created")
    k("create", "service", "nodeport", "outer", "--tcp=80:8080", says="service/outer created")
    k("create", "service", "loadbalancer", "balanced", "--tcp=443", says="service/balanced created")
    k("create", "service", "externalname", "other", "--external-name=db.test", says="service/other created")
    k("create", "service", "clusterip", "headless", "--clusterip=None", says="service/headless created")
    expect(k.value("service/inner", ".spec.clusterIP").count(".") == 3, "no cluster address")
    expect(30000 <= int(k.value("service/outer", ".spec.ports[0].nodePort")) <= 32767, "no node port")
    equal(k.value("service/balanced", ".spec.type"), "LoadBalancer", "type")
    equal(k.value("service/other", ".spec.externalName"), "db.test", "external name")
    equal(k.value("service/headless", ".spec.clusterIP"), "None", "cluster address of a headless one")


def check_accounts_and_roles(k):
    """create serviceaccount, role, rolebinding and their cluster-wide like"""
    own = k.namespace
    k("create", "serviceaccount", "robot", says="serviceaccount/robot created")
    k("create", "role", "reader", "--verb=get,list", "--resource=pods,deployments.apps", says="reader created")
    rules = k.get("role", "reader")["rules"]
    equal(
        rules,
        [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
        ],
        "rules",
    )
    k(
        "create",
        "rolebinding",
        "readers",
        "--role=reader",
        f"--serviceaccount={own}:robot",
        "--user=ann",
        says="readers created",
    )
    equal(k.value("rolebinding/readers", ".subjects[*].name"), "ann robot", "subjects")
    try:
        k("create", "clusterrole", own, "--verb=get", "--non-resource-url=/metrics", says="created")
        k("create", "clusterrolebinding", own, f"--clusterrole={own}", "--group=watchers", says="created")
        equal(k.value(f"clusterrolebinding/{own}", ".roleRef.name"), own, "role that is bound")
    finally:
        k.run("delete", "clusterrole,clusterrolebinding", own, "--ignore-not-found")


def check_quota(k):
    """create quota counts and refuses what is too much"""
    space = f"{k.namespace}-quota"
    k("create", "namespace", space, says="created")
    try:
        k("create", "quota", "few", "--hard=configmaps=2", "-n", space, says="resourcequota/few created")
        k("wait", "--for=jsonpath={.status.used.configmaps}=1", "resourcequota/few", "-n", space, "--timeout=30s")
        k("create", "configmap", "one", "-n", space)
        error = k.refused("create", "configmap", "two", "-n", space, says=["forbidden", "exceeded quota: few"])
        expect(
            "requested: configmaps=1, used: configmaps=2, limited: configmaps=2" in error,
            "the message lacks numbers",
            error,
        )
    finally:
        k.run("delete", "namespace", space, "--wait=false")


def check_others(k):
    """create ingress, poddisruptionbudget and priorityclass"""
    k("create", "ingress", "front", "--rule=shop.test/cart*=inner:80", says="ingress.networking.k8s.io/front created")
    equal(k.value("ingress/front", ".spec.rules[0].http.paths[0].pathType"), "Prefix", "type of path")
    k(
        "create",
        "poddisruptionbudget",
        "keep",
        "--selector=app=web",
        "--min-available=1",
        says="poddisruptionbudget.policy/keep created",
    )
    k("wait", "--for=jsonpath={.status.disruptionsAllowed}=1", "pdb/keep", "--timeout=30s")
    try:
        k("create", "priorityclass", k.namespace, "--value=10", "--description=of a check", says="created")
        equal(k.value(f"priorityclass/{k.namespace}", ".value"), "10", "value")
    finally:
        k.run("delete", "priorityclass", k.namespace, "--ignore-not-found")


def check_exists_already(k):
    """create says what exists already"""
    k.refused("create", "configmap", "settings", says='configmaps "settings" already exists')


def check_generate_name(k):
    """create gives names by generateName"""
    manifest = k.file("generated.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: made-}\n")
    first, second = (k("create", "-f", manifest, "-o", "name").strip() for _ in range(2))
    expect(first.startswith("configmap/made-") and first != second, f"names {first} and {second}")


def check_dry_run_server(k):
    """create --dry-run=server gives defaults and stores nothing"""
    manifest = k.file("dry.yaml", k.deployment("dry"))
    k("create", "-f", manifest, "--dry-run=server", says="deployment.apps/dry created (server dry run)")
    made = json.loads(k("create", "-f", manifest, "--dry-run=server", "-o", "json"))
    equal(made["spec"]["strategy"]["type"], "RollingUpdate", "default of the strategy")
    k.refused("get", "deployment", "dry", says='deployments.apps "dry" not found')
    k("create", "deployment", "dry", f"--image={k.image}", "--dry-run=client", "-o", "yaml", says="kind: Deployment")
    k.refused("get", "deployment", "dry", says="NotFound")


def check_strict(k):
    """create --validate=strict refuses unknown and doubled fields"""
    unknown = k.file("unknown.yaml", k.pod("strict").replace("spec:\n", "spec:\n  nonsense: 1\n"))
    k.refused(
        "create", "-f", unknown, "--validate=strict", says=["strict decoding error", 'unknown field "spec.nonsense"']
    )
    # kubectl itself keeps one of two fields of the same name, unless it sends the file as it is.
    doubled = k.file(
        "doubled.json", '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "strict", "name": "strict"}}'
    )
    path = f"/api/v1/namespaces/{k.namespace}/configmaps?fieldValidation=Strict"
    k.refused("create", "--raw", path, "-f", doubled, says='duplicate field "metadata.name"')
    k.refused(
        "get", "pod/strict", "configmap/strict", says=['pods "strict" not found', 'configmaps "strict" not found']
    )


def check_warn(k):
    """create --validate=warn warns of unknown fields and goes on"""
    file = k.file("warn.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: warned}\nnonsense: 1\n")
    result = k.run("create", "-f", file, "--validate=warn")
    equal(result.code, 0, "exit code")
    expect('Warning: unknown field "nonsense"' in result.err, "no warning", result.all)
    expect("nonsense" not in k.get("configmap", "warned"), "the field was stored")


def check_invalid(k):
    """create tells each mistake of an object"""
    file = k.file("invalid.yaml", k.deployment("Bad_Name", -1))
    k.refused(
        "create",
        "-f",
        file,
        says=[
            'The Deployment "Bad_Name" is invalid',
            "metadata.name",
            "spec.replicas",
            "must be greater than or equal to 0",
        ],
    )
    wrong = k.file("wrong.yaml", k.deployment("wrong").replace("replicas: 1", 'replicas: "three"'))
    k.refused("create", "-f", wrong, says=["replicas"])


def check_other_namespace(k):
    """create refuses an object of another namespace"""
    file = k.file("elsewhere.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: default}\n")
    k.refused("create", "-f", file, "-n", k.namespace, says="does not match")
    k.refused("create", "configmap", "x", "-n", "no-such-namespace", says='namespaces "no-such-namespace" not found')
