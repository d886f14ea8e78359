//! `orrery status`, `stop` and `start`.

use crate::{
    args::Output,
    instance::{HOST, Instance, SUPERVISOR},
    say,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orrery_keeper::{
    ClientError, KeeperClient,
    protocol::{Request, RoleState, RoleStatus},
};
use orrery_wire::{
    host::{MachineSummary, WarmMachines},
    shim::MachinePhase,
};
use serde::Serialize;
use std::path::Path;

/// One line of the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    kind: &'static str,
    name: String,
    state: String,
    pid: Option<u32>,
    addresses: Vec<String>,
    log: String,
}

/// Why there is no status, or a role was not held or brought back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    #[error(transparent)]
    Keeper(#[from] ClientError),
    #[error("cannot write the status as JSON")]
    Json(#[source] serde_json::Error),
    #[error("--power-off is for a host; {0} is none")]
    NotAHost(String),
}

/// Every role and machine.
pub(crate) async fn run(instance: &Instance, output: Output) -> Result<(), StatusError> {
    let roles = KeeperClient::new(&instance.keeper_socket()).status().await?;
    let mut rows: Vec<Row> = roles.iter().map(|role| role_row(instance, role)).collect();
    let hostd = instance.hostd_socket(HOST);
    rows.extend(orrery_spherelet::warm_machines(hostd.clone()).await.ok().map(|warm| warm_row(warm, &hostd)));
    rows.extend(machines(instance).await.iter().map(machine_row));
    match output {
        Output::Json => say(&serde_json::to_string_pretty(&rows).map_err(StatusError::Json)?),
        Output::Table => print_table(&rows),
    }
    Ok(())
}

fn print_table(rows: &[Row]) {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max(4);
    say(&format!("{:<8} {:<width$} {:<11} {:>7}  {:<21} LOG", "KIND", "NAME", "STATE", "PID", "ADDRESS"));
    for row in rows {
        let pid = row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let address = row.addresses.join(",");
        say(&format!("{:<8} {:<width$} {:<11} {pid:>7}  {address:<21} {}", row.kind, row.name, row.state, row.log));
    }
}

fn role_row(instance: &Instance, role: &RoleStatus) -> Row {
    let address = match role.name.as_str() {
        "manager" => Some(instance.manager_address().to_string()),
        SUPERVISOR => Some(instance.api_address().to_string()),
        name if name.ends_with("/spherelet") => Some(instance.kubelet_address().to_string()),
        name if name.ends_with("/hostd") => Some(instance.hostd_socket(HOST).display().to_string()),
        _ => None,
    };
    let state = match role.state {
        RoleState::Running => "running",
        RoleState::BackingOff => "restarting",
        RoleState::Stopped => "stopped",
    };
    Row {
        kind: "role",
        name: role.name.clone(),
        state: state.to_owned(),
        pid: role.pid,
        addresses: address.into_iter().collect(),
        log: role.log.display().to_string(),
    }
}

/// The machines that are ready for pods to come.
fn warm_row(warm: WarmMachines, hostd: &Path) -> Row {
    Row {
        kind: "warm",
        name: HOST.to_owned(),
        state: format!("{} of {}", warm.ready, warm.wanted),
        pid: None,
        addresses: vec![hostd.display().to_string()],
        log: String::new(),
    }
}

fn machine_row(machine: &MachineSummary) -> Row {
    let state = match machine.phase {
        Some(MachinePhase::Off) => "off",
        Some(MachinePhase::Booting) => "booting",
        Some(MachinePhase::Running) => "running",
        Some(MachinePhase::Stopping) => "stopping",
        None => "unknown",
    };
    Row {
        kind: "machine",
        name: machine.spec.name.clone(),
        state: state.to_owned(),
        pid: machine.qemu_pid,
        addresses: machine.admission.interfaces.iter().map(|interface| interface.address.clone()).collect(),
        log: machine.admission.log_directory.clone(),
    }
}

/// The host's machines; none while its agent does not answer.
async fn machines(instance: &Instance) -> Vec<MachineSummary> {
    orrery_spherelet::machines(instance.hostd_socket(HOST)).await.unwrap_or_default()
}

/// Holds a role or host down.
pub(crate) async fn stop(instance: &Instance, name: &str, power_off: bool) -> Result<(), StatusError> {
    if power_off && name != HOST {
        return Err(StatusError::NotAHost(name.to_owned()));
    }
    let machines = if power_off { machines(instance).await } else { Vec::new() };
    KeeperClient::new(&instance.keeper_socket()).request(&Request::Stop { name: name.to_owned() }).await?;
    say(&format!("{name} is held down; bring it back with: orrery start {name}"));
    for machine in machines {
        // The shim's end takes its QEMU with it, as a power cut would.
        if let Some(pid) = machine.shim_pid.and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            say(&format!("machine {} lost its power", machine.spec.name));
        }
    }
    Ok(())
}

/// Brings a role or host back.
pub(crate) async fn start(instance: &Instance, name: &str) -> Result<(), StatusError> {
    KeeperClient::new(&instance.keeper_socket()).request(&Request::Start { name: name.to_owned() }).await?;
    say(&format!("{name} is started"));
    Ok(())
}
