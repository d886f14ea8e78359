//! Machines: QEMU and a simulated one behind one trait.
//!
//! A [`Machine`] boots one guest from a [`LaunchSpec`] and gives a [`Running`]: the byte stream of the guest's control
//! port and a [`Guest`] to wait for, to ask for its end and to kill. There are two:
//!
//! * [`Qemu`]: a real guest. It is a child process with a user id of its own, inside its control groups, with a seccomp
//!   filter, without capabilities, with no file descriptors but those it was given, and it dies with the thread that
//!   started it. Files and sockets are opened here and handed over, so that QEMU needs no access to their directories.
//! * [`Simulated`]: a task in this process that answers like a guest on the control port, with faults on demand.
//!
//! A guest need not boot: it may go on where another one was frozen ([`Template`], [`Start::Clone`]).
//!
//! What it is not: it knows neither pods nor containers, keeps nothing on disk but a bounded console log, decides no
//! policy and understands no frame on the control port (the simulated guest, being a guest, does).
//!
//! Tasks of one running QEMU, each ending with it: the *keeper* owns the child process, takes kills and publishes the end;
//! the *monitor* owns the QMP socket; the *console* copies the serial port into its file; one more keeps the last lines
//! of QEMU's standard error for the report of its end.
//!
//! Beside it: [`probe_accelerator`] finds out by a tiny guest whether the processor's virtualization works here, and
//! [`qemu_version`] whether QEMU is there and new enough.
//!
//! Start reading at [`Machine`], then `qemu/launch.rs`.
#![deny(unsafe_code)] // Two modules allow it, for system calls without a safe wrapper: `qemu::child` and `qemu::tap`.

mod machine;
mod probe;
mod qemu;
mod simulated;
mod template;
mod version;

pub use machine::{
    Console, Control, Credentials, DISK_SLOTS, Disk, Duplex, ExitWatch, FreezeError, Guest, InsertError, Kernel,
    LaunchError, LaunchSpec, Machine, MachineExit, NIC_SLOTS, Nic, QuitError, Running, Start,
};
pub use probe::{ProbeReport, probe_accelerator};
pub use qemu::{Qemu, QmpError};
pub use simulated::{Fault, Simulated};
pub use template::Template;
pub use version::{QemuVersion, VersionError, qemu_version};
