//! Amounts with their unit in the type, and Kubernetes quantities.

use serde::{Deserialize, Serialize};

/// CPU in thousandths of a core (`500m` is half a core).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct MilliCpu(pub u64);

/// Memory or disk in bytes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// `count` mebibytes; the largest amount when that is more.
    #[must_use]
    pub const fn mebibytes(count: u64) -> Self {
        Self(count.saturating_mul(1024 * 1024))
    }

    /// Whole mebibytes, rounded up.
    #[must_use]
    pub const fn as_mebibytes_ceil(self) -> u64 {
        self.0.div_ceil(1024 * 1024)
    }
}

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a quantity: write a number with an optional suffix, such as 500m, 128Mi or 2")]
pub struct InvalidQuantity(String);

/// Reads a Kubernetes quantity as a whole number of thousandths, rounded up
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>). Negative amounts are refused:
/// nothing here can have one.
///
/// # Errors
/// When the text is not a quantity or does not fit.
pub fn parse_quantity_milli(text: &str) -> Result<u128, InvalidQuantity> {
    let invalid = || InvalidQuantity(text.to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 20 || fraction.len() > 9 || fraction.contains('.') {
        return Err(invalid());
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| invalid())?);
    let parse = |digits: &str| if digits.is_empty() { Ok(0) } else { digits.parse::<u128>().map_err(|_| invalid()) };
    let value = parse(whole)? * scale + parse(fraction)?;
    let (multiply, divide) = suffix_milli(suffix).ok_or_else(invalid)?;
    value.checked_mul(multiply).map(|v| v.div_ceil(scale * divide)).ok_or_else(invalid)
}

/// What a suffix multiplies and divides by to reach thousandths.
fn suffix_milli(suffix: &str) -> Option<(u128, u128)> {
    let binary = |power: u32| Some((1000 * 1024u128.pow(power), 1));
    let decimal = |power: u32| Some((10u128.pow(power + 3), 1));
    match suffix {
        "n" => Some((1, 1_000_000)),
        "u" => Some((1, 1_000)),
        "m" => Some((1, 1)),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: u32 = suffix.strip_prefix(['e', 'E'])?.parse().ok().filter(|e| *e <= 18)?;
            decimal(exponent)
        }
    }
}

impl MilliCpu {
    /// Reads a CPU quantity.
    ///
    /// # Errors
    /// When the text is not a quantity or does not fit.
    pub fn from_quantity(text: &str) -> Result<Self, InvalidQuantity> {
        let milli = parse_quantity_milli(text)?;
        u64::try_from(milli).map(Self).map_err(|_| InvalidQuantity(text.to_owned()))
    }

    /// As Kubernetes writes it: `2` or `1500m`.
    #[must_use]
    pub fn to_quantity(self) -> String {
        if self.0.is_multiple_of(1000) { (self.0 / 1000).to_string() } else { format!("{}m", self.0) }
    }
}

impl Bytes {
    /// Reads a memory or storage quantity, rounded up to a whole byte.
    ///
    /// # Errors
    /// When the text is not a quantity or does not fit.
    pub fn from_quantity(text: &str) -> Result<Self, InvalidQuantity> {
        let milli = parse_quantity_milli(text)?;
        u64::try_from(milli.div_ceil(1000)).map(Self).map_err(|_| InvalidQuantity(text.to_owned()))
    }

    /// As Kubernetes writes it, with the largest binary suffix that keeps it whole.
    #[must_use]
    pub fn to_quantity(self) -> String {
        let suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        let mut value = self.0;
        let mut index = 0;
        while value >= 1024 && value.is_multiple_of(1024) && index + 1 < suffixes.len() {
            value /= 1024;
            index += 1;
        }
        format!("{value}{}", suffixes[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_read_as_kubernetes_reads_them() {
        let table = [
            ("1", 1000),
            ("500m", 500),
            ("0.5", 500),
            ("1.5Gi", 1_610_612_736_000),
            ("128Mi", 134_217_728_000),
            ("1e3", 1_000_000),
            ("1k", 1_000_000),
            ("100n", 1),
            (".5", 500),
        ];
        for (text, milli) in table {
            assert_eq!(parse_quantity_milli(text), Ok(milli), "{text}");
        }
        for bad in ["", "Mi", "1.2.3", "-1", "1 Gi", "1gi", "1e99", "0x10", "99999999999999999999999"] {
            assert!(parse_quantity_milli(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn bytes_round_trip_through_their_quantity(bytes in any::<u64>()) {
            prop_assert_eq!(Bytes::from_quantity(&Bytes(bytes).to_quantity()), Ok(Bytes(bytes)));
        }

        #[test]
        fn cpu_round_trips_through_its_quantity(milli in any::<u64>()) {
            prop_assert_eq!(MilliCpu::from_quantity(&MilliCpu(milli).to_quantity()), Ok(MilliCpu(milli)));
        }

        #[test]
        fn any_text_is_read_or_refused_without_panic(text in ".{0,30}") {
            let _ = parse_quantity_milli(&text);
        }
    }
}
