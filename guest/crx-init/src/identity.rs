//! Gives the machine its identity: clock, entropy, host name, network, and the texts of `/etc` that containers see.

use crate::netlink::{self, Netlink};
use crate::refusal::{Doing, Refusal};
use orrery_wire::guest::{GuestInterface, Identity, reason};
use rustix::fd::AsFd;
use rustix::time::{ClockId, Timespec, clock_settime};
use std::fs;
use std::net::IpAddr;

/// Where the texts lie; each container gets copies.
pub(crate) const ETC: &str = "/run/etc";
/// Their names under `/etc`.
pub(crate) const ETC_FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// Applies `identity`. May be tried again after a failure.
pub(crate) fn apply(identity: &Identity) -> Result<(), Refusal> {
    let seed = decode_hex(&identity.entropy_hex)?;
    check_hostname(&identity.hostname)?;
    set_clock(identity.unix_nanos)?;
    let random = fs::File::options().write(true).open("/dev/urandom").doing(|| "opening /dev/urandom".to_owned())?;
    crate::sys::add_entropy(random.as_fd(), &seed).doing(|| "adding entropy".to_owned())?;
    rustix::system::sethostname(identity.hostname.as_bytes()).doing(|| "setting the host name".to_owned())?;
    for (name, text) in ETC_FILES.iter().zip([hosts(identity), hostname(identity), resolv_conf(identity)]) {
        fs::write(format!("{ETC}/{name}"), text).doing(|| format!("writing {ETC}/{name}"))?;
    }
    configure_network(&identity.interfaces)
}

/// Sets the wall clock.
pub(crate) fn set_clock(unix_nanos: u64) -> Result<(), Refusal> {
    const NANOS: u64 = 1_000_000_000;
    let seconds = i64::try_from(unix_nanos / NANOS).expect("a u64 of nanoseconds is fewer seconds than i64 holds");
    let nanos = i64::try_from(unix_nanos % NANOS).expect("below a thousand million");
    clock_settime(ClockId::Realtime, Timespec { tv_sec: seconds, tv_nsec: nanos })
        .doing(|| "setting the clock".to_owned())
}

fn bad_request(message: String) -> Refusal {
    Refusal::new(reason::BAD_REQUEST, message)
}

fn check_hostname(name: &str) -> Result<(), Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if (1..=64).contains(&name.len()) && name.bytes().all(legal) {
        return Ok(());
    }
    Err(bad_request(format!("{name:?} is no host name of 1 to 64 letters, digits, dots and hyphens")))
}

fn decode_hex(text: &str) -> Result<Vec<u8>, Refusal> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() >= 64 && digits.len() % 2 == 0);
    let digits =
        digits.ok_or_else(|| bad_request("the entropy is not 32 bytes or more in hexadecimal digits".to_owned()))?;
    Ok(digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two hexadecimal digits are a byte"))
        .collect())
}

fn hostname(identity: &Identity) -> String {
    format!("{}\n", identity.hostname)
}

fn hosts(identity: &Identity) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    for interface in &identity.interfaces {
        let address = interface.address.split('/').next().unwrap_or_default();
        text.push_str(&format!("{address}\t{}\n", identity.hostname));
    }
    for (address, names) in &identity.host_aliases {
        text.push_str(&format!("{address}\t{}\n", names.join("\t")));
    }
    text
}

fn resolv_conf(identity: &Identity) -> String {
    let mut text = String::new();
    if !identity.search_domains.is_empty() {
        text.push_str(&format!("search {}\n", identity.search_domains.join(" ")));
    }
    for server in &identity.nameservers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !identity.resolver_options.is_empty() {
        text.push_str(&format!("options {}\n", identity.resolver_options.join(" ")));
    }
    text
}

fn configure_network(interfaces: &[GuestInterface]) -> Result<(), Refusal> {
    let netlink = Netlink::open().doing(|| "opening a netlink socket".to_owned())?;
    let loopback = link_index("lo")?;
    netlink.request(&netlink::link_up(loopback, None, None)).doing(|| "bringing lo up".to_owned())?;
    for (place, interface) in interfaces.iter().enumerate() {
        configure_interface(&netlink, place, interface).map_err(|refusal| Refusal {
            message: format!("interface {}: {}", interface.mac, refusal.message),
            ..refusal
        })?;
    }
    Ok(())
}

fn configure_interface(netlink: &Netlink, place: usize, interface: &GuestInterface) -> Result<(), Refusal> {
    let (address, prefix) = parse_address(&interface.address)?;
    let gateway = interface.gateway.as_deref().map(parse_ip).transpose()?;
    let index = link_index(&find_interface(place, &interface.mac)?)?;
    let mac = parse_mac(&interface.mac)?;
    netlink.request(&netlink::link_up(index, Some(interface.mtu), Some(mac))).doing(|| "bringing it up".to_owned())?;
    netlink.request(&netlink::add_address(index, address, prefix)).doing(|| "giving it its address".to_owned())?;
    match gateway {
        Some(gateway) => netlink
            .request(&netlink::default_route(index, gateway))
            .doing(|| format!("setting the default route through {gateway}")),
        None => Ok(()),
    }
}

