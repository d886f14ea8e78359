//! The real kernel, in a network namespace that each test makes for itself.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits on threads of its own"
)]

use orrery_network::{InterfaceName, Ipv4Net, Network, NetworkError, TapSpec};
use std::{
    io::{Read, Write},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    process::Command,
};

/// Runs `test` on a thread of its own in a new network namespace, which goes with the thread. Where that is not
/// allowed, says so and returns.
fn in_new_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            orrery_testing::skipped(format!("a network namespace needs root ({error})"));
            return;
        }
        if !std::path::Path::new("/dev/net/tun").exists() {
            orrery_testing::skipped("the kernel has no tun driver");
            return;
        }
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
    thread.join().unwrap();
}

fn name(text: &str) -> InterfaceName {
    InterfaceName::new(text).unwrap()
}

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

/// The tap of the machine with this number.
fn tap(device: &str, bridge: &str, machine: u8) -> TapSpec {
    let mac = format!("52:54:00:00:00:{machine:02x}").parse().unwrap();
    let address = [10, 244, 0, machine].into();
    TapSpec { name: name(device), owner: 61_234, bridge: name(bridge), mac, address }
}

/// `ip` in the calling thread's namespace: a child process inherits it.
fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_bridge_has_its_address_and_a_guarding_route_and_takes_no_part_in_ipv6() {
    in_new_namespace(|| async {
        let network = Network::connect().unwrap();
        for _ in 0..2 {
            network.ensure_bridge(&name("orr0"), net("10.244.0.1/24")).await.unwrap();
        }
        let shown = ip("-o addr show dev orr0");
        assert!(shown.contains("inet 10.244.0.1/24"), "{shown}");
        assert!(!shown.contains("inet6"), "{shown}");
        assert!(ip("link show dev orr0").contains("02:6f:72:00:00:01"));
        let routes = ip("route show");
        assert!(routes.contains("unreachable 10.244.0.0/24") && routes.contains("metric 4096"), "{routes}");
        assert!(routes.contains("10.244.0.0/24 dev orr0"), "{routes}");

        network.ensure_bridge(&name("orr0"), net("10.245.0.1/24")).await.unwrap();
        network.ensure_bridge(&name("orr0"), net("10.244.0.1/24")).await.unwrap();
        let both = format!("{} {}", ip("-o addr show dev orr0"), ip("route show"));
        assert!(!both.contains("10.245."), "the former range is gone: {both}");
        assert!(both.contains("inet 10.244.0.1/24"), "{both}");

        for _ in 0..2 {
            network.delete_bridge(&name("orr0"), net("10.244.0.0/24")).await.unwrap();
        }
        assert_eq!(ip("route show"), "");
        assert!(network.links_with_prefix("orr").await.unwrap().is_empty());
    });
}

#[test]
fn a_tap_belongs_to_its_owner_and_is_plugged_in_and_stays() {
    in_new_namespace(|| async {
        let network = Network::connect().unwrap();
        let tap = tap("orrt1i0", "orr0", 1);
        assert!(matches!(network.ensure_tap(&tap).await, Err(NetworkError::NoBridge(_))));
        network.ensure_bridge(&name("orr0"), net("10.244.0.1/24")).await.unwrap();
        for _ in 0..2 {
            network.ensure_tap(&tap).await.unwrap();
        }
        let shown = ip("-d link show dev orrt1i0");
        assert!(shown.contains("master orr0") && shown.contains("UP"), "{shown}");
        assert!(shown.contains("user 61234") && shown.contains("persist on"), "{shown}");
        assert!(!ip("-o addr show dev orrt1i0").contains("inet6"));
        assert_eq!(network.links_with_prefix("orrt").await.unwrap(), ["orrt1i0"]);

        let rules =
            || Command::new("nft").args(["list", "tables"]).env("PATH", "/usr/sbin:/sbin").output().unwrap().stdout;
        assert_eq!(String::from_utf8(rules()).unwrap(), "table netdev orrery_orrt1i0\n");
        for _ in 0..2 {
            network.delete_tap(&tap.name).await.unwrap();
        }
        assert!(rules().is_empty());
        assert!(network.links_with_prefix("orrt").await.unwrap().is_empty());
    });
}

/// The end of a tap that a machine has.
struct Machine(std::fs::File);

nix::ioctl_write_ptr_bad!(
    /// Makes an open `/dev/net/tun` the end of a tap.
    attach,
    libc::TUNSETIFF,
    libc::ifreq
);

impl Machine {
    fn plug(tap: &TapSpec) -> Self {
        let options = libc::O_NONBLOCK;
        let device =
            std::fs::File::options().read(true).write(true).custom_flags(options).open("/dev/net/tun").unwrap();
        // SAFETY: of this structure all zeroes are a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(tap.name.as_str().bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TAP | libc::IFF_NO_PI).unwrap();
        // SAFETY: the descriptor is open and the structure lives until the call returns.
        unsafe { attach(device.as_raw_fd(), &raw const request) }.unwrap();
        Self(device)
    }

    fn send(&mut self, frame: &[u8]) {
        self.0.write_all(frame).unwrap();
    }

