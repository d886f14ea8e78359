//! The `orrery` program: one binary, its roles as subcommands.
//!
//! This crate holds arguments, configuration, wiring and shutdown. What the roles do lives in the crates below:
//!
//! * `orrery up` / `down` / `status` / `stop` / `start` ([`up`], [`down`], [`status`]) run a whole installation on one
//!   machine. They talk to the keeper, which runs each role in a process of its own, and to the APIs.
//! * `orrery manager|supervisor|hostd|spherelet|shim|keeper` ([`roles`]) are those processes.
//! * `orrery image ...` ([`image`]) fills the machine's image store.
//! * `orrery store ...` ([`store`]) checks, backs up and restores the stores of manager and Supervisors.
//!
//! [`instance::Instance`] says where everything is; nothing else in the program makes up a path, a port or a name.
//!
//! Start reading at [`up`].
#![forbid(unsafe_code)]

mod args;
mod down;
mod image;
mod instance;
mod kernel;
mod roles;
mod status;
mod store;
mod up;

use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use instance::Instance;
use std::{error::Error, io::Write, process::ExitCode};

/// Serving makes and drops many small objects, which glibc takes a quarter more time for, and it keeps what a burst needed; this
/// one gives it back after seconds.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let instance = Instance::new(cli.global.instance.clone(), cli.global.state.clone());
    let format = if cli.global.log_json { orrery_telemetry::Format::Json } else { orrery_telemetry::Format::Text };
    let level = if is_role(&cli.command) { "info" } else { "error" };
    if let Err(error) = orrery_telemetry::init(format, level) {
        return fail(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads(&cli.command))
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let result = runtime.block_on(run(cli.command, instance));
    // What was broken off may still wait for a download.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

/// Whether the command is a process of its own that works in the background and logs.
fn is_role(command: &Command) -> bool {
    match command {
        Command::Keeper
        | Command::Manager
        | Command::Supervisor(_)
        | Command::Hostd(_)
        | Command::Spherelet(_)
        | Command::Shim { .. } => true,
        Command::Up(_)
        | Command::Down(_)
        | Command::Status(_)
        | Command::Stop(_)
        | Command::Start(_)
        | Command::Kubeconfig(_)
        | Command::Ports
        | Command::Image(_)
        | Command::Kernel(_)
        | Command::Store(_)
        | Command::Completion { .. } => false,
    }
}

/// A shim's work is small and there is one for each machine: one thread keeps it so.
fn worker_threads(command: &Command) -> usize {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    if matches!(command, Command::Shim { .. } | Command::Keeper) { 1 } else { cores.clamp(2, 8) }
}

async fn run(command: Command, instance: Instance) -> Result<(), Box<dyn Error + Send + Sync>> {
    match command {
        Command::Up(options) => Ok(up::run(&instance, &options).await?),
        Command::Down(options) => Ok(down::run(&instance, options.purge).await?),
        Command::Status(options) => Ok(status::run(&instance, options.output).await?),
        Command::Stop(options) => Ok(status::stop(&instance, &options.name, options.power_off).await?),
        Command::Start(options) => Ok(status::start(&instance, &options.name).await?),
        Command::Kubeconfig(options) => {
            let path = if options.manager { instance.manager_kubeconfig() } else { instance.kubeconfig() };
            if !path.exists() {
                return Err(format!("{} is not there yet; make it with: orrery up", path.display()).into());
            }
            say(&path.display().to_string());
            Ok(())
        }
        Command::Ports => {
            say(&format!("api {}", instance.api_address()));
            if let Some(address) = instance.pod_api_address() {
                say(&format!("api-for-pods {address}"));
            }
            say(&format!("manager {}", instance.manager_address()));
            say(&format!("kubelet {}", instance.kubelet_address()));
            say(&format!("machines {}", instance.machine_range()));
            say(&format!("bridge {}", instance.bridge()));
            Ok(())
        }
        Command::Image(command) => image::run(&instance, command).await,
        Command::Kernel(command) => kernel::run(&instance, command).await,
        Command::Store(command) => store::run(&instance, command).await,
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "orrery", &mut std::io::stdout());
            Ok(())
        }
        Command::Keeper => roles::keeper(&instance).await,
        Command::Manager => roles::manager(&instance).await,
        Command::Supervisor(args) => roles::supervisor(&instance, args).await,
        Command::Hostd(options) => roles::hostd(&instance, options).await,
        Command::Spherelet(options) => roles::spherelet(&instance, options).await,
        Command::Shim { config, template, make_template, warm } => {
            roles::shim(&config, &template, make_template, warm).await
        }
    }
}

/// Writes a line to standard output. A closed pipe is the reader's wish.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints the chain of an error, once and here only.
fn fail(error: &(dyn Error + 'static)) -> ExitCode {
    let mut text = format!("orrery: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("\n  because: {cause}"));
        source = cause.source();
    }
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}
