//! What may come out of a tap: packets and ARP from its machine's own addresses, and nothing else.
//!
//! The rules stand at the tap itself (nftables, family `netdev`, hook `ingress`), before bridge and host see a packet: no machine
//! speaks in another's name, answers ARP for another's address, teaches the bridge another's MAC address, or sends anything but IPv4.
//! One table for each tap, replaced in one transaction; it is made before the tap comes up.
//!
//! `nft` is asked to do it: of the kernel's interfaces to this, its language is the one that is documented and kept.

use crate::{InterfaceName, NetworkError};
use std::{fmt, net::Ipv4Addr, process::Stdio, str::FromStr};
use tokio::io::AsyncWriteExt;

/// Where it is when the `PATH` does not say.
const USUAL_PLACES: &str = "/usr/sbin:/sbin";

/// A hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac([u8; 6]);

/// Why a text is no hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MAC address such as 52:54:00:12:34:56")]
pub struct InvalidMac(String);

impl FromStr for Mac {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let byte = |part: &str| u8::from_str_radix(part, 16).ok().filter(|_| digits(part));
        let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| InvalidMac(text.to_owned()))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(to, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// Lets `mac` with `address` out of `tap`, which must exist, and nobody else.
pub(crate) async fn ensure(tap: &InterfaceName, mac: Mac, address: Ipv4Addr) -> Result<(), NetworkError> {
    run(&format!("guard tap {tap}"), &rules(tap, mac, address)).await
}

/// Removes what [`ensure`] made.
pub(crate) async fn remove(tap: &InterfaceName) -> Result<(), NetworkError> {
    run(&format!("remove the guard of tap {tap}"), &without(tap)).await
}

/// Removing what is not there would be an error, so it is made first.
fn without(tap: &InterfaceName) -> String {
    format!("table netdev orrery_{tap}\ndelete table netdev orrery_{tap}\n")
}

fn rules(tap: &InterfaceName, mac: Mac, address: Ipv4Addr) -> String {
    format!(
        "{}table netdev orrery_{tap} {{
            chain out_of_the_machine {{
                type filter hook ingress device \"{tap}\" priority filter; policy drop;
                ether saddr {mac} ip saddr {address} accept
                ether saddr {mac} arp saddr ether {mac} arp saddr ip {address} accept
                counter drop
            }}
        }}\n",
        without(tap)
    )
}

async fn run(doing: &str, script: &str) -> Result<(), NetworkError> {
    let failed = |source| NetworkError::Nft { doing: doing.to_owned(), source };
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = tokio::process::Command::new("nft");
    command.args(["-f", "-"]).env("PATH", format!("{path}:{USUAL_PLACES}"));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let mut input = child.stdin.take().expect("it was asked for");
    // One that ends early says why; that it does not read on is no news.
    let _ = input.write_all(script.as_bytes()).await;
    drop(input);
    let output = child.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(NetworkError::Rules { doing: doing.to_owned(), said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_six_bytes_in_hexadecimal_digits() {
        let mac: Mac = "52:54:00:aB:0c:ff".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:0c:ff");
        for text in
            ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "52:54:0:12:34:56", "52:54:00:12:34:5g", "+1:54:00:12:34:56"]
        {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
