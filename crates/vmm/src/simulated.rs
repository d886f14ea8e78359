//! The simulated machine: a task that speaks the guest's protocol.

mod guest;
mod process;
mod volumes;

use crate::{
    machine::{
        Disk, ExitWatch, FreezeError, Guest, InsertError, LaunchError, LaunchSpec, Machine, MachineExit, QuitError,
        Running, Start,
    },
    template::Template,
};
use async_trait::async_trait;
use guest::SimulatedGuest;
use orrery_wire::frame::Decoder;
use std::{
    fs::File,
    io::{self, Read, Write},
    sync::Arc,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::{mpsc, watch},
};

const PORT_BYTES: usize = 64 * 1024;

/// Something that goes wrong in every guest of a [`Simulated`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// QEMU does not even start.
    DoesNotStart,
    /// It never answers at all.
    NeverReady,
    /// It speaks no version that it is offered.
    SpeaksNoVersion,
    /// It ends by itself as soon as it has its identity.
    EndsWhenConfigured,
    /// It refuses its identity.
    RefusesIdentity,
    /// It answers no request after its identity.
    FallsSilent,
    /// It sends bytes that are no frame when a container is started.
    SendsGarbage,
    /// It announces a frame over the limit when a container is started.
    SendsOversizedFrame,
    /// It sends output without regard to credit.
    IgnoresCredit,
    /// It sends output for a process that was never started.
    InventsStreams,
    /// It agrees to power off and stays on.
    IgnoresPowerOff,
}

/// Boots guests that are tasks of this process. They run these programs: `echo WORDS`, `err WORDS` (to standard error),
/// `exit CODE`, `cat`, `sleep` (until a signal), `stubborn` (until SIGKILL) and `flood BYTES`.
#[derive(Debug, Clone, Default)]
pub struct Simulated {
    fault: Option<Fault>,
}

impl Simulated {
    /// Machines whose guests all have the fault.
    #[must_use]
    pub fn with_fault(fault: Fault) -> Self {
        Self { fault: Some(fault) }
    }
}

#[async_trait]
impl Machine for Simulated {
    async fn launch(&self, spec: LaunchSpec) -> Result<Running, LaunchError> {
        let boot = match &spec.start {
            Start::Kernel(kernel) | Start::Template(kernel, _) => Some(kernel),
            Start::Clone(template) => {
                check_state(template)?;
                None
            }
        };
        let boot =
            boot.iter().flat_map(|kernel| [("the kernel", &kernel.image), ("the initial file system", &kernel.initrd)]);
        let disks = spec.disks.iter().map(|disk| ("the disk", &disk.path));
        for (what, path) in boot.chain(disks) {
            File::open(path).map_err(|source| LaunchError::OpenFile { what, path: path.clone(), source })?;
        }
        if self.fault == Some(Fault::DoesNotStart) {
            let exit = MachineExit { code: Some(1), signal: None, detail: "simulated".into() };
            return Err(LaunchError::EndedAtOnce(exit));
        }
        let (control, port) = tokio::io::duplex(PORT_BYTES);
        let (publisher, exit) = ExitWatch::channel();
        let (orders, receiver) = mpsc::channel(1);
        tokio::spawn(run(SimulatedGuest::new(self.fault), port, receiver, publisher));
        Ok(Running { control: Box::new(control), guest: Arc::new(Handle { exit, orders }) })
    }
}

/// What the state of a simulated template says.
const STATE: &[u8] = b"a simulated guest";

/// A template that was not frozen, or can still be changed, has no clones.
fn check_state(template: &Template) -> Result<(), LaunchError> {
    if !template.is_sealed() {
        return Err(LaunchError::NoClone("the template is not sealed"));
    }
    let mut state = Vec::new();
    let read = template.state(false).and_then(|file| File::from(file).read_to_end(&mut state));
    read.map_err(LaunchError::Template)?;
    if state == STATE { Ok(()) } else { Err(LaunchError::NoClone("the template is empty")) }
}

/// How the guest is to end.
#[derive(Debug, Clone, Copy)]
enum Order {
    Quit,
    Kill,
}

struct Handle {
    exit: ExitWatch,
    orders: mpsc::Sender<Order>,
}

#[async_trait]
impl Guest for Handle {
    fn pid(&self) -> Option<u32> {
        None
    }

    async fn wait(&self) -> MachineExit {
        self.exit.wait().await
    }

    async fn freeze(&self, template: &Template) -> Result<(), FreezeError> {
        let written = template.state(true).and_then(|file| File::from(file).write_all(STATE));
        written.map_err(|error| FreezeError::Failed(error.to_string()))
    }

    async fn insert(&self, disk: &Disk) -> Result<(), InsertError> {
        let opened = File::open(&disk.path);
        opened.map(drop).map_err(|source| InsertError::OpenFile { path: disk.path.clone(), source })
    }

    async fn quit(&self) -> Result<(), QuitError> {
        // A full channel holds an order already; a closed one means that the guest has ended.
        let _ = self.orders.try_send(Order::Quit);
        Ok(())
    }

    fn kill(&self) {
        let _ = self.orders.try_send(Order::Kill);
    }
}

async fn run(
    guest: SimulatedGuest,
    port: DuplexStream,
    mut orders: mpsc::Receiver<Order>,
    publisher: watch::Sender<Option<MachineExit>>,
) {
    let exit = tokio::select! {
        // The guest is dropped at an order, as a real one is.
        order = orders.recv() => match order {
            Some(Order::Quit) => MachineExit { code: Some(0), signal: None, detail: "host-qmp-quit".into() },
            // A real guest dies with its parent.
            Some(Order::Kill) | None => MachineExit { code: None, signal: Some(9), detail: String::new() },
        },
        detail = converse(guest, port) => MachineExit { code: Some(0), signal: None, detail },
    };
    publisher.send_replace(Some(exit));
}

/// Answers on the port until the guest ends by itself, and says why it did.
async fn converse(mut guest: SimulatedGuest, mut port: DuplexStream) -> String {
    let mut decoder = Decoder::default();
    let mut chunk = vec![0; PORT_BYTES];
    loop {
        // A guest whose host has closed the port waits.
        let Ok(length @ 1..) = port.read(&mut chunk).await else { return std::future::pending().await };
        decoder.push(&chunk[..length]);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => guest.take(&frame),
                Ok(None) => break,
                Err(error) => return format!("the host broke the protocol: {error}"),
            }
            if let Err(error) = deliver(&mut guest, &mut port).await {
                return format!("the port failed: {error}");
            }
            if let Some(reason) = guest.ended() {
                return reason.to_owned();
            }
        }
    }
}

async fn deliver(guest: &mut SimulatedGuest, port: &mut DuplexStream) -> io::Result<()> {
    port.write_all(&guest.take_output()).await
}
