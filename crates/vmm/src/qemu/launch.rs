//! Starting QEMU: open what it needs, start it, and wait for its monitor.

use super::{
    arguments::{Descriptors, arguments},
    child::{Preparation, number},
    console,
    guest::Process,
    qmp::{Qmp, QmpError},
    tap,
};
use crate::machine::{DISK_SLOTS, LaunchError, LaunchSpec, NIC_SLOTS, Running, Start};
use orrery_wire::machine::Acceleration;
use serde_json::{Value, json};
use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{OwnedFd, RawFd},
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
    check_clone(spec)?;
    let (ends, descriptors, state, kept) = open_all(spec)?;
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
    match connect(ends.monitor, state).await {
        Ok(monitor) => {
            let guest = process.into_guest(monitor);
            Ok(Running { control: Box::new(ends.control), guest: Arc::new(guest) })
        }
        Err(error) => Err(explain(process, error).await),
    }
}

/// Gets the monitor's attention, and has a clone take the state that is in the descriptor `state` of QEMU.
async fn connect(monitor: UnixStream, state: Option<RawFd>) -> Result<Qmp, QmpError> {
    let monitor = Qmp::connect(monitor).await?;
    if let Some(state) = state {
        monitor.execute("migrate-set-capabilities", memory_is_shared()).await?;
        let mut changes = monitor.run_state();
        monitor.execute("migrate-incoming", json!({"uri": format!("fd:{state}")})).await?;
        // It goes on by itself once it has the state, as the template did not stand still when it was saved.
        monitor.running(&mut changes).await?;
    }
    Ok(monitor)
}

/// The memory is not part of the state.
pub(super) fn memory_is_shared() -> Value {
    json!({"capabilities": [{"capability": "x-ignore-shared", "state": true}]})
}

fn check_clone(spec: &LaunchSpec) -> Result<(), LaunchError> {
    match &spec.start {
        Start::Kernel(_) | Start::Template(..) => Ok(()),
        Start::Clone(template) if !template.is_sealed() => Err(LaunchError::NoClone("the template is not sealed")),
        Start::Clone(_) if spec.disks.iter().any(|disk| disk.slot >= DISK_SLOTS) => {
            Err(LaunchError::NoClone("it has more disks than templates have slots"))
        }
        Start::Clone(_) if spec.nics.len() > NIC_SLOTS => {
            Err(LaunchError::NoClone("it has more network interfaces than templates"))
        }
        Start::Clone(_) => Ok(()),
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

/// Our ends, the numbers of QEMU's descriptors, that of a clone's state, and the descriptors.
type Opened = (Ends, Descriptors, Option<RawFd>, Vec<OwnedFd>);

fn open_all(spec: &LaunchSpec) -> Result<Opened, LaunchError> {
    let mut kept = Vec::new();
    let mut keep = |fd: OwnedFd| {
        let number = number(&fd);
        kept.push(fd);
        number
    };
    let (monitor, their_monitor) = pair()?;
    let (serial, their_serial) = pair()?;
    let (control, their_control) = pair()?;
    let (boot, memory, state) = match &spec.start {
        Start::Kernel(kernel) => (Some(kernel), None, None),
        Start::Template(kernel, template) => (Some(kernel), Some(template.memory()), None),
        Start::Clone(template) => (None, Some(template.memory()), Some(template.state(false))),
    };
    let boot = boot.map(|kernel| {
        let image = open("the kernel", &kernel.image, true)?;
        Ok((image, open("the initial file system", &kernel.initrd, true)?))
    });
    let boot = boot.transpose()?.map(|(image, initrd)| (keep(image), keep(initrd)));
    let memory = memory.transpose().map_err(LaunchError::Template)?.map(&mut keep);
    let state = state.transpose().map_err(LaunchError::Template)?.map(&mut keep);
    let mut descriptors = Descriptors {
        monitor: keep(their_monitor),
        serial: keep(their_serial),
        control: keep(their_control),
        boot,
        memory,
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
    Ok((Ends { monitor, serial, control }, descriptors, state, kept))
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
