"""helm 3 and 4: a chart of ours from its installation to its end. The state is looked at with kubectl after each step."""

import json
import pathlib
import secrets
import sys

from .command import Command
from .kubectl.session import Session
from .report import Failure, checks_of, contains, equal, expect
from .tools import HELM, Unavailable

CHART = pathlib.Path(__file__).parent / "chart"
# Any kubectl will do to look at what helm has done.
KUBECTL = "1.36"


class Helm(Command):
    """A helm in a namespace of its own, and a kubectl to look with."""

    def __init__(self, program, version, session):
        super().__init__(program, session.environment)
        self.k = session
        self.major = int(version.split(".")[0])
        self.image = f"image={session.image}"
        # helm 4 renamed it.
        self.rolls_back = "--rollback-on-failure" if self.major > 3 else "--atomic"

    def install(self, name, *arguments, **options):
        return self("install", name, CHART, "--set", self.image, *arguments, **options)

    def upgrade(self, name, *arguments, **options):
        return self("upgrade", name, CHART, "--set", self.image, *arguments, **options)

    def state(self, name="shop"):
        """Greeting, replicas, ready replicas and the widget's size of a release."""
        deployment = self.k.get("deployment", name)
        return (
            self.k.value(f"configmap/{name}", ".data.greeting"),
            deployment["spec"]["replicas"],
            deployment["status"].get("readyReplicas", 0),
            self.k.get("widget", name)["spec"]["size"],
        )

    def history(self, name="shop"):
        return [(entry["revision"], entry["status"]) for entry in json.loads(self("history", name, "-o", "json"))]


def run(setting, report):
    for version in HELM:
        group = f"helm {version}"
        checks = [check for check in checks_of(sys.modules[__name__]) if report.wants(group, check)]
        if not checks:
            continue
        try:
            program, kubectl = setting.tools.helm(version), setting.tools.kubectl(KUBECTL)
        except Unavailable as why:
            report.skip(group, why)
            continue
        try:
            session = Session(setting, kubectl, f"clients-helm-{secrets.token_hex(3)}")
        except Failure as failure:
            report.fail(f"{group}: a namespace", failure, failure.output)
            continue
        try:
            for check in checks:
                report.run(group, check, Helm(program, version, session))
        finally:
            if not setting.keep:
                session.end()
                session.run("delete", "crd", "widgets.shop.clients.test", "--ignore-not-found")


def check_lint(h):
    """lint and template accept the chart"""
    h("lint", CHART, says="0 chart(s) failed")
    h("template", "shop", CHART, says=["kind: Deployment", "helm.sh/hook: pre-install,pre-upgrade"])


def check_dry_run(h):
    """install --dry-run=server stores nothing"""
    # The definition is not there yet, so the custom resource cannot be looked at by the server.
    h.k("apply", "-f", CHART / "crds", says="created")
    h.k("wait", "--for=condition=Established", "crd/widgets.shop.clients.test", "--timeout=30s")
    h.install("shop", "--dry-run=server", says=["kind: Widget", "STATUS: pending-install"])
    equal(
        h.k("get", "configmaps,deployments,secrets", "-l", "app.kubernetes.io/name=shop", "-o", "name"), "", "objects"
    )
    h.k("delete", "-f", CHART / "crds")


def check_install(h):
    """install --wait brings up all of it, with its definition and hook"""
    out = h.install("shop", "--wait", "--timeout", "60s", says=["STATUS: deployed", "REVISION: 1", "shop says hello."])
    expect("Error" not in out, "an error", out)
    equal(h.state(), ("hello", 1, 1, 3), "state")
    equal(h.k.value("job/shop-before", ".status.succeeded"), "1", "the hook's pods that succeeded")
    h.k("wait", "--for=condition=complete", "job/shop-1", "--timeout=30s")
    equal(h.k.value("deployment/shop", ".spec.template.spec.serviceAccountName"), "shop", "service account")
    service = h.k.get("service", "shop")["spec"]
    equal(service["type"], "ClusterIP", "type of the Service, which was empty")
    equal(h.k.get("deployment", "shop")["metadata"]["annotations"]["meta.helm.sh/release-name"], "shop", "annotation")


