//! Starting a process, as init sees it: its standard input and output, its birth, and the news from its first moments.

use crate::cgroup;
use crate::child::{Birth, FAILED, Place, TERMINAL, become_process};
use crate::forward::become_forwarder;
use crate::reaper::{await_reaper, become_reaper};
use crate::refusal::{Doing, Refusal};
use crate::sys::{self, Cloned};
use orrery_wire::guest::{ProcessSpec, reason};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::ThreadNameSpaceType;
use std::io::IoSliceMut;

/// Init's ends of a process's standard input and output. All are non-blocking; with a terminal they come later.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// A process that was just born.
#[derive(Debug)]
pub(crate) struct Born {
    pub(crate) pid: i32,
    /// Readable once the process has ended.
    pub(crate) pidfd: OwnedFd,
    /// Where [`next_news`] reads.
    pub(crate) status: OwnedFd,
    pub(crate) ends: Ends,
}

/// Which container a process is born into.
pub(crate) enum Target<'a> {
    /// A new one; in a process namespace of its own unless there is one that it shares.
    New { place: Place, shared: Option<BorrowedFd<'a>>, own: BorrowedFd<'a> },
    /// The one whose first process the handle stands for; `own` is a handle of init itself.
    Existing { first_process: BorrowedFd<'a>, own: BorrowedFd<'a> },
}

/// Starts `process` in `cgroup`.
pub(crate) fn launch(target: Target<'_>, process: &ProcessSpec, cgroup: BorrowedFd<'_>) -> Result<Born, Refusal> {
    let (ends, stdio) = if process.tty { (Ends::default(), None) } else { make_stdio(process.stdin)? };
    let (ours, theirs) = status_socket()?;
    let birth = |place| Birth { place, process: process.clone(), stdio, status: theirs };
    let (birth, cloned) = match target {
        Target::New { place, shared: Some(reaper), own } => {
            (birth(place), clone_beside(reaper, own, sys::NEW_CONTAINER, cgroup)?)
        }
        Target::New { place, shared: None, .. } => {
            (birth(place), sys::clone_process(sys::NEW_CONTAINER | sys::NEW_PROCESSES, cgroup))
        }
        Target::Existing { first_process, own } => {
            let copy = first_process.try_clone_to_owned().doing(|| "copying a process handle".to_owned())?;
            let cloned = clone_beside(first_process, own, 0, cgroup)?;
            (birth(Place::Existing { first_process: copy }), cloned)
        }
    };
    match cloned.doing(|| "starting a process".to_owned())? {
        Cloned::Child => become_process(birth),
        Cloned::Parent { pid, pidfd } => {
            // The child does this itself too; but one whose memory limit does not even suffice for that has to be
            // killable for it to end. That it is gone already is no error.
            let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "0");
            Ok(Born { pid, pidfd, status: ours, ends })
        }
    }
}

/// Starts a process of init's own that connects to a port of the pod.
pub(crate) fn launch_forwarder(port: u16) -> Result<Born, Refusal> {
    let (ends, stdio) = make_stdio(true)?;
    let stdio = stdio.expect("there is no terminal");
    let (ours, theirs) = status_socket()?;
    let group = init_group()?;
    match sys::clone_process(0, group.as_fd()).doing(|| "starting a process".to_owned())? {
        Cloned::Child => become_forwarder(port, stdio, theirs),
        Cloned::Parent { pid, pidfd } => Ok(Born { pid, pidfd, status: ours, ends }),
    }
}

/// Makes the process namespace that containers share. Gives a handle of its first process.
pub(crate) fn launch_reaper() -> Result<OwnedFd, Refusal> {
    let (ours, theirs) = status_socket()?;
    let group = init_group()?;
    match sys::clone_process(sys::NEW_CONTAINER | sys::NEW_PROCESSES, group.as_fd())
        .doing(|| "starting a process".to_owned())?
    {
        Cloned::Child => become_reaper(theirs),
        Cloned::Parent { pidfd, .. } => {
            drop(theirs);
            await_reaper(&ours)?;
            Ok(pidfd)
        }
    }
}

fn status_socket() -> Result<(OwnedFd, OwnedFd), Refusal> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .doing(|| "making a status socket".to_owned())
}

