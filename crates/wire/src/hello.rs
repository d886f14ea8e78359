//! Agreement on a version at connect.

use serde::{Deserialize, Serialize};

/// The first message on every link, sent by the side that connected (by the shim on the guest's port).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What the sender speaks, newest first.
    pub versions: Vec<u32>,
    /// Who is speaking, for logs: `spherelet`, `hostd`, `orrery`.
    pub role: String,
    /// The sender's build, such as `0.1.0`.
    pub build: String,
}

/// The answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Welcome {
    /// Both sides speak `version` from now on.
    Agreed {
        /// The highest version that both speak.
        version: u32,
        /// The answering side's build.
        build: String,
    },
    /// There is no version in common; the connection is closed.
    Refused {
        /// What the answering side speaks.
        versions: Vec<u32>,
        /// What to do, for people.
        message: String,
    },
}

/// The highest version that both sides speak.
#[must_use]
pub fn agree(ours: &[u32], theirs: &[u32]) -> Option<u32> {
    ours.iter().copied().filter(|version| theirs.contains(version)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_agreed_on() {
        assert_eq!(agree(&[3, 2, 1], &[2, 1]), Some(2));
        assert_eq!(agree(&[3], &[2, 1]), None);
        assert_eq!(agree(&[], &[1]), None);
    }
}
