//! The way of a new process from its birth in init to the program it becomes.
//!
//! [`become_process`] runs in the child only. What stops it is sent to init over the status socket; once the program
//! runs, the socket is closed by `execve`, which tells init that all went well.

use crate::refusal::{Doing, Refusal};
use crate::user::User;
use crate::{confine, filter, inside, mounts, program, sys, user};
use orrery_wire::guest::{ProcessSpec, reason};
use orrery_wire::volume::VolumeMount;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::pty::OpenptFlags;
use rustix::thread::{CapabilitySet, CapabilitySets, ThreadNameSpaceType};
use std::ffi::CString;
use std::io::IoSlice;
use std::path::PathBuf;

/// Where a process is to run.
pub(crate) enum Place {
    /// In the new namespaces that it was born with, of which it is the first process.
    NewContainer(NewContainer),
    /// In the namespaces of the process that the handle stands for.
    Existing { first_process: OwnedFd },
}

/// What a new container is made of.
pub(crate) struct NewContainer {
    pub(crate) root: PathBuf,
    pub(crate) etc: PathBuf,
    pub(crate) read_only: bool,
    pub(crate) openness: inside::Openness,
    pub(crate) sysctls: Vec<(String, String)>,
    pub(crate) mounts: Vec<VolumeMount>,
    /// The file for its last words, and where it has it.
    pub(crate) termination_message: Option<(PathBuf, String)>,
}

/// Everything that the child needs.
pub(crate) struct Birth {
    pub(crate) place: Place,
    pub(crate) process: ProcessSpec,
    /// Standard input, output and error; none for a process that gets a terminal.
    pub(crate) stdio: Option<[OwnedFd; 3]>,
    /// Where to report to.
    pub(crate) status: OwnedFd,
}

/// Message on the status socket: the terminal's master follows as a descriptor.
pub(crate) const TERMINAL: u8 = b'T';
/// Message on the status socket: the reason word, NUL, and the text of a refusal.
pub(crate) const FAILED: u8 = b'F';

/// Open files per process: soft and hard limit.
const OPEN_FILES: Rlimit = Rlimit { current: Some(65_536), maximum: Some(1_048_576) };
/// More than any real `/etc/passwd` has; a longer one is read up to here.
const MOST_ACCOUNT_BYTES: usize = 1024 * 1024;

/// Becomes the process, or reports why not and ends.
pub(crate) fn become_process(birth: Birth) -> ! {
    crate::console::leave_init();
    let status = birth.status.try_clone();
    let Err(refusal) = try_become(birth);
    let mut message = vec![FAILED];
    message.extend_from_slice(refusal.reason.as_bytes());
    message.push(0);
    message.extend_from_slice(refusal.message.as_bytes());
    if let Ok(status) = status {
        let _ = rustix::net::send(&status, &message, SendFlags::NOSIGNAL);
    }
    sys::exit_now(127)
}

fn try_become(birth: Birth) -> Result<std::convert::Infallible, Refusal> {
    let Birth { place, process, stdio, status } = birth;
    // Init is spared when memory runs out; its children are not.
    std::fs::write("/proc/self/oom_score_adj", "0").doing(|| "resetting oom_score_adj".to_owned())?;
    // Inside, this process could otherwise be looked into while it still is a copy of init.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .doing(|| "closing memory to others".to_owned())?;
    let first_of_container = matches!(place, Place::NewContainer(_));
    let read_only = enter(place)?;
    rustix::process::setsid().doing(|| "starting a session".to_owned())?;
    match stdio {
        Some(stdio) => connect(&stdio)?,
        None => open_terminal(&status, first_of_container)?,
    }
    let directory = if process.working_directory.is_empty() { "/" } else { process.working_directory.as_str() };
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let made = std::fs::create_dir_all(directory);
    if read_only {
        inside::seal_root()?;
    }
    rustix::process::chdir(directory).map_err(|error| {
        let error = made.err().map_or(error.to_string(), |error| error.to_string());
        Refusal::new(reason::SYSTEM_ERROR, format!("entering the working directory {directory}: {error}"))
    })?;
    let user = resolve_user(&process)?;
    own_stdio(&user);
    rustix::process::setrlimit(Resource::Nofile, OPEN_FILES).doing(|| "limiting open files".to_owned())?;
    let capabilities = confine::capabilities(&process.confinement)?;
    if process.confinement.filter_system_calls {
        // Before privileges are dropped, which it takes some to do; what still is to be called is allowed to everybody.
        filter::apply(capabilities)?;
    }
    drop_privileges(&user, capabilities)?;
    if process.confinement.no_new_privileges {
        rustix::thread::set_no_new_privs(true).doing(|| "forbidding new privileges".to_owned())?;
    }
    execute(&process, &user)
}

