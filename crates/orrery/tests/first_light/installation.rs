//! An installation of the test's own, and kubectl towards it.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Installation {
    directory: tempfile::TempDir,
    name: String,
    tools: PathBuf,
}

/// Asks until there is an answer; fails after two minutes.
pub(crate) fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        // The world outside has no signal to wait for.
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The whole answer to `GET /`, if there is one.
pub(crate) fn http_get(host: &str, port: u16) -> Option<String> {
    let address: SocketAddr = format!("{host}:{port}").parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

impl Installation {
    /// None, with the reason printed, where the test can't run.
    pub(crate) fn prepare(name: &str) -> Option<Self> {
        let tools = std::env::var_os("ORRERY_TEST_TOOLS").map(PathBuf::from);
        let Some(tools) = tools.filter(|tools| tools.join("kubectl").exists()) else {
            orrery_testing::skipped("ORRERY_TEST_TOOLS names no directory with kubectl; run it by: make test");
            return None;
        };
        if !nix::unistd::geteuid().is_root() {
            orrery_testing::skipped("needs root for bridges, taps and control groups");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("orrery-e2e-").tempdir_in("/var/tmp").unwrap();
        let installation = Self { directory, name: name.to_owned(), tools };
        installation.purge(); // of an earlier run that was killed
        Some(installation)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// The program with this installation's name and state.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orrery"));
        command.args(arguments).args(["--instance", &self.name]).arg("--state").arg(self.state()).stdin(Stdio::null());
        command
    }

    /// Runs the program; it must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "orrery {arguments:?}: {}\n{}", text(&output.stderr), self.logs());
        text(&output.stdout)
    }

    pub(crate) fn up(&self) {
        let image = self.tools.join("busybox.tar");
        let shown = self.run(&["up", "--demo-image", image.to_str().unwrap()]);
        assert!(shown.contains("kubectl") && shown.contains("kubeconfig"), "{shown}");
        assert_eq!(self.run(&["kubeconfig"]).trim(), self.state().join("kubeconfig").to_str().unwrap());
    }

    pub(crate) fn purge(&self) {
        let output = self.command(&["down", "--purge"]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    pub(crate) fn import(&self, archive: &str, name: &str) {
        let archive = self.tools.join(archive);
        self.run(&["image", "import", archive.to_str().unwrap(), "--name", name]);
    }

    /// The ends of all logs, for a failure's message.
    fn logs(&self) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.state().join("logs")).into_iter().flatten().flatten() {
            let content = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let tail: Vec<&str> = content.lines().rev().take(25).collect();
            all.push_str(&format!("--- {}\n", entry.path().display()));
            tail.iter().rev().for_each(|line| all.push_str(&format!("{line}\n")));
        }
        all
    }

    fn kubectl_command(&self, kubeconfig: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.tools.join("kubectl"));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.directory.path())
            .env("KUBECONFIG", self.state().join(kubeconfig))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn kubectl_output(&self, arguments: &[&str]) -> Output {
        self.kubectl_command("kubeconfig", arguments).output().unwrap()
    }

    /// Runs kubectl; it must succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.succeeded(arguments, &self.kubectl_output(arguments))
    }

    pub(crate) fn manager_kubectl_output(&self, arguments: &[&str]) -> Output {
        self.kubectl_command("manager.kubeconfig", arguments).output().unwrap()
    }

    pub(crate) fn manager_kubectl(&self, arguments: &[&str]) -> String {
        self.succeeded(arguments, &self.manager_kubectl_output(arguments))
    }

    fn succeeded(&self, arguments: &[&str], output: &Output) -> String {
        assert!(output.status.success(), "kubectl {arguments:?}: {}\n{}", text(&output.stderr), self.logs());
        text(&output.stdout)
    }

    /// Runs kubectl with `input` on its standard input; it must succeed.
    pub(crate) fn kubectl_input(&self, arguments: &[&str], input: &str) -> String {
        self.fed(&mut self.kubectl_command("kubeconfig", arguments), input)
    }

    /// The same over SPDY, as it was before kubectl had WebSockets.
    pub(crate) fn kubectl_spdy(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.kubectl_command("kubeconfig", arguments);
        self.fed(command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"), input)
    }

    fn fed(&self, command: &mut Command, input: &str) -> String {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let arguments: Vec<_> = command.get_args().filter_map(|argument| argument.to_str()).collect();
        self.succeeded(&arguments, &output)
    }

    /// Runs kubectl in a terminal and types `input`; what the terminal showed.
    pub(crate) fn kubectl_terminal(&self, arguments: &[&str], input: &str) -> String {
        let kubectl = self.tools.join("kubectl");
        let line =
            std::iter::once(kubectl.to_str().unwrap()).chain(arguments.iter().copied()).collect::<Vec<_>>().join(" ");
        let mut child = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("KUBECONFIG", self.state().join("kubeconfig"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        text(&output.stdout)
    }

    /// Runs kubectl for so long and then ends it; what it printed.
    pub(crate) fn kubectl_for(&self, time: Duration, arguments: &[&str]) -> String {
        let mut command = self.kubectl_command("kubeconfig", arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        #[allow(clippy::disallowed_methods)] // the time is what is asked for
        std::thread::sleep(time);
        child.kill().unwrap();
        text(&child.wait_with_output().unwrap().stdout)
    }

    /// Forwards a port of a pod to one of this machine for as long as `with` takes.
    pub(crate) fn port_forward<T>(&self, pod: &str, port: u16, websockets: bool, with: impl FnOnce(u16) -> T) -> T {
        let mut command = self.kubectl_command("kubeconfig", &["port-forward", pod, &format!(":{port}")]);
        command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets.to_string());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        // Open until the end: kubectl goes when nobody hears of the connections.
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let local = line.split_once("127.0.0.1:").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        let done = local.map(with);
        child.kill().unwrap();
        child.wait().unwrap();
        done.unwrap_or_else(|| panic!("kubectl port-forward said {line:?}\n{}", self.logs()))
    }

    /// kubectl with the right server and no certificate.
    pub(crate) fn stranger_kubectl(&self, arguments: &[&str]) -> Output {
        let server = self.kubectl(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]);
        Command::new(self.tools.join("kubectl"))
            .env("HOME", self.directory.path())
            .env("KUBECONFIG", "/dev/null")
            .args(["--server", &server, "--insecure-skip-tls-verify", "--token", "guess"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    pub(crate) fn pod_uid(&self, pod: &str) -> String {
        self.kubectl(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"])
    }

    pub(crate) fn restarts(&self, pod: &str) -> u32 {
        let path = "jsonpath={.status.containerStatuses[0].restartCount}";
        self.kubectl(&["get", "pod", pod, "-o", path]).parse().unwrap_or(0)
    }

    pub(crate) fn started_at(&self, pod: &str) -> String {
        self.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].state.running.startedAt}"])
    }

    /// Waits until the pod's container was restarted so often and is ready.
    pub(crate) fn wait_restarted(&self, pod: &str, times: u32) {
        wait_until("the restart", || {
            let path = "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}";
            let output = self.kubectl_output(&["get", "pod", pod, "-o", path]);
            (text(&output.stdout).trim() == format!("{times} true")).then_some(())
        });
    }

    fn status(&self) -> Vec<Value> {
        serde_json::from_str(&self.run(&["status", "-o", "json"])).unwrap()
    }

    pub(crate) fn machines(&self) -> Vec<Value> {
        self.status().into_iter().filter(|row| row["kind"] == "machine").collect()
    }

    fn row(&self, name: &str) -> Value {
        self.status().into_iter().find(|row| row["name"] == name).unwrap_or(Value::Null)
    }

    pub(crate) fn machine_pid(&self, name: &str) -> u64 {
        wait_until("the machine's process", || self.row(name)["pid"].as_u64())
    }

    /// The parent of the machine's QEMU.
    pub(crate) fn shim_pid(&self, name: &str) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/status", self.machine_pid(name))).unwrap();
        stat.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
    }

    pub(crate) fn role_state(&self, name: &str) -> String {
        self.row(name)["state"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn role_pids(&self) -> BTreeMap<String, u64> {
        let roles = self.status().into_iter().filter(|row| row["kind"] == "role");
        roles.filter_map(|row| Some((row["name"].as_str()?.to_owned(), row["pid"].as_u64()?))).collect()
    }

    pub(crate) fn kill(&self, pid: u64) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        match nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {} // gone already, with what was killed before it
            Err(error) => panic!("cannot kill {pid}: {error}"),
        }
    }

    /// Kills a role and waits until its supervisor process has started it again.
    pub(crate) fn kill_role(&self, name: &str) {
        let before = wait_until("the role runs", || self.row(name)["pid"].as_u64());
        self.kill(before);
        wait_until("the role is started again", || self.row(name)["pid"].as_u64().filter(|pid| *pid != before));
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        let _ = self.command(&["down", "--purge"]).output();
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
