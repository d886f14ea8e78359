"""apply, on the client's and on the server's side, and what goes with it."""

import json

from ..report import equal, expect


def manifest(k, replicas=1, greeting="hello"):
    return k.file(
        "app.yaml",
        f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: greeting, labels: {{part: app}}}}
data: {{text: {greeting}}}
---
apiVersion: v1
kind: Service
metadata: {{name: app, labels: {{part: app}}}}
spec:
  selector: {{app: app}}
  ports: [{{port: 80, targetPort: 8080}}]
---
{k.deployment("app", replicas)}
---
# A document with nothing in it is passed over.
""",
    )


def owners(k, what):
    """Who manages an object: by manager, with the operation."""
    fields = json.loads(k("get", what, "-o", "json", "--show-managed-fields"))["metadata"]["managedFields"]
    return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in fields}


def check_created(k):
    """apply creates each document of a manifest"""
    out = k("apply", "-f", manifest(k))
    equal(
        out.splitlines(), ["configmap/greeting created", "service/app created", "deployment.apps/app created"], "lines"
    )
    k.settled("app")


def check_unchanged(k):
    """apply again changes nothing"""
    before = k.value("deployment/app", ".metadata.resourceVersion")
    k.settled("app")
    before = k.value("deployment/app", ".metadata.resourceVersion")
    out = k("apply", "-f", manifest(k))
    equal(
        out.splitlines(),
        ["configmap/greeting unchanged", "service/app unchanged", "deployment.apps/app unchanged"],
        "lines",
    )
    equal(k.value("deployment/app", ".metadata.resourceVersion"), before, "resource version")


def check_diff(k):
    """diff shows what apply would change, and changes nothing"""
    equal(k.run("diff", "-f", manifest(k)).code, 0, "exit code without differences")
    result = k.run("diff", "-f", manifest(k, 3, "good day"))
    equal(result.code, 1, "exit code with differences")
    for line in ["-  text: hello", "+  text: good day", "-  replicas: 1", "+  replicas: 3"]:
        expect(line in result.out, f"{line!r} is missing", result.all)
    equal(k.value("configmap/greeting", ".data.text"), "hello", "text")


def check_dry_run(k):
    """apply --dry-run=server tells what would be configured"""
    out = k("apply", "-f", manifest(k, 3), "--dry-run=server")
    equal(out.splitlines()[2], "deployment.apps/app configured (server dry run)", "line")
    equal(k.value("deployment/app", ".spec.replicas"), "1", "replicas")


def check_configured(k):
    """apply of what was changed configures only that"""
    out = k("apply", "-f", manifest(k, 2, "good day"))
    equal(
        out.splitlines(),
        ["configmap/greeting configured", "service/app unchanged", "deployment.apps/app configured"],
        "lines",
    )
    k.settled("app")
    equal(k.value("deployment/app", ".status.readyReplicas"), "2", "ready replicas")
    equal(k.value("configmap/greeting", ".data.text"), "good day", "text")


def check_removes(k):
    """apply removes what the manifest no longer has, and keeps what others set"""
    k(
        "apply",
        "-f",
        "-",
        input="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: three}\ndata: {a: '1', b: '2'}\n",
        says="configmap/three created",
    )
    k("patch", "configmap", "three", "-p", '{"data": {"c": "3"}}')
    k(
        "apply",
        "-f",
        "-",
        input="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: three}\ndata: {a: '1'}\n",
        says="configmap/three configured",
    )
    equal(k.get("configmap", "three")["data"], {"a": "1", "c": "3"}, "data")


def check_last_applied(k):
    """apply view-last-applied and set-last-applied"""
    k("apply", "view-last-applied", "configmap/three", says='a: "1"')
    file = k.file("last.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: three}\ndata: {a: '1', c: '3'}\n")
    k("apply", "set-last-applied", "-f", file, says="configmap/three configured")
    k("apply", "view-last-applied", "configmap/three", says='c: "3"')


def check_server_side(k):
    """apply --server-side owns what it sets"""
    file = k.file("ssa.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa}\ndata: {a: '1', b: '2'}\n")
    k("apply", "--server-side", "--field-manager=first", "-f", file, says="configmap/ssa serverside-applied")
    equal(owners(k, "configmap/ssa"), {("first", "Apply"): {"f:data": {"f:a": {}, "f:b": {}}}}, "owners")
    k(
        "apply",
        "--server-side",
        "--field-manager=first",
        "-f",
        "-",
        input="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa}\ndata: {a: '1'}\n",
    )
    equal(k.get("configmap", "ssa")["data"], {"a": "1"}, "data when b was given up")


def check_conflict(k):
    """apply --server-side refuses a conflict and names the other owner"""
    file = k.file("other.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa}\ndata: {a: '9'}\n")
    k.refused(
        "apply",
        "--server-side",
        "--field-manager=second",
        "-f",
        file,
        says=['conflict with "first"', ".data.a", "--force-conflicts"],
    )
    equal(k.value("configmap/ssa", ".data.a"), "1", "value")


def check_forced(k):
    """apply --force-conflicts takes the field over"""
    file = k.file("other.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa}\ndata: {a: '9'}\n")
    k("apply", "--server-side", "--field-manager=second", "--force-conflicts", "-f", file, says="serverside-applied")
    equal(k.value("configmap/ssa", ".data.a"), "9", "value")
    equal(list(owners(k, "configmap/ssa")), [("second", "Apply")], "owners")


def check_shared(k):
    """apply --server-side of the same value shares it"""
    file = k.file("other.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa}\ndata: {a: '9'}\n")
    k("apply", "--server-side", "--field-manager=third", "-f", file, says="serverside-applied")
    equal(sorted(owners(k, "configmap/ssa")), [("second", "Apply"), ("third", "Apply")], "owners")


def check_migrates(k):
    """apply --server-side takes over what apply made on the client's side"""
    k("apply", "--server-side", "-f", manifest(k, 2, "good day"), says="deployment.apps/app serverside-applied")
    expect(("kubectl", "Apply") in owners(k, "deployment/app"), "kubectl owns nothing", owners(k, "deployment/app"))
    k("apply", "--server-side", "-f", manifest(k, 2, "good night"), says="configmap/greeting serverside-applied")
    equal(k.value("configmap/greeting", ".data.text"), "good night", "text")


