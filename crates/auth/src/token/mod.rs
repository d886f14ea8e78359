//! Tokens of service accounts: JSON Web Tokens (RFC 7519), signed with ES256 by the cluster's own key.
//!
//! * `keys`: the key that signs and those that verify. `jws`: the compact form. `claims`: what a token says.
//! * `issue`: what a request for a token gets. Pure.
//! * `account`: whose token it is, and whether what it is bound to is still there.
//! * `cache`: signatures that were verified a moment ago.
//! * `discovery`: the documents by which others verify tokens.
//!
//! A token is good for as long as its account, and the pod, secret or node that it is bound to, exist with the uid that
//! they had; that is looked up on each use, so deleting one of them revokes the token at once. Only the signature's check
//! is remembered.

mod account;
mod cache;
mod claims;
mod discovery;
mod issue;
mod jws;
mod keys;

pub use account::{Identity, ServiceAccountTokens, TokenError};
pub use claims::{Bound, Claims, Named};
pub use discovery::Discovery;
pub use issue::{BoundObject, Issued, Issuing, TokenSettings, TokenSpec, issue, validate_spec};
pub use keys::{KeyError, TokenKeys};

/// The key in a user's extra under which a credential's id stands.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