def check_managed_fields(h):
    """what was installed is owned by helm"""
    fields = json.loads(h.k("get", "configmap", "shop", "-o", "json", "--show-managed-fields"))["metadata"][
        "managedFields"
    ]
    equal(
        [(entry["manager"], entry["operation"]) for entry in fields],
        [("helm", "Apply" if h.major > 3 else "Update")],
        "owners",
    )
    expect("f:greeting" in fields[0]["fieldsV1"]["f:data"], "the greeting is not owned", fields)


def check_release(h):
    """list, status and get tell of the release"""
    released = json.loads(h("list", "-o", "json"))
    equal(
        [(entry["name"], entry["revision"], entry["status"], entry["chart"]) for entry in released],
        [("shop", "1", "deployed", "shop-0.1.0")],
        "list",
    )
    contains(h("list", "-A"), h.k.namespace)
    equal(json.loads(h("status", "shop", "-o", "json"))["info"]["status"], "deployed", "status")
    h("get", "values", "shop", says="image:")
    h("get", "values", "shop", "--all", says="greeting: hello")
    h("get", "manifest", "shop", says=["kind: Widget", "name: shop"])
    h("get", "hooks", "shop", says="shop-before")
    h("get", "notes", "shop", says="shop says hello.")
    equal(h.k.value("secret/sh.helm.release.v1.shop.v1", ".type"), "helm.sh/release.v1", "type of the secret")


def check_name_is_used(h):
    """install refuses a name that is in use, and objects that are not its own"""
    h.refused("install", "shop", CHART, says="name that is still in use")
    h.k("create", "configmap", "taken")
    h.refused(
        "install",
        "taken",
        CHART,
        "--set",
        h.image,
        says=['ConfigMap "taken"', "exists and cannot be imported into the current release"],
    )
    h.k("delete", "configmap", "taken")


def check_upgrade(h):
    """upgrade --wait rolls out changed values"""
    h.upgrade(
        "shop",
        "--set",
        "greeting=moin,replicas=2,widget.size=5",
        "--wait",
        "--timeout",
        "60s",
        says=["has been upgraded", "REVISION: 2"],
    )
    equal(h.state(), ("moin", 2, 2, 5), "state")
    h.k.refused("get", "job", "shop-1", says="NotFound")
    h.k("wait", "--for=condition=complete", "job/shop-2", "--timeout=30s")
    h.k.refused("get", "job", "shop-after", says="NotFound")
    equal(h.k.value("configmap/shop", ".data.revision"), "2", "revision")


def check_upgrade_install(h):
    """upgrade --install installs what is not there, and upgrades what is"""
    h(
        "upgrade",
        "--install",
        "other",
        CHART,
        "--set",
        h.image,
        "--wait",
        "--timeout",
        "60s",
        says=["STATUS: deployed", "REVISION: 1"],
    )
    h("upgrade", "--install", "other", CHART, "--set", h.image, "--wait", "--timeout", "60s", says="REVISION: 2")
    equal(h.state("other"), ("hello", 1, 1, 3), "state")
    h("uninstall", "other", "--wait", "--timeout", "60s", says='release "other" uninstalled')


def check_history(h):
    """history tells the revisions"""
    equal(h.history(), [(1, "superseded"), (2, "deployed")], "history")
    contains(h("history", "shop"), "Install complete", "Upgrade complete")


def check_rollback(h):
    """rollback --wait brings the first revision back"""
    h("rollback", "shop", "1", "--wait", "--timeout", "60s", says="Rollback was a success")
    equal(h.state(), ("hello", 1, 1, 3), "state")
    equal(h.history(), [(1, "superseded"), (2, "superseded"), (3, "deployed")], "history")
    h.k("wait", "--for=jsonpath={.status.replicas}=1", "deployment/shop", "--timeout=60s")


def check_test(h):
    """test runs the chart's test"""
    h("test", "shop", "--timeout", "60s", says=["TEST SUITE:", "shop-test", "Succeeded"])


def check_failing_upgrade(h):
    """upgrade --wait fails when the pods do not get ready"""
    error = h.refused(
        "upgrade",
        "shop",
        CHART,
        "--set",
        h.image,
        "--set-json",
        'command=["false"]',
        "--wait",
        "--timeout",
        "6s",
        says="Error: UPGRADE FAILED",
    )
    expect(any(word in error for word in ("deadline exceeded", "timed out", "not ready")), "no reason", error)
    equal(h.history()[-1], (4, "failed"), "last revision")
    # The old pods serve on.
    equal(h.k.value("deployment/shop", ".status.readyReplicas"), "1", "ready replicas")


