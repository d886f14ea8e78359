//! The documents by which others verify tokens (OpenID Connect Discovery 1.0, as far as service accounts need it).

use super::{TokenKeys, TokenSettings};
use serde_json::json;

/// The documents, written once.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// `/.well-known/openid-configuration`, `application/json`.
    pub configuration: Vec<u8>,
    /// `/openid/v1/jwks`, `application/jwk-set+json`.
    pub keys: Vec<u8>,
}

impl Discovery {
    /// The documents; none when the issuer is no `https` URL, as discovery demands.
    #[must_use]
    pub fn new(keys: &TokenKeys, settings: &TokenSettings) -> Option<Self> {
        let TokenSettings { issuer, jwks_uri, .. } = settings;
        if !issuer.starts_with("https://") || issuer.contains(['?', '#']) || !jwks_uri.starts_with("https://") {
            return None;
        }
        let configuration = json!({
            "issuer": issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        });
        Some(Self { configuration: configuration.to_string().into_bytes(), keys: keys.jwks().to_string().into_bytes() })
    }
}
