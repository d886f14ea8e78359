//! A connection to a port of the pod, carried by a process of init's own: what listens on the pod's loopback alone can be
//! reached no other way.
//!
//! [`become_forwarder`] runs in the child only. It holds nothing of init but its standard input and output.

use crate::child::FAILED;
use crate::sys;
use orrery_wire::guest::reason;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Gid, Uid};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a listener may take to accept.
const CONNECT: Duration = Duration::from_secs(10);
/// `nobody`.
const NOBODY: u32 = 65_534;

/// Connects to `port` and carries bytes until the other side closes; or reports why not, and ends.
pub(crate) fn become_forwarder(port: u16, stdio: [OwnedFd; 3], status: OwnedFd) -> ! {
    let [input, output, error] = stdio.each_ref().map(AsFd::as_fd);
    let carried = sys::keep_only([input, output, error, status.as_fd()]).and_then(|[input, output, _, status]| {
        prepare(status.as_fd(), port).map(|connection| {
            // Its closing tells init that the connection stands.
            drop(status);
            carry(input, output, &connection);
        })
    });
    // The numbers that these stand for are others' now.
    std::mem::forget((stdio, status));
    sys::exit_now(if carried.is_ok() { 0 } else { 1 })
}

fn prepare(status: BorrowedFd<'_>, port: u16) -> io::Result<TcpStream> {
    let prepared = connect(port).map_err(|error| format!("connecting to port {port} of the pod: {error}"));
    let prepared = prepared.and_then(|connection| {
        give_up_privileges().map_err(|error| format!("giving up privileges: {error}")).map(|()| connection)
    });
    prepared.map_err(|message| {
        let text = [&[FAILED], reason::NOT_CONNECTED.as_bytes(), &[0], message.as_bytes()].concat();
        let _ = rustix::net::send(status, &text, rustix::net::SendFlags::NOSIGNAL);
        io::Error::other(message)
    })
}

/// As `localhost` is understood: version 4 of the protocol first.
fn connect(port: u16) -> io::Result<TcpStream> {
    let at = |address: SocketAddr| TcpStream::connect_timeout(&address, CONNECT);
    at((Ipv4Addr::LOCALHOST, port).into()).or_else(|error| at((Ipv6Addr::LOCALHOST, port).into()).map_err(|_| error))
}

fn give_up_privileges() -> io::Result<()> {
    std::fs::write("/proc/self/oom_score_adj", "0")?;
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_gid(Gid::from_raw(NOBODY))?;
    rustix::thread::set_thread_uid(Uid::from_raw(NOBODY))?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Carries both directions. The end of what the port sends is the end of all; that of the input is passed on.
fn carry(input: OwnedFd, output: OwnedFd, connection: &TcpStream) {
    let (mut input, mut output) = (File::from(input), File::from(output));
    let Ok(mut to_port) = connection.try_clone() else { return };
    // This is a process of its own, not init: it may have threads.
    std::thread::spawn(move || {
        pump(&mut input, &mut to_port);
        let _ = to_port.shutdown(Shutdown::Write);
    });
    pump(&mut &*connection, &mut output);
}

/// Hands on what comes until either side ends. `std::io::copy` would splice, and hold back what has come until more does.
fn pump(from: &mut impl Read, to: &mut impl Write) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::net::TcpListener;

    #[test]
    fn bytes_go_both_ways_and_the_end_of_the_input_is_passed_on() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let echo = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            io::copy(&mut peer.try_clone().unwrap(), &mut peer).unwrap()
        });
        let ((input, ours), (theirs, output)) =
            (pipe_with(PipeFlags::CLOEXEC).unwrap(), pipe_with(PipeFlags::CLOEXEC).unwrap());
        let carrying = std::thread::spawn(move || carry(input, output, &connect(port).unwrap()));
        let mut ours = File::from(ours);
        ours.write_all(b"to and fro").unwrap();
        let (mut theirs, mut said) = (File::from(theirs), [0; 10]);
        theirs.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"to and fro");
        drop(ours);
        assert_eq!(theirs.read(&mut said).unwrap(), 0);
        carrying.join().unwrap();
        assert_eq!(echo.join().unwrap(), 10);
        let refused = connect(port).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
