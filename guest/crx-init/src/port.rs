//! The virtio-serial port to the shim.
//!
//! The port reports a hang-up for as long as nobody holds the host's end, so it is watched edge-triggered, through an
//! epoll descriptor of its own that the main loop polls: each change wakes init once, and waiting costs nothing.

use crate::outbox::Outbox;
use orrery_wire::frame::{Decoder, Frame};
use orrery_wire::guest::PORT_NAME;
use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs;
use std::time::Duration;

const PORTS: &str = "/sys/class/virtio-ports";
const READ_BYTES: usize = 32 * 1024;
/// How long the port's device may take to appear after its driver was loaded.
const APPEARS_WITHIN: Duration = Duration::from_secs(30);

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    #[error(
        "no virtio-serial port is named {PORT_NAME}: does the machine have the device, and the initramfs its driver?"
    )]
    Absent,
    #[error("opening the port /dev/{name}")]
    Open { name: String, source: Errno },
    #[error("watching the port")]
    Watch(#[source] Errno),
}

/// The port, what was read of it and what is to be written to it.
pub(crate) struct Port {
    device: OwnedFd,
    watch: OwnedFd,
    decoder: Decoder,
    /// Bytes arrived that are no frames: nothing is believed until the host's end was closed.
    deaf: bool,
    /// Frames to be sent.
    pub(crate) outbox: Outbox,
}

impl Port {
    /// Opens the port, waiting for its device if need be.
    pub(crate) fn open() -> Result<Self, PortError> {
        let name = wait_for_port()?;
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let device = rustix::fs::open(format!("/dev/{name}"), flags, Mode::empty())
            .map_err(|source| PortError::Open { name, source })?;
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(PortError::Watch)?;
        let events = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&watch, &device, epoll::EventData::new_u64(0), events).map_err(PortError::Watch)?;
        Ok(Self { device, watch, decoder: Decoder::default(), deaf: false, outbox: Outbox::default() })
    }

    /// What to poll for reading; it becomes ready once for each change of the port.
    pub(crate) fn watch(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Takes the changes seen so far. What they were is found out by trying: call it before [`Port::read`] and
    /// [`Port::flush`].
    pub(crate) fn acknowledge(&self) {
        let mut events = Vec::with_capacity(1);
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let _ = epoll::wait(&self.watch, rustix::buffer::spare_capacity(&mut events), Some(&now));
    }

    /// Reads once. Whether there may be more to read at once; frames are then taken with [`Port::next_frame`].
    pub(crate) fn read(&mut self) -> bool {
        let mut bytes = [0; READ_BYTES];
        match rustix::io::read(&self.device, &mut bytes) {
            Ok(0) => {
                // Nobody is there. Whoever comes next begins with a whole frame and expects one.
                self.decoder = Decoder::default();
                self.deaf = false;
                self.outbox.rewind();
                false
            }
            Ok(count) => {
                if !self.deaf {
                    self.decoder.push(&bytes[..count]);
                }
                true
            }
            Err(Errno::INTR) => true,
            Err(_) => false,
        }
    }

    /// The next whole frame that was read.
    pub(crate) fn next_frame(&mut self) -> Option<Frame> {
        if self.deaf {
            return None;
        }
        self.decoder.next_frame().unwrap_or_else(|error| {
            crate::console::say(&format!(
                "the host sent what is no frame, ignoring it until it connects anew: {error}"
            ));
            self.deaf = true;
            None
        })
    }

    /// Writes what the port takes. Whether everything is written.
    pub(crate) fn flush(&mut self) -> bool {
        while !self.outbox.front().is_empty() {
            match rustix::io::write(&self.device, self.outbox.front()) {
                Ok(count) if count > 0 => self.outbox.advance(count),
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }
}

fn wait_for_port() -> Result<String, PortError> {
    let start = std::time::Instant::now();
    loop {
        if let Some(name) = find_port() {
            return Ok(name);
        }
        if start.elapsed() > APPEARS_WITHIN {
            return Err(PortError::Absent);
        }
        crate::wait(Duration::from_millis(5));
    }
}

/// The device name of the port, such as `vport1p1`, once its node is there.
fn find_port() -> Option<String> {
    let entries = fs::read_dir(PORTS).ok()?;
    entries.filter_map(Result::ok).find_map(|entry| {
        let named = fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim_end() == PORT_NAME);
        let device = entry.file_name().into_string().ok()?;
        (named && fs::exists(format!("/dev/{device}")).unwrap_or(false)).then_some(device)
    })
}
