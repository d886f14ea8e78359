//! Names of network devices.

use std::fmt;

/// The longest name of a device, in bytes (the kernel's `IFNAMSIZ` less the end mark).
const MAX_LENGTH: usize = 15;

/// Why a text is no name for a network device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid network device name: {why}")]
pub struct InvalidInterfaceName {
    text: String,
    why: &'static str,
}

/// The name of a network device: 1 to 15 letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// Checks `text`.
    ///
    /// # Errors
    /// When the kernel would not take the name, or would take it for something else (`.`, `all`, `%d`).
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidInterfaceName> {
        let text = text.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let why = if text.is_empty() {
            "it is empty"
        } else if text.len() > MAX_LENGTH {
            "it is longer than 15 characters"
        } else if !text.bytes().all(allowed) {
            "only letters, digits, '-', '_' and '.' are allowed"
        } else if matches!(text.as_str(), "." | ".." | "all" | "default") {
            "the word has another meaning"
        } else {
            return Ok(Self(text));
        };
        Err(InvalidInterfaceName { text, why })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for InterfaceName {
    type Err = InvalidInterfaceName;
    fn from_str(text: &str) -> Result<Self, InvalidInterfaceName> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_kernel_takes_literally_are_names() {
        for good in ["br0", "orrery-host-1", "o1a2b3ct12i0", "a"] {
            assert!(InterfaceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "sixteen-letters-", "a/b", "a b", "..", "all", "tap%d", "ä"] {
            assert!(InterfaceName::new(bad).is_err(), "{bad}");
        }
    }
}
