//! `orrery up`: everything on one machine, step by step, ending when the demo pod runs.
//!
//! Each step looks first and does only what is missing, so a second run is quick and changes nothing. When a step fails
//! and this run has started the keeper, everything is stopped again.

mod demo;
mod inventory;
mod preflight;
mod progress;
mod start;

use crate::{args::Up, down, instance::Instance, roles, say};
use orrery_client::Access;
use preflight::PreflightError;
pub(crate) use preflight::qemu;
pub(crate) use progress::{Progress, Step};
use std::{error::Error, future::Future, time::Duration};

/// Why `orrery up` did not get to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpError {
    /// The machine is not ready for it.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// A step failed.
    #[error("{step} failed{advice}")]
    Step {
        step: &'static str,
        advice: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A step did not end in time.
    #[error(
        "{step} did not end within {seconds} s: {last}; look at the logs in {logs}, or give it longer: --step-timeout"
    )]
    Timeout { step: &'static str, seconds: u64, last: String, logs: String },
}

/// A step's failure, of whatever kind.
pub(crate) type StepError = Box<dyn Error + Send + Sync>;

/// Runs steps, shows them, and bounds their time.
pub(crate) struct Steps<'a> {
    instance: &'a Instance,
    progress: Progress,
    timeout: Duration,
}

impl Steps<'_> {
    /// Carries out a step. What it returns beside its result is a few words on what was done.
    async fn run<T>(
        &self,
        name: &'static str,
        work: impl AsyncFnOnce(&Step) -> Result<(T, String), StepError>,
    ) -> Result<T, UpError> {
        let step = self.progress.begin(name);
        let bounded: Result<_, _> = tokio::time::timeout(self.timeout, work(&step)).await;
        let logs = self.instance.state.join("logs").display().to_string();
        match bounded {
            Ok(Ok((value, outcome))) => {
                step.done(&outcome);
                Ok(value)
            }
            Ok(Err(source)) => {
                step.failed();
                Err(UpError::Step { step: name, advice: format!(" (logs are in {logs})"), source })
            }
            Err(_) => {
                step.failed();
                let last = "it was still waiting".to_owned();
                Err(UpError::Timeout { step: name, seconds: self.timeout.as_secs(), last, logs })
            }
        }
    }
}

/// Asks `look` until it has an answer. Its errors count as "not yet"; the last one is told if the time is over.
pub(crate) async fn wait_for<T, F>(mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    loop {
        if let Some(value) = look().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn run(instance: &Instance, options: &Up) -> Result<(), UpError> {
    let running = start::keeper_answers(instance).await;
    preflight::check(instance, running).await?;
    let steps = Steps { instance, progress: Progress::new(), timeout: Duration::from_secs(options.step_timeout) };
    let broken_off = |source: StepError| UpError::Step { step: "orrery up", advice: String::new(), source };
    let interrupted = roles::shutdown_on_signal().map_err(|error| broken_off(error.into()))?;
    let result = tokio::select! {
        // Cancel-safe: what was begun is stopped below, or found again by the next run.
        result = carry_out(&steps, options) => result,
        () = interrupted.cancelled() => Err(broken_off("it was interrupted".into())),
    };
    match result {
        Ok(shown) => {
            for line in shown {
                say(&line);
            }
            Ok(())
        }
        Err(error) => {
            if !running && !options.keep {
                say("stopping what was started (--keep leaves it as it is)");
                if let Err(problem) = down::run(instance, false).await {
                    say(&format!("could not stop everything: {problem}; try: orrery down"));
                }
            }
            Err(error)
        }
    }
}

/// All steps; the lines to print at the end.
async fn carry_out(steps: &Steps<'_>, options: &Up) -> Result<Vec<String>, UpError> {
    let instance = steps.instance;
    steps.run("guest kernel and first file system", async |step| start::guest_boot(instance, step).await).await?;
    steps.run("keeper", async |_| start::keeper(instance).await).await?;
    let manager: Access = steps.run("manager", async |_| start::manager(instance).await).await?;
    steps.run("host-1 joins cluster-1", async |step| inventory::host(instance, &manager, step).await).await?;
    steps.run("Supervisor on cluster-1", async |step| inventory::supervisor(instance, &manager, step).await).await?;
    let supervisor = steps.run("kubeconfig", async |_| start::supervisor_access(instance).await).await?;
    steps.run("namespace demo", async |step| inventory::namespace(&manager, &supervisor, step).await).await?;
    if !options.no_demo {
        let archive = options.demo_image.clone();
        let present = steps.run("demo image", async |step| demo::image(instance, archive, step).await).await?;
        steps.run("pod demo/hello runs", async |step| demo::pod(instance, &supervisor, &present, step).await).await?;
    }
    let seconds = steps.progress.elapsed().as_secs_f64();
    let kubeconfig = instance.kubeconfig();
    let kubectl = start::kubectl(instance);
    Ok(vec![
        format!("\nOrrery runs ({seconds:.1} s). kubeconfig: {}", kubeconfig.display()),
        format!("\n  export KUBECONFIG={}", kubeconfig.display()),
        format!("  {kubectl} get pods -n demo -o wide"),
        format!("  {kubectl} logs -n demo hello -f"),
        format!("  {kubectl} exec -n demo -it hello -- sh"),
        format!(
            "\nThe inventory: {kubectl} --kubeconfig {} get hosts,supervisors,tasks",
            instance.manager_kubeconfig().display()
        ),
        "Stop it with: orrery down".to_owned(),
    ])
}
