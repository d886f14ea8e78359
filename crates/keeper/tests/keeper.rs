//! The keeper with real processes.
#![allow(clippy::unwrap_used)] // a failure is the finding

use orrery_keeper::{
    Config, Keeper, KeeperClient, KeeperError,
    protocol::{Request, RoleSpec, RoleState, RoleStatus},
};
use std::{path::Path, time::Duration};
use tokio_util::sync::CancellationToken;

fn config(directory: &Path) -> Config {
    Config {
        socket: directory.join("keeper.sock"),
        runtime_directory: directory.to_owned(),
        table: directory.join("roles.json"),
    }
}

fn sleeper(directory: &Path, name: &str) -> RoleSpec {
    RoleSpec {
        name: name.into(),
        argv: vec!["sleep".into(), "1000".into()],
        log: directory.join(format!("{}.log", name.replace('/', "-"))),
        stop_grace_seconds: 5,
    }
}

struct Running {
    client: KeeperClient,
    interrupt: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

async fn start(directory: &Path) -> Running {
    let keeper = Keeper::start(config(directory)).await.unwrap();
    let interrupt = CancellationToken::new();
    let serving = tokio::spawn(keeper.serve(interrupt.clone()));
    let client = KeeperClient::new(&directory.join("keeper.sock"));
    Running { client, interrupt, serving }
}

impl Running {
    /// The status of `name` once `reached` holds for it.
    async fn wait_for(&self, name: &str, reached: impl Fn(&RoleStatus) -> bool) -> RoleStatus {
        for _ in 0..1000 {
            if let Ok(all) = self.client.status().await
                && let Some(status) = all.into_iter().find(|status| status.name == name && reached(status))
            {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} did not get there");
    }

    async fn shut_down(self) {
        self.client.request(&Request::Shutdown).await.unwrap();
        self.serving.await.unwrap();
    }
}

fn running(status: &RoleStatus) -> bool {
    status.state == RoleState::Running
}

#[tokio::test]
async fn a_killed_role_is_started_again_and_a_stopped_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = start(directory.path()).await;
    keeper.client.request(&Request::Ensure(sleeper(directory.path(), "host-1/hostd"))).await.unwrap();
    let first = keeper.wait_for("host-1/hostd", running).await.pid.unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(first as i32), nix::sys::signal::Signal::SIGKILL).unwrap();
    let second = keeper.wait_for("host-1/hostd", |s| running(s) && s.pid != Some(first)).await;
    assert_eq!(second.restarts, 1);
    assert!(second.last_end.unwrap().contains("signal: 9"));

    keeper.client.request(&Request::Stop { name: "host-1".into() }).await.unwrap();
    let stopped = keeper.wait_for("host-1/hostd", |s| s.state == RoleState::Stopped).await;
    assert_eq!(stopped.pid, None);
    keeper.client.request(&Request::Start { name: "host-1/hostd".into() }).await.unwrap();
    keeper.wait_for("host-1/hostd", running).await;
    let refused = keeper.client.request(&Request::Stop { name: "nobody".into() }).await.unwrap_err();
    assert!(refused.to_string().contains("host-1/hostd"), "{refused}");
    keeper.shut_down().await;
}

#[tokio::test]
async fn a_new_keeper_adopts_the_roles_of_one_that_went_away() {
    let directory = tempfile::tempdir().unwrap();
    let first = start(directory.path()).await;
    first.client.request(&Request::Ensure(sleeper(directory.path(), "manager"))).await.unwrap();
    let pid = first.wait_for("manager", running).await.pid;
    assert!(matches!(Keeper::start(config(directory.path())).await, Err(KeeperError::Running(_))));
    first.interrupt.cancel();
    first.serving.await.unwrap();

    let second = start(directory.path()).await;
    assert_eq!(second.wait_for("manager", running).await.pid, pid);
    second.shut_down().await;
    assert!(!Path::new(&format!("/proc/{}", pid.unwrap())).join("exe").exists(), "shutdown ends adopted roles too");
}

#[tokio::test]
async fn a_role_that_is_held_stays_held_for_the_next_keeper() {
    let directory = tempfile::tempdir().unwrap();
    let first = start(directory.path()).await;
    first.client.request(&Request::Ensure(sleeper(directory.path(), "manager"))).await.unwrap();
    first.wait_for("manager", running).await;
    first.client.request(&Request::Stop { name: "manager".into() }).await.unwrap();
    first.shut_down().await;
    let second = start(directory.path()).await;
    second.wait_for("manager", |s| s.state == RoleState::Stopped).await;
    second.shut_down().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_and_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = start(directory.path()).await;
    let spec = RoleSpec { argv: vec!["/nonexistent/program".into()], ..sleeper(directory.path(), "manager") };
    keeper.client.request(&Request::Ensure(spec)).await.unwrap();
    let status = keeper.wait_for("manager", |s| s.restarts >= 2).await;
    assert_eq!(status.state, RoleState::BackingOff);
    assert!(status.last_end.unwrap().contains("/nonexistent/program"));
    keeper.client.request(&Request::Ensure(sleeper(directory.path(), "manager"))).await.unwrap();
    keeper.wait_for("manager", running).await;
    keeper.shut_down().await;
}

#[tokio::test]
async fn roles_without_a_keeper_can_be_ended() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = start(directory.path()).await;
    keeper.client.request(&Request::Ensure(sleeper(directory.path(), "manager"))).await.unwrap();
    let deaf = ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"].map(str::to_owned).to_vec();
    let spec = RoleSpec { argv: deaf, ..sleeper(directory.path(), "deaf") };
    keeper.client.request(&Request::Ensure(spec)).await.unwrap();
    let pid = keeper.wait_for("manager", running).await.pid.unwrap();
    keeper.wait_for("deaf", running).await;
    keeper.interrupt.cancel();
    keeper.serving.await.unwrap();

    assert_eq!(orrery_keeper::stop_orphans(directory.path(), Duration::from_millis(300)).await, 2);
    assert!(!Path::new(&format!("/proc/{pid}")).join("exe").exists());
    assert_eq!(orrery_keeper::stop_orphans(directory.path(), Duration::from_millis(300)).await, 0);
}
