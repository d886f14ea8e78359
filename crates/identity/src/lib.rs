//! Who is who: authorities, certificates and TLS settings.
//!
//! Each purpose has an authority of its own (serving, clients, host agents, kubelet clients, each Supervisor), so that a
//! leaked key opens one door. Certificates are short-lived and are made anew by whoever holds the authority; a host's
//! private key is made on the host and only a signing request leaves it.
//!
//! * [`Authority`] issues and signs.
//! * [`Profile`] says what a certificate is for.
//! * [`SigningKeys`] are the keys of tokens, and rotate.
//! * [`tls`] turns PEM texts into `rustls` settings, always with `ring` and never with the system's trust store.
#![forbid(unsafe_code)]

mod authority;
mod signing;
pub mod tls;

pub use authority::{Authority, Credentials, IdentityError, Profile, Usage, new_signing_request, not_after};
pub use signing::SigningKeys;
