//! Process 1 of the process namespace that the containers of a pod share when the pod wants it so.
//!
//! It is there before the first of them and as long as the machine, and processes whose parents are gone become its children:
//! the kernel collects them. Signals from inside the namespace do nothing to it, not even `SIGKILL`. Containers can see it,
//! so it holds nothing: no descriptor, no file system, no privilege.

use crate::refusal::{Doing, Refusal};
use crate::{inside, sys};
use orrery_wire::guest::reason;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Gid, Uid};
use rustix::net::SendFlags;

/// `nobody`.
const NOBODY: u32 = 65_534;

/// Becomes process 1, which is announced over `status`; or reports why not, and ends.
pub(crate) fn become_reaper(status: OwnedFd) -> ! {
    crate::console::leave_init();
    let kept = sys::keep_only([status.as_fd()]);
    // The number that this stands for is another's now.
    std::mem::forget(status);
    let Ok([status]) = kept else { sys::exit_now(1) };
    let message = match give_everything_up() {
        Ok(()) => READY.to_vec(),
        Err(refusal) => refusal.message.into_bytes(),
    };
    let announced = rustix::net::send(&status, &message, SendFlags::NOSIGNAL);
    if announced.is_err() || message != READY {
        sys::exit_now(1);
    }
    drop(status);
    sys::collect_forever()
}

fn give_everything_up() -> Result<(), Refusal> {
    inside::make_mounts_private()?;
    inside::enter_nothing()?;
    rustix::process::setsid().doing(|| "starting a session".to_owned())?;
    rustix::thread::set_name(c"pause").doing(|| "taking a name".to_owned())?;
    rustix::thread::set_thread_groups(&[]).doing(|| "leaving groups".to_owned())?;
    rustix::thread::set_thread_gid(Gid::from_raw(NOBODY)).doing(|| "setting the group".to_owned())?;
    rustix::thread::set_thread_uid(Uid::from_raw(NOBODY)).doing(|| "setting the user".to_owned())?;
    rustix::thread::set_no_new_privs(true).doing(|| "forbidding new privileges".to_owned())
}

/// What a reaper says once it holds nothing any more but the socket over which it says so.
const READY: &[u8] = b"R";

/// Waits for the word of a reaper that was just born; it does nothing that takes time.
pub(crate) fn await_reaper(status: &OwnedFd) -> Result<(), Refusal> {
    let mut bytes = [0; 256];
    let (_, received) = rustix::net::recv(status.as_fd(), &mut bytes[..], rustix::net::RecvFlags::empty())
        .doing(|| "waiting for process 1 of the shared process namespace".to_owned())?;
    match &bytes[..received.min(256)] {
        READY => Ok(()),
        text => {
            let text = String::from_utf8_lossy(text);
            Err(Refusal::new(reason::SYSTEM_ERROR, format!("making the shared process namespace: {text}")))
        }
    }
}
