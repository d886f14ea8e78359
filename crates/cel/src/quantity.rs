//! Kubernetes quantities as exact numbers (`k8s.io/apimachinery/pkg/api/resource`).

use std::cmp::Ordering;

/// A number with a decimal exponent: `digits × 10^exponent`. Binary suffixes multiply the digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quantity {
    digits: i128,
    exponent: i32,
}

impl Quantity {
    /// Reads a quantity: a sign, digits with an optional fraction, and a suffix.
    ///
    /// # Errors
    /// Upstream's text for what is no quantity, or for one that does not fit.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const BAD: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        let bad = || BAD.to_owned();
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) | None => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(bad());
        }
        let digits = format!("{whole}{fraction}");
        if digits.trim_start_matches('0').len() > 27 {
            return Err("quantity is too long".to_owned());
        }
        let digits: i128 = digits.trim_start_matches('0').parse().unwrap_or_default();
        let (factor, exponent) = suffix_of(suffix).ok_or_else(bad)?;
        let places = i32::try_from(fraction.len()).map_err(|_| bad())?;
        let digits = digits.checked_mul(factor).ok_or_else(bad)?;
        Ok(Self { digits: if negative { -digits } else { digits }, exponent: exponent - places }.normal())
    }

    /// A whole number.
    pub(crate) fn from_int(value: i64) -> Self {
        Self { digits: value.into(), exponent: 0 }.normal()
    }

    fn normal(self) -> Self {
        if self.digits == 0 {
            return Self { digits: 0, exponent: 0 };
        }
        let Self { mut digits, mut exponent } = self;
        while digits % 10 == 0 {
            digits /= 10;
            exponent += 1;
        }
        Self { digits, exponent }
    }

    /// Less, equal or greater than `other`.
    pub(crate) fn compare(self, other: Self) -> Ordering {
        let signs = self.digits.signum().cmp(&other.digits.signum());
        if signs != Ordering::Equal || self.digits == 0 {
            return signs;
        }
        match self.aligned(other) {
            Some((a, b)) => a.cmp(&b),
            None => {
                let larger = self.magnitude().cmp(&other.magnitude());
                if self.digits > 0 { larger } else { larger.reverse() }
            }
        }
    }

    /// The decimal place of the first digit.
    fn magnitude(self) -> i32 {
        i32::try_from(self.digits.unsigned_abs().ilog10()).unwrap_or_default() + self.exponent
    }

    /// Both as whole numbers of the smaller unit; nothing when these don't fit.
    fn aligned(self, other: Self) -> Option<(i128, i128)> {
        let least = self.exponent.min(other.exponent);
        let scale = |q: Self| q.digits.checked_mul(10i128.checked_pow(u32::try_from(q.exponent - least).ok()?)?);
        Some((scale(self)?, scale(other)?))
    }

    /// The sum; nothing when it does not fit.
    pub(crate) fn add(self, other: Self) -> Option<Self> {
        let (a, b) = self.aligned(other)?;
        let exponent = self.exponent.min(other.exponent);
        Some(Self { digits: a.checked_add(b)?, exponent }.normal())
    }

    /// The negative.
    pub(crate) fn negated(self) -> Self {
        Self { digits: -self.digits, ..self }
    }

    /// -1, 0 or 1.
    pub(crate) fn sign(self) -> i64 {
        self.digits.signum() as i64
    }

    /// As a whole number; nothing when it is none, or does not fit.
    pub(crate) fn as_int(self) -> Option<i64> {
        let scale = 10i128.checked_pow(u32::try_from(self.exponent).ok()?)?;
        i64::try_from(self.digits.checked_mul(scale)?).ok()
    }

    /// The nearest double.
    pub(crate) fn as_float(self) -> f64 {
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(f64::NAN)
    }
}

/// What a suffix multiplies by: a factor, and a power of ten.
fn suffix_of(suffix: &str) -> Option<(i128, i32)> {
    let binary = |power: u32| Some((1024i128.pow(power), 0));
    let decimal = |exponent: i32| Some((1, exponent));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
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
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            decimal(exponent.parse().ok().filter(|e: &i32| e.abs() <= 1000)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Quantity {
        Quantity::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn quantities_are_exact_numbers() {
        assert_eq!(read("1Gi").as_int(), Some(1 << 30));
        assert_eq!(read("1500m").compare(read("1.5")), Ordering::Equal);
        assert_eq!(read("1e3").compare(read("1k")), Ordering::Equal);
        assert_eq!(read("-1").compare(read("0.001")), Ordering::Less);
        assert_eq!(read("0.5").as_int(), None);
        assert_eq!(read("50k").add(read("20")).and_then(Quantity::as_int), Some(50_020));
        assert_eq!((read("-3").sign(), read("0").sign(), read("1500m").as_float()), (-1, 0, 1.5));
        for bad in ["", "Mi", "1.2.3", "1 Gi", "1gi", "--1", "1e", "0x1"] {
            assert!(Quantity::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(a in "[-+]?[0-9.]{0,28}[a-zA-Z0-9+-]{0,6}", b in "[0-9]{1,27}[kEn]?") {
            if let (Ok(a), Ok(b)) = (Quantity::parse(&a), Quantity::parse(&b)) {
                let _ = (a.compare(b), a.add(b), a.as_int(), a.as_float());
                prop_assert_eq!(a.compare(b), b.compare(a).reverse());
            }
        }
    }
}
