//! The formatter and clippy.

use crate::report::{Problem, Verdict};
use std::{path::Path, process::Command};

/// Lines of a failed command's output that are shown.
const SHOWN: usize = 40;

pub(crate) fn check(root: &Path) -> [Verdict; 2] {
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    [
        run(root, "fmt", &["fmt", "--all", "--check"], "run `cargo fmt --all`"),
        run(root, "clippy", &clippy, "run `cargo clippy --workspace --all-targets` and follow what it says"),
    ]
}

fn run(root: &Path, check: &'static str, arguments: &[&str], fix: &str) -> Verdict {
    // Under cargo, this is the cargo that was called.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = match Command::new(cargo).args(arguments).current_dir(root).output() {
        Ok(output) => output,
        Err(error) => return Verdict::cannot(check, &error),
    };
    let command = format!("cargo {}", arguments.join(" "));
    if output.status.success() {
        return Verdict::new(check, format!("`{command}` is content"), Vec::new());
    }
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let shown: Vec<&str> = text.lines().take(SHOWN).collect();
    let problem = Problem { what: shown.join("\n    "), fix: fix.to_owned() };
    Verdict::new(check, format!("`{command}` is not content"), vec![problem])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_shown_with_what_it_said() {
        let root = crate::root();
        assert!(run(&root, "fmt", &["--version"], "").is_good());
        let bad = run(&root, "fmt", &["no-such-subcommand-of-cargo"], "do it");
        assert!(bad.problems[0].what.contains("no-such-subcommand-of-cargo"), "{bad}");
    }
}
