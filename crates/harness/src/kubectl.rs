//! A real kubectl on the server under test.

use super::{Context, Failure, Outcome};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

/// How long one command may take.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Runs kubectl in a namespace, with a cache and a home of its own.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
    namespace: Option<String>,
}

/// What a command has said.
#[derive(Debug, Clone)]
pub struct Said {
    /// The command, without kubectl's path.
    pub command: String,
    /// Whether it ended well.
    pub success: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub error: String,
    /// Its exit code, when it was not ended by a signal.
    pub code: Option<i32>,
}

impl Said {
    /// The standard output of a command that ended well.
    ///
    /// # Errors
    /// When it did not.
    pub fn success(self) -> Outcome<String> {
        if self.success {
            return Ok(self.out);
        }
        Err(Failure::wrong(format!("kubectl {}: {}", self.command, self.both().trim())))
    }

    /// Both outputs of a command that failed.
    ///
    /// # Errors
    /// When it ended well.
    pub fn failure(self) -> Outcome<String> {
        if self.success {
            return Err(Failure::wrong(format!("kubectl {}: succeeded, wanted a failure: {}", self.command, self.out)));
        }
        Ok(self.both())
    }

    fn both(&self) -> String {
        format!("{}{}", self.out, self.error)
    }
}

impl Kubectl {
    /// kubectl for a test; a namespace of none is kubectl's own choice.
    ///
    /// # Errors
    /// A skip, when there is no kubectl.
    pub fn new(context: &Context, namespace: Option<&str>) -> Outcome<Self> {
        Ok(Self {
            program: context.kubectl_path()?.to_owned(),
            kubeconfig: context.run.kubeconfig.clone(),
            home: context.directory().to_owned(),
            namespace: namespace.map(str::to_owned),
        })
    }

    /// A directory that the commands may write to.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.arg("--cache-dir").arg(self.home.join("kube-cache"));
        if let Some(namespace) = &self.namespace {
            command.arg("--namespace").arg(namespace);
        }
        command.args(arguments).env("HOME", &self.home).kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it can't be started or does not end.
    pub async fn run(&self, arguments: &[&str]) -> Outcome<Said> {
        self.run_with(arguments, "").await
    }

    /// Runs a command to its end with something on its standard input.
    ///
    /// # Errors
    /// When it can't be started or does not end.
    pub async fn run_with(&self, arguments: &[&str], input: &str) -> Outcome<Said> {
        let shown = arguments.join(" ");
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|e| Failure::wrong(format!("cannot run {}: {e}", self.program.display())))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read its input closes it: no failure of the test.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = tokio::time::timeout(TIMEOUT, child.wait_with_output())
            .await
            .map_err(|_| Failure::wrong(format!("kubectl {shown}: did not end within {TIMEOUT:?}")))??;
        Ok(Said {
            command: shown,
            success: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        })
    }

    /// Runs a command that has to end well, and returns its output.
    ///
    /// # Errors
    /// When it fails.
    pub async fn ok(&self, arguments: &[&str]) -> Outcome<String> {
        self.run(arguments).await?.success()
    }

    /// Starts a command that goes on, with its output to be read; it ends when it is dropped.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(&self, arguments: &[&str]) -> Outcome<Child> {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map_err(|e| Failure::wrong(format!("cannot run {}: {e}", self.program.display())))
    }
}
