//! Who may use an image.

use crate::digest::Digest;
use serde::{Deserialize, Serialize};

/// Credentials of one image that are remembered.
const REMEMBERED: usize = 100;

/// Who may use an image: everybody when it was imported by hand or pulled without credentials of a pod, else those who have
/// one of the credentials that pulled it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Fingerprints of the credentials; empty is everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    credentials: Vec<String>,
}

impl Access {
    /// Everybody may use it.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// Who has the credential of this fingerprint may use it.
    #[must_use]
    pub fn with(fingerprint: &Digest) -> Self {
        Self { credentials: vec![fingerprint.to_string()] }
    }

    /// Whether it was pulled openly, or with a credential of one of these fingerprints.
    #[must_use]
    pub fn allows(&self, fingerprints: &[Digest]) -> bool {
        self.credentials.is_empty() || fingerprints.iter().any(|one| self.credentials.iter().any(|c| c == one.as_str()))
    }

    /// What both allow together.
    pub(crate) fn join(&mut self, other: Self) {
        if self.credentials.is_empty() || other.credentials.is_empty() {
            self.credentials.clear();
            return;
        }
        for credential in other.credentials {
            if !self.credentials.contains(&credential) {
                self.credentials.push(credential);
            }
        }
        // The oldest go: who has them asks the registry again.
        let surplus = self.credentials.len().saturating_sub(REMEMBERED);
        self.credentials.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &[&str]) -> Access {
        let mut access = Access::with(&Digest::of(names[0].as_bytes()));
        names[1..].iter().for_each(|name| access.join(Access::with(&Digest::of(name.as_bytes()))));
        access
    }

    fn allows(access: &Access, name: &str) -> bool {
        access.allows(&[Digest::of(name.as_bytes())])
    }

    #[test]
    fn who_pulled_it_may_use_it_and_everybody_once_it_was_pulled_openly() {
        let mut both = with(&["a", "b", "a"]);
        assert!(allows(&both, "a") && allows(&both, "b") && !allows(&both, "c") && !both.allows(&[]));
        both.join(Access::open());
        assert!(both.allows(&[]));
        both.join(with(&["a"]));
        assert!(both.allows(&[]), "it can still be pulled openly");
    }

    #[test]
    fn the_oldest_credentials_are_forgotten_and_never_all_of_them() {
        let names: Vec<String> = (0..REMEMBERED + 1).map(|number| number.to_string()).collect();
        let access = with(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!allows(&access, "0") && allows(&access, "1") && allows(&access, "100") && !access.allows(&[]));
    }
}
