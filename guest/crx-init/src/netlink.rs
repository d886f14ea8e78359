//! Just enough of route netlink: bring a link up, give it an address, set a default route. Messages are built by pure
//! functions; [`Netlink`] sends one and waits for its acknowledgement.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};
use std::net::IpAddr;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST_ACK: u16 = 1 | 4;
const NLM_F_CREATE_REPLACE: u16 = 0x400 | 0x100;
const IFLA_ADDRESS: u16 = 1;
const IFLA_MTU: u16 = 4;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTNH_F_ONLINK: u32 = 4;
const IFF_UP: u32 = 1;
const HEADER_LENGTH: usize = 16;

/// A netlink message with room for its header.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER_LENGTH];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_REQUEST_ACK | flags).to_ne_bytes());
        Self(bytes)
    }

    fn with(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("attributes here are a few bytes long");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("messages here are a few bytes long");
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    u8::try_from(family.as_raw()).expect("both families are small numbers")
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Brings the link up, with a largest packet of `mtu` bytes when given. The kernel sets `mac` before that.
pub(crate) fn link_up(index: u32, mtu: Option<u32>, mac: Option<[u8; 6]>) -> Vec<u8> {
    let message = Message::new(RTM_NEWLINK, 0)
        .with(&[0; 4])
        .with(&index.to_ne_bytes())
        .with(&IFF_UP.to_ne_bytes())
        .with(&IFF_UP.to_ne_bytes());
    let message = match mac {
        Some(mac) => message.attribute(IFLA_ADDRESS, &mac),
        None => message,
    };
    match mtu {
        Some(mtu) => message.attribute(IFLA_MTU, &mtu.to_ne_bytes()).finish(),
        None => message.finish(),
    }
}

/// Gives the link an address.
pub(crate) fn add_address(index: u32, address: IpAddr, prefix: u8) -> Vec<u8> {
    let flags = if address.is_ipv6() { IFA_F_NODAD } else { 0 };
    Message::new(RTM_NEWADDR, NLM_F_CREATE_REPLACE)
        .with(&[family(address), prefix, flags, 0])
        .with(&index.to_ne_bytes())
        .attribute(IFA_LOCAL, &octets(address))
        .attribute(IFA_ADDRESS, &octets(address))
        .finish()
}

/// Sets the default route through `gateway`, which need not be in the link's subnet.
pub(crate) fn default_route(index: u32, gateway: IpAddr) -> Vec<u8> {
    const MAIN_TABLE: u8 = 254;
    const PROTOCOL_BOOT: u8 = 3;
    const UNICAST: u8 = 1;
    Message::new(RTM_NEWROUTE, NLM_F_CREATE_REPLACE)
        .with(&[family(gateway), 0, 0, 0, MAIN_TABLE, PROTOCOL_BOOT, 0, UNICAST])
        .with(&RTNH_F_ONLINK.to_ne_bytes())
        .attribute(RTA_GATEWAY, &octets(gateway))
        .attribute(RTA_OIF, &index.to_ne_bytes())
        .finish()
}

/// A route netlink socket.
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    /// Opens the socket.
    pub(crate) fn open() -> Result<Self, Errno> {
        // No protocol number means 0, which is NETLINK_ROUTE.
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).map(Self)
    }

    /// Sends one message and waits for the kernel's verdict.
    pub(crate) fn request(&self, message: &[u8]) -> Result<(), Errno> {
        sendto(&self.0, message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut answer = [0; 4096];
        let (count, _) = recv(&self.0, &mut answer, RecvFlags::empty())?;
        verdict(&answer[..count])
    }
}

/// Reads an acknowledgement: kind `NLMSG_ERROR` with a negated error number, 0 for success.
fn verdict(answer: &[u8]) -> Result<(), Errno> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(HEADER_LENGTH..HEADER_LENGTH + 4).and_then(|bytes| bytes.try_into().ok());
    match (kind, code.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(Errno::from_raw_os_error(code.checked_neg().unwrap_or(0))),
        _ => Err(Errno::BADMSG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_their_length_and_aligned_attributes() {
        let messages = [
            link_up(2, Some(1450), None),
            link_up(1, None, None),
            add_address(2, "10.0.0.7".parse().unwrap(), 24),
            add_address(2, "fd00::7".parse().unwrap(), 64),
            default_route(2, "10.0.0.1".parse().unwrap()),
        ];
        for message in messages {
            assert_eq!(message.len() % 4, 0);
            assert_eq!(u32::from_ne_bytes(message[..4].try_into().unwrap()) as usize, message.len());
        }
    }

    #[test]
    fn an_ipv4_address_is_laid_out_as_the_kernel_reads_it() {
        let message = add_address(3, "10.0.0.7".parse().unwrap(), 24);
        assert_eq!(message[HEADER_LENGTH..HEADER_LENGTH + 8], [2, 24, 0, 0, 3, 0, 0, 0]);
        assert_eq!(message[HEADER_LENGTH + 8..HEADER_LENGTH + 16], [8, 0, 2, 0, 10, 0, 0, 7]);
    }

    #[test]
    fn only_an_acknowledgement_without_error_is_success() {
        let mut answer = vec![0; 36];
        answer[4] = 2;
        assert_eq!(verdict(&answer), Ok(()));
        answer[16..20].copy_from_slice(&(-19i32).to_ne_bytes());
        assert_eq!(verdict(&answer), Err(Errno::NODEV));
        assert_eq!(verdict(&[]), Err(Errno::BADMSG));
    }

    #[test]
    fn the_kernel_understands_a_request_for_the_loopback_link() {
        let Ok(netlink) = Netlink::open() else {
            println!("skipped: no netlink socket here");
            return;
        };
        // No link has this number, whoever asks; a message that is laid out wrongly is refused as invalid instead.
        let answer = netlink.request(&link_up(0x7fff_fff0, None, None));
        assert!(matches!(answer, Err(Errno::NODEV | Errno::PERM)), "{answer:?}");
    }
}
