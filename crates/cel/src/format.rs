//! Formats of strings (`kube-openapi/pkg/validation/strfmt`; which of them definitions may use is in
//! `apiextensions-apiserver/pkg/apiserver/validation/formats.go`).

use base64::Engine;
use ipnet::IpNet;
use regex::Regex;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

/// Whether `text` has the format `name`; nothing when there is no such format, which then is not checked. Dashes in the
/// name don't count.
#[must_use]
pub fn is_valid(name: &str, text: &str) -> Option<bool> {
    let name = name.replace('-', "");
    let valid = match name.as_str() {
        "bsonobjectid" => text.len() == 24 && is_hex(text),
        "uri" => is_request_uri(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.contains(':') && text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.parse::<IpNet>().is_ok(),
        "mac" => is_mac(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some('3')),
        "uuid4" => is_uuid(text, Some('4')),
        "uuid5" => is_uuid(text, Some('5')),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => is_credit_card(text),
        "ssn" => SSN.is_match(text),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            [3, 6].contains(&digits.len()) && is_hex(digits)
        }
        "rgbcolor" => RGB.is_match(text),
        "byte" => is_base64(text),
        "password" => true,
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => go_duration(text).is_some() || LONG_DURATION.is_match(text),
        "datetime" => is_date_time(text),
        "quantity" => crate::quantity::Quantity::parse(text).is_ok(),
        "k8sshortname" => orrery_machinery::meta::dns_label_problems(text).is_empty(),
        "k8slongname" => orrery_machinery::meta::dns_subdomain_problems(text).is_empty(),
        _ => return None,
    };
    Some(valid)
}

fn regex(source: &str) -> Regex {
    Regex::new(source).expect("written here and covered by a test")
}

static SSN: LazyLock<Regex> = LazyLock::new(|| regex(r"^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$"));
static RGB: LazyLock<Regex> = LazyLock::new(|| {
    let part = "(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])";
    regex(&format!(r"^rgb\(\s*{part}\s*,\s*{part}\s*,\s*{part}\s*\)$"))
});
static CARD: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        "^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|(?:222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}",
        "|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35[0-9]{3})[0-9]{11}",
        "|6[27][0-9]{14})$",
    ))
});
/// What Scala calls a duration: a number and a word.
static LONG_DURATION: LazyLock<Regex> = LazyLock::new(|| {
    let units = "ns|nano|nanosecond|nanoseconds|us|µs|micro|microsecond|microseconds|ms|milli|millisecond|milliseconds\
        |s|sec|second|seconds|m|min|minute|minutes|h|hr|hour|hours|d|day|days|w|wk|week|weeks";
    regex(&format!(r"^\s*[0-9]+\s*({units})\s*$"))
});
static HOSTNAME: LazyLock<Regex> = LazyLock::new(|| {
    let c = r"a-zA-Z0-9\p{S}\p{L}";
    regex(&format!(r"^([{c}]((-?[{c}]{{0,62}})?)|([{c}](([{c}\-]{{0,61}}[{c}])?)(\.)){{1,}}([{c}])(-?[{c}]){{1,62}})$"))
});
static URI: LazyLock<Regex> = LazyLock::new(|| regex(r"^[a-zA-Z][a-zA-Z0-9+.-]*:[^\s\x00-\x1f\x7f]*$"));

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// As Go's `url.ParseRequestURI`: absolute, or a path.
fn is_request_uri(text: &str) -> bool {
    let bad_percent =
        text.split('%').skip(1).any(|rest| rest.len() < 2 || !rest.is_char_boundary(2) || !is_hex(&rest[..2]));
    let control = text.bytes().any(|b| b < 0x20 || b == 0x7f);
    !bad_percent && !control && (text.starts_with('/') || URI.is_match(text))
}

/// As Go's `mail.ParseAddress`, as far as addresses are written in practice: `a@b` and `Name <a@b>`.
fn is_email(text: &str) -> bool {
    let text = text.trim();
    let address = match text.strip_suffix('>') {
        Some(rest) => match rest.split_once('<') {
            Some((name, address)) if !name.contains(['<', '>', '@']) => address,
            Some(_) | None => return false,
        },
        None => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let atom = |text: &str| {
        let fits = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
        !text.is_empty() && text.split('.').all(|part| !part.is_empty() && part.chars().all(fits))
    };
    let quoted =
        local.len() > 2 && local.starts_with('"') && local.ends_with('"') && !local[1..local.len() - 1].contains('"');
    let literal = domain.starts_with('[') && domain.ends_with(']');
    (atom(local) || quoted) && (atom(domain) || literal)
}

fn is_hostname(text: &str) -> bool {
    text.len() <= 255 && text.split('.').all(|label| label.len() <= 63) && HOSTNAME.is_match(text)
}

/// As Go's `net.ParseMAC`: 6, 8 or 20 bytes, joined by `:`, `-`, or in pairs by `.`.
fn is_mac(text: &str) -> bool {
    let groups = |separator: char, digits: usize, counts: [usize; 3]| {
        let groups: Vec<&str> = text.split(separator).collect();
        counts.contains(&groups.len()) && groups.iter().all(|g| g.len() == digits && is_hex(g))
    };
    groups(':', 2, [6, 8, 20]) || groups('-', 2, [6, 8, 20]) || groups('.', 4, [3, 4, 10])
}

/// 8-4-4-4-12 hexadecimal digits; each dash may be missing.
fn is_uuid(text: &str, version: Option<char>) -> bool {
    let mut rest = text;
    let mut parts = Vec::new();
    for (i, digits) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        match rest.split_at_checked(digits) {
            Some((part, tail)) if is_hex(part) => {
                parts.push(part);
                rest = tail;
            }
            Some(_) | None => return false,
        }
    }
    let variant = || parts[3].starts_with(['8', '9', 'a', 'b', 'A', 'B']);
    rest.is_empty() && version.is_none_or(|version| parts[2].starts_with(version) && (version == '3' || variant()))
}

