//! URLs as Go's `net/url` reads them.

use std::collections::BTreeMap;

/// An absolute URL, or an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
    rest: String,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// Go's words for what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("parse {text:?}: {why}");
        if text.is_empty() {
            return Err(bad("empty url"));
        }
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err(bad("net/url: invalid control character in URL"));
        }
        let (scheme, rest) = match scheme_end(text) {
            Some(end) => (text[..end].to_lowercase(), &text[end + 1..]),
            None if text.starts_with(':') => return Err(bad("missing protocol scheme")),
            None => (String::new(), text),
        };
        if scheme.is_empty() && !rest.starts_with('/') {
            return Err(bad("invalid URI for request"));
        }
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match before.strip_prefix("//") {
            Some(after) if !scheme.is_empty() || !before.starts_with("///") => {
                let end = after.find('/').unwrap_or(after.len());
                (&after[..end], &after[end..])
            }
            Some(_) | None => ("", before),
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        check_host(host).map_err(|why| bad(&why))?;
        if !escapes_are_valid(path) {
            return Err(bad("invalid URL escape"));
        }
        Ok(Self {
            scheme,
            host: host.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            rest: format!("{authority}#{fragment}"),
        })
    }

    pub(super) fn scheme(&self) -> &str {
        &self.scheme
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn hostname(&self) -> &str {
        let host = split_port(&self.host).0;
        host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
    }

    pub(super) fn port(&self) -> &str {
        split_port(&self.host).1
    }

    /// The path with everything escaped that has to be.
    pub(super) fn escaped_path(&self) -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@%!'()*[]".contains(&b);
        let escape = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
        self.path.bytes().map(escape).collect()
    }

    /// Keys with all their values.
    pub(super) fn query(&self) -> BTreeMap<String, Vec<String>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(key), Some(value)) = (unescape(key), unescape(value)) {
                found.entry(key).or_default().push(value);
            }
        }
        found
    }
}

fn scheme_end(text: &str) -> Option<usize> {
    let end = text.find(':')?;
    let scheme = &text[..end];
    let fits = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && fits).then_some(end)
}

fn split_port(host: &str) -> (&str, &str) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
        Some(_) | None => (host, ""),
    }
}

fn check_host(host: &str) -> Result<(), String> {
    if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        let tail = &host[end + 1..];
        let fits =
            tail.is_empty() || tail.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
        return if fits { Ok(()) } else { Err(format!("invalid port {tail:?} after host")) };
    }
    if let Some((_, port)) = host.split_once(':')
        && !port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(format!("invalid port \":{port}\" after host"));
    }
    match host.chars().find(|c| " \"<>^`{|}\\".contains(*c)) {
        Some(c) => Err(format!("invalid character {:?} in host name", c.to_string())),
        None => Ok(()),
    }
}

fn escapes_are_valid(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit()))
}

fn unescape(text: &str) -> Option<String> {
    if !escapes_are_valid(text) {
        return None;
    }
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                out.push(u8::from_str_radix(std::str::from_utf8(&bytes[at + 1..at + 3]).ok()?, 16).ok()?);
                at += 2;
            }
            b'+' => out.push(b' '),
            other => out.push(other),
        }
        at += 1;
    }
    String::from_utf8(out).ok()
}
