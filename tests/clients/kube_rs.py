"""A controller written with kube-rs (`crates/sim/examples/kube-controller`), run with the rights of a service account."""

import json
import secrets
import signal
import subprocess
import sys

from .kubectl.session import Session
from .report import CannotRun, Failure, checks_of, contains, equal, expect
from .tools import Unavailable

GROUP = "controller.clients.test"
KUBECTL = "1.36"
# What the controller needs, and no more.
RIGHTS = f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: NAME}}
rules:
- {{apiGroups: [{GROUP}], resources: [greetings], verbs: [get, list, watch, patch]}}
- {{apiGroups: [{GROUP}], resources: [greetings/status], verbs: [patch]}}
- {{apiGroups: [""], resources: [configmaps], verbs: [get, list, watch, create, patch]}}
"""


class Controlled:
    """The controller's process, and a kubectl to look with."""

    def __init__(self, setting, program, session):
        self.k, self.program, self.process = session, program, None
        self.definition = setting.root / "crates/sim/examples/kube-controller/crd.yaml"
        self.log = session.directory / "controller.log"

    def start(self):
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [self.program],
                env={**self.k.environment, "KUBECONFIG": str(self.k.directory / "controller.kubeconfig")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self):
        """Ends it in order; its exit code."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def greeting(self, name, text, times=1):
        return f"apiVersion: {GROUP}/v1\nkind: Greeting\nmetadata: {{name: {name}}}\nspec: {{text: {text}, times: {times}}}\n"

    def ready(self, name):
        try:
            self.k("wait", "--for=condition=Ready", f"greeting/{name}", "--timeout=30s", says="condition met")
        except Failure as failure:
            raise Failure("it does not get ready", f"{failure.output}\n{self.said()}") from None

    def words(self, name):
        return self.k.value(f"configmap/{name}", ".data.greeting", "--ignore-not-found")


def run(setting, report):
    group = "kube-rs"
    checks = [check for check in checks_of(sys.modules[__name__]) if report.wants(group, check)]
    if not checks:
        return
    try:
        kubectl = setting.tools.kubectl(KUBECTL)
        program = setting.controller or setting.build(
            ["-p", "orrery-sim", "--example", "kube-controller"], "the controller"
        )
    except (Unavailable, CannotRun) as why:
        report.skip(group, why)
        return
    try:
        session = Session(setting, kubectl, f"clients-kube-rs-{secrets.token_hex(3)}")
    except Failure as failure:
        report.fail(f"{group}: a namespace", failure, failure.output)
        return
    controlled = Controlled(setting, program, session)
    try:
        for check in checks:
            report.run(group, check, controlled)
    finally:
        controlled.stop()
        if not setting.keep:
            for greeting in session.run("get", "greetings", "-o", "name").out.split():
                session.run("patch", greeting, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
            session.run("delete", "crd", f"greetings.{GROUP}", "--ignore-not-found")
            session.run("delete", "clusterrole,clusterrolebinding", session.namespace, "--ignore-not-found")
            session.end()


def check_starts(c):
    """it starts with the rights of its service account"""
    k, name = c.k, c.k.namespace
    k("apply", "-f", c.definition, says="created")
    k("wait", "--for=condition=Established", f"crd/greetings.{GROUP}", "--timeout=30s")
    k("create", "serviceaccount", "controller")
    k("apply", "-f", "-", input=RIGHTS.replace("NAME", name))
    k("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount={name}:controller")
    token = k("create", "token", "controller", "--duration=1h").strip()
    config = json.loads(k("config", "view", "--raw", "--minify", "-o", "json"))
    config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": token}}]
    k.file("controller.kubeconfig", json.dumps(config)).chmod(0o600)
    k.eventually(
        lambda: k("auth", "can-i", "list", "configmaps", "-A", f"--as=system:serviceaccount:{name}:controller").strip()
        == "yes",
        "the rights are there",
    )
    c.start()
    k.eventually(lambda: "watching greetings" in c.said(), "it watches")


def check_reconciles(c):
    """a greeting gets its config map, owner, status and finalizer"""
    c.k("apply", "-f", "-", input=c.greeting("hello", "moin", 2), says="created")
    c.ready("hello")
    equal(c.words("hello"), "moin\nmoin", "words")
    greeting = c.k.get("greeting", "hello")
    owners = c.k.get("configmap", "hello")["metadata"]["ownerReferences"]
    equal(
        [(owner["kind"], owner["name"], owner["uid"], owner["controller"]) for owner in owners],
        [("Greeting", "hello", greeting["metadata"]["uid"], True)],
        "owners",
    )
    equal(greeting["metadata"]["finalizers"], [f"{GROUP}/farewell"], "finalizers")
    equal(greeting["status"]["observedGeneration"], greeting["metadata"]["generation"], "generation that was seen")
    contains(c.k("get", "greetings"), "READY", "True")


def check_owns_fields(c):
    """what it applied is its own"""
    fields = json.loads(c.k("get", "configmap", "hello", "-o", "json", "--show-managed-fields"))["metadata"][
        "managedFields"
    ]
    equal(
        [(entry["manager"], entry["operation"]) for entry in fields],
        [("greeting-controller", "Apply")],
        "owners of the config map",
    )
    fields = json.loads(c.k("get", "greeting", "hello", "-o", "json", "--show-managed-fields"))["metadata"][
        "managedFields"
    ]
    own = [entry.get("subresource") for entry in fields if entry["manager"] == "greeting-controller"]
    equal(own, ["status"], "of the greeting, its part")


def check_rests(c):
    """it comes to rest when nothing changes"""
    versions = [c.k.value(what, ".metadata.resourceVersion") for what in ("greeting/hello", "configmap/hello")]
    lines = c.said().count("\n")
    c.k.run("get", "greeting", "hello", "--watch-only", "--request-timeout=2s")
    equal(
        [c.k.value(what, ".metadata.resourceVersion") for what in ("greeting/hello", "configmap/hello")],
        versions,
        "versions",
    )
    expect(c.said().count("\n") - lines <= 1, "it goes on reconciling", c.said())


def check_changes(c):
    """a changed greeting changes its config map"""
    c.k("patch", "greeting", "hello", "--type=merge", "-p", '{"spec": {"text": "ahoy", "times": 1}}', says="patched")
    c.k.eventually(lambda: c.words("hello") == "ahoy", "it says ahoy")
    c.k(
        "wait",
        "--for=jsonpath={.status.observedGeneration}=" + c.k.value("greeting/hello", ".metadata.generation"),
        "greeting/hello",
        "--timeout=30s",
    )


def check_restores(c):
    """what others change or delete is restored"""
    c.k("patch", "configmap", "hello", "-p", '{"data": {"greeting": "drifted"}}')
    c.k.eventually(lambda: c.words("hello") == "ahoy", "the text is restored")
    c.k("delete", "configmap", "hello")
    c.k.eventually(lambda: c.words("hello") == "ahoy", "the config map is restored")


def check_deletes(c):
    """a deleted greeting says farewell, and its config map is collected"""
    c.k("delete", "greeting", "hello", "--timeout=30s", says="deleted")
    equal(c.k.value("configmap/farewells", ".data.hello"), "farewell, hello", "farewell")
    c.k.eventually(lambda: c.k.run("get", "configmap", "hello").code != 0, "the config map goes")


def check_foreground(c):
    """a greeting that is deleted in the foreground goes after its config map"""
    c.k("apply", "-f", "-", input=c.greeting("front", "x"))
    c.ready("front")
    c.k("delete", "greeting", "front", "--cascade=foreground", "--timeout=30s", says="deleted")
    c.k.refused("get", "configmap", "front", says="NotFound")


def check_catches_up(c):
    """what happens while it is away is caught up with"""
    c.k("apply", "-f", "-", input=c.greeting("stays", "old") + "---\n" + c.greeting("goes", "x"))
    c.ready("stays"), c.ready("goes")
    equal(c.stop(), 0, "exit code at SIGTERM")
    c.k("patch", "greeting", "stays", "--type=merge", "-p", '{"spec": {"text": "new"}}')
    c.k("delete", "greeting", "goes", "--wait=false")
    c.k("apply", "-f", "-", input=c.greeting("comes", "x"))
    expect(c.k.value("greeting/goes", ".metadata.deletionTimestamp"), "the finalizer does not hold it")
    c.start()
    c.ready("comes")
    c.k.eventually(lambda: c.words("stays") == "new", "the change is caught up with")
    c.k("wait", "--for=delete", "greeting/goes", "--timeout=30s")


def check_many(c):
    """fifty greetings at once get ready, and go at once"""
    c.k("create", "-f", "-", input="---\n".join(c.greeting(f"many-{index:02}", "x") for index in range(50)))
    c.k("wait", "--for=condition=Ready", "greetings", "--all", "--timeout=60s")
    c.k("delete", "greetings", "--all", "--timeout=60s")
    farewells = c.k.get("configmap", "farewells")["data"]
    equal(sum(name.startswith("many-") for name in farewells), 50, "farewells")
    c.k.eventually(
        lambda: c.k("get", "configmaps", "-o", "name").split()
        in (["configmap/farewells", "configmap/kube-root-ca.crt"], ["configmap/farewells"]),
        "the config maps go",
    )


def check_errors(c):
    """it met no error, and ends at SIGTERM"""
    said = c.said()
    equal(c.stop(), 0, "exit code")
    expect(c.said().rstrip().endswith("ended"), "it did not end in order", c.said())
    failures = [line for line in said.splitlines() if line.startswith("failed")]
    equal(failures, [], "failures")
