//! The peer of a pod's start: the demo pod's machine with no disk, no network card, no container and nobody who manages it.
//!
//! It has the very command line of the demo pod's QEMU, less what is left out, so that both stay alike. It is started,
//! greeted as the shim does, and killed once the guest's init has answered.

use super::{BenchError, interrupt::Children, memory};
use orrery_wire::{
    frame::{CONTROL_STREAM, Decoder, Frame, FrameKind},
    guest::{FromGuest, ToGuest, VERSIONS},
    hello::Hello,
    machine::ShimConfig,
};
use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::Value;
use std::{
    fs,
    io::{self, Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// The guest may not be up yet when it is greeted, so it is greeted again.
const GREET_AGAIN: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(60);
/// Options of the original, with their values, that the peer has not.
const LEFT_OUT: [&str; 5] = ["-add-fd", "-blockdev", "-netdev", "-mon", "-incoming"];
/// The kernel's command line, as shims give it.
const APPEND: &str = "console=ttyS0 quiet panic=-1 oops=panic";
const DRIVERS_LEFT_OUT: [&str; 2] = ["virtio-blk-pci", "virtio-net-pci"];

/// A machine to boot.
#[derive(Debug)]
pub(super) struct Bare {
    program: String,
    arguments: Vec<String>,
}

impl Bare {
    /// The machine of the QEMU that runs as `pid`, without what makes it a pod's.
    pub(super) fn like(pid: u32) -> Result<Self, BenchError> {
        let path = format!("/proc/{pid}/cmdline");
        let line = fs::read_to_string(&path).map_err(BenchError::io(format!("read {path}")))?;
        let mut words = line.trim_end_matches('\0').split('\0').map(str::to_owned);
        let program = words.next().unwrap_or_default();
        let original: Vec<String> = words.collect();
        // It was given open files; ours are opened by name.
        let open_file = |name: &str| {
            let number = name.strip_prefix("/proc/self/fd/")?;
            fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()
        };
        let mut arguments = strip(&original, open_file);
        // A clone of a template boots nothing: what it would have booted is in its shim's configuration.
        if !arguments.iter().any(|word| word == "-kernel") {
            arguments.extend(boot_of(pid)?);
        }
        Ok(Self { program, arguments })
    }

    /// Time from starting QEMU to the init's answer.
    pub(super) fn boot(&self, children: &Children) -> Result<Duration, BenchError> {
        let doing = "boot a machine with nothing in it";
        let (mut ours, theirs) = UnixStream::pair().map_err(BenchError::io(doing))?;
        fcntl_setfd(&theirs, FdFlags::empty()).map_err(|error| BenchError::io(doing)(error.into()))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg("-chardev").arg(format!("socket,id=control,fd={}", theirs.as_raw_fd()));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let began = Instant::now();
        let _machine = children.start(&mut command).map_err(BenchError::io(doing))?;
        // QEMU's end is then the socket's end.
        drop(theirs);
        greet(&mut ours, began).map_err(BenchError::io(doing))?;
        Ok(began.elapsed())
    }
}

/// What makes the machine of the QEMU `pid` boot.
fn boot_of(pid: u32) -> Result<Vec<String>, BenchError> {
    let doing = format!("read the configuration of the shim of QEMU {pid}");
    let read = || -> io::Result<ShimConfig> {
        let shim = memory::parent_of(pid).map_err(io::Error::other)?;
        let line = fs::read_to_string(format!("/proc/{shim}/cmdline"))?;
        let path = line.split('\0').skip_while(|word| *word != "--config").nth(1);
        let path = path.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it was started without --config"))?;
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    };
    let config = read().map_err(BenchError::io(doing))?;
    let file = |path: PathBuf| path.display().to_string();
    let words = ["-kernel", &file(config.kernel), "-initrd", &file(config.initrd), "-append", APPEND];
    Ok(words.map(str::to_owned).to_vec())
}

/// Says hello until the guest's init is ready.
fn greet(port: &mut UnixStream, began: Instant) -> io::Result<()> {
    port.set_read_timeout(Some(GREET_AGAIN))?;
    let versions = VERSIONS.to_vec();
    let hello = ToGuest::Hello(Hello { versions, role: "bench".to_owned(), build: env!("CARGO_PKG_VERSION").into() });
    let payload = serde_json::to_vec(&hello)?;
    let mut bytes = Vec::new();
    Frame { stream: CONTROL_STREAM, kind: FrameKind::Control, payload }.encode_into(&mut bytes);
    let (mut decoder, mut chunk) = (Decoder::default(), [0; 4096]);
    port.write_all(&bytes)?;
    while began.elapsed() < PATIENCE {
        match port.read(&mut chunk) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "QEMU ended")),
            Ok(length) => decoder.push(&chunk[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                port.write_all(&bytes)?;
            }
            Err(error) => return Err(error),
        }
        while let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
            if let FromGuest::Ready { .. } = serde_json::from_slice(&frame.payload)? {
                return Ok(());
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the guest's init did not answer"))
}

/// A QEMU's arguments without disks, network cards and monitor. The control port's chardev is for the caller to add.
fn strip(original: &[String], open_file: impl Fn(&str) -> Option<PathBuf>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = original.iter().peekable();
    while let Some(option) = words.next() {
        let value = words.next_if(|value| !value.starts_with('-')).map(String::as_str);
        let value = match (option.as_str(), value) {
            (option, _) if LEFT_OUT.contains(&option) => continue,
            ("-chardev", Some(value)) if value.contains("id=serial") => Some("null,id=serial".to_owned()),
            ("-chardev", _) => continue,
            ("-device", Some(value)) if is_left_out(value) => continue,
            ("-object", Some(value)) if value.starts_with("memory-backend-file") => continue,
            ("-machine", Some(value)) => Some(value.replace(",memory-backend=memory", "")),
            ("-name", _) => Some("guest=bench".to_owned()),
            ("-kernel" | "-initrd", Some(value)) => {
                let file = open_file(value);
                Some(file.map_or_else(|| value.to_owned(), |path| path.display().to_string()))
            }
            (_, value) => value.map(str::to_owned),
        };
        kept.push(option.clone());
        kept.extend(value);
    }
    kept
}

fn is_left_out(device: &str) -> bool {
    let driver =
        serde_json::from_str::<Value>(device).ok().and_then(|device| device["driver"].as_str().map(str::to_owned));
    driver.is_some_and(|driver| DRIVERS_LEFT_OUT.contains(&driver.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn what_makes_a_machine_a_pods_is_left_out() {
        let original = [
            "-name",
            "guest=demo/hello",
            "-m",
            "160M",
            "-nodefaults",
            "-no-reboot",
            "-kernel",
            "/proc/self/fd/19",
            "-append",
            "console=ttyS0 quiet",
            "-chardev",
            "socket,id=monitor,fd=14",
            "-mon",
            "chardev=monitor,mode=control",
            "-chardev",
            "socket,id=serial,fd=16",
            "-serial",
            "chardev:serial",
            "-chardev",
            "socket,id=control,fd=18",
            "-device",
            r#"{"driver":"virtio-serial-pci","id":"ports"}"#,
            "-add-fd",
            "fd=21,set=0",
            "-blockdev",
            r#"{"driver":"raw"}"#,
            "-device",
            r#"{"drive":"disk0","driver":"virtio-blk-pci"}"#,
            "-netdev",
            r#"{"fd":"22"}"#,
            "-device",
            r#"{"driver":"virtio-net-pci"}"#,
        ]
        .map(str::to_owned);
        let stripped = strip(&original, |name| (name == "/proc/self/fd/19").then(|| "/cache/vmlinuz".into()));
        let expected = [
            "-name",
            "guest=bench",
            "-m",
            "160M",
            "-nodefaults",
            "-no-reboot",
            "-kernel",
            "/cache/vmlinuz",
            "-append",
            "console=ttyS0 quiet",
            "-chardev",
            "null,id=serial",
            "-serial",
            "chardev:serial",
            "-device",
            r#"{"driver":"virtio-serial-pci","id":"ports"}"#,
        ];
        assert_eq!(stripped, expected);
    }

    #[test]
    fn a_guest_is_greeted_until_it_is_ready() {
        let (mut ours, mut guest) = UnixStream::pair().unwrap();
        let guest = thread::spawn(move || {
            let (mut decoder, mut chunk) = (Decoder::default(), [0; 4096]);
            // The first greeting is lost, as before the port is open.
            for _ in 0..2 {
                let length = guest.read(&mut chunk).unwrap();
                decoder.push(&chunk[..length]);
            }
            let hello = decoder.next_frame().unwrap().unwrap();
            let ready = FromGuest::Ready { version: Some(1), build: "0".into(), uptime_seconds: 1.0 };
            let payload = serde_json::to_vec(&ready).unwrap();
            let mut bytes = Vec::new();
            Frame { payload, ..hello }.encode_into(&mut bytes);
            guest.write_all(&bytes).unwrap();
        });
        greet(&mut ours, Instant::now()).unwrap();
        guest.join().unwrap();
        assert_eq!(greet(&mut ours, Instant::now()).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