    /// What has come since, until `last` comes; it is sent until it does.
    fn hears(&mut self, from: &mut Self, last: &[u8]) -> Vec<Vec<u8>> {
        let (mut heard, mut buffer) = (Vec::new(), [0; 2000]);
        for _ in 0..300 {
            from.send(last);
            std::thread::sleep(std::time::Duration::from_millis(10));
            while let Ok(length) = self.0.read(&mut buffer) {
                if buffer[..length].starts_with(last) {
                    return heard;
                }
                heard.push(buffer[..length].to_vec());
            }
        }
        panic!("nothing comes through but {} others", heard.len());
    }
}

/// A frame to all from the machine `mac`: ARP with the given sender, or a packet.
fn frame(mac: u8, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![255; 6];
    frame.extend([0x52, 0x54, 0, 0, 0, mac]);
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame.resize(60, 0);
    frame
}

/// The bridge may have taken padding off.
fn came_through(sent: &[u8], heard: &[Vec<u8>]) -> bool {
    heard.iter().any(|frame| sent.starts_with(frame))
}

fn arp(mac: u8, sender_mac: u8, sender: u8) -> Vec<u8> {
    let body = [
        &[0, 1, 8, 0, 6, 4, 0, 2, 0x52, 0x54, 0, 0, 0, sender_mac, 10, 244, 0, sender][..],
        &[255, 255, 255, 255, 255, 255, 10, 244, 0, 99],
    ];
    frame(mac, 0x0806, &body.concat())
}

fn packet(mac: u8, sender: u8) -> Vec<u8> {
    let mut header = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 10, 244, 0, sender, 10, 244, 0, 255];
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&(!folded).to_be_bytes());
    frame(mac, 0x0800, &header)
}

#[test]
fn a_machine_is_heard_under_its_own_addresses_only() {
    in_new_namespace(|| async {
        let network = Network::connect().unwrap();
        network.ensure_bridge(&name("orr0"), net("10.244.0.254/24")).await.unwrap();
        let (liar, other) = (tap("orrt1i0", "orr0", 1), tap("orrt2i0", "orr0", 2));
        for tap in [&liar, &other] {
            network.ensure_tap(tap).await.unwrap();
        }
        let (mut liar_end, mut other_end) = (Machine::plug(&liar), Machine::plug(&other));
        // As a host agent that starts again does: the rules are there all the time.
        network.ensure_tap(&liar).await.unwrap();
        other_end.hears(&mut liar_end, &arp(1, 1, 1));
        let lies = [
            ("another's MAC address", packet(2, 1)),
            ("another's address", packet(1, 2)),
            ("the gateway's address", packet(1, 254)),
            ("ARP under another's MAC address", arp(2, 1, 1)),
            ("ARP with another's MAC address", arp(1, 2, 1)),
            ("ARP for another's address", arp(1, 1, 2)),
            ("ARP for the gateway's address", arp(1, 1, 254)),
            ("IPv6", frame(1, 0x86dd, &[0x60; 40])),
            ("a tag of a VLAN", frame(1, 0x8100, &[[0, 1, 8, 0].as_slice(), &packet(1, 1)[14..34]].concat())),
            ("no protocol that is known", frame(1, 0x88cc, &[1])),
        ];
        for (what, lie) in lies {
            liar_end.send(&lie);
            let heard = other_end.hears(&mut liar_end, &arp(1, 1, 1));
            assert!(!came_through(&lie, &heard), "{what} came through");
        }
        liar_end.send(&packet(1, 1));
        let heard = other_end.hears(&mut liar_end, &arp(1, 1, 1));
        assert!(came_through(&packet(1, 1), &heard), "a packet from the machine's own addresses did not");
    });
}

#[test]
fn a_device_of_another_kind_is_neither_taken_nor_deleted() {
    in_new_namespace(|| async {
        let network = Network::connect().unwrap();
        ip("link add pair0 type veth peer name pair1");
        let error = network.ensure_bridge(&name("pair0"), net("10.244.0.1/24")).await.unwrap_err();
        assert!(error.to_string().contains("exists and is a veth, not a bridge"), "{error}");
        let bridge = name("orr0");
        network.ensure_bridge(&bridge, net("10.245.0.1/24")).await.unwrap();
        let tap = tap("pair0", bridge.as_str(), 1);
        assert!(matches!(network.ensure_tap(&tap).await, Err(NetworkError::OtherKind { .. })));
        assert!(matches!(network.delete_tap(&tap.name).await, Err(NetworkError::OtherKind { .. })));
        assert!(ip("link show").contains("pair0"));
    });
}

#[test]
fn a_range_in_use_is_told_with_route_and_device_and_our_own_use_is_none() {
    in_new_namespace(|| async {
        let network = Network::connect().unwrap();
        let (own, range) = (name("orr0"), net("10.244.0.0/24"));
        ip("link add other type bridge");
        ip("link set other up");
        ip("addr add 10.10.0.1/24 dev other");
        ip("route add default via 10.10.0.2");
        assert!(network.range_conflicts(range, &own).await.unwrap().is_empty());
        network.ensure_bridge(&own, net("10.244.0.1/24")).await.unwrap();
        assert!(network.range_conflicts(range, &own).await.unwrap().is_empty());

        ip("route add 10.244.0.0/16 via 10.10.0.3");
        ip("addr add 10.244.0.77/32 dev other");
        let found: Vec<String> =
            network.range_conflicts(range, &own).await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["address 10.244.0.77/32 on dev other", "route 10.244.0.0/16 on dev other"]);
    });
}
