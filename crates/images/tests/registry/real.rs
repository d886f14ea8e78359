//! Debian's docker-registry, as a process of the test's own on loopback.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// `secret`, as htpasswd writes it, for the user `robot`.
const USERS: &str = "robot:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

pub(crate) struct Registry {
    process: Child,
    pub(crate) host: String,
}

/// Where `scripts/test` puts it, or on the PATH.
fn program() -> PathBuf {
    let tools = std::env::var_os("ORRERY_TEST_TOOLS").map(PathBuf::from).unwrap_or_default();
    Some(tools.join("docker-registry")).filter(|path| path.exists()).unwrap_or_else(|| "docker-registry".into())
}

/// Why it cannot be run here.
pub(crate) fn hindrance() -> Option<&'static str> {
    let missing = Command::new(program()).arg("--version").output().is_err();
    missing.then_some("docker-registry is not here; get it with: scripts/get-registry target/tools")
}

impl Registry {
    /// Serves what is stored in `root`; `more` is what else its configuration says.
    pub(crate) fn start(root: &Path, password: bool, more: &str) -> Self {
        let users = root.join("users");
        std::fs::write(&users, USERS).expect("write");
        let auth = if password {
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", users.display())
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n{auth}\
             http:\n  addr: 127.0.0.1:0\n  secret: x\n{more}",
            root.display()
        );
        let path = root.join("config.yml");
        std::fs::write(&path, config).expect("write");
        let mut command = Command::new(program());
        command.arg("serve").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("docker-registry starts");
        let mut log = BufReader::new(process.stderr.take().expect("it is piped"));
        let mut said = String::new();
        let host = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("read") > 0, "docker-registry ended: {said}");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.chars().take_while(|char| char.is_ascii_digit() || matches!(char, '.' | ':')).collect();
            }
            said.push_str(&line);
        };
        // Its log is read on, so that it never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, host }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
