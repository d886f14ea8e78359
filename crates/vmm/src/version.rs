//! Whether QEMU is there, and which.

use std::{fmt, io, path::Path, path::PathBuf, process::Stdio, time::Duration};
use tokio::process::Command;

/// The oldest version that is known to work.
const OLDEST: QemuVersion = QemuVersion { major: 7, minor: 2, micro: 0 };
const PATIENCE: Duration = Duration::from_secs(10);

/// A version of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QemuVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub micro: u32,
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// Why there is no usable QEMU.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// The program is not there.
    #[error("{0} is missing; install it with `apt-get install qemu-system-x86`")]
    Missing(PathBuf),
    /// The program is too old.
    #[error(
        "QEMU {found} is too old, {OLDEST} or newer is needed; on Debian 12 or later run `apt-get install qemu-system-x86`"
    )]
    TooOld {
        /// What was found.
        found: QemuVersion,
    },
    /// The program does not start or does not end.
    #[error("cannot ask {program} for its version")]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The program says something else than a version.
    #[error("{program} does not say its version; is it QEMU?")]
    NotQemu {
        /// The program.
        program: PathBuf,
    },
}

/// The version of the QEMU at `program`.
///
/// # Errors
/// When it is missing, cannot be run, is too old or is something else; the text says what helps.
pub async fn qemu_version(program: &Path) -> Result<QemuVersion, VersionError> {
    let run = |source| VersionError::Run { program: program.to_owned(), source };
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match tokio::time::timeout(PATIENCE, output).await {
        Err(_elapsed) => return Err(run(io::ErrorKind::TimedOut.into())),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(VersionError::Missing(program.to_owned()));
        }
        Ok(Err(error)) => return Err(run(error)),
        Ok(Ok(output)) => output,
    };
    let found = parse(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| VersionError::NotQemu { program: program.to_owned() })?;
    if found < OLDEST { Err(VersionError::TooOld { found }) } else { Ok(found) }
}

/// The version in the first line of `qemu --version`.
fn parse(text: &str) -> Option<QemuVersion> {
    let rest = text.strip_prefix("QEMU emulator version ")?;
    let number = rest.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
    let mut parts = number.split('.').map(str::parse);
    let mut next = || parts.next()?.ok();
    Some(QemuVersion { major: next()?, minor: next()?, micro: next().unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        let version = |major, minor, micro| Some(QemuVersion { major, minor, micro });
        for (text, expected) in [
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright", version(7, 2, 22)),
            ("QEMU emulator version 10.0.2 (Debian 1:10.0.2)\n", version(10, 0, 2)),
            ("QEMU emulator version 9.1\n", version(9, 1, 0)),
            ("bash 5", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn a_missing_program_is_reported_with_the_command_that_installs_it() {
        let error = qemu_version(Path::new("/nonexistent/qemu")).await.unwrap_err();
        assert!(matches!(error, VersionError::Missing(_)) && error.to_string().contains("apt-get install"));
    }

    #[tokio::test]
    async fn another_program_is_not_taken_for_qemu() {
        let error = qemu_version(Path::new("/bin/true")).await.unwrap_err();
        assert!(matches!(error, VersionError::NotQemu { .. }));
    }
}
