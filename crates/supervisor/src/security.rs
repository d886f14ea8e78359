//! How a control plane proves and records: its token key, and its audit log.

use orrery_apiserver::TokenConfig;
pub use orrery_auth::audit::Rotation;
use orrery_auth::{
    audit::{AuditLog, AuditPolicy, OnFull, OpenLogError, PolicyError},
    token::{KeyError, TokenKeys, TokenSettings},
};
use orrery_identity::{IdentityError, SigningKeys};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Name of the token key's files in the directory of the authorities.
const TOKEN_KEY: &str = "service-account";
/// The policy in the Supervisor's directory that holds when none was named.
const POLICY_FILE: &str = "audit-policy.yaml";

/// How tokens of service accounts are issued.
#[derive(Debug, Clone, Default)]
pub struct TokenOptions {
    /// Issuers: the first one issues, all are accepted. The usual one when empty.
    pub issuers: Vec<String>,
    /// What the API server is called as a token's audience; the issuer when empty.
    pub audiences: Vec<String>,
    /// The longest lifetime in seconds.
    pub max_expiration_seconds: Option<i64>,
}

/// What is written down about requests.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// The log.
    pub log: PathBuf,
    /// A policy file; `audit-policy.yaml` in the Supervisor's directory when none, and without it the default.
    pub policy: Option<PathBuf>,
    /// Whether requests wait for the disk instead of losing events.
    pub wait: bool,
    /// When the log is put aside.
    pub rotation: Rotation,
}

/// Why tokens or the audit log can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// The key's files are of no use.
    #[error("cannot use the token key in {path}")]
    Files {
        /// Where they are.
        path: PathBuf,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// The key is of no use.
    #[error("cannot use the token key in {path}")]
    Key {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The policy file can't be read.
    #[error("cannot read the audit policy {path}")]
    ReadPolicy {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The policy is of no use.
    #[error("cannot use the audit policy {path}")]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PolicyError,
    },
    /// The log can't be opened.
    #[error(transparent)]
    Log(#[from] OpenLogError),
}

/// The token keys kept in `pki`, made on first use, and how tokens are issued for an API at `endpoint`.
pub(crate) fn tokens(pki: &Path, endpoint: &str, options: &TokenOptions) -> Result<TokenConfig, SecurityError> {
    let files = |source| SecurityError::Files { path: pki.to_owned(), source };
    let stored = SigningKeys::load_or_create(pki, TOKEN_KEY).map_err(files)?;
    let keys = TokenKeys::new(&stored.signing_pem, &stored.former_pem)
        .map_err(|source| SecurityError::Key { path: pki.to_owned(), source })?;
    let mut settings = TokenSettings::new(endpoint);
    if let Some((issuer, former)) = options.issuers.split_first() {
        settings.issuer.clone_from(issuer);
        settings.former_issuers = former.to_vec();
        settings.audiences = vec![issuer.clone()];
    }
    if !options.audiences.is_empty() {
        settings.audiences.clone_from(&options.audiences);
    }
    settings.max_expiration_seconds = options.max_expiration_seconds;
    Ok(TokenConfig { keys, settings })
}

/// Has a new key sign tokens of the Supervisor in `directory` from its next start on. Tokens from before stay good until the
/// files `pki/service-account-*.pub` are deleted.
///
/// # Errors
/// When the files can't be read or written.
pub fn rotate_token_key(directory: &Path) -> Result<(), SecurityError> {
    let path = directory.join("pki");
    SigningKeys::rotate(&path, TOKEN_KEY).map(drop).map_err(|source| SecurityError::Files { path, source })
}

/// Opens the audit log of the Supervisor in `directory`.
pub(crate) fn audit(directory: &Path, options: &AuditOptions) -> Result<AuditLog, SecurityError> {
    let path = options.policy.clone().unwrap_or_else(|| directory.join(POLICY_FILE));
    let policy = match fs::read_to_string(&path) {
        Ok(text) => AuditPolicy::parse(&text).map_err(|source| SecurityError::Policy { path, source })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound && options.policy.is_none() => AuditPolicy::default(),
        Err(source) => return Err(SecurityError::ReadPolicy { path, source }),
    };
    let on_full = if options.wait { OnFull::Wait } else { OnFull::Drop };
    Ok(AuditLog::open(policy, &options.log, options.rotation, on_full)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_issuer_issues_and_the_others_are_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let options =
            TokenOptions { issuers: vec!["https://new".into(), "https://old".into()], ..TokenOptions::default() };
        let config = tokens(directory.path(), "https://127.0.0.1:6443", &options).unwrap();
        assert_eq!(config.settings.issuers(), ["https://new", "https://old"]);
        assert_eq!(config.settings.audiences, ["https://new"]);
        let plain = tokens(directory.path(), "https://127.0.0.1:6443", &TokenOptions::default()).unwrap();
        assert_eq!(plain.settings.audiences, [plain.settings.issuer]);
        assert_eq!(plain.keys.signing_id(), config.keys.signing_id());
    }

    #[test]
    fn a_rotated_key_signs_and_the_one_before_still_verifies() {
        let directory = tempfile::tempdir().unwrap();
        let pki = directory.path().join("pki");
        fs::create_dir_all(&pki).unwrap();
        let load = || tokens(&pki, "https://127.0.0.1:6443", &TokenOptions::default()).unwrap().keys;
        let before = load();
        rotate_token_key(directory.path()).unwrap();
        let after = load();
        assert_ne!(after.signing_id(), before.signing_id());
        let ids: Vec<_> = after.jwks()["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect();
        assert_eq!(ids, [after.signing_id(), before.signing_id()]);
    }

    #[tokio::test]
    async fn a_policy_in_the_supervisors_directory_holds_and_a_bad_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut options = AuditOptions {
            log: directory.path().join("logs/audit.log"),
            policy: None,
            wait: false,
            rotation: Rotation::default(),
        };
        audit(directory.path(), &options).unwrap();
        fs::write(directory.path().join(POLICY_FILE), "kind: Nothing").unwrap();
        assert!(matches!(audit(directory.path(), &options), Err(SecurityError::Policy { .. })));
        options.policy = Some(directory.path().join("none.yaml"));
        assert!(matches!(audit(directory.path(), &options), Err(SecurityError::ReadPolicy { .. })));
    }
}
