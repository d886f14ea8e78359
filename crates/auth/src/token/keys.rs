//! Keys of tokens.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

/// What comes before the point in the DER of a P-256 public key (RFC 5480).
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// An uncompressed point: a marker and two coordinates.
const POINT_BYTES: usize = 65;

/// Why a key is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is not PEM.
    #[error("a token key is not PEM")]
    Pem(#[source] pem::PemError),
    /// It is a key of another kind.
    #[error("a token key has to be an ECDSA key on the curve P-256: {0}")]
    Kind(String),
    /// Signing failed.
    #[error("cannot sign a token: the system's source of random numbers failed")]
    Sign,
}

/// A key that verifies.
#[derive(Clone)]
pub(super) struct PublicKey {
    /// base64url of SHA-256 of the key's DER, as upstream names its keys.
    pub(super) id: String,
    point: [u8; POINT_BYTES],
}

impl PublicKey {
    fn of(point: &[u8]) -> Result<Self, KeyError> {
        let point: [u8; POINT_BYTES] = point
            .try_into()
            .ok()
            .filter(|point: &[u8; POINT_BYTES]| point[0] == 4)
            .ok_or_else(|| KeyError::Kind("the point is not uncompressed".into()))?;
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest([&SPKI[..], &point].concat()));
        Ok(Self { id, point })
    }

    fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = pem::parse(text).map_err(KeyError::Pem)?;
        let (_, info) =
            SubjectPublicKeyInfo::from_der(der.contents()).map_err(|error| KeyError::Kind(error.to_string()))?;
        if info.raw.get(..SPKI.len()) != Some(&SPKI[..]) {
            return Err(KeyError::Kind("the public key is of another kind".into()));
        }
        Self::of(&info.subject_public_key.data)
    }

    /// Whether `signature` is this key's for `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.point).verify(message, signature).is_ok()
    }

    /// The key as a JSON Web Key (RFC 7517).
    fn jwk(&self) -> Value {
        let (x, y) = self.point[1..].split_at(32);
        json!({"use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }
}

/// The key that signs tokens, and all that verify them.
pub struct TokenKeys {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    /// The signing key's own first.
    public: Vec<PublicKey>,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<&str> = self.public.iter().map(|key| key.id.as_str()).collect();
        f.debug_struct("TokenKeys").field("public", &ids).finish_non_exhaustive()
    }
}

impl TokenKeys {
    /// `signing_pem` (PKCS #8) signs; it and the public keys in `verifying_pem` verify: those that signed before.
    ///
    /// # Errors
    /// When one of them is no key on the curve P-256.
    pub fn new(signing_pem: &str, verifying_pem: &[String]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let der = pem::parse(signing_pem).map_err(KeyError::Pem)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.contents(), &random)
            .map_err(|error| KeyError::Kind(error.to_string()))?;
        let mut public = vec![PublicKey::of(pair.public_key().as_ref())?];
        for text in verifying_pem {
            let key = PublicKey::from_pem(text)?;
            if public.iter().all(|known| known.id != key.id) {
                public.push(key);
            }
        }
        Ok(Self { pair, random, public })
    }

    /// The id of the key that signs.
    #[must_use]
    pub fn signing_id(&self) -> &str {
        &self.public[0].id
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.sign(&self.random, message).map_err(|_| KeyError::Sign)?;
        Ok(signature.as_ref().to_vec())
    }

    /// The keys that may have signed a token that names `id`; all when it names none.
    pub(super) fn verifying<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a PublicKey> {
        self.public.iter().filter(move |key| id.is_none_or(|id| key.id == id))
    }

    /// The keys as a JSON Web Key Set.
    #[must_use]
    pub fn jwks(&self) -> Value {
        json!({"keys": self.public.iter().map(PublicKey::jwk).collect::<Vec<_>>()})
    }
}
