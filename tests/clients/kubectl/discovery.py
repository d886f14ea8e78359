"""What the server says of itself: versions, resources, documentation."""

import json
import re
import urllib.request

from ..report import contains, equal, expect


def check_version(k):
    """version tells both versions"""
    versions = json.loads(k("version", "-o", "json"))
    equal(versions["clientVersion"]["minor"].rstrip("+"), str(k.minor), "minor of the client")
    equal(versions["serverVersion"]["major"], "1", "major of the server")
    k("version", says=["Client Version: v1.", "Server Version: v1."])


def check_api_versions(k):
    """api-versions lists the groups"""
    lines = k("api-versions").split()
    for version in ["v1", "apps/v1", "batch/v1", "rbac.authorization.k8s.io/v1", "apiextensions.k8s.io/v1"]:
        expect(version in lines, f"{version} is missing", lines)


def check_api_resources(k):
    """api-resources lists kinds with short names, by group, scope and verb"""
    table = k("api-resources")
    expect(re.search(r"^deployments +deploy +apps/v1 +true +Deployment$", table, re.M), "no line of deployments", table)
    expect(re.search(r"^pods +po +v1 +true +Pod$", table, re.M), "no line of pods", table)
    cluster = k("api-resources", "--namespaced=false", "-o", "name").split()
    expect("nodes" in cluster and "pods" not in cluster, "scope is not told apart", cluster)
    apps = k("api-resources", "--api-group=apps", "-o", "name").split()
    equal(
        sorted(apps),
        sorted(
            f"{name}.apps"
            for name in ("controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets")
        ),
        "group apps",
    )
    creating = k("api-resources", "--verbs=create", "-o", "name").split()
    expect("pods" in creating and "componentstatuses" not in creating, "verbs are not told apart", creating)
    k(
        "api-resources",
        "-o",
        "wide",
        "--api-group=batch",
        says=["create,delete,deletecollection,get,list,patch,update,watch"],
    )


def check_explain(k):
    """explain knows the fields of pods"""
    k(
        "explain",
        "pod.spec.containers",
        says=["KIND:       Pod", "FIELD: containers <[]Container>", "image\t<string>", "-required-"],
    )
    k("explain", "deployment.spec.strategy.rollingUpdate.maxSurge", says=["GROUP:      apps", "<IntOrString>"])
    k("explain", "job", "--recursive", says=["ttlSecondsAfterFinished\t<integer>", "activeDeadlineSeconds\t<integer>"])
    k("explain", "cronjobs", "--api-version=batch/v1", says=["KIND:       CronJob", "VERSION:    v1"])


def check_explain_unknown(k):
    """explain says that a field does not exist"""
    k.refused("explain", "pod.spec.nonsense", says='field "nonsense" does not exist')


def check_explain_old_document(k):
    """explain reads the OpenAPI v2 document too"""
    k("explain", "pod.spec.containers", "--output=plaintext-openapiv2", says=["KIND:     Pod", "image\t<string>"])


def check_unknown_type(k):
    """a type that is not served is named"""
    k.refused("get", "nonsense", says='the server doesn\'t have a resource type "nonsense"')


def check_cluster_info(k):
    """cluster-info tells where the control plane is"""
    k("cluster-info", says="is running at")


def check_config(k):
    """config shows the kubeconfig without its keys"""
    shown = k("config", "view", "--minify", says=["current-context:", f"namespace: {k.namespace}"])
    expect("PRIVATE" not in shown, "a key is shown", "it is not repeated here")
    current = k("config", "current-context").strip()
    equal(k("config", "get-contexts", "-o", "name").split().count(current), 1, "contexts of this name")


def check_raw(k):
    """get --raw reads paths that are no resources"""
    equal(k("get", "--raw", "/healthz"), "ok", "/healthz")
    k("get", "--raw", "/readyz?verbose", says="readyz check passed")
    equal(json.loads(k("get", "--raw", "/version"))["major"], "1", "/version")
    k("get", "--raw", "/metrics", says="# TYPE")


def check_proxy(k):
    """proxy passes requests on"""
    answers = []

    def ask(line):
        address = re.search(r"127\.0\.0\.1:\d+", line)
        if address:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{address[0]}/api/v1/namespaces/{k.namespace}", timeout=30) as answer:
                answers.append(json.load(answer))
        return bool(address)

    k.until("proxy", "--port=0", seen=ask)
    equal(answers[0]["metadata"]["name"], k.namespace, "name of the namespace")


def check_completion(k):
    """completion offers the names of objects"""
    offered = k("__complete", "get", "serviceaccounts", "")
    contains(offered, "default")
