"""Makes OCI image archives out of Debian packages, with Debian's tools alone. Nothing is installed."""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

# One time for everything, so that the same packages give the same image.
TIME = 1700000000
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Failure(Exception):
    """Something the user should read."""


def run(*command, cwd=None):
    """Runs a program and gives its output."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    except FileNotFoundError:
        raise Failure(f"{command[0]} is not installed; this script needs Debian's apt and dpkg")
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: {done.stderr.strip() or 'failed'}")
    return done.stdout


def closure(package, follow):
    """The package and what it depends on, as far as `follow(name, section)` says."""
    found, level, seen = [], [package], set()
    while level:
        needed = []
        # One call for all: each reads the whole cache.
        for name, fields in described(level).items():
            if name != package and not follow(name, fields.get("Section", "")):
                continue
            found.append(name)
            for field in ("Pre-Depends", "Depends"):
                for alternatives in filter(None, fields.get(field, "").split(",")):
                    # The first alternative is the one that Debian prefers.
                    needed.append(re.split(r"[ (|:]", alternatives.strip(), maxsplit=1)[0])
        seen = seen | set(level)
        level = [name for name in dict.fromkeys(needed) if name not in seen]
    return found


def described(packages):
    """The fields of packages, by name; a name that several packages provide has none."""
    shown = {}
    for paragraph in run("apt-cache", "show", "--no-all-versions", *packages).split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if re.match(r"[A-Za-z-]+: ", line))
        if "Package" in fields:
            shown.setdefault(fields["Package"], fields)
    return shown


def dependency(package, prefix):
    """The first package whose name starts with `prefix` that a package, which stands for the newest version, depends on."""
    for line in run("apt-cache", "depends", "--important", package).splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind in ("PreDepends", "Depends") and name.startswith(prefix):
            return name
    raise Failure(f"{package} depends on no {prefix}*; run apt-get update")


def unpack(packages, root):
    """Downloads packages and unpacks them into a directory."""
    with tempfile.TemporaryDirectory() as downloads:
        # As root: the user that apt would become cannot write there.
        run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=downloads)
        for package in sorted(os.listdir(downloads)):
            run("dpkg-deb", "-x", os.path.join(downloads, package), root)


def write(root, path, content, mode=0o644):
    """Writes a file of the image."""
    target = os.path.join(root, path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "w", encoding="utf-8") as file:
        file.write(content)
    os.chmod(target, mode)


def accounts(root, **more):
    """Writes the accounts that every image has: root, nobody and `more` (name=number)."""
    numbers = {"root": 0, **more, "nobody": 65534}
    shell = {"root": ("/root", "/bin/sh")}
    write(root, "etc/passwd", "".join(
        "{}:x:{}:{}:{}:{}:{}\n".format(name, number, number, name, *shell.get(name, ("/nonexistent", "/bin/false")))
        for name, number in numbers.items()))
    write(root, "etc/group", "".join(f"{name}:x:{number}:\n" for name, number in numbers.items()))
    write(root, "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    os.makedirs(os.path.join(root, "root"), mode=0o700, exist_ok=True)
    os.makedirs(os.path.join(root, "tmp"), exist_ok=True)
    os.chmod(os.path.join(root, "tmp"), 0o1777)


def busybox(root):
    """Puts a static busybox with links for all its applets into the image."""
    with tempfile.TemporaryDirectory() as tree:
        unpack(["busybox-static"], tree)
        program = next(path for path in (f"{tree}/bin/busybox", f"{tree}/usr/bin/busybox") if os.path.exists(path))
        os.makedirs(f"{root}/bin", exist_ok=True)
        shutil.copy(program, f"{root}/bin/busybox")
    os.chmod(f"{root}/bin/busybox", 0o755)
    for applet in run(f"{root}/bin/busybox", "--list-full").split():
        place = os.path.join(root, applet)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if not os.path.lexists(place):
            os.symlink("/bin/busybox", place)


def directory(root, path, owner=0):
    """Makes a directory of the image that a user of it may write into."""
    target = os.path.join(root, path)
    os.makedirs(target, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(target, owner, owner)
        os.chmod(target, 0o700)
    else:
        # Nothing can be given to another then, see `layer`.
        os.chmod(target, 0o777)


def server(root, package, *parts, without=()):
    """Fills the image with a package, those of `parts` that it needs, their libraries, and a shell; nothing whose name starts with
    one of `without`."""
    def follow(name, section):
        return not name.startswith(tuple(without)) and (section == "libs" or name in parts)
    unpack(closure(package, follow), root)
    busybox(root)


def layer(root):
    """The directory as an uncompressed archive, the same for the same content. Users outside root own nothing in it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        def settle(member):
            member.mtime = TIME
            member.uname = member.gname = ""
            if os.geteuid() != 0:
                member.uid = member.gid = 0
            return member
        for directory, names, files in os.walk(root):
            names.sort()
            for name in sorted(names + files):
                path = os.path.join(directory, name)
                archive.add(path, os.path.relpath(path, root), recursive=False, filter=settle)
    return out.getvalue()


def save(root, out, reference, config):
    """Writes the image as an OCI image layout in a tar file."""
    content = layer(root)
    compressed = gzip.compress(content, compresslevel=6, mtime=0)
    blobs = {}

    def blob(data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def document(value, media_type):
        return blob(json.dumps(value, sort_keys=True).encode(), media_type)

    prefix = "application/vnd.oci.image"
    config = {
        "architecture": "amd64", "os": "linux", "config": {"Env": [PATH], **config},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
    }
    manifest = document({
        "schemaVersion": 2, "mediaType": f"{prefix}.manifest.v1+json",
        "config": document(config, f"{prefix}.config.v1+json"),
        "layers": [blob(compressed, f"{prefix}.layer.v1.tar+gzip")],
    }, f"{prefix}.manifest.v1+json")
    manifest["platform"] = {"architecture": "amd64", "os": "linux"}
    manifest["annotations"] = {
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": reference.rsplit(":", 1)[1],
    }
    members = {"oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
               "index.json": json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode()}
    members.update({f"blobs/sha256/{digest}": data for digest, data in sorted(blobs.items())})
    partial = f"{out}.partial"
    try:
        with tarfile.open(partial, "w") as archive:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.mode = len(data), TIME, 0o644
                archive.addfile(member, io.BytesIO(data))
        os.replace(partial, out)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


def main(usage, fill, reference, config):
    """Makes one image: `fill(root)` fills its directory."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(usage.strip(), file=sys.stderr)
        sys.exit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
    out = os.path.abspath(sys.argv[1])
    os.umask(0o022)
    try:
        with tempfile.TemporaryDirectory() as root:
            os.chmod(root, 0o755)
            fill(root)
            save(root, out, reference, config)
    except (Failure, OSError) as failure:
        print(f"{os.path.basename(sys.argv[0])}: {failure}", file=sys.stderr)
        sys.exit(1)
    print(f"{out}: {reference}")
