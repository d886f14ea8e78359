//! Keys that sign tokens: one that signs, and those that signed before.

use crate::{
    IdentityError,
    authority::{certificate_error, read, write_private},
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use std::{fs, io, path::Path};

/// The keys of one purpose, kept as `NAME.key` (signs) and `NAME-*.pub` (signed before, and still verify).
///
/// ```text
/// load_or_create ─► NAME.key ──rotate──► NAME-ID.pub, a new NAME.key ──(its tokens are over)──► delete NAME-ID.pub
/// ```
#[derive(Clone)]
pub struct SigningKeys {
    /// The key that signs (PKCS #8). Never logged.
    pub signing_pem: String,
    /// Its public part.
    pub public_pem: String,
    /// The public parts of keys that signed before.
    pub former_pem: Vec<String>,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeys")
            .field("public_pem", &self.public_pem)
            .field("former", &self.former_pem.len())
            .finish_non_exhaustive()
    }
}

impl SigningKeys {
    /// The keys kept in `directory`; the first is made on first use.
    ///
    /// # Errors
    /// When the files can't be read or written, or hold something else.
    pub fn load_or_create(directory: &Path, name: &str) -> Result<Self, IdentityError> {
        let path = directory.join(format!("{name}.key"));
        if !path.exists() {
            write_private(&path, &new_key()?.serialize_pem())?;
        }
        let pair = KeyPair::from_pem(&read(&path)?).map_err(certificate_error("read a token key"))?;
        let mut keys =
            Self { signing_pem: pair.serialize_pem(), public_pem: pair.public_key_pem(), former_pem: Vec::new() };
        let list = || -> io::Result<Vec<_>> { fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect() };
        let mut paths = list().map_err(|source| IdentityError::File {
            doing: "read",
            path: directory.display().to_string(),
            source,
        })?;
        paths.sort();
        let prefix = format!("{name}-");
        for path in paths {
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
            if file.starts_with(&prefix) && path.extension().is_some_and(|extension| extension == "pub") {
                keys.former_pem.push(read(&path)?);
            }
        }
        Ok(keys)
    }

    /// Has a new key sign from the next start on; the present one still verifies until its `NAME-*.pub` is deleted, which
    /// is safe once the last of its tokens is over.
    ///
    /// # Errors
    /// When the files can't be read or written.
    pub fn rotate(directory: &Path, name: &str) -> Result<Self, IdentityError> {
        let present = Self::load_or_create(directory, name)?;
        let id = crate::authority::sha256_hex(present.public_pem.as_bytes());
        // First what keeps old tokens good: a crash in between leaves the same key twice, which does no harm.
        write_private(&directory.join(format!("{name}-{}.pub", &id[..12])), &present.public_pem)?;
        write_private(&directory.join(format!("{name}.key")), &new_key()?.serialize_pem())?;
        Self::load_or_create(directory, name)
    }
}

fn new_key() -> Result<KeyPair, IdentityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(certificate_error("make a token key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_rotated_key_still_verifies_and_the_new_one_signs() {
        let directory = tempfile::tempdir().unwrap();
        let first = SigningKeys::load_or_create(directory.path(), "tokens").unwrap();
        assert_eq!(SigningKeys::load_or_create(directory.path(), "tokens").unwrap().signing_pem, first.signing_pem);
        let second = SigningKeys::rotate(directory.path(), "tokens").unwrap();
        assert_ne!(second.signing_pem, first.signing_pem);
        assert_eq!(second.former_pem, [first.public_pem]);
        let third = SigningKeys::rotate(directory.path(), "tokens").unwrap();
        assert_eq!(third.former_pem.len(), 2);
    }

    #[test]
    fn only_its_owner_reads_the_key_and_other_files_are_no_keys() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("tokensafe.pub"), "x").unwrap();
        let keys = SigningKeys::load_or_create(directory.path(), "tokens").unwrap();
        assert!(keys.former_pem.is_empty());
        let mode = fs::metadata(directory.path().join("tokens.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(directory.path().join("tokens.key"), "garbage").unwrap();
        SigningKeys::load_or_create(directory.path(), "tokens").unwrap_err();
    }
}
