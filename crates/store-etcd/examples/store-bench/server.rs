//! An etcd of the benchmark's own: one member, on Unix sockets, with its usual settings. Killed when it is dropped.

use crate::Failure;
use orrery_store_etcd::{ConnectError, EtcdOptions, EtcdStore};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) struct Server {
    program: PathBuf,
    directory: PathBuf,
    child: Child,
}

fn run(program: &Path, directory: &Path) -> Result<Child, Failure> {
    let child = Command::new(program)
        .current_dir(directory)
        .args(["--data-dir", "etcd", "--log-level", "error", "--quota-backend-bytes", "8589934592"])
        .args(["--listen-client-urls", "unix://localhost:1", "--advertise-client-urls", "unix://localhost:1"])
        .args(["--listen-peer-urls", "unix://localhost:2", "--initial-advertise-peer-urls", "unix://localhost:2"])
        .args(["--initial-cluster", "default=unix://localhost:2"])
        .stdout(Stdio::null())
        .stderr(File::create(directory.join("etcd.log"))?)
        .spawn()
        .map_err(|error| format!("etcd does not start ({}): {error}", program.display()))?;
    Ok(child)
}

impl Server {
    pub(crate) fn start(program: &Path, directory: &Path) -> Result<Self, Failure> {
        let program = std::path::absolute(program)?;
        let child = run(&program, directory)?;
        Ok(Self { program, directory: directory.to_owned(), child })
    }

    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn restart(&mut self) -> Result<(), Failure> {
        self.child = run(&self.program, &self.directory)?;
        Ok(())
    }

    /// A store in it, once it answers.
    pub(crate) async fn store(&mut self) -> Result<EtcdStore, Failure> {
        let endpoint = format!("unix:{}/localhost:1", self.directory.display());
        loop {
            let options = EtcdOptions { history_age: None, ..EtcdOptions::new(vec![endpoint.clone()], "/bench") };
            match EtcdStore::connect(options).await {
                Ok(store) => return Ok(store),
                Err(ConnectError::Unreachable { .. }) if self.child.try_wait()?.is_none() => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
