//! Identifiers. Each is a type of its own and is checked once, where it enters the program.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}: {why}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
    why: &'static str,
}

/// Checks a DNS-1123 label, the rule Kubernetes has for most names
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>): at most 63 characters, lower case
/// letters, digits and `-`, beginning and ending with a letter or digit.
///
/// # Errors
/// The first rule that the text breaks.
pub fn check_dns_label(text: &str) -> Result<(), &'static str> {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else { return Err("it is empty") };
    if text.len() > 63 {
        return Err("it is longer than 63 characters");
    }
    if !edge(first) || !edge(last) {
        return Err("it must begin and end with a lower case letter or a digit");
    }
    if !text.bytes().all(|byte| edge(byte) || byte == b'-') {
        return Err("only lower case letters, digits and '-' are allowed");
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$meta:meta])* $name:ident, $what:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` as a DNS label.
            ///
            /// # Errors
            /// When the text is not one; the message names the rule.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                match check_dns_label(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(why) => Err(InvalidName { what: $what, text, why }),
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name_type!(
    /// A host of a cluster; also the name of its node in the Supervisor.
    HostName, "host name"
);
name_type!(
    /// A compute cluster: hosts that share failure domain, HA and DRS.
    ClusterName, "cluster name"
);
name_type!(
    /// A zone: one cluster seen as a failure domain.
    ZoneName, "zone name"
);
name_type!(
    /// A Supervisor.
    SupervisorName, "Supervisor name"
);
name_type!(
    /// A namespace of a Supervisor.
    NamespaceName, "namespace name"
);
name_type!(
    /// One installation on a machine; several may run beside each other.
    InstanceName, "instance name"
);

/// A machine (CRX, VM or control-plane VM). A pod's machine has the pod's UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MachineId(pub uuid::Uuid);

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for MachineId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        uuid::Uuid::parse_str(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_dns_label_rule() {
        for good in ["a", "host-1", "0", "a-b-c9"] {
            assert!(HostName::new(good).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", long.as_str()] {
            assert!(HostName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_name_is_refused_when_read_from_json() {
        let error = serde_json::from_str::<HostName>("\"Not A Name\"").unwrap_err().to_string();
        assert!(error.contains("host name"), "{error}");
    }
}
