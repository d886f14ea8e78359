"""Keys and requests, by the openssl program: Python has nothing of its own for them."""

import shutil
import subprocess

from .report import Failure, Skip


def _openssl(*arguments):
    program = shutil.which("openssl")
    if not program:
        raise Skip("openssl is missing")
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode:
        raise Failure("openssl failed", result.stderr)


def make_request(directory, subject):
    """A key and a request for a certificate; their files."""
    key, request = directory / "request.key", directory / "request.csr"
    _openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", key, "-out", request)
    return key, request


def make_certificate(directory, name):
    """A key and a certificate that it signed itself; their files."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
    _openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
        "-keyout",
        key,
        "-out",
        certificate,
    )
    return key, certificate
