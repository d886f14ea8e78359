//! The rules that names and labels follow, with upstream's words (`k8s.io/apimachinery/pkg/util/validation`). Each
//! function returns every rule that the text breaks; nothing when it is fine.

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
    alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
    validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const NAME_PART: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

/// Letters and digits at both ends, and `inner` besides between them.
fn is_framed(text: &str, edge: fn(u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    edge(*first) && edge(*last) && bytes.iter().all(|b| edge(*b) || inner.contains(b))
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// An RFC 1123 label: at most 63 of lower case letters, digits and `-`.
#[must_use]
pub fn dns_label_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > 63 {
        problems.push(too_long(63));
    }
    if !is_framed(text, lower, b"-") {
        problems.push(LABEL.to_owned());
    }
    problems
}

/// An RFC 1035 label: at most 63 of lower case letters, digits and `-`, the first a letter.
#[must_use]
pub fn dns_1035_label_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > 63 {
        problems.push(too_long(63));
    }
    if !is_framed(text, lower, b"-") || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        problems.push(LABEL_1035.to_owned());
    }
    problems
}

/// An RFC 1123 subdomain: labels joined by dots, at most 253 characters.
#[must_use]
pub fn dns_subdomain_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > 253 {
        problems.push(too_long(253));
    }
    if !text.split('.').all(|label| is_framed(label, lower, b"-")) {
        problems.push(SUBDOMAIN.to_owned());
    }
    problems
}

/// A name that fits a path's segment (RBAC objects).
#[must_use]
pub fn path_segment_problems(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].iter().filter(|bad| text.contains(**bad)).map(|bad| format!("may not contain '{bad}'")).collect()
}

/// A label's or annotation's key: a name, with an optional DNS subdomain and `/` before it.
#[must_use]
pub fn qualified_name_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".to_owned());
            } else {
                problems.extend(dns_subdomain_problems(prefix).into_iter().map(|p| format!("prefix part {p}")));
            }
            name
        }
        _ => {
            let hint = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a qualified name {NAME_PART} {hint}")];
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        problems.push(format!("name part {}", too_long(63)));
    }
    if !is_framed(name, alphanumeric, b"-_.") {
        problems.push(format!("name part {NAME_PART}"));
    }
    problems
}

/// A label's value: empty, or at most 63 of letters, digits, `-`, `_` and `.`.
#[must_use]
pub fn label_value_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > 63 {
        problems.push(too_long(63));
    }
    if !text.is_empty() && !is_framed(text, alphanumeric, b"-_.") {
        problems.push(LABEL_VALUE.to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&str) -> Vec<String>;

    #[test]
    fn each_rule_accepts_and_refuses_what_upstream_does() {
        let table: [(Rule, &[&str], &[&str]); 6] = [
            (dns_label_problems, &["a", "1-a"], &["", "A", "a.b", "-a", "a-"]),
            (dns_1035_label_problems, &["a", "a-1"], &["", "A", "a.b", "1-a", "a-"]),
            (dns_subdomain_problems, &["a.b", "a-1.b"], &["", "a..b", ".a", "A", "a_b"]),
            (path_segment_problems, &["system:node", "A b"], &[".", "..", "a/b", "50%"]),
            (qualified_name_problems, &["a", "A_b", "x.io/A"], &["", "/a", "a/", "a/b/c", "X.io/a", "_a"]),
            (label_value_problems, &["", "a_B.1"], &["a b", "-", "a/b"]),
        ];
        for (index, (rule, good, bad)) in table.into_iter().enumerate() {
            good.iter().for_each(|text| assert!(rule(text).is_empty(), "rule {index} refuses {text:?}"));
            bad.iter().for_each(|text| assert!(!rule(text).is_empty(), "rule {index} accepts {text:?}"));
        }
        assert_eq!(label_value_problems(&"a".repeat(64)), ["must be no more than 63 bytes"]);
    }
}