fn digits_of(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = digits_of(text);
    let value = |(i, c): (usize, char)| match c {
        'X' if i == 9 => Some(10),
        c => c.to_digit(10),
    };
    let Some(values) = digits.chars().enumerate().map(value).collect::<Option<Vec<u32>>>() else { return false };
    values.len() == 10 && values.iter().zip(1u32..).map(|(digit, i)| digit * i).sum::<u32>() % 11 == 0
}

fn is_isbn13(text: &str) -> bool {
    let digits = digits_of(text);
    let Some(values) = digits.chars().map(|c| c.to_digit(10)).collect::<Option<Vec<u32>>>() else { return false };
    values.len() == 13 && values.iter().zip([1, 3].iter().cycle()).map(|(digit, i)| digit * i).sum::<u32>() % 10 == 0
}

fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let luhn = digits.bytes().rev().enumerate().map(|(i, b)| {
        let digit = u32::from(b - b'0') * if i % 2 == 1 { 2 } else { 1 };
        digit / 10 + digit % 10
    });
    CARD.is_match(&digits) && luhn.sum::<u32>() % 10 == 0
}

fn is_base64(text: &str) -> bool {
    !text.is_empty() && base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

fn is_date_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 19 && matches!(bytes[10], b'T' | b't' | b' ') && text.parse::<jiff::Timestamp>().is_ok()
}

/// As Go's `time.ParseDuration`, in nanoseconds.
#[must_use]
pub fn go_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let nanos: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 20 {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let fraction = &fraction[..fraction.len().min(18)];
        let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        let scale = 10i128.pow(u32::try_from(fraction.len()).ok()?);
        total = total.checked_add(whole.checked_mul(nanos)?)?.checked_add(part * nanos / scale)?;
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_format_accepts_and_refuses_what_upstream_does() {
        let table: [(&str, &[&str], &[&str]); 24] = [
            ("bsonobjectid", &["507f1f77bcf86cd799439011"], &["507f", "507f1f77bcf86cd79943901g"]),
            ("uri", &["http://a.b/c?d", "/path", "urn:x"], &["", "no uri", "http://a%zz", "a b:c"]),
            ("email", &["a@b.c", "A B <a@b.c>", "\"a b\"@c"], &["", "a", "a@", "@b", "a b@c", "a@b@c<"]),
            ("hostname", &["a", "a.example", "1a.b-c.example"], &["", "-a", "a..b", "a_b"]),
            ("ipv4", &["10.0.0.1"], &["", "10.0.0", "::1", "10.0.0.256"]),
            ("ipv6", &["::1", "fe80::1"], &["", "10.0.0.1", ":::"]),
            ("cidr", &["10.0.0.0/8", "fd00::/64"], &["10.0.0.0", "10.0.0.0/33"]),
            ("mac", &["00:11:22:33:44:55", "0011.2233.4455", "00-11-22-33-44-55"], &["00:11", "00:11:22:33:44:5g"]),
            ("uuid", &["123E4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"], &["", "123"]),
            ("uuid4", &["123e4567-e89b-42d3-a456-426614174000"], &["123e4567-e89b-12d3-a456-426614174000"]),
            ("uuid5", &["123e4567-e89b-52d3-8456-426614174000"], &["123e4567-e89b-52d3-c456-426614174000"]),
            ("isbn10", &["0321751043"], &["0321751044", "x"]),
            ("isbn13", &["978-0321751041"], &["978-0321751042"]),
            ("creditcard", &["4111-1111-1111-1111"], &["4111-1111-1111-1112", ""]),
            ("ssn", &["111-22-3333", "111223333"], &["111-2-3333"]),
            ("hexcolor", &["#FFF", "ffffff"], &["#ffff", "#ggg"]),
            ("rgbcolor", &["rgb(255, 0,12)"], &["rgb(256,0,0)", "255,0,0"]),
            ("byte", &["aGVsbG8="], &["", "a", "*"]),
            ("password", &["", "x"], &[]),
            ("date", &["2020-02-29"], &["2021-02-29", "20200229", ""]),
            ("date-time", &["2020-01-02T03:04:05Z", "2020-01-02T03:04:05.6+02:00"], &["2020-01-02", "now"]),
            ("duration", &["1h30m", "22 ns", "3 days", "-1.5s", "0"], &["", "1", "h", "1y"]),
            ("k8s-short-name", &["a-1"], &["A", "a.b"]),
            ("quantity", &["10Gi", "-1", "1.5"], &["", "x", "1 Gi"]),
        ];
        for (name, good, bad) in table {
            good.iter().for_each(|text| assert_eq!(is_valid(name, text), Some(true), "{name} refuses {text:?}"));
            bad.iter().for_each(|text| assert_eq!(is_valid(name, text), Some(false), "{name} accepts {text:?}"));
        }
        assert_eq!(is_valid("unheard-of", "x"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_checked_without_panic(text in ".{0,40}", index in 0usize..24) {
            let names = ["uri", "email", "hostname", "cidr", "mac", "uuid", "isbn", "creditcard", "byte", "date", "datetime",
                "duration", "quantity", "rgbcolor", "bsonobjectid", "ssn", "hexcolor", "ipv4", "ipv6", "isbn10", "isbn13",
                "uuid5", "k8sshortname", "k8slongname"];
            let _ = is_valid(names[index], &text);
        }
    }
}