fn parse_ip(text: &str) -> Result<IpAddr, Refusal> {
    text.parse().map_err(|_| bad_request(format!("{text:?} is no IP address")))
}

fn parse_address(text: &str) -> Result<(IpAddr, u8), Refusal> {
    let (address, prefix) =
        text.split_once('/').ok_or_else(|| bad_request(format!("{text:?} has no prefix length")))?;
    let address = parse_ip(address)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.parse().ok().filter(|prefix| *prefix <= most);
    Ok((address, prefix.ok_or_else(|| bad_request(format!("{text:?} has no prefix length up to {most}")))?))
}

fn parse_mac(text: &str) -> Result<[u8; 6], Refusal> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let mac = bytes.and_then(|bytes| bytes.try_into().ok());
    mac.ok_or_else(|| bad_request(format!("{text:?} is no MAC address")))
}

/// The interface at its place. A clone's remembers the address of its template's; a shim that knows no places has its
/// interfaces elsewhere, with the addresses that they shall have.
fn find_interface(place: usize, mac: &str) -> Result<String, Refusal> {
    crate::devices::interface(place).map_or_else(|| find_by_mac(mac), Ok)
}

fn find_by_mac(mac: &str) -> Result<String, Refusal> {
    let entries = fs::read_dir("/sys/class/net").doing(|| "listing interfaces".to_owned())?;
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| {
            fs::read_to_string(format!("/sys/class/net/{name}/address"))
                .is_ok_and(|address| address.trim_end().eq_ignore_ascii_case(mac))
        })
        .ok_or_else(|| Refusal::new(reason::SYSTEM_ERROR, "the machine has no interface with this MAC address"))
}

fn link_index(name: &str) -> Result<u32, Refusal> {
    let text = fs::read_to_string(format!("/sys/class/net/{name}/ifindex"));
    text.doing(|| format!("reading the number of {name}"))?
        .trim_end()
        .parse()
        .doing(|| format!("reading the number of {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            hostname: "web-0".into(),
            interfaces: vec![GuestInterface {
                mac: "52:54:00:00:00:01".into(),
                address: "10.0.0.7/24".into(),
                gateway: Some("10.0.0.1".into()),
                mtu: 1500,
            }],
            disks: None,
            nameservers: vec!["10.96.0.10".into()],
            search_domains: vec!["a.svc".into(), "svc".into()],
            resolver_options: vec!["ndots:5".into()],
            host_aliases: vec![("10.1.1.1".into(), vec!["one".into(), "uno".into()])],
            entropy_hex: "00".repeat(32),
            unix_nanos: 0,
            most_processes: None,
        }
    }

    #[test]
    fn the_etc_texts_are_as_resolvers_read_them() {
        assert_eq!(resolv_conf(&identity()), "search a.svc svc\nnameserver 10.96.0.10\noptions ndots:5\n");
        assert_eq!(hostname(&identity()), "web-0\n");
        let hosts = hosts(&identity());
        assert!(hosts.starts_with("127.0.0.1\tlocalhost\n"), "{hosts}");
        assert!(hosts.ends_with("10.0.0.7\tweb-0\n10.1.1.1\tone\tuno\n"), "{hosts}");
    }

    #[test]
    fn malformed_values_are_refused_as_bad_requests() {
        for refusal in [
            check_hostname("").unwrap_err(),
            check_hostname("a\nb").unwrap_err(),
            check_hostname(&"a".repeat(65)).unwrap_err(),
            decode_hex("00").unwrap_err(),
            decode_hex(&"0g".repeat(32)).unwrap_err(),
            decode_hex(&"0".repeat(65)).unwrap_err(),
            parse_address("10.0.0.7").unwrap_err(),
            parse_address("10.0.0.7/33").unwrap_err(),
            parse_address("x/8").unwrap_err(),
            parse_mac("52:54:00:0a:ff").unwrap_err(),
            parse_mac("52:54:00:0a:ff:0g").unwrap_err(),
        ] {
            assert_eq!(refusal.reason, reason::BAD_REQUEST, "{refusal}");
        }
    }

    #[test]
    fn entropy_and_addresses_are_read() {
        assert_eq!(parse_mac("52:54:00:0a:FF:01").unwrap(), [0x52, 0x54, 0, 0x0a, 0xff, 1]);
        assert_eq!(decode_hex(&"fF".repeat(32)).unwrap(), [255; 32]);
        assert_eq!(parse_address("fd00::1/64").unwrap(), ("fd00::1".parse().unwrap(), 64));
    }
}
