//! Bearer tokens.

use crate::requests::{block_on, memory_directory, new_store};
use orrery_auth::token::{ServiceAccountTokens, TokenKeys, TokenSettings};
use orrery_auth::{Layout, Objects};
use orrery_identity::SigningKeys;
use orrery_machinery::status::ApiError;
use std::sync::LazyLock;

/// Tokens by a key of their own, of a cluster that has no accounts.
static TOKENS: LazyLock<ServiceAccountTokens> = LazyLock::new(|| {
    let directory = memory_directory();
    let keys = SigningKeys::load_or_create(directory.path(), "tokens").expect("a key can be made");
    let keys = TokenKeys::new(&keys.signing_pem, &[]).expect("the key is good");
    let layout = Layout {
        prefix: |group, plural, namespace| format!("/{group}/{plural}/{namespace}/"),
        decode: |_| Err(ApiError::internal("there are no objects")),
    };
    let objects = Objects::new(new_store(&directory), layout);
    ServiceAccountTokens::new(keys, TokenSettings::new("https://127.0.0.1:6443"), objects)
});

/// A token.
pub(crate) fn run(bytes: &[u8]) {
    let token = String::from_utf8_lossy(bytes);
    let tokens = &*TOKENS;
    let known = block_on(tokens.authenticate(&token, &[], 1_800_000_000));
    assert!(known.is_err(), "nobody holds a token of a key that was just made: {known:?}");
}
