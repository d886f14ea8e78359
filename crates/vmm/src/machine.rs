//! The trait, and what goes in and out of it.

use crate::{qemu::QmpError, template::Template};
use async_trait::async_trait;
use orrery_wire::machine::Acceleration;
use std::{io, path::PathBuf, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

/// Something that can boot a guest.
#[async_trait]
pub trait Machine: Send + Sync {
    /// Starts a guest and returns once it executes; whether it ever becomes ready is for the control port to tell. The
    /// guest dies with the thread that this is called on, so call it on one that lasts.
    async fn launch(&self, spec: LaunchSpec) -> Result<Running, LaunchError>;
}

/// A guest that was started. Dropping it does not end the guest.
pub struct Running {
    /// The guest's control port. It reads as ended once the guest has.
    pub control: Control,
    /// The guest's power.
    pub guest: Arc<dyn Guest>,
}

/// A guest's life.
#[async_trait]
pub trait Guest: Send + Sync {
    /// Process id on the host; none when the guest has no process of its own.
    fn pid(&self) -> Option<u32>;
    /// Waits until the guest has ended and its process was collected; at once when it has already. Any number may wait.
    async fn wait(&self) -> MachineExit;
    /// Stops the guest for good and writes the state of its devices into its template, whose memory is the guest's own. The
    /// guest has then to be ended, and the template to be sealed, before a clone of it starts.
    async fn freeze(&self, template: &Template) -> Result<(), FreezeError>;
    /// Puts a disk into an empty slot, one that may be written into slot 0. The guest finds it once it takes the slot's
    /// device into use.
    async fn insert(&self, disk: &Disk) -> Result<(), InsertError>;
    /// Asks QEMU to end, without asking the guest. Returns when QEMU has taken the request, not when it has ended.
    async fn quit(&self) -> Result<(), QuitError>;
    /// Ends the guest at once (SIGKILL). Does nothing when it has ended.
    fn kill(&self);
}

/// A stream of bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
/// A guest's control port.
pub type Control = Box<dyn Duplex>;

/// What to boot, and with what.
#[derive(Debug, Clone)]
pub struct LaunchSpec {
    /// The machine's name, for QEMU's process title and logs.
    pub name: String,
    /// What the guest begins with.
    pub start: Start,
    /// Memory of the guest in bytes, rounded down to whole MiB.
    pub memory_bytes: u64,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// What executes the guest's instructions.
    pub acceleration: Acceleration,
    /// Disks, each in a slot of its own. Slots up to [`DISK_SLOTS`] that have none are there, and empty.
    pub disks: Vec<Disk>,
    /// Network interfaces in order.
    pub nics: Vec<Nic>,
    /// Who QEMU runs as; this process's own user when there is none (only for trials).
    pub credentials: Option<Credentials>,
    /// Control group directories that QEMU is put into before it executes.
    pub cgroups: Vec<PathBuf>,
    /// Where the guest's serial console goes.
    pub console: Console,
}

/// What a guest begins with.
#[derive(Debug, Clone)]
pub enum Start {
    /// Its kernel boots.
    Kernel(Kernel),
    /// Its kernel boots in memory that becomes a template's, see [`Guest::freeze`].
    Template(Kernel, Template),
    /// It goes on where a template was frozen, with what it writes kept to itself. The machine has to be the template's in
    /// memory, virtual CPUs and acceleration, has no disk beyond [`DISK_SLOTS`] and [`NIC_SLOTS`] network interfaces at most.
    Clone(Template),
}

/// What a guest boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The kernel (bzImage, or an ELF file with a PVH entry).
    pub image: PathBuf,
    /// The initial file system.
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub append: String,
}

/// Disk slots of every machine: one that may be written, slot 0, and others for reading. More disks make a machine that no
/// template fits.
pub const DISK_SLOTS: u8 = 4;
/// Network interfaces of every machine; one that is not used has no cable.
pub const NIC_SLOTS: usize = 1;

/// A disk given to a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its slot; the disk is PCI device [`orrery_wire::guest::FIRST_DISK_DEVICE`]` + slot`.
    pub slot: u8,
    /// The raw image.
    pub path: PathBuf,
    /// What the guest finds it by; at most 20 characters.
    pub serial: String,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

