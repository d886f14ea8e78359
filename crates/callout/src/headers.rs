//! Headers that concern one connection only.

use http::{HeaderMap, HeaderName, header};

/// What concerns one connection only (RFC 9110, section 7.6.1).
const OF_THE_CONNECTION: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Takes out what concerned one connection only, of a request or an answer that goes on over another one.
pub fn without_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in OF_THE_CONNECTION {
        headers.remove(*name);
    }
    for name in named {
        headers.remove(name);
    }
}

/// [`without_connection`] of a request, but for what asks for an upgrade when `upgrades`. What is between this server and its
/// client goes, too: the host, the proof of who asks, and which compression is understood.
pub fn forwarded(headers: &mut HeaderMap, upgrades: bool) {
    let upgrade = headers.get(header::UPGRADE).cloned().filter(|_| upgrades);
    without_connection(headers);
    for name in [header::HOST, header::AUTHORIZATION, header::ACCEPT_ENCODING] {
        headers.remove(name);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(header::UPGRADE, upgrade);
        headers.insert(header::CONNECTION, http::HeaderValue::from_static("Upgrade"));
    }
}
