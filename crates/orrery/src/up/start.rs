//! The steps that start processes and write kubeconfigs.

use super::{StepError, preflight, progress, wait_for};
use crate::{
    instance::{CLUSTER, HOST, Instance, NAMESPACE, SUPERVISOR},
    roles,
};
use orrery_client::{Access, json::JsonClient, kubeconfig};
use orrery_images::guest_boot::GuestBoot;
use orrery_keeper::{
    KeeperClient,
    protocol::{Request, RoleSpec},
};
use orrery_supervisor::Authorities;
use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::Duration,
};

/// How long the administrator's certificates live; each `orrery up` makes new ones when half of it is over.
const ADMIN_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) async fn keeper_answers(instance: &Instance) -> bool {
    KeeperClient::new(&instance.keeper_socket()).status().await.is_ok()
}

/// Gets the guest's kernel and puts its first file system together.
pub(super) async fn guest_boot(instance: &Instance, step: &progress::Step) -> Result<((), String), StepError> {
    step.note("looking in the cache");
    let instance = instance.clone();
    let boot: GuestBoot = tokio::task::spawn_blocking(move || roles::prepare_guest_boot(&instance)).await??;
    Ok(((), format!("Linux {}", boot.kernel_release)))
}

/// Starts the keeper, unless it runs.
pub(super) async fn keeper(instance: &Instance) -> Result<((), String), StepError> {
    if keeper_answers(instance).await {
        return Ok(((), "runs already".to_owned()));
    }
    preflight::claim(instance)?;
    let log_path = instance.log("keeper");
    fs::create_dir_all(log_path.parent().unwrap_or(&instance.state))?;
    let log = fs::OpenOptions::new().create(true).append(true).open(&log_path)?;
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.arg("keeper").args(instance.arguments()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // A process group of its own, so that Ctrl-C in the terminal does not reach it. It is the init's child once this
    // process has ended.
    let mut child = command.process_group(0).spawn()?;
    loop {
        if keeper_answers(instance).await {
            return Ok(((), String::new()));
        }
        if let Some(status) = child.try_wait()? {
            return Err(format!("the keeper ended at once ({status}); see {}", log_path.display()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks the keeper for a role of this program.
pub(super) async fn ensure_role(instance: &Instance, name: &str, arguments: &[&str]) -> Result<(), StepError> {
    let mut argv = vec![std::env::current_exe()?.display().to_string()];
    argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    argv.extend(instance.arguments());
    let spec = RoleSpec { name: name.to_owned(), argv, log: instance.log(name), stop_grace_seconds: 15 };
    Ok(KeeperClient::new(&instance.keeper_socket()).request(&Request::Ensure(spec)).await?)
}

/// Starts the manager and writes its kubeconfig; answers with the administrator's access once the API answers.
pub(super) async fn manager(instance: &Instance) -> Result<(Access, String), StepError> {
    ensure_role(instance, "manager", &["manager"]).await?;
    let access =
        wait_for(|| async { roles::manager_access(instance, "orrery:admin", "system:masters", ADMIN_LIFETIME).ok() })
            .await;
    kubeconfig::write(&instance.manager_kubeconfig(), &access, "orrery-manager", None)?;
    wait_until_ready(&access).await?;
    Ok((access, instance.manager_address().to_string()))
}

/// Starts the processes of the host. The control plane's waits for enablement.
pub(super) async fn host_roles(instance: &Instance) -> Result<(), StepError> {
    ensure_role(instance, &format!("{HOST}/hostd"), &["hostd", "--host", HOST]).await?;
    ensure_role(instance, SUPERVISOR, &["supervisor", "--name", SUPERVISOR]).await?;
    ensure_role(instance, &format!("{HOST}/spherelet"), &["spherelet", "--host", HOST]).await
}

/// Writes the Supervisor's kubeconfig.
pub(super) async fn supervisor_access(instance: &Instance) -> Result<(Access, String), StepError> {
    let authorities = Authorities::load_or_create(&instance.supervisors().join(SUPERVISOR).join("pki"))?;
    let endpoint = format!("https://{}", instance.api_address());
    let access = authorities.access(&endpoint, "kubernetes-admin", "system:masters", ADMIN_LIFETIME)?;
    kubeconfig::write(&instance.kubeconfig(), &access, SUPERVISOR, Some(NAMESPACE))?;
    wait_until_ready(&access).await?;
    Ok((access, instance.kubeconfig().display().to_string()))
}

/// A one-time token for a host of the cluster.
pub(super) async fn join_token(manager: &Access) -> Result<String, StepError> {
    #[derive(serde::Deserialize)]
    struct Answer {
        token: String,
    }
    let client = JsonClient::new(manager, Duration::from_secs(10))?;
    let request = serde_json::json!({"cluster": CLUSTER, "ttlSeconds": 600});
    let answer: Answer = client.post("/admin/v1/join-tokens", &request).await?;
    Ok(answer.token)
}

async fn wait_until_ready(access: &Access) -> Result<(), StepError> {
    let client = JsonClient::new(access, Duration::from_secs(2))?;
    wait_for(|| async { client.get_text("/readyz").await.ok() }).await;
    Ok(())
}

/// The kubectl to name in examples: the one on the path, or the one that was fetched.
pub(super) fn kubectl(instance: &Instance) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    if path.split(':').any(|directory| std::path::Path::new(directory).join("kubectl").exists()) {
        return "kubectl".to_owned();
    }
    instance.cache().join("bin").join("kubectl").display().to_string()
}
