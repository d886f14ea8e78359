//! An installation of the benchmark's own, gone when it is dropped.

use super::{
    BenchError,
    interrupt::Children,
    memory::Row,
    note, pause,
    steps::{self, Seen},
};
use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const NAME: &str = "bench";

/// The program, where its state is, and who starts processes.
pub(super) struct Installation {
    program: PathBuf,
    directory: TempDir,
    pub(super) children: Children,
    warm_machines: Option<u16>,
    purged: bool,
}

/// What one `orrery up` took.
#[derive(Debug)]
pub(super) struct UpRun {
    pub(super) total: Duration,
    pub(super) steps: Vec<Seen>,
}

impl Installation {
    /// Nothing is started yet. Refuses when an instance of the same name is there: it would be purged with ours.
    pub(super) fn new(program: &Path) -> Result<Self, BenchError> {
        let program = fs::canonicalize(program).map_err(|_missing| BenchError::NoProgram(program.to_owned()))?;
        if let Ok(state) = fs::read_to_string(format!("/run/orrery/{NAME}/state")) {
            return Err(BenchError::Present { name: NAME, state: state.trim().to_owned() });
        }
        let children = Children::guard().map_err(BenchError::io("listen for signals"))?;
        let directory = tempfile::Builder::new().prefix("orrery-bench-").tempdir_in("/var/tmp");
        let directory = directory.map_err(BenchError::io("make a directory in /var/tmp"))?;
        Ok(Self { program, directory, children, warm_machines: None, purged: false })
    }

    /// Has so many machines of a size kept warm.
    pub(super) fn with_warm_machines(mut self, machines: u16) -> Self {
        self.warm_machines = Some(machines);
        self
    }

    /// Has machines boot the lean kernel of another installation, when its kernels are given.
    pub(super) fn with_lean_kernel(self, kernels: Option<&Path>) -> Result<Self, BenchError> {
        let Some(kernels) = kernels else { return Ok(self) };
        let cache = self.state().join("cache");
        fs::create_dir_all(&cache).map_err(BenchError::io(format!("make {}", cache.display())))?;
        let copied = Command::new("cp").arg("-r").arg(kernels).arg(cache.join("kernels")).output();
        let copied = copied.map_err(BenchError::io("run cp"))?;
        if !copied.status.success() || !cache.join("kernels/lean").exists() {
            return Err(BenchError::answer(kernels.display().to_string(), "there is no lean kernel in it"));
        }
        let choice = cache.join("kernels/use");
        fs::write(&choice, "lean").map_err(BenchError::io(format!("write {}", choice.display())))?;
        Ok(self)
    }

    /// A place for files of the benchmark.
    pub(super) fn scratch(&self) -> &Path {
        self.directory.path()
    }

    fn state(&self) -> PathBuf {
        self.scratch().join("state")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--instance", NAME, "--state"]).arg(self.state()).stdin(Stdio::null());
        command.envs(self.warm_machines.map(|machines| ("ORRERY_WARM_MACHINES", machines.to_string())));
        command
    }

    /// `orrery up`, with the time at which each step's line came.
    pub(super) fn up(&self) -> Result<UpRun, BenchError> {
        let doing = "run orrery up";
        let mut command = self.command(&["up"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let began = Instant::now();
        let mut kept = self.children.start(&mut command).map_err(BenchError::io(doing))?;
        let stderr = kept.child.stderr.take().expect("standard error is piped");
        let (mut steps, mut said) = (Vec::new(), String::new());
        for line in BufReader::new(stderr).lines() {
            let line = line.map_err(BenchError::io(doing))?;
            let at = began.elapsed();
            steps.extend(steps::parse(&line).map(|step| Seen { step, at }));
            said = format!("{said}{line}\n");
        }
        let status = kept.child.wait().map_err(BenchError::io(doing))?;
        let total = began.elapsed();
        if !status.success() {
            return Err(BenchError::Command { command: "orrery up".to_owned(), said });
        }
        Ok(UpRun { total, steps })
    }

    /// `orrery down`; state stays.
    pub(super) fn down(&self) -> Result<Duration, BenchError> {
        let began = Instant::now();
        self.run(&["down"])?;
        Ok(began.elapsed())
    }

    /// `orrery status`.
    pub(super) fn status(&self) -> Result<Vec<Row>, BenchError> {
        let text = self.run(&["status", "-o", "json"])?;
        serde_json::from_str(&text).map_err(|error| BenchError::answer("orrery status", format!("{error}: {text}")))
    }

    /// `orrery image import`.
    pub(super) fn import(&self, archive: &Path) -> Result<(), BenchError> {
        self.run(&["image", "import", &archive.display().to_string()]).map(drop)
    }

    /// Waits until the host has made a template; its log says so.
    pub(super) fn wait_for_templates(&self, patience: Duration) -> Result<(), BenchError> {
        let log = self.state().join("logs/host-1-hostd.log");
        let began = Instant::now();
        while began.elapsed() < patience {
            let text = fs::read_to_string(&log).map_err(BenchError::io(format!("read {}", log.display())))?;
            if text.contains("made a template") {
                return Ok(());
            }
            pause(Duration::from_millis(200));
        }
        Err(BenchError::answer(log.display().to_string(), "it tells of no template"))
    }

    /// Waits until as many machines are warm as shall be; how long that took.
    pub(super) fn wait_until_warm(&self, patience: Duration) -> Result<Duration, BenchError> {
        let began = Instant::now();
        while began.elapsed() < patience {
            if self.status()?.iter().any(Row::is_warm) {
                return Ok(began.elapsed());
            }
            pause(Duration::from_millis(50));
        }
        Err(BenchError::answer("orrery status", "not all machines are warm"))
    }

    /// Runs the program to its end; its standard output.
    fn run(&self, arguments: &[&str]) -> Result<String, BenchError> {
        let name = format!("orrery {}", arguments.join(" "));
        // A group of its own: Ctrl-C must not stop what cleans up.
        let output = self.command(arguments).process_group(0).output();
        let output = output.map_err(BenchError::io(format!("run {name}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(BenchError::Command { command: name, said });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// kubectl towards the Supervisor: from `$ORRERY_TEST_TOOLS`, else from `$PATH`.
    pub(super) fn kubectl(&self) -> Result<Command, BenchError> {
        let tools = env::var_os("ORRERY_TEST_TOOLS").map(PathBuf::from);
        let path = env::var_os("PATH").unwrap_or_default();
        let mut places = tools.into_iter().chain(env::split_paths(&path)).map(|place| place.join("kubectl"));
        let program = places.find(|place| place.exists()).ok_or(BenchError::NoKubectl)?;
        let mut command = Command::new(program);
        command.env("KUBECONFIG", self.state().join("kubeconfig")).stdin(Stdio::null());
        Ok(command)
    }

    /// Removes everything.
    pub(super) fn purge(mut self) -> Result<(), BenchError> {
        self.purged = true;
        self.run(&["down", "--purge"]).map(drop)
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if self.purged {
            return;
        }
        note("removing the installation");
        if let Err(error) = self.run(&["down", "--purge"]) {
            note(&error.to_string());
        }
    }
}
