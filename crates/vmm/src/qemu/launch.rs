//! Starting QEMU: open what it needs, start it, and wait for its monitor.

use super::{
    arguments::{Descriptors, arguments},
    child::{Preparation, number},
    console,
    guest::Process,
    qmp::{Qmp, QmpError},
    tap,
};
use crate::machine::{LaunchError, LaunchSpec, Running};
use orrery_wire::machine::Acceleration;
use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::OwnedFd,
    os::unix::{fs::MetadataExt, net::UnixStream as StdStream},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tokio::{net::UnixStream, process::Command};

/// How long QEMU may take to exit once it has closed its monitor.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Our ends of the sockets.
struct Ends {
    monitor: UnixStream,
    serial: UnixStream,
    control: UnixStream,
}

/// Starts the machine with the QEMU at `program`.
pub(crate) async fn launch(program: &Path, spec: &LaunchSpec) -> Result<Running, LaunchError> {
    let (ends, descriptors, kept) = open_all(spec)?;
    let device_group = match spec.acceleration {
        Acceleration::Kvm => kvm_group(),
        Acceleration::Tcg => None,
    };
    let preparation = Preparation::new(&spec.cgroups, spec.credentials, device_group, kept)
        .map_err(|(path, source)| LaunchError::OpenFile { what: "the control group", path, source })?;
    let mut command = Command::new(program);
    command
        .args(arguments(spec, &descriptors))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    preparation.install(&mut command);
    let child = command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => LaunchError::Missing { program: program.to_owned() },
        _ => LaunchError::Spawn { program: program.to_owned(), source },
    })?;
    // Closes our copies of QEMU's descriptors: an end of QEMU then reads as the end of each socket.
    drop(command);
    let process = Process::keep(child);
    tokio::spawn(console::copy(ends.serial, spec.console.clone()));
    match Qmp::connect(ends.monitor).await {
        Ok(monitor) => {
            let guest = process.into_guest(monitor);
            Ok(Running { control: Box::new(ends.control), guest: Arc::new(guest) })
        }
        Err(error) => Err(explain(process, error).await),
    }
}

/// A monitor that closes means that QEMU ended, which says more than the monitor's error.
async fn explain(process: Process, error: QmpError) -> LaunchError {
    match error {
        QmpError::Closed | QmpError::Socket(_) => {
            // It closes the socket just before it exits; killing it at once would hide its exit code.
            if tokio::time::timeout(LAST_WORDS, process.exit.wait()).await.is_err() {
                process.kill();
            }
            LaunchError::EndedAtOnce(process.exit.wait().await)
        }
        QmpError::Protocol(_) | QmpError::Refused(_) | QmpError::TimedOut => {
            process.kill();
            process.exit.wait().await;
            LaunchError::Monitor(error)
        }
    }
}

fn open_all(spec: &LaunchSpec) -> Result<(Ends, Descriptors, Vec<OwnedFd>), LaunchError> {
    let mut kept = Vec::new();
    let mut keep = |fd: OwnedFd| {
        let number = number(&fd);
        kept.push(fd);
        number
    };
    let (monitor, their_monitor) = pair()?;
    let (serial, their_serial) = pair()?;
    let (control, their_control) = pair()?;
    let mut descriptors = Descriptors {
        monitor: keep(their_monitor),
        serial: keep(their_serial),
        control: keep(their_control),
        kernel: keep(open("the kernel", &spec.kernel, true)?),
        initrd: keep(open("the initial file system", &spec.initrd, true)?),
        disks: Vec::new(),
        taps: Vec::new(),
    };
    for disk in &spec.disks {
        descriptors.disks.push(keep(open("the disk", &disk.path, disk.read_only)?));
    }
    for nic in &spec.nics {
        let fd = tap::open(&nic.tap).map_err(|source| LaunchError::OpenTap { tap: nic.tap.clone(), source })?;
        descriptors.taps.push(keep(fd));
    }
    Ok((Ends { monitor, serial, control }, descriptors, kept))
}

fn pair() -> Result<(UnixStream, OwnedFd), LaunchError> {
    let make = || -> io::Result<(UnixStream, OwnedFd)> {
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((UnixStream::from_std(ours)?, theirs.into()))
    };
    make().map_err(LaunchError::Sockets)
}

fn open(what: &'static str, path: &Path, read_only: bool) -> Result<OwnedFd, LaunchError> {
    let file: io::Result<File> = OpenOptions::new().read(true).write(!read_only).open(path);
    file.map(OwnedFd::from).map_err(|source| LaunchError::OpenFile { what, path: path.to_owned(), source })
}

/// The group that may use the processor's virtualization, unless that is root's own.
pub(crate) fn kvm_group() -> Option<u32> {
    std::fs::metadata("/dev/kvm").ok().map(|metadata| metadata.gid()).filter(|group| *group != 0)
}
