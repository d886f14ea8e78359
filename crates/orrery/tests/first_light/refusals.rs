//! What `orrery up` says when it can't: what, why, and what helps; and nothing is started.

use crate::installation::{Installation, text, wait_until};
use std::{
    fs, net::TcpListener, os::unix::fs::PermissionsExt, os::unix::process::CommandExt, process::Command, process::Stdio,
};

/// Runs a command that must fail and name each of `parts`.
fn refused(mut command: Command, parts: &[&str]) {
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert!(!output.status.success(), "must be refused: {said}");
    for part in parts {
        assert!(said.contains(part), "no {part:?} in: {said}");
    }
}

pub(crate) fn not_root(orrery: &Installation) {
    // The program may lie where nobody else may look, so a copy is run.
    let copy = tempfile::Builder::new().prefix("orrery-nobody-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = copy.path().join("orrery");
    fs::copy(env!("CARGO_BIN_EXE_orrery"), &program).unwrap();
    let mut command = Command::new(program);
    command.args(["up", "--instance", orrery.name()]).uid(65534).gid(65534);
    refused(command, &["not root", "sudo orrery up"]);
}

pub(crate) fn qemu_missing_or_too_old(orrery: &Installation) {
    let mut missing = orrery.command(&["up"]);
    missing.env("ORRERY_QEMU", "/nonexistent/qemu");
    refused(missing, &["/nonexistent/qemu is missing", "apt-get install"]);
    let old = orrery.scratch().join("qemu-old");
    fs::write(&old, "#!/bin/sh\necho 'QEMU emulator version 5.2.0 (Debian 1:5.2+dfsg-11)'\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let mut too_old = orrery.command(&["up"]);
    too_old.env("ORRERY_QEMU", &old);
    refused(too_old, &["5.2.0 is too old", "7.2", "apt-get install"]);
}

pub(crate) fn port_taken(orrery: &Installation) {
    // The instance's ports follow from its name; the refusal names them, and so the test learns them.
    let said = orrery.run(&["ports"]);
    let port: u16 = said.lines().find_map(|line| line.strip_prefix("api 127.0.0.1:")).unwrap().trim().parse().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    refused(orrery.command(&["up"]), &[&format!("port 127.0.0.1:{port} can't be had"), "ss -ltnp", "--instance"]);
    drop(taken);
}

pub(crate) fn range_in_use(orrery: &Installation) {
    // In a network namespace of its own, whose only address is one of the range.
    let inner = orrery.command(&["up"]);
    let range = orrery.run(&["ports"]);
    let range = range.lines().find_map(|line| line.strip_prefix("machines ")).unwrap().trim().to_owned();
    let address = range.replace(".0/24", ".77/24");
    let script =
        format!("ip link set lo up && ip link add other type bridge && ip addr add {address} dev other && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-ec", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    refused(command, &[&format!("range {range} is in use"), "dev other", "--instance"]);
}

pub(crate) fn no_disk(orrery: &Installation) {
    let inner = orrery.command(&["up"]);
    let state = orrery.state().display().to_string();
    let script = format!("mkdir -p {state} && mount -t tmpfs -o size=16m none {state} && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    refused(command, &["MiB free", "are needed", "--state"]);
}

pub(crate) fn a_package_that_cannot_be_had(orrery: &Installation) {
    // In a network namespace without any way out, with nothing in the cache.
    let inner = orrery.command(&["up"]);
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-ec", "ip link set lo up && exec \"$@\"", "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    refused(command, &["guest kernel and first file system failed", "linux-image", "apt-get update"]);
}

pub(crate) fn a_step_that_takes_too_long(orrery: &Installation) {
    let mut command = orrery.command(&["up", "--no-demo", "--step-timeout", "1"]);
    // The kernel is fetched within a second on no machine, so the cache is filled first, by a run that may take its time.
    let filled = orrery.command(&["up", "--no-demo"]).output().unwrap();
    assert!(filled.status.success(), "{}", text(&filled.stderr));
    orrery.run(&["down"]);
    fs::remove_dir_all(orrery.state().join("supervisors")).unwrap();
    fs::remove_dir_all(orrery.state().join("hosts")).unwrap();
    fs::remove_dir_all(orrery.state().join("manager")).unwrap();
    command.env("ORRERY_LOG", "error");
    refused(command, &["did not end within 1 s", "--step-timeout", "logs"]);
}

pub(crate) fn an_interrupt(orrery: &Installation) {
    let mut child = orrery.command(&["up", "--no-demo"]).stderr(Stdio::piped()).spawn().unwrap();
    let socket = std::path::Path::new("/run/orrery").join(orrery.name()).join("keeper.sock");
    wait_until("the keeper listens", || socket.exists().then_some(()));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(!child.wait().unwrap().success() && said.contains("interrupted"), "{said}");
}

pub(crate) fn another_state_with_the_same_name(orrery: &Installation) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orrery"));
    command.args(["up", "--instance", orrery.name(), "--state", "/var/tmp/orrery-e2e-elsewhere"]);
    refused(command, &["another instance called", "orrery down --instance"]);
    assert!(!std::path::Path::new("/var/tmp/orrery-e2e-elsewhere").exists(), "nothing was begun");
}

pub(crate) fn an_image_that_is_none(orrery: &Installation) {
    let file = orrery.scratch().join("not-an-image.tar");
    fs::write(&file, "this is no archive").unwrap();
    refused(orrery.command(&["image", "import", file.to_str().unwrap()]), &["not-an-image.tar"]);
}