def check_directory(k):
    """apply -f takes directories, -R also those below"""
    for name in ("one", "sub/two"):
        k.file(f"tree/{name}.yaml", f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name.split('/')[-1]}}}\n")
    k.file(
        "tree/three.json",
        '{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "listed"}}]}',
    )
    out = k("apply", "-f", k.directory / "tree")
    equal(sorted(out.splitlines()), ["configmap/listed created", "configmap/one created"], "lines")
    k("apply", "-R", "-f", k.directory / "tree", says="configmap/two created")


def check_kustomize(k):
    """apply -k builds and applies a kustomization"""
    k.file("base/kustomization.yaml", "resources: [deployment.yaml]\n")
    k.file("base/deployment.yaml", k.deployment("kustomized"))
    k.file(
        "overlay/kustomization.yaml",
        """
resources: [../base]
namePrefix: my-
replicas: [{name: kustomized, count: 2}]
labels: [{pairs: {team: blue}}]
configMapGenerator: [{name: generated, literals: [a=1]}]
""",
    )
    k("kustomize", k.directory / "overlay", says=["name: my-kustomized", "replicas: 2", "name: my-generated-"])
    k("apply", "-k", k.directory / "overlay", says=["configmap/my-generated-", "deployment.apps/my-kustomized created"])
    k.settled("my-kustomized")
    equal(k.value("deployment/my-kustomized", ".metadata.labels.team"), "blue", "label")
    k("delete", "-k", k.directory / "overlay", says='deployment.apps "my-kustomized" deleted')


def check_prune(k):
    """apply --prune removes what is no longer there"""
    kept = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, labels: {set: pruned}}\n"
    gone = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: gone, labels: {set: pruned}}\n"
    arguments = ["apply", "--prune", "-l", "set=pruned", "--prune-allowlist=core/v1/ConfigMap", "-f", "-"]
    k(*arguments, input=kept + gone, says="configmap/gone created")
    k(*arguments, input=kept, says=["configmap/kept unchanged", "configmap/gone pruned"])
    equal(k("get", "configmap", "-l", "set=pruned", "-o", "name").split(), ["configmap/kept"], "what is left")


def check_mistakes(k):
    """apply tells mistakes of a manifest and applies the rest"""
    good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: beside}\n"
    bad = "---\napiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 70000}]}\n"
    error = k.refused(
        "apply", "-f", "-", input=good + bad, code=1, says=['Service "bad" is invalid', "spec.ports[0].port"]
    )
    expect("between 1 and 65535" in error, "no range is told", error)
    k("get", "configmap", "beside")
    k.refused(
        "apply",
        "-f",
        "-",
        input="apiVersion: none.test/v1\nkind: Nothing\nmetadata: {name: x}\n",
        says=['no matches for kind "Nothing" in version "none.test/v1"'],
    )
    k.refused("apply", "-f", "-", input="apiVersion: v1\nkind: ConfigMap\n  metadata: {name: x}\n", says="error")


def check_immutable(k):
    """apply says which field cannot be changed"""
    file = k.file(
        "selector.yaml",
        k.deployment("app")
        .replace("matchLabels: {app: app}", "matchLabels: {app: x}")
        .replace("metadata: {labels: {app: app}}", "metadata: {labels: {app: x}}"),
    )
    k.refused("apply", "-f", file, says=["spec.selector", "field is immutable"])
