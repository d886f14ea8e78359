"""kubectl in a namespace of its own."""

import json
import re

from ..command import Command
from ..report import eventually


class Session(Command):
    """A kubectl whose current context has a namespace that was made for it."""

    def __init__(self, setting, program, namespace):
        # kubectl keeps what it has discovered in its home; each version is to discover by itself, once.
        home = f"home-{program.name}"
        super().__init__(program, setting.environment(home))
        self.namespace = namespace
        self.image = setting.image
        self.hollow = setting.hollow
        self.minor = int(re.search(r"1\.(\d+)", program.name)[1])
        self.directory = setting.directory / namespace
        self.directory.mkdir()
        config = self("config", "view", "--raw", "--flatten")
        self.kubeconfig = self.file("kubeconfig", config)
        self.kubeconfig.chmod(0o600)
        self.environment["KUBECONFIG"] = str(self.kubeconfig)
        self("create", "namespace", namespace, says=f"namespace/{namespace} created")
        self("config", "set-context", "--current", f"--namespace={namespace}", says="modified")

    def end(self):
        self.run("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found")

    def file(self, name, text):
        """A file with this text; its path."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def get(self, *arguments):
        """One object, or a list, as it is."""
        return json.loads(self("get", *arguments, "-o", "json"))

    def value(self, what, path, *arguments):
        """What a path of JSON leads to, as text."""
        return self("get", what, "-o", f"jsonpath={{{path}}}", *arguments)

    def settled(self, deployment, seconds=60):
        self("rollout", "status", f"deployment/{deployment}", f"--timeout={seconds}s", says="successfully rolled out")

    def eventually(self, look, what, **options):
        return eventually(look, what, **options)

    def pod(self, name, command='["sleep", "3600"]', labels="", more=""):
        """The manifest of a pod."""
        return f"""
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: {name}{', ' + labels if labels else ''}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: {self.image}
    imagePullPolicy: IfNotPresent
    command: {command}
{more}"""

    def deployment(self, name, replicas=1, more=""):
        """The manifest of a Deployment."""
        return f"""
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: {self.image}
        imagePullPolicy: IfNotPresent
        command: ["sleep", "3600"]
{more}"""
