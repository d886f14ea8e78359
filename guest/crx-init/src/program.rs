//! What a process is started with: its environment completed, its program's possible places, and what a failed start
//! means.

use crate::refusal::Refusal;
use orrery_wire::guest::reason;
use rustix::io::Errno;

/// What a process has as `PATH` when its environment has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `env` with what every process gets unless it was given: `PATH`, `HOME`, `HOSTNAME`, and `TERM` at a terminal.
pub(crate) fn complete_env(env: &[String], home: &str, hostname: &str, tty: bool) -> Vec<String> {
    let mut complete = env.to_vec();
    let defaults = [("PATH", DEFAULT_PATH), ("HOME", home), ("HOSTNAME", hostname), ("TERM", "xterm")];
    for (name, value) in defaults {
        let wanted = name != "TERM" || tty;
        if wanted && variable(env, name).is_none() {
            complete.push(format!("{name}={value}"));
        }
    }
    complete
}

fn variable<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

/// The paths to try for `program`, in order. A relative directory in `PATH` is passed over: what it names would depend
/// on the working directory.
pub(crate) fn candidates(program: &str, env: &[String]) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let path = variable(env, "PATH").unwrap_or(DEFAULT_PATH);
    path.split(':')
        .filter(|directory| directory.starts_with('/'))
        .map(|directory| format!("{directory}/{program}"))
        .collect()
}

/// Sums up failed attempts to execute `program`: one that was there but would not run says more than those not there.
pub(crate) fn explain(program: &str, failures: &[(String, Errno)]) -> Refusal {
    let absent = |error: Errno| matches!(error, Errno::NOENT | Errno::NOTDIR);
    let Some((path, error)) = failures.iter().find(|(_, error)| !absent(*error)).or(failures.first()) else {
        return Refusal::new(reason::EXECUTABLE_NOT_FOUND, format!("{program}: not found, PATH names no directory"));
    };
    if absent(*error) {
        let place = if program.contains('/') { "" } else { " in any directory of PATH" };
        let message = format!("{program}: no such file{place}, or its interpreter is missing");
        return Refusal::new(reason::EXECUTABLE_NOT_FOUND, message);
    }
    match *error {
        Errno::ACCESS | Errno::PERM => {
            Refusal::new(reason::NOT_EXECUTABLE, format!("{path}: permission to execute it denied"))
        }
        Errno::NOEXEC => Refusal::new(reason::NOT_EXECUTABLE, format!("{path}: not a program for this machine")),
        Errno::ISDIR => Refusal::new(reason::NOT_EXECUTABLE, format!("{path}: is a directory")),
        other => Refusal::new(reason::SYSTEM_ERROR, format!("executing {path}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn only_missing_variables_are_added() {
        assert_eq!(
            complete_env(&strings(&["PATH=/x", "HOME=", "A=1", "A=2"]), "/root", "web-0", false),
            strings(&["PATH=/x", "HOME=", "A=1", "A=2", "HOSTNAME=web-0"])
        );
        let complete = complete_env(&[], "/home/me", "h", true);
        assert_eq!(
            complete,
            [format!("PATH={DEFAULT_PATH}"), "HOME=/home/me".into(), "HOSTNAME=h".into(), "TERM=xterm".into()]
        );
    }

    #[test]
    fn a_variable_whose_name_only_begins_alike_does_not_count() {
        assert_eq!(variable(&strings(&["PATHS=/x", "PATH"]), "PATH"), None);
    }

    #[test]
    fn a_bare_program_is_looked_for_in_path_and_a_path_is_taken_as_it_is() {
        let env = strings(&["PATH=/a:relative::/b"]);
        assert_eq!(candidates("sh", &env), ["/a/sh", "/b/sh"]);
        assert_eq!(candidates("./sh", &env), ["./sh"]);
        assert_eq!(candidates("/bin/sh", &env), ["/bin/sh"]);
        assert_eq!(candidates("sh", &[]).len(), 6);
    }

    #[test]
    fn failed_attempts_are_told_apart() {
        let failures = |errors: &[Errno]| errors.iter().map(|error| ("/a/x".to_owned(), *error)).collect::<Vec<_>>();
        for (errors, expected) in [
            (&[Errno::NOENT, Errno::NOTDIR][..], reason::EXECUTABLE_NOT_FOUND),
            (&[][..], reason::EXECUTABLE_NOT_FOUND),
            (&[Errno::NOENT, Errno::ACCESS][..], reason::NOT_EXECUTABLE),
            (&[Errno::ACCESS, Errno::NOENT][..], reason::NOT_EXECUTABLE),
            (&[Errno::NOEXEC][..], reason::NOT_EXECUTABLE),
            (&[Errno::NOMEM][..], reason::SYSTEM_ERROR),
        ] {
            assert_eq!(explain("x", &failures(errors)).reason, expected, "{errors:?}");
        }
    }
}
