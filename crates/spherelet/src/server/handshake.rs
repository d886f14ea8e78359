//! How a client and this port agree to leave HTTP: for a WebSocket, or for SPDY.

use super::reply::{Body, body};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Why a request is refused.
pub(super) type Refusal = (StatusCode, String);

/// The protocols within a stream, where SPDY is agreed on.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// The protocols of one kind of request, best first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spoken {
    pub(super) websocket: &'static [&'static str],
    pub(super) spdy: &'static [&'static str],
}

/// What was agreed on.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) carrier: Carrier,
    /// One of [`Spoken`].
    pub(super) protocol: &'static str,
}

/// What takes the place of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Carrier {
    /// A WebSocket; the answer to its key.
    WebSocket(HeaderValue),
    Spdy,
}

impl Agreed {
    /// Reads what a request offers.
    pub(super) fn read(headers: &HeaderMap, spoken: Spoken) -> Result<Self, Refusal> {
        let upgrades = words(headers, header::CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade"));
        let to = |name: &str| upgrades && words(headers, header::UPGRADE).any(|word| word.eq_ignore_ascii_case(name));
        if to("websocket") {
            let accept = websocket_key(headers)?;
            let protocol = choose(headers, header::SEC_WEBSOCKET_PROTOCOL, spoken.websocket)?;
            Ok(Self { carrier: Carrier::WebSocket(accept), protocol })
        } else if to("spdy/3.1") {
            Ok(Self { carrier: Carrier::Spdy, protocol: choose(headers, STREAM_PROTOCOL, spoken.spdy)? })
        } else {
            Err(bad("streams are served over WebSocket and SPDY/3.1: ask for an upgrade, as kubectl does"))
        }
    }

    /// The answer with which HTTP ends.
    pub(super) fn response(&self) -> Response<Body> {
        let mut response = Response::new(body(""));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        let protocol = HeaderValue::from_static(self.protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        match &self.carrier {
            Carrier::WebSocket(accept) => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.clone());
                headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
            }
            Carrier::Spdy => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
                headers.insert(STREAM_PROTOCOL, protocol);
            }
        }
        response
    }
}

fn bad(message: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, message.to_owned())
}

/// The words of a header, which may stand there several times and be separated by commas.
fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn choose(headers: &HeaderMap, name: HeaderName, spoken: &'static [&'static str]) -> Result<&'static str, Refusal> {
    let offered: Vec<&str> = words(headers, name).collect();
    let best = spoken.iter().find(|known| offered.contains(known));
    best.copied().ok_or_else(|| bad(&format!("no common subprotocol; this port speaks {}", spoken.join(" and "))))
}

fn websocket_key(headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err((StatusCode::UPGRADE_REQUIRED, "the WebSocket version must be 13".to_owned()));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| bad("Sec-WebSocket-Key is missing"))?;
    let accept = derive_accept_key(key.as_bytes());
    HeaderValue::from_str(&accept).map_err(|_| bad("Sec-WebSocket-Key is malformed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOKEN: Spoken =
        Spoken { websocket: &["v5.channel.k8s.io", "v4.channel.k8s.io"], spdy: &["v4.channel.k8s.io"] };

    fn read(headers: &[(&'static str, &'static str)]) -> Result<(bool, &'static str), StatusCode> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let agreed = Agreed::read(&map, SPOKEN).map_err(|(status, _)| status)?;
        Ok((agreed.carrier == Carrier::Spdy, agreed.protocol))
    }

    #[test]
    fn the_best_protocol_that_both_speak_is_chosen() {
        let (version, key) = (("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="));
        let web = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), version, key];
        let offers = |offer| [&web[..], &[("sec-websocket-protocol", offer)]].concat();
        assert_eq!(read(&offers("v4.channel.k8s.io, v5.channel.k8s.io")), Ok((false, "v5.channel.k8s.io")));
        assert_eq!(read(&offers("v4.channel.k8s.io")), Ok((false, "v4.channel.k8s.io")));
        assert_eq!(read(&offers("channel.k8s.io")), Err(StatusCode::BAD_REQUEST));
        assert_eq!(read(&web[..2]), Err(StatusCode::UPGRADE_REQUIRED));
        let spdy = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
        let several =
            [("x-stream-protocol-version", "v5.channel.k8s.io"), ("x-stream-protocol-version", "v4.channel.k8s.io")];
        assert_eq!(read(&[&spdy[..], &several].concat()), Ok((true, "v4.channel.k8s.io")));
        assert_eq!(read(&spdy), Err(StatusCode::BAD_REQUEST));
        assert_eq!(read(&[]), Err(StatusCode::BAD_REQUEST));
    }
}
