//! Images from registries: the OCI distribution protocol, as far as reading needs it.
//!
//! [`pull`] finds the manifest at a mirror or the registry itself, gets what the store does not have yet into a staging
//! directory, every byte counted and hashed while it comes, and hands it to the same unpacking that archives go through.
//!
//! A registry is not trusted with more than the content it names by a tag: it may be slow, lie, break off or send without
//! end, and lead elsewhere. `transport` bounds time and length of each exchange, `session` authenticates and follows
//! redirects without showing credentials to others, `blob` goes on where a download broke off, `settings` reads
//! `registries.toml`, `keyring` finds the credentials for an image.
//!
//! These are the only parts of the crate that are asynchronous. Start reading at `pull`.

mod blob;
mod error;
mod keyring;
mod pull;
mod session;
mod settings;
mod transport;

pub use error::{PullError, RegistryError};
pub use keyring::{Credential, Keyring, KeyringError};
pub use pull::{PulledImage, fingerprints, pull};
pub use settings::{CollectionSettings, Settings, SettingsError};