/// Whether the root file system is to be made read-only.
fn enter(place: Place) -> Result<bool, Refusal> {
    match place {
        Place::NewContainer(new) => {
            sys::unshare_cgroup_namespace().doing(|| "making a control group namespace".to_owned())?;
            inside::make_mounts_private()?;
            rustix::process::umask(Mode::empty());
            let termination = new.termination_message.as_ref().map(|(file, path)| (file.as_path(), path.as_str()));
            let mounts = mounts::detach(&new.mounts, termination)?;
            let etc = inside::enter_root(&new.root, &new.etc)?;
            inside::furnish(etc, new.read_only, &new.sysctls, new.openness)?;
            mounts::place(mounts)?;
            Ok(new.read_only)
        }
        Place::Existing { first_process } => {
            let spaces = ThreadNameSpaceType::MOUNT
                | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
                | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
                | ThreadNameSpaceType::CONTROL_GROUP;
            rustix::thread::move_into_thread_name_spaces(first_process.as_fd(), spaces)
                .doing(|| "entering the container".to_owned())?;
            Ok(false)
        }
    }
}

fn connect(stdio: &[OwnedFd; 3]) -> Result<(), Refusal> {
    let [input, output, error] = stdio;
    let doing = || "connecting standard input and output".to_owned();
    rustix::stdio::dup2_stdin(input).doing(doing)?;
    rustix::stdio::dup2_stdout(output).doing(doing)?;
    rustix::stdio::dup2_stderr(error).doing(doing)
}

/// Opens a terminal of the container's own, sends the master to init, and makes the other end standard input and
/// output.
fn open_terminal(status: &OwnedFd, console: bool) -> Result<(), Refusal> {
    let doing = || "opening a terminal".to_owned();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty()).doing(doing)?;
    rustix::pty::unlockpt(&master).doing(doing)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags).doing(doing)?;
    if console {
        let name = rustix::pty::ptsname(&master, Vec::new()).doing(doing)?;
        inside::place_console(&name.to_string_lossy())?;
    }
    rustix::process::ioctl_tiocsctty(&terminal).doing(doing)?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [master.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(status, &[IoSlice::new(&[TERMINAL])], &mut control, SendFlags::NOSIGNAL).doing(doing)?;
    rustix::stdio::dup2_stdin(&terminal).doing(doing)?;
    rustix::stdio::dup2_stdout(&terminal).doing(doing)?;
    rustix::stdio::dup2_stderr(&terminal).doing(doing)
}

fn resolve_user(process: &ProcessSpec) -> Result<User, Refusal> {
    let (passwd, group) = (account_file("/etc/passwd"), account_file("/etc/group"));
    user::resolve(&process.user, &process.supplementary_groups, &passwd, &group)
}

/// The text of a file under the container's control: only a plain file is read, and not without end.
fn account_file(path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(CWD, path, flags, Mode::empty()) else { return String::new() };
    let is_plain = |status: rustix::fs::Stat| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
    if !rustix::fs::fstat(&file).is_ok_and(is_plain) {
        return String::new();
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(MOST_ACCOUNT_BYTES).expect("a megabyte fits u64");
    let _ = std::io::Read::read_to_end(&mut std::io::Read::take(std::fs::File::from(file), limit), &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Lets the user open `/dev/stdout` and the like anew. `/dev/null` is everybody's and stays as it is.
fn own_stdio(user: &User) {
    let owner = rustix::fs::Uid::from_raw(user.uid);
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let is_null = |status: rustix::fs::Stat| status.st_rdev == rustix::fs::makedev(1, 3);
        if !rustix::fs::fstat(stream).is_ok_and(is_null) {
            let _ = rustix::fs::fchown(stream, Some(owner), None);
        }
    }
}

/// The order matters: each step needs a privilege that a later one gives up.
fn drop_privileges(user: &User, kept: CapabilitySet) -> Result<(), Refusal> {
    for capability in CapabilitySet::all().difference(kept).iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The kernel may be older than the capability.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error).doing(|| "dropping a capability".to_owned()),
        }
    }
    let groups: Vec<_> = user.groups.iter().map(|group| rustix::fs::Gid::from_raw(*group)).collect();
    rustix::thread::set_thread_groups(&groups).doing(|| "setting supplementary groups".to_owned())?;
    rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(user.gid)).doing(|| "setting the group".to_owned())?;
    rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(user.uid)).doing(|| "setting the user".to_owned())?;
    let held = if user.uid == 0 { kept } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).doing(|| "setting capabilities".to_owned())
}

fn execute(process: &ProcessSpec, user: &User) -> Result<std::convert::Infallible, Refusal> {
    let Some(wanted) = process.argv.first() else {
        return Err(Refusal::new(reason::EXECUTABLE_NOT_FOUND, "no program was given"));
    };
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let env = program::complete_env(&process.env, &user.home, &hostname, process.tty);
    let (argv, c_env) = (c_strings(&process.argv)?, c_strings(&env)?);
    let mut failures = Vec::new();
    for path in program::candidates(wanted, &env) {
        let [c_path] = c_strings(std::slice::from_ref(&path))?.try_into().expect("one string in, one out");
        failures.push((path, sys::execute(&c_path, &argv, &c_env)));
    }
    Err(program::explain(wanted, &failures))
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>, Refusal> {
    let converted: Result<_, _> = texts.iter().map(|text| CString::new(text.as_str())).collect();
    converted.map_err(|_| Refusal::new(reason::BAD_REQUEST, "an argument or environment variable holds a NUL byte"))
}
