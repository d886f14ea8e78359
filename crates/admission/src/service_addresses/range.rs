//! The range of cluster addresses.

use std::{collections::BTreeSet, fmt, net::Ipv4Addr, str::FromStr};

/// A range of IPv4 addresses such as `10.96.0.0/16`. Its first and last address are no Service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    base: u32,
    bits: u32,
}

/// Why a text is no range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidRange(String);

impl fmt::Display for InvalidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no range of IPv4 addresses; write it as in 10.96.0.0/16, with /8 to /30", self.0)
    }
}

impl std::error::Error for InvalidRange {}

impl FromStr for Range {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let parts = text.split_once('/');
        let parsed =
            parts.and_then(|(base, length)| Some((base.parse::<Ipv4Addr>().ok()?, length.parse::<u32>().ok()?)));
        match parsed {
            Some((base, length)) if (8..=30).contains(&length) => {
                let bits = 32 - length;
                Ok(Self { base: u32::from(base) >> bits << bits, bits })
            }
            _ => Err(InvalidRange(text.to_owned())),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), 32 - self.bits)
    }
}

impl Range {
    /// Whether the address may be a Service's.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(self.base);
        offset > 0 && offset <= self.usable()
    }

    /// The first address, that of the API server's own Service.
    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 1)
    }

    fn usable(self) -> u32 {
        (1 << self.bits) - 2
    }

    /// An address that is not taken; the first that is free from `seed` on, after a small part that is left for those who
    /// ask for an address of their own (KEP-3070).
    #[must_use]
    pub fn free(self, taken: &BTreeSet<Ipv4Addr>, seed: u64) -> Option<Ipv4Addr> {
        let usable = u64::from(self.usable());
        let reserved = (usable / 16).clamp(1, 256).min(usable - 1);
        let dynamic = usable - reserved;
        let offsets = (0..dynamic).map(|step| reserved + (seed + step) % dynamic).chain(0..reserved);
        let addresses = offsets.map(|offset| Ipv4Addr::from(self.base + 1 + u32::try_from(offset).unwrap_or(0)));
        addresses.into_iter().find(|address| !taken.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_given_once_and_then_none() {
        let range: Range = "10.96.0.7/28".parse().unwrap();
        assert_eq!((range.to_string(), range.first()), ("10.96.0.0/28".into(), Ipv4Addr::new(10, 96, 0, 1)));
        let mut taken = BTreeSet::new();
        while let Some(address) = range.free(&taken, 5) {
            assert!(range.contains(address) && taken.insert(address), "{address}");
        }
        assert_eq!(taken.len(), 14);
        assert!(!range.contains(Ipv4Addr::new(10, 96, 0, 0)) && !range.contains(Ipv4Addr::new(10, 96, 0, 15)));
    }

    #[test]
    fn what_is_no_range_is_refused_with_advice() {
        for text in ["", "10.96.0.0", "10.96.0.0/33", "10.96.0.0/31", "x/16", "fd00::/108"] {
            assert!(text.parse::<Range>().unwrap_err().to_string().contains("10.96.0.0/16"), "{text}");
        }
    }
}
