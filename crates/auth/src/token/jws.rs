//! JSON Web Signatures in their compact form (RFC 7515), ES256 and nothing else.

use super::keys::{KeyError, TokenKeys};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::json;

/// Longest token that is looked at.
const MAX_BYTES: usize = 16 * 1024;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none are.
    crit: Option<serde_json::Value>,
}

/// Signs a payload.
pub(super) fn sign(keys: &TokenKeys, payload: &[u8]) -> Result<String, KeyError> {
    let header = json!({"alg": "ES256", "kid": keys.signing_id()}).to_string();
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = keys.sign(message.as_bytes())?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The payload of a token, not verified; none when it is no token. Says only whose token it claims to be.
pub(super) fn peek(token: &str) -> Option<Vec<u8>> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    if token.len() > MAX_BYTES {
        return None;
    }
    URL_SAFE_NO_PAD.decode(payload).ok()
}

/// The payload of a token that one of the keys signed.
pub(super) fn verify(keys: &TokenKeys, token: &str) -> Option<Vec<u8>> {
    let payload = peek(token)?;
    let (message, signature) = token.rsplit_once('.')?;
    let header = URL_SAFE_NO_PAD.decode(message.split('.').next()?).ok()?;
    let header: Header = serde_json::from_slice(&header).ok()?;
    // The algorithm is ours to choose, never the token's.
    if header.alg != "ES256" || header.crit.is_some() {
        return None;
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let signed = keys.verifying(header.kid.as_deref()).any(|key| key.verifies(message.as_bytes(), &signature));
    signed.then_some(payload)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn keys(verifying: &[String]) -> (TokenKeys, String) {
        let directory = tempfile::tempdir().unwrap();
        let stored = orrery_identity::SigningKeys::load_or_create(directory.path(), "tokens").unwrap();
        (TokenKeys::new(&stored.signing_pem, verifying).unwrap(), stored.public_pem)
    }

    #[test]
    fn a_token_is_verified_by_its_key_and_by_no_other() {
        let (mine, public) = keys(&[]);
        let (other, _) = keys(&[]);
        let token = sign(&mine, b"{}").unwrap();
        assert_eq!(verify(&mine, &token).unwrap(), b"{}");
        assert!(verify(&other, &token).is_none());
        // After a rotation the old key still verifies.
        let (rotated, _) = keys(&[public]);
        assert_eq!(verify(&rotated, &token).unwrap(), b"{}");
        assert_ne!(rotated.signing_id(), mine.signing_id());
        assert_eq!(rotated.jwks()["keys"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn tampering_other_algorithms_and_garbage_are_refused() {
        let (keys, _) = keys(&[]);
        let token = sign(&keys, br#"{"sub":"a"}"#).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let b64 = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let header = |text: &str| format!("{}.{}.{}", b64(text), parts[1], parts[2]);
        let resigned = |text: &str| {
            let message = format!("{}.{}", b64(text), parts[1]);
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(keys.sign(message.as_bytes()).unwrap()))
        };
        assert!(verify(&keys, &resigned(r#"{"alg":"ES256"}"#)).is_some());
        for bad in [
            format!("{}.{}.{}", parts[0], b64(r#"{"sub":"b"}"#), parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}", parts[0], parts[1]),
            format!("{token}."),
            header(r#"{"alg":"none"}"#),
            resigned(r#"{"alg":"none"}"#),
            resigned(r#"{"alg":"HS256"}"#),
            resigned(r#"{"alg":"ES256","kid":"other"}"#),
            resigned(r#"{"alg":"ES256","crit":["x"]}"#),
            format!("{}.{}.{}", b64(r#"{"alg":"none"}"#), parts[1], ""),
            String::new(),
            "..".into(),
            "a.b.c".into(),
            "x".repeat(100_000),
        ] {
            assert!(verify(&keys, &bad).is_none(), "{bad}");
        }
    }
}