fn init_group() -> Result<OwnedFd, Refusal> {
    rustix::fs::open(cgroup::INIT, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .doing(|| "opening init's control group".to_owned())
}

/// Forks with the child in the process namespace of `first_process`: such a change concerns the children of the caller only,
/// and init takes it back at once. The inner result is of the fork.
fn clone_beside(
    first_process: BorrowedFd<'_>,
    own: BorrowedFd<'_>,
    namespaces: u64,
    cgroup: BorrowedFd<'_>,
) -> Result<std::io::Result<Cloned>, Refusal> {
    let space = ThreadNameSpaceType::PROCESS_ID;
    match rustix::thread::move_into_thread_name_spaces(first_process, space) {
        Ok(()) => {}
        Err(Errno::SRCH) => return Err(Refusal::new(reason::NOT_FOUND, "the container has ended")),
        Err(error) => return Err(error).doing(|| "entering the container's process namespace".to_owned()),
    }
    let cloned = sys::clone_process(namespaces, cgroup);
    if !matches!(cloned, Ok(Cloned::Child)) {
        rustix::thread::move_into_thread_name_spaces(own, space)
            .doing(|| "returning from a process namespace".to_owned())?;
    }
    Ok(cloned)
}

fn make_stdio(with_input: bool) -> Result<(Ends, Option<[OwnedFd; 3]>), Refusal> {
    let doing = || "making pipes".to_owned();
    let (our_input, their_input) = if with_input {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).doing(doing)?;
        (Some(write), read)
    } else {
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).doing(doing)?;
        (None, null)
    };
    let (stdout, their_output) = pipe_with(PipeFlags::CLOEXEC).doing(doing)?;
    let (stderr, their_error) = pipe_with(PipeFlags::CLOEXEC).doing(doing)?;
    for end in our_input.iter().chain([&stdout, &stderr]) {
        set_nonblocking(end.as_fd()).doing(doing)?;
    }
    let ends = Ends { stdin: our_input, stdout: Some(stdout), stderr: Some(stderr) };
    Ok((ends, Some([their_input, their_output, their_error])))
}

fn set_nonblocking(end: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(end)?;
    rustix::fs::fcntl_setfl(end, flags | OFlags::NONBLOCK)
}

/// What a status socket tells.
#[derive(Debug)]
pub(crate) enum News {
    /// Nothing yet.
    None,
    /// The process has a terminal; this is its master.
    Terminal(OwnedFd),
    /// The process will not become the program.
    Refused(Refusal),
    /// The socket is closed: the program runs, or the process is dead already.
    Started,
}

/// Reads the next message of a status socket without waiting.
pub(crate) fn next_news(status: BorrowedFd<'_>) -> News {
    let mut bytes = [0; 4096];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = match recvmsg(status, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
        Ok(received) => received.bytes,
        Err(Errno::AGAIN | Errno::INTR) => return News::None,
        Err(_) => 0,
    };
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match (bytes[..received].split_first(), descriptor) {
        (Some((&TERMINAL, _)), Some(master)) => match set_nonblocking(master.as_fd()) {
            Ok(()) => News::Terminal(master),
            Err(error) => News::Refused(Refusal::new(reason::SYSTEM_ERROR, format!("opening a terminal: {error}"))),
        },
        (Some((&FAILED, text)), _) => News::Refused(read_refusal(text)),
        _ => News::Started,
    }
}

fn read_refusal(text: &[u8]) -> Refusal {
    let text = String::from_utf8_lossy(text);
    let (reason, message) = text.split_once('\0').unwrap_or((reason::SYSTEM_ERROR, &text));
    Refusal::new(reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

    #[test]
    fn news_come_in_order_and_end_with_the_start() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        assert!(matches!(next_news(ours.as_fd()), News::None));
        let (read, _write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [read.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let message = [std::io::IoSlice::new(&[TERMINAL])];
        rustix::net::sendmsg(&theirs, &message, &mut control, SendFlags::empty()).unwrap();
        rustix::net::send(&theirs, b"FUnknownUser\0no such user", SendFlags::empty()).unwrap();
        drop(theirs);
        assert!(matches!(next_news(ours.as_fd()), News::Terminal(_)));
        let News::Refused(refusal) = next_news(ours.as_fd()) else { panic!("a refusal was sent") };
        assert_eq!(refusal, Refusal::new("UnknownUser", "no such user"));
        assert!(matches!(next_news(ours.as_fd()), News::Started));
    }
}
