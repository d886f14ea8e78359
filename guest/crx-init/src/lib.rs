//! `crx-init`: process 1 of a pod's virtual machine, and the only one that is not a container's.
//!
//! It boots the machine from an initramfs ([`boot`]), opens the virtio-serial port to the shim ([`port`]) and then
//! carries out what the shim asks for ([`control`]): it takes on an identity ([`identity`]) and what belongs to it
//! ([`devices`]), starts containers from
//! read-only disks ([`rootfs`], [`inside`]) and processes in them ([`launch`], [`child`]), makes and fills their volumes
//! ([`volume`], [`mounts`]), confines them ([`confine`], [`filter`], [`cgroup`]), connects to ports ([`forward`]), carries
//! their input and output as frames within credit ([`process`], [`credit`]), reports how they end, and powers the machine off. A shim
//! that goes away and comes back finds everything running.
//!
//! It is not a supervisor: it restarts nothing, pulls nothing and decides nothing. It trusts the host, which could read
//! its memory anyhow, but answers a request that makes no sense with `Failed` rather than falling over. It does not
//! trust containers: no path of theirs is resolved outside their own root, and none of them can make it wait.
//!
//! There is one thread and one loop ([`agent`]); no other thread may ever be started, because processes are made by
//! forking without executing anything in between. An error that init cannot live with is written to the console and
//! ends the machine.
//!
//! Start reading at [`agent`], then [`control`], then [`child`].

mod agent;
mod boot;
mod cgroup;
mod child;
mod confine;
mod console;
mod control;
pub mod credit;
mod devices;
mod filter;
mod forward;
mod identity;
mod inside;
mod launch;
mod mounts;
mod netlink;
mod outbox;
mod port;
mod process;
mod program;
mod reaper;
mod refusal;
mod rootfs;
mod stats;
mod sys;
mod user;
mod volume;

/// Says which build this is, as `crx-init --version`, also in a container. Gives the exit code.
pub fn tell_version() -> i32 {
    use std::io::Write;
    match writeln!(std::io::stdout(), "crx-init {}", env!("CARGO_PKG_VERSION")) {
        Ok(()) => 0,
        Err(_closed) => 1,
    }
}

/// Runs as process 1 until the machine is off.
///
/// Anywhere else it says what it is, touches nothing and gives exit code 2.
pub fn run() -> i32 {
    if !rustix::process::getpid().is_init() {
        console::say("this is the init of a pod's virtual machine and runs nowhere else");
        return 2;
    }
    if let Err(error) = boot::boot() {
        console::fatal(&error);
    }
    let port = port::Port::open().unwrap_or_else(|error| console::fatal(&error));
    let mut agent = agent::Agent::new(port).unwrap_or_else(|error| console::fatal(&error));
    let Err(error) = agent.serve();
    console::fatal(&error)
}

/// Waits. Only where init has nothing else to do.
fn wait(duration: std::time::Duration) {
    let _ = rustix::event::poll(&mut [], Some(&agent::timespec(duration)));
}
