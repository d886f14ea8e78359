//! Programs in a container.

use super::{MOST_ANSWER, Target};
use crate::node::chain;
use orrery_lifecycle::probe::Outcome;
use orrery_wire::{
    guest::{Confinement, ProcessExit, ProcessSpec},
    shim::StreamKind,
};
use std::time::Duration;

/// Runs a program that says by its exit code whether all is well.
pub(super) async fn probe(target: &Target, command: &[String], timeout: Duration) -> Outcome {
    // Dropped at the time-out, the connection takes the program with it.
    match tokio::time::timeout(timeout, run(target, command)).await {
        Ok(Ok(Ended { code: 0, .. })) => Outcome::Success,
        Ok(Ok(Ended { output, .. })) => Outcome::Failure(output),
        Ok(Err(Broken::Refused(message))) => Outcome::Failure(message),
        Ok(Err(Broken::Lost)) => Outcome::Unknown,
        Err(_) => {
            let command = command.join(" ");
            Outcome::Failure(format!("command timed out: {command:?} timed out after {}s", timeout.as_secs()))
        }
    }
}

/// Runs a program to its end, which has to be a good one.
pub(super) async fn hook(target: &Target, command: &[String]) -> Result<(), String> {
    match run(target, command).await {
        Ok(Ended { code: 0, .. }) => Ok(()),
        Ok(Ended { code, output }) => Err(format!("command {:?} exited with {code}: {output}", command.join(" "))),
        Err(Broken::Refused(message)) => Err(message),
        Err(Broken::Lost) => Err("the container ended meanwhile".to_owned()),
    }
}

struct Ended {
    code: i32,
    /// What it said, in the order that it said it.
    output: String,
}

enum Broken {
    /// It cannot be run.
    Refused(String),
    /// Nothing is known of it.
    Lost,
}

async fn run(target: &Target, command: &[String]) -> Result<Ended, Broken> {
    let process = ProcessSpec {
        argv: command.to_vec(),
        env: Vec::new(),
        working_directory: String::new(),
        user: String::new(),
        supplementary_groups: Vec::new(),
        tty: false,
        stdin: false,
        confinement: Confinement::default(),
    };
    let started = target.shim.exec_bound(&target.container, process).await;
    let mut stream = started.map_err(|error| match &error {
        crate::host::CallError::Failed { reason, .. } if reason != orrery_wire::guest::reason::NOT_FOUND => {
            Broken::Refused(chain(&error))
        }
        _ => Broken::Lost,
    })?;
    let mut output = Vec::new();
    loop {
        let message = stream.output.next().await.ok().flatten().ok_or(Broken::Lost)?;
        match message.kind {
            StreamKind::Stdout | StreamKind::Stderr => {
                let room = MOST_ANSWER - output.len();
                output.extend_from_slice(&message.payload[..message.payload.len().min(room)]);
            }
            StreamKind::Exit => {
                let exit: ProcessExit = serde_json::from_slice(&message.payload).map_err(|_| Broken::Lost)?;
                return Ok(Ended { code: exit.code, output: String::from_utf8_lossy(&output).into_owned() });
            }
            StreamKind::Stdin | StreamKind::StdinEnd | StreamKind::Resize => {}
        }
    }
}
