//! A look into the file systems that come out.

use std::path::Path;
use std::process::Command;

/// Unpacks an erofs file into a directory that is to be new, and says whether it is sound.
pub(crate) fn extract(erofs: &Path, to: &Path) {
    let status = Command::new("fsck.erofs").arg(format!("--extract={}", to.display())).arg(erofs).output();
    let status = status.expect("fsck.erofs is there with mkfs.erofs");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
}

/// Why the tests with real unpacking cannot run here.
pub(crate) fn hindrance() -> Option<&'static str> {
    if !std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
        return Some("unpacking images needs root");
    }
    Command::new("mkfs.erofs").arg("--help").output().is_err().then_some("mkfs.erofs is not installed")
}
