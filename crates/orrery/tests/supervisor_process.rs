//! The Supervisor's control plane as the process that it is in an installation.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use orrery_sim::{Clients, ControlPlane, HollowNodes, HollowOptions, Options};

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_without_a_manager_serves_nodes_and_ends_when_told_to() {
    let options = Options { program: Some(env!("CARGO_BIN_EXE_orrery").into()), ..Options::default() };
    let control_plane = ControlPlane::start(options).await.unwrap();
    let (directory, process) = (control_plane.directory().to_owned(), control_plane.process_id().unwrap());
    assert_ne!(process, std::process::id());
    let mut nodes = HollowNodes::start(Clients::own(&control_plane), &HollowOptions::default()).await.unwrap();
    nodes.ready().await.unwrap();
    nodes.stop().await;
    control_plane.stop().await.unwrap();
    assert!(!directory.exists());
    let process = i32::try_from(process).unwrap();
    let gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), None);
    assert_eq!(gone, Err(nix::errno::Errno::ESRCH));
}