/// A network interface given to a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Name of an existing tap device.
    pub tap: String,
    /// Such as `52:54:00:12:34:56`.
    pub mac: String,
}

/// Who a process runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// A bounded log of the guest's serial console.
#[derive(Debug, Clone)]
pub struct Console {
    /// The file; truncated at launch.
    pub path: PathBuf,
    /// Most bytes that the file holds; older ones go.
    pub limit_bytes: usize,
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineExit {
    /// QEMU's exit code, when it exited.
    pub code: Option<i32>,
    /// The signal that ended QEMU, if one did.
    pub signal: Option<i32>,
    /// What is known of the cause, for people: QEMU's own words, or why the guest went down. May be empty.
    pub detail: String,
}

impl std::fmt::Display for MachineExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (_, Some(signal)) => write!(f, "QEMU was ended by signal {signal}")?,
            (Some(code), None) => write!(f, "QEMU exited with code {code}")?,
            (None, None) => write!(f, "QEMU ended")?,
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

/// The end of a guest, as it is published to those who wait.
#[derive(Debug, Clone)]
pub struct ExitWatch(watch::Receiver<Option<MachineExit>>);

impl ExitWatch {
    /// A publisher and what it publishes to.
    pub(crate) fn channel() -> (watch::Sender<Option<MachineExit>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    /// Waits for the end.
    pub async fn wait(&self) -> MachineExit {
        let mut receiver = self.0.clone();
        let ended = receiver.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        ended.unwrap_or_else(|| MachineExit { code: None, signal: None, detail: "its keeper is gone".into() })
    }
}

/// Why a guest was not started. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A file that the guest needs cannot be opened.
    #[error("cannot open {what} {path}")]
    OpenFile {
        /// `the kernel`, `the disk` ...
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The tap device cannot be attached to.
    #[error("cannot attach to the tap device {tap}; is it there, and not in use by another machine?")]
    OpenTap {
        /// Its name.
        tap: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Sockets towards QEMU cannot be made.
    #[error("cannot make the sockets between QEMU and its parent")]
    Sockets(#[source] io::Error),
    /// The program is not there.
    #[error("{program} is missing; install it with `apt-get install qemu-system-x86`")]
    Missing {
        /// QEMU's program.
        program: PathBuf,
    },
    /// The program cannot be started, put into its control groups or given its user.
    #[error("cannot start {program} as its own user in its control groups")]
    Spawn {
        /// QEMU's program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The machine is none that a template can become.
    #[error("the machine cannot be a template's clone: {0}")]
    NoClone(&'static str),
    /// The template's files cannot be opened once more.
    #[error("cannot open the template")]
    Template(#[source] io::Error),
    /// QEMU ended before it answered on its monitor.
    #[error("QEMU refused the machine: {0}")]
    EndedAtOnce(MachineExit),
    /// QEMU's monitor did not answer as it should; QEMU was killed.
    #[error("QEMU did not answer on its monitor; it was killed")]
    Monitor(#[source] QmpError),
}

/// Why a guest did not become a template.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// The monitor refused one of the steps.
    #[error("QEMU does not {doing}")]
    Monitor {
        /// `save the state of the guest` ...
        doing: &'static str,
        /// Why.
        #[source]
        source: QmpError,
    },
    /// The saving began and failed.
    #[error("the state of the guest was not saved: {0}")]
    Failed(String),
}

/// Why a disk is not in its slot.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// The file cannot be opened.
    #[error("cannot open the disk {path}")]
    OpenFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The monitor refused one of the steps.
    #[error("QEMU does not take the disk for slot {slot}")]
    Monitor {
        /// The slot.
        slot: u8,
        /// Why.
        #[source]
        source: QmpError,
    },
}

/// Why a guest could not be asked to end. Killing still works.
#[derive(Debug, thiserror::Error)]
pub enum QuitError {
    /// The monitor did not take the request.
    #[error("QEMU's monitor did not take the request to quit")]
    Monitor(#[source] QmpError),
}
