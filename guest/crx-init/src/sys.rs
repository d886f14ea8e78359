//! The few system calls that have no safe wrapper.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use seccompiler::sock_filter;
use std::ffi::CString;
use std::io;

/// Which side of [`clone_process`] this is.
pub(crate) enum Cloned {
    /// The caller: the new process's id and a handle that becomes readable when it ends.
    Parent { pid: i32, pidfd: OwnedFd },
    /// The new process.
    Child,
}

/// New mount, IPC and host name namespaces.
pub(crate) const NEW_CONTAINER: u64 = (libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS) as u64;
/// A new process namespace.
pub(crate) const NEW_PROCESSES: u64 = libc::CLONE_NEWPID as u64;

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of clone3(2), as of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks a process that is born in `cgroup`, with the namespaces that `namespaces` asks for.
///
/// The caller must have one thread only, as init has: the child goes on with ordinary code.
pub(crate) fn clone_process(namespaces: u64, cgroup: BorrowedFd<'_>) -> io::Result<Cloned> {
    let mut pidfd: i32 = -1;
    let args = CloneArgs {
        flags: namespaces | CLONE_PIDFD | CLONE_INTO_CGROUP,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: cgroup.as_raw_fd() as u64,
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM the child works on its own copy of memory, as after fork(2); `args` and what it points
    // to live until the call returns; init has a single thread, so no lock is held by a thread that the child lacks.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: the kernel has just opened this descriptor for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid: i32::try_from(pid).expect("a process id fits i32"), pidfd })
        }
    }
}

/// Gives the calling process a control group namespace whose root is the group it is in.
pub(crate) fn unshare_cgroup_namespace() -> Result<(), Errno> {
    // SAFETY: only CLONE_FILES could be unsound, and it is not asked for.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }
}

/// Lets the kernel run `program` on each system call of the calling process and of all that come from it.
///
/// The wrapper of the crate that makes such programs takes new privileges away too, which is another question.
pub(crate) fn filter_system_calls(program: &[sock_filter]) -> io::Result<()> {
    /// `struct sock_fprog`
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const sock_filter,
    }
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: the kernel reads the structure and the instructions, which live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Does nothing any more but to let the kernel collect the calling process's children.
pub(crate) fn collect_forever() -> ! {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    loop {
        // SAFETY: pause has no preconditions.
        unsafe { libc::pause() };
    }
}

/// Becomes another program. Returns only with the error.
pub(crate) fn execute(path: &CString, argv: &[CString], env: &[CString]) -> Errno {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: all strings end with NUL, both arrays with a null pointer, and all outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Ends the calling process at once.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit touches nothing of the process.
    unsafe { libc::_exit(code) }
}

/// Makes `kept` the descriptors 0, 1, ... of the calling process and closes all others.
///
/// What owned a descriptor before must not be used or dropped any more.
pub(crate) fn keep_only<const N: usize>(kept: [BorrowedFd<'_>; N]) -> io::Result<[OwnedFd; N]> {
    let check = |result: i32| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) };
    let count = i32::try_from(N).map_err(io::Error::other)?;
    let mut aside = [0; N];
    for (place, descriptor) in aside.iter_mut().zip(kept) {
        // SAFETY: makes one more descriptor, above all that are replaced below.
        *place = check(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_DUPFD, count) })?;
    }
    for (number, descriptor) in (0..).zip(aside) {
        // SAFETY: replaces a descriptor whose owner the caller gives up.
        check(unsafe { libc::dup2(descriptor, number) })?;
    }
    // SAFETY: closes descriptors whose owners the caller gives up. The C library for guests has no wrapper of it.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, N, u32::MAX, 0) };
    check(i32::try_from(closed).unwrap_or(-1))?;
    // SAFETY: the numbers were made just now, and nobody else owns them.
    Ok(std::array::from_fn(|number| unsafe { OwnedFd::from_raw_fd(number as i32) }))
}

/// Sends any signal number to a process.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill has no memory arguments.
    if unsafe { libc::kill(pid, signal) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Adds `seed` to the kernel's random pool, credited in full, and makes the generator use it at once.
pub(crate) fn add_entropy(random: BorrowedFd<'_>, seed: &[u8]) -> io::Result<()> {
    /// `_IOW('R', 0x03, int[2])`
    const RNDADDENTROPY: u64 = 0x4008_5203;
    /// `_IO('R', 0x07)`
    const RNDRESEEDCRNG: u64 = 0x5207;
    let length = u32::try_from(seed.len()).map_err(io::Error::other)?;
    let mut info = Vec::with_capacity(8 + seed.len());
    info.extend_from_slice(&(length * 8).to_ne_bytes());
    info.extend_from_slice(&length.to_ne_bytes());
    info.extend_from_slice(seed);
    // SAFETY: `info` is a struct rand_pool_info: entropy count in bits, size in bytes, then that many bytes. The cast
    // is because the C libraries disagree on the request's type.
    let added = unsafe { libc::ioctl(random.as_raw_fd(), RNDADDENTROPY as _, info.as_ptr()) };
    if added != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: this request takes no argument.
    let reseeded = unsafe { libc::ioctl(random.as_raw_fd(), RNDRESEEDCRNG as _) };
    if reseeded == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