def check_rolled_back(h):
    """upgrade that rolls back on failure restores what was"""
    h.upgrade("shop", "--set", "greeting=again", "--wait", "--timeout", "60s", says="REVISION: 5")
    h.refused(
        "upgrade",
        "shop",
        CHART,
        "--set",
        h.image,
        "--set",
        "greeting=bad",
        "--set-json",
        'command=["false"]',
        h.rolls_back,
        "--timeout",
        "6s",
        says=["UPGRADE FAILED", "rolled back"],
    )
    equal(h.history()[-2:], [(6, "failed"), (7, "deployed")], "last revisions")
    equal(h.state(), ("again", 1, 1, 3), "state")


def check_failing_hook(h):
    """a hook that fails stops the installation, and it is removed again"""
    h.refused(
        "install",
        "hooked",
        CHART,
        "--set",
        h.image,
        "--set",
        "hook=false",
        h.rolls_back,
        "--timeout",
        "20s",
        says=["pre-install", "failed"],
    )
    equal(h("list", "-q", "--all" if h.major == 3 else "-A", "--filter", "hooked"), "", "releases")
    equal(h.k("get", "deployment,configmap", "-l", "app.kubernetes.io/instance=hooked", "-o", "name"), "", "objects")


def check_invalid(h):
    """what the server refuses is shown"""
    h.refused("upgrade", "shop", CHART, "--set", h.image, "--set", "greeting=again,widget.size=0", says="spec.size")
    equal(h.state(), ("again", 1, 1, 3), "state")
    h.refused("upgrade", "shop", CHART, "--set", h.image, "--set", "greeting=again,replicas=-1", says="spec.replicas")


def check_drift(h):
    """upgrade meets what others have changed"""
    h.upgrade("shop", "--set", "greeting=again", "--wait", "--timeout", "60s", says="deployed")
    h.k(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=other",
        "-f",
        "-",
        input="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\ndata: {greeting: drifted}\n",
        says="serverside-applied",
    )
    if h.major > 3:
        h.refused(
            "upgrade",
            "shop",
            CHART,
            "--set",
            h.image,
            "--set",
            "greeting=mine",
            says=["conflict", '"other"', ".data.greeting"],
        )
        equal(h.k.value("configmap/shop", ".data.greeting"), "drifted", "greeting")
        h.upgrade("shop", "--set", "greeting=mine", "--force-conflicts", "--wait", "--timeout", "60s", says="deployed")
    else:
        h.upgrade("shop", "--set", "greeting=mine", "--wait", "--timeout", "60s", says="deployed")
    equal(h.k.value("configmap/shop", ".data.greeting"), "mine", "greeting")


def check_recreates(h):
    """upgrade makes again what others have deleted"""
    h.k("delete", "service", "shop")
    h.upgrade("shop", "--set", "greeting=mine", "--wait", "--timeout", "60s", says="deployed")
    h.k("get", "service", "shop")


def check_uninstall(h):
    """uninstall --wait removes all but the definition"""
    h("uninstall", "shop", "--wait", "--timeout", "60s", says='release "shop" uninstalled')
    equal(
        h.k(
            "get",
            "deployments,replicasets,pods,services,widgets,serviceaccounts",
            "-l",
            "app.kubernetes.io/instance=shop",
            "-o",
            "name",
        ),
        "",
        "objects",
    )
    equal(h.k("get", "secrets", "-l", "owner=helm", "-o", "name"), "", "secrets of releases")
    h.k("get", "crd", "widgets.shop.clients.test")
    h.refused("uninstall", "shop", says="release: not found")


def check_keep_history(h):
    """uninstall --keep-history can be rolled back"""
    h.install("kept", "--wait", "--timeout", "60s", says="deployed")
    h("uninstall", "kept", "--keep-history", "--wait", "--timeout", "60s", says="uninstalled")
    equal(h.history("kept"), [(1, "uninstalled")], "history")
    h("rollback", "kept", "1", "--wait", "--timeout", "60s", says="success")
    equal(h.state("kept"), ("hello", 1, 1, 3), "state")
    h("uninstall", "kept", "--wait", "--timeout", "60s")
