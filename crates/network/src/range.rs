//! Whether a range of addresses is free on this host. Pure.

use ipnet::Ipv4Net;
use std::fmt;

/// How a range is used already.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// A device has an address in it, or the range lies in the device's network.
    Address(Ipv4Net),
    /// A route leads there.
    Route(Ipv4Net),
}

impl Use {
    fn network(&self) -> Ipv4Net {
        match self {
            Self::Address(network) | Self::Route(network) => *network,
        }
    }
}

/// Something that already uses a range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The address or route.
    pub usage: Use,
    /// The device that has it; none for a route without a device (`unreachable`, several next hops).
    pub device: Option<String>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.usage {
            Use::Address(address) => write!(f, "address {address}")?,
            Use::Route(route) => write!(f, "route {route}")?,
        }
        match &self.device {
            Some(device) => write!(f, " on dev {device}"),
            None => write!(f, " without a device"),
        }
    }
}

/// Those of `uses` that stand in the way of `range`. The default route does not: it is what is left when nothing else
/// fits.
pub(crate) fn conflicts(range: Ipv4Net, uses: impl IntoIterator<Item = Conflict>) -> Vec<Conflict> {
    let mut found: Vec<Conflict> = uses
        .into_iter()
        .filter(|conflict| {
            let network = conflict.usage.network();
            network.prefix_len() > 0 && overlap(range, network)
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Two networks overlap just when one holds the other's first address.
fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn route(text: &str, device: &str) -> Conflict {
        Conflict { usage: Use::Route(net(text)), device: Some(device.into()) }
    }

    #[test]
    fn a_wider_a_narrower_and_the_same_network_are_in_the_way_and_the_default_route_is_not() {
        let uses = [
            route("0.0.0.0/0", "eth0"),
            route("10.0.0.0/8", "wide"),
            route("10.244.0.128/25", "narrow"),
            route("10.244.0.0/24", "same"),
            route("10.244.1.0/24", "beside"),
        ];
        let found = conflicts(net("10.244.0.0/24"), uses);
        let devices: Vec<_> = found.iter().map(|conflict| conflict.device.as_deref().unwrap()).collect();
        assert_eq!(devices, ["wide", "same", "narrow"]);
        assert_eq!(found[0].to_string(), "route 10.0.0.0/8 on dev wide");
    }

    #[test]
    fn an_address_is_in_the_way_with_its_whole_network() {
        let address = Conflict { usage: Use::Address(net("10.244.0.9/16")), device: Some("eth1".into()) };
        assert_eq!(conflicts(net("10.244.7.0/24"), [address.clone()]), [address]);
    }

    proptest! {
        #[test]
        fn overlap_agrees_with_a_common_address(
            a in any::<u32>(), b in any::<u32>(), la in 20u8..=32, lb in 20u8..=32,
        ) {
            // Few high bits, so that networks meet often.
            let one = Ipv4Net::new(Ipv4Addr::from(a & 0x3fff), la).unwrap();
            let other = Ipv4Net::new(Ipv4Addr::from(b & 0x3fff), lb).unwrap();
            let common = u32::from(one.network()) <= u32::from(other.broadcast())
                && u32::from(other.network()) <= u32::from(one.broadcast());
            prop_assert_eq!(overlap(one, other), common);
        }
    }
}
