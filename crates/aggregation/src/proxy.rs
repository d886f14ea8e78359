//! What becomes of headers on the way to another server and back.

use http::{HeaderMap, HeaderName, HeaderValue};
use orrery_apiserver::User;

/// Headers that say who asks begin so.
const REMOTE: &str = "x-remote-";
/// The header of a user's name.
pub(crate) const USER: &str = "X-Remote-User";
/// The header of a user's id.
pub(crate) const UID: &str = "X-Remote-Uid";
/// The header of a user's groups, one each.
pub(crate) const GROUP: &str = "X-Remote-Group";
/// Headers of what else is known of a user begin so.
pub(crate) const EXTRA: &str = "X-Remote-Extra-";

/// The headers of a request as the other server gets them: with the user's name, whatever the client itself said about it.
pub(crate) fn forwarded(headers: &mut HeaderMap, user: &User, upgrades: bool) {
    orrery_callout::forwarded(headers, upgrades);
    let told: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(REMOTE)).cloned().collect();
    for name in told {
        headers.remove(name);
    }
    let mut add = |name: &str, value: &str| {
        // A name or value that is none cannot be told.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    };
    add(USER, user.name());
    if !user.uid().is_empty() {
        add(UID, user.uid());
    }
    for group in user.groups() {
        add(GROUP, group);
    }
    for (key, values) in user.extra() {
        for value in values {
            add(&format!("{EXTRA}{}", escaped(key)), value);
        }
    }
}

/// A key as part of a header's name: what a name cannot have is percent-encoded.
fn escaped(key: &str) -> String {
    let mut out = String::new();
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_other_server_is_told_who_asks_and_by_nobody_else() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-remote-user", "root"),
            ("x-remote-extra-scopes", "all"),
            ("accept", "application/json"),
            ("authorization", "Bearer x"),
            ("connection", "close, x-secret"),
            ("x-secret", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let extra = BTreeMap::from([("a/b".to_owned(), vec!["1".to_owned(), "2".to_owned()])]);
        let user = User::described("jane", vec!["g1".into(), "g2".into()]).with_extra(extra).with_uid("u");
        let mut upgrading = headers.clone();
        forwarded(&mut headers, &user, false);
        let mut seen: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        seen.sort();
        let expected = [
            "accept: application/json",
            "x-remote-extra-a%2fb: 1",
            "x-remote-extra-a%2fb: 2",
            "x-remote-group: g1",
            "x-remote-group: g2",
            "x-remote-uid: u",
            "x-remote-user: jane",
        ];
        assert_eq!(seen, expected);
        forwarded(&mut upgrading, &user, true);
        assert_eq!(
            (&upgrading["upgrade"], &upgrading["connection"]),
            (&"websocket".parse().unwrap(), &"Upgrade".parse().unwrap())
        );
    }
}
