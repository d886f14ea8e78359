//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use orrery_api::names::{HostName, InstanceName, SupervisorName};
use std::{convert::Infallible, path::PathBuf, str::FromStr};

/// Orrery, the open Supervisor: a Kubernetes-native private cloud on Linux/KVM hosts.
#[derive(Debug, Parser)]
#[command(name = "orrery", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which installation is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Name of the installation; another name means other addresses, ports and paths.
    #[arg(long, global = true, env = "ORRERY_INSTANCE", default_value = crate::instance::DEFAULT_NAME, value_name = "NAME")]
    pub(crate) instance: InstanceName,
    /// Directory of everything that outlives a stop [default: /var/lib/orrery, or /var/lib/orrery-NAME].
    #[arg(long, global = true, env = "ORRERY_STATE", value_name = "DIRECTORY")]
    pub(crate) state: Option<PathBuf>,
    /// One JSON object a line instead of text in logs.
    #[arg(long, global = true, env = "ORRERY_LOG_JSON", hide = true)]
    pub(crate) log_json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything on this machine and run a demo pod.
    Up(Up),
    /// Stop everything; state stays, and `orrery up` brings the same pods back.
    Down(Down),
    /// List every role and machine: state, process, addresses, log file.
    Status(Status),
    /// Hold a role (`manager`, `supervisor-1`, `host-1/hostd`) or a whole host (`host-1`) down.
    Stop(Stop),
    /// Bring a role or host back that was held down.
    Start(Start),
    /// Print where the kubeconfig is.
    Kubeconfig(Kubeconfig),
    /// Print the addresses and ranges of this installation, running or not.
    Ports,
    /// Container images on this machine.
    #[command(subcommand)]
    Image(Image),
    /// The kernel that the machines of pods boot.
    #[command(subcommand)]
    Kernel(Kernel),
    /// The stores of the manager and the Supervisors: statistics, check, backup, restore.
    #[command(subcommand)]
    Store(Store),
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Keep the roles of this machine running (started by `orrery up`).
    #[command(hide = true)]
    Keeper,
    /// Role: inventory, joining of hosts, DRS.
    #[command(hide = true)]
    Manager,
    /// Role: the control plane of a Supervisor.
    #[command(hide = true)]
    Supervisor(SupervisorArgs),
    /// Role: the machines of a host.
    #[command(hide = true)]
    Hostd(HostdArgs),
    /// Role: the kubelet of a host.
    #[command(hide = true)]
    Spherelet(SphereletArgs),
    /// Role: the parent process of one machine.
    #[command(hide = true)]
    Shim {
        /// The file that hostd wrote for the machine.
        #[arg(long)]
        config: PathBuf,
        /// Open files of the template that the machine goes on from: its memory, its state.
        #[arg(long, value_name = "FD,FD", value_delimiter = ',', num_args = 1)]
        template: Vec<i32>,
        /// Make the template, then end.
        #[arg(long, requires = "template")]
        make_template: bool,
        /// Rehearse, then wait at standard input, a socket, for the machine that it becomes.
        #[arg(long, requires = "template", conflicts_with = "make_template")]
        warm: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Archive of the image that the demo pod runs; made from Debian's busybox when it is not given.
    #[arg(long, value_name = "FILE")]
    pub(crate) demo_image: Option<PathBuf>,
    /// Do not run a demo pod.
    #[arg(long, conflicts_with = "demo_image")]
    pub(crate) no_demo: bool,
    /// Leave what was started as it is when a step fails, to look at it.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Longest time for each step, in seconds.
    #[arg(long, default_value_t = 180, value_name = "SECONDS")]
    pub(crate) step_timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    /// Remove the state too: every object, image and log of this installation.
    #[arg(long)]
    pub(crate) purge: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// A role or a host, as `orrery status` names it.
    pub(crate) name: String,
    /// Pull the plug of a host: its machines end at once.
    #[arg(long)]
    pub(crate) power_off: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// A role or a host, as `orrery status` names it.
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct SupervisorArgs {
    /// The Supervisor's name.
    #[arg(long)]
    pub(crate) name: SupervisorName,
    /// Audit policy (`kind: Policy` of audit.k8s.io/v1) instead of `audit-policy.yaml` in the Supervisor's directory.
    #[arg(long, env = "ORRERY_AUDIT_POLICY", value_name = "FILE")]
    pub(crate) audit_policy: Option<PathBuf>,
    /// Audit log instead of `logs/NAME/audit.log` in the state directory.
    #[arg(long, env = "ORRERY_AUDIT_LOG", value_name = "FILE")]
    pub(crate) audit_log: Option<PathBuf>,
    /// Let requests wait for the audit log instead of dropping and counting events when the disk is too slow.
    #[arg(long, env = "ORRERY_AUDIT_BLOCKING")]
    pub(crate) audit_blocking: bool,
    /// MiB after which the audit log is put aside.
    #[arg(long, default_value_t = 100, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) audit_max_mib: u64,
    /// Audit logs put aside that are kept.
    #[arg(long, default_value_t = 10, value_name = "COUNT")]
    pub(crate) audit_keep: usize,
    /// Issuer of service accounts' tokens, an https URL. Given again: issuers from before, whose tokens are still accepted.
    #[arg(long, env = "ORRERY_SERVICE_ACCOUNT_ISSUER", value_delimiter = ',', value_name = "URL")]
    pub(crate) service_account_issuer: Vec<String>,
    /// What this API server is called as the audience of tokens; the issuer when not given.
    #[arg(long, env = "ORRERY_API_AUDIENCES", value_delimiter = ',', value_name = "AUDIENCE")]
    pub(crate) api_audiences: Vec<String>,
    /// Longest lifetime of service accounts' tokens, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(3600..))]
    pub(crate) service_account_max_token_expiration: Option<i64>,
    /// Seconds for which everything is served on after SIGTERM, while `/readyz` tells load balancers to go elsewhere.
    #[arg(long, env = "ORRERY_SHUTDOWN_DELAY", default_value_t = 0, value_name = "SECONDS")]
    pub(crate) shutdown_delay: u64,
    /// Make a new key for service accounts' tokens and end; the present one still verifies. Takes effect at the next start.
    #[arg(long)]
    pub(crate) rotate_token_key: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Kubeconfig {
    /// The manager's inventory instead of the Supervisor.
    #[arg(long)]
    pub(crate) manager: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// Get an image from its registry, so that pods find it here.
    ///
    /// Pods pull what they need by themselves; this is for what is to be here before. Every pod may use what is pulled
    /// without --auth-file. Registries without TLS, with an authority of their own, and mirrors are set in registries.toml
    /// in the state directory (docs/images.md).
    #[command(after_help = "Examples:
  orrery image pull busybox:1.36
  orrery image pull --auth-file ~/.docker/config.json registry.example.com/team/app@sha256:...")]
    Pull {
        /// The image's name; `busybox` is `docker.io/library/busybox:latest`.
        name: String,
        /// Credentials as `docker login` and `podman login` write them. Only pods that have them too may use the image.
        #[arg(long, value_name = "FILE")]
        auth_file: Option<PathBuf>,
    },
    /// Read an OCI or docker archive, so that pods can run its images.
    Import {
        /// The archive (tar, also gzipped).
        archive: PathBuf,
        /// Name for the image instead of the archive's own.
        #[arg(long)]
        name: Option<String>,
    },
    /// List the images of this machine.
    List,
    /// Forget an image's name, and the image once it has none; refused while a machine uses it.
    #[command(visible_alias = "rm")]
    Remove {
        /// The image's name.
        name: String,
        /// Also while a machine uses it; the machine cannot be started again then.
        #[arg(long)]
        force: bool,
    },
    /// Remove images that no machine uses and that did not come within two minutes, imported ones too.
    ///
    /// Images that registries would give again also go by themselves, when the disk is nearly full or by age, as
    /// registries.toml says (docs/images.md).
    #[command(after_help = "Examples:
  orrery image prune
  orrery image prune --unused-hours 72")]
    Prune {
        /// Only what was not used for so long.
        #[arg(long, value_name = "HOURS", default_value_t = 0)]
        unused_hours: u64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Kernel {
    /// Build the lean kernel out of Debian's source, and use it.
    ///
    /// It boots in half the time of Debian's and takes less memory. Needs gcc, make and other tools (what is missing is told), some
    /// 2 GB of disk and, with two processors, ten minutes. It is tried with a guest before it is used (docs/guest.md).
    #[command(after_help = "Examples:
  orrery kernel build
  orrery kernel build --source linux-6.1.tar.xz --jobs 8 --keep")]
    Build {
        /// A source of Linux 6.1, as a directory, which is built in, or an archive; Debian's package linux-source when not given.
        #[arg(long, value_name = "PATH")]
        source: Option<PathBuf>,
        /// Processes that compile at the same time; as many as there are processors when not given.
        #[arg(long, value_name = "NUMBER")]
        jobs: Option<usize>,
        /// Keep the kernel that is used.
        #[arg(long)]
        keep: bool,
    },
    /// List the kernels of this machine.
    #[command(visible_alias = "ls")]
    List,
    /// Use a kernel for machines that boot from now on.
    Use {
        /// Which.
        name: KernelName,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KernelName {
    /// Debian's kernel for clouds, which nobody has to build.
    Debian,
    /// The one that `orrery kernel build` makes.
    Lean,
}

/// `manager`, a Supervisor's name, or the path of a store's file (with a slash in it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreName(pub(crate) String);

impl FromStr for StoreName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Count objects, and say how much room they take; works while the store is in use.
    Stats {
        /// `manager`, a Supervisor's name, or the path of a store's file (with a slash in it); all of this machine by default.
        store: Option<StoreName>,
        /// How to print; JSON is one object a line.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Read the whole file and compare it with its checksums; refused while the store is in use.
    ///
    /// Ends with an error when something is wrong, and says what to do.
    Check {
        /// `manager`, a Supervisor's name, or the path of a store's file (with a slash in it); all of this machine by default.
        store: Option<StoreName>,
        /// How to print; JSON is one object a line.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Give space back: in use, history is forgotten (watches begin anew); otherwise the file is written without gaps.
    Compact {
        /// `manager`, a Supervisor's name, or the path of a store's file (with a slash in it).
        store: StoreName,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Copy a store as it is at this moment into a new file; works while the store is in use, which goes on.
    Backup {
        /// `manager`, a Supervisor's name, or the path of a store's file (with a slash in it).
        store: StoreName,
        /// The file to write, which must not be there yet. A running store writes it itself: on its machine, as its user.
        file: PathBuf,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Put a backup in the place of a store; refused while the store is in use.
    ///
    /// The revision is raised, so that every client reads anew and misses nothing. The file that was there is kept under
    /// another name.
    Restore {
        /// `manager`, a Supervisor's name, or the path of a store's file (with a slash in it).
        store: StoreName,
        /// The backup.
        file: PathBuf,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// The host's name.
    #[arg(long)]
    pub(crate) host: HostName,
}

#[derive(Debug, Args)]
pub(crate) struct HostdArgs {
    #[command(flatten)]
    pub(crate) host: HostArgs,
    /// Machines of the size most wanted that are kept warm, for pods that are asked for next; 0 for none.
    #[arg(long, env = "ORRERY_WARM_MACHINES", value_name = "NUMBER", default_value_t = 3)]
    pub(crate) warm_machines: usize,
}

#[derive(Debug, Args)]
pub(crate) struct SphereletArgs {
    #[command(flatten)]
    pub(crate) host: HostArgs,
    /// Processes and threads that the containers of one pod may have together; what its machine's memory allows when not given.
    #[arg(long, env = "ORRERY_POD_MAX_PIDS", value_name = "NUMBER")]
    pub(crate) pod_max_pids: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
