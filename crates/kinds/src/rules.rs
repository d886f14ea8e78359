//! Rules that fields of many kinds follow, in upstream's words.

use super::fields::{is_set, report, text};
use orrery_machinery::{meta, selector::validate_label_selector, status::FieldError};
use serde_json::Value;
use std::net::IpAddr;

/// Adds an error when `value` is missing or an empty text; whether it is there.
pub(crate) fn required(errors: &mut Vec<FieldError>, field: &str, value: &Value) -> bool {
    let there = match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => true,
    };
    if !there {
        errors.push(FieldError::required(field, ""));
    }
    there
}

/// Adds an error when `value` is set and below zero.
pub(crate) fn not_negative(errors: &mut Vec<FieldError>, field: &str, value: &Value) {
    if value.as_i64().is_some_and(|number| number < 0) {
        errors.push(FieldError::invalid(field, value, "must be greater than or equal to 0"));
    }
}

/// Adds an error for each of `names` in `parent` that is below zero; fields are named below `field`.
pub(crate) fn none_negative(errors: &mut Vec<FieldError>, field: &str, parent: &Value, names: &[&str]) {
    for name in names {
        not_negative(errors, &format!("{field}.{name}"), &parent[*name]);
    }
}

/// Adds an error when `value` is missing, empty or not one of `supported`.
pub(crate) fn required_one_of(errors: &mut Vec<FieldError>, field: &str, value: &Value, supported: &[&str]) {
    if required(errors, field, value) && !supported.contains(&text(value)) {
        errors.push(FieldError::not_supported(field, value, supported));
    }
}

/// Adds an error when `new` differs from `old`. What is null and what is missing are the same.
pub(crate) fn immutable(errors: &mut Vec<FieldError>, field: &str, new: &Value, old: &Value) {
    if new != old {
        errors.push(FieldError::invalid(field, new, "field is immutable"));
    }
}

/// Adds an error for each of `names`, fields of the object's root, that changed.
pub(crate) fn immutable_fields(errors: &mut Vec<FieldError>, new: &Value, old: &Value, names: &[&str]) {
    for name in names {
        immutable(errors, name, &new[*name], &old[*name]);
    }
}

/// Adds the errors of a text that is to be there and to follow `rule`.
pub(crate) fn required_name(errors: &mut Vec<FieldError>, field: &str, value: &Value, rule: fn(&str) -> Vec<String>) {
    if required(errors, field, value) {
        report(errors, field, value, &rule(text(value)));
    }
}

/// Adds the errors of a text that follows `rule` unless it is empty.
pub(crate) fn optional_name(errors: &mut Vec<FieldError>, field: &str, value: &Value, rule: fn(&str) -> Vec<String>) {
    if !text(value).is_empty() {
        report(errors, field, value, &rule(text(value)));
    }
}

/// What is wrong with a text that is to be an IP address.
pub(crate) fn ip_problems(address: &str) -> Vec<String> {
    if address.parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
}

/// A CIDR's address and length of prefix.
pub(crate) fn parse_cidr(cidr: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = cidr.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let plain = !length.starts_with(['+', '0']) || length == "0";
    let length: u8 = length.parse().ok().filter(|length| plain && *length <= most)?;
    Some((address, length))
}

/// Whether a network has this address.
pub(crate) fn contains((network, length): (IpAddr, u8), address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let kept = u32::MAX.checked_shl(u32::from(32 - length)).unwrap_or(0);
            network.to_bits() & kept == address.to_bits() & kept
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let kept = u128::MAX.checked_shl(u32::from(128 - length)).unwrap_or(0);
            network.to_bits() & kept == address.to_bits() & kept
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// What is wrong with a text that is to be a CIDR.
pub(crate) fn cidr_problems(cidr: &str) -> Vec<String> {
    if parse_cidr(cidr).is_some() {
        return Vec::new();
    }
    vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()]
}

/// What is wrong with a text that is to be `domain/path`.
pub(crate) fn domain_path_problems(name: &str) -> Vec<String> {
    let Some((domain, path)) = name.split_once('/').filter(|(domain, path)| !domain.is_empty() && !path.is_empty())
    else {
        return vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()];
    };
    let problems = meta::dns_subdomain_problems(domain);
    if problems.is_empty() && !path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%\"\\^`{|}<>".contains(&byte)) {
        return vec![format!("Invalid path (regex used for validation is '{PATH_PATTERN}')")];
    }
    problems
}

const PATH_PATTERN: &str = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";

/// What is wrong with a percentage.
pub(crate) fn percent_problems(percent: &str) -> Vec<String> {
    let digits = percent.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex \
               used for validation is '[0-9]+%')";
    vec![why.to_owned()]
}

/// A percentage as a number.
pub(crate) fn percentage(value: &Value) -> Option<i64> {
    let digits = text(value).strip_suffix('%')?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Adds the errors of a field that is a number from 0 on or a percentage.
pub(crate) fn number_or_percent(errors: &mut Vec<FieldError>, field: &str, value: &Value) {
    match value {
        Value::String(percent) => report(errors, field, value, &percent_problems(percent)),
        Value::Number(_) => not_negative(errors, field, value),
        Value::Null => {}
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            errors.push(FieldError::invalid(field, value, "must be an integer or percentage (e.g '5%%')"));
        }
    }
}

/// Adds an error when a percentage is above 100.
pub(crate) fn at_most_all(errors: &mut Vec<FieldError>, field: &str, value: &Value) {
    if percentage(value).is_some_and(|percent| percent > 100) {
        errors.push(FieldError::invalid(field, value, "must not be greater than 100%"));
    }
}

/// Adds the errors of a label selector, if it is set.
pub(crate) fn selector(errors: &mut Vec<FieldError>, field: &str, selector: &Value) {
    if is_set(selector) {
        errors.extend(validate_label_selector(selector, field));
    }
}

/// Adds the errors of the names of a map of labels or of a selector that is one.
pub(crate) fn labels(errors: &mut Vec<FieldError>, field: &str, labels: &Value) {
    errors.extend(meta::validate_labels(labels, field));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_number_or_a_percentage_is_neither_below_zero_nor_a_word() {
        for (value, expected) in [
            (json!(0), None),
            (json!("25%"), None),
            (json!(null), None),
            (json!(-1), Some("must be greater than or equal to 0")),
            (json!("a"), Some("a valid percent string must be")),
            (json!("%"), Some("a valid percent string must be")),
            (json!("1.5%"), Some("a valid percent string must be")),
        ] {
            let mut errors = Vec::new();
            number_or_percent(&mut errors, "f", &value);
            assert_eq!(errors.len(), usize::from(expected.is_some()), "{value}");
            assert!(errors.iter().all(|error| error.message.contains(expected.unwrap_or_default())), "{errors:?}");
        }
    }

    #[test]
    fn a_cidr_has_an_address_and_a_length() {
        for (cidr, fine) in [
            ("10.0.0.0/8", true),
            ("::/0", true),
            ("10.0.0.1", false),
            ("10.0.0.0/33", false),
            ("10.0.0.0/08", false),
            ("10.0.0.0/+8", false),
            ("x/8", false),
        ] {
            assert_eq!(parse_cidr(cidr).is_some(), fine, "{cidr}");
        }
    }
}
