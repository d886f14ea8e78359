//! Acting: one step of a plan after another.

use super::api::PodApiError;
use super::machine::{self, ConfigError};
use super::volumes::running_boot;
use super::worker::{ApplyError, Held, Wanted, Worker};
use crate::{
    host::{Admitted, CallError, Shim},
    node::chain,
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use orrery_api::units::Bytes;
use orrery_lifecycle::{
    env::{self, Addresses, KnownValues},
    pod::{self, Action, Machine, PodPlan, Refusal, StartRecord},
    services, signal,
};
use orrery_wire::{guest::ContainerSpec, guest::reason, host};
use rand::{TryRng, rngs::SysRng};
use std::{collections::BTreeMap, time::SystemTime};
use tokio::sync::watch;

/// How long the guest of a pod that is over may take to end orderly, in seconds.
const POWER_OFF_GRACE: u32 = 2;

/// Containers as their guest is told, and those that cannot be described, with why.
type Made = (BTreeMap<String, ContainerSpec>, BTreeMap<String, String>);

impl Worker {
    /// Describes the containers that `plan` starts.
    pub(super) async fn container_specs(&self, plan: &PodPlan, addresses: &Addresses) -> Result<Made, PodApiError> {
        let (mut specs, mut errors) = Made::default();
        let mut of_services = None;
        for action in &plan.actions {
            let Action::Start { container, .. } = action else { continue };
            let (Some(view), Some(image)) = (self.pod.container(container), self.images.get(container)) else {
                continue;
            };
            let of_services = match &of_services {
                Some(known) => known,
                None => of_services.insert(services::variables(&self.shared.api.services(&self.pod).await?)),
            };
            let mut known = KnownValues { sources: BTreeMap::new(), services: of_services.clone() };
            for source in env::sources(view) {
                if let Some(values) = self.shared.api.values(&self.pod, &source).await? {
                    known.sources.insert(source, values);
                }
            }
            let made: Result<_, ConfigError> = machine::container_spec(&self.pod, view, image, &known, addresses);
            match made {
                Ok(spec) => drop(specs.insert(container.clone(), spec)),
                Err(error) => drop(errors.insert(container.clone(), error.to_string())),
            }
        }
        Ok((specs, errors))
    }

    pub(super) async fn apply(
        &mut self,
        action: &Action,
        specs: &BTreeMap<String, ContainerSpec>,
        machine: &Machine,
    ) -> Result<(), ApplyError> {
        match action {
            Action::Pull { image, container } => Ok(self.begin_pull(image, container).await?),
            Action::Admit => self.admit().await,
            Action::PowerOn => self.power_on().await,
            Action::FillVolumes => self.fill_volumes(machine).await,
            Action::Start { container, attempt, after } => {
                let spec = specs.get(container).ok_or(ApplyError::Unfit("a container was not described"))?;
                self.start(spec.clone(), *attempt, *after).await
            }
            Action::Stop { container, attempt, deadline } => {
                self.stop(container, *deadline).await;
                self.memory.asked_to_end(container, *attempt, *deadline);
                Ok(())
            }
            Action::Kill { container, attempt } => {
                self.signal(container, signal::KILL, true).await;
                self.memory.killed(container, *attempt, Timestamp::now());
                Ok(())
            }
            Action::PowerOff => Ok(self.own_shim()?.power_off(POWER_OFF_GRACE).await?),
            Action::Release => {
                self.shared.hostd.release(&self.pod.uid.to_string()).await?;
                self.held = None;
                self.watch = None;
                Ok(())
            }
            Action::DeletePod => Ok(self.shared.api.delete(&self.pod).await?),
        }
    }

    fn own_shim(&self) -> Result<Shim, ApplyError> {
        self.shim().ok_or(ApplyError::Unfit("the host holds no machine"))
    }

    async fn admit(&mut self) -> Result<(), ApplyError> {
        let known = self.held.as_ref().map(|held| held.spec.clone());
        let first = known.is_none();
        let spec = known.unwrap_or_else(|| machine::machine_spec(&self.pod, &self.images));
        match self.shared.hostd.admit(&spec).await? {
            Admitted::Yes(admission) => {
                if first {
                    let memory = Bytes(spec.memory_bytes).as_mebibytes_ceil();
                    let message = format!("Machine admitted with {} vCPU and {memory} MiB of memory", spec.vcpus);
                    self.shared.events.normal(&self.pod, "MachineAdmitted", message, None);
                }
                self.held = Some(Held { spec, admission });
                Ok(())
            }
            Admitted::No { reason, message } => {
                let text = format!("The host refused the pod's machine ({reason}): {message}");
                if let Some(last) = pod::final_refusal(&reason) {
                    self.shared.events.warning(&self.pod, "MachineRefused", text, None);
                    self.memory.refusal = Some(Refusal { reason: last.to_owned(), message });
                    return Ok(());
                }
                if reason == host::reason::SPEC_CHANGED {
                    // The host holds what we have not seen: ask it again.
                    self.asked_host = false;
                }
                Err(ApplyError::Refused { reason, message })
            }
        }
    }

    async fn power_on(&mut self) -> Result<(), ApplyError> {
        let shim = self.own_shim()?;
        let held = self.held.as_ref().ok_or(ApplyError::Unfit("the host holds no machine"))?;
        let mut entropy = [0; 32];
        SysRng.try_fill_bytes(&mut entropy).map_err(ApplyError::Entropy)?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let known =
            machine::Surroundings { cluster_dns: &self.shared.cluster_dns, pod_pids_limit: self.shared.pod_pids_limit };
        let identity = machine::identity(&self.pod, &held.admission, &known, &entropy, nanos);
        let booted = tokio::select! {
            booted = shim.power_on(identity) => booted,
            // The shim goes on booting; the deletion releases the machine whatever it does.
            () = deletion_wanted(self.wanted.clone()) => return Err(ApplyError::Interrupted),
        };
        match booted {
            Ok(()) => {
                self.memory.failed_boots = None;
                Ok(())
            }
            Err(error @ CallError::Link { .. }) => Err(error.into()),
            Err(error) => {
                let message = format!("The pod's machine did not boot: {}", chain(&error));
                self.shared.events.warning(&self.pod, "Failed", message.clone(), None);
                self.memory.boot_failed(message, Timestamp::now());
                Ok(())
            }
        }
    }

    async fn fill_volumes(&mut self, machine: &Machine) -> Result<(), ApplyError> {
        let shim = self.own_shim()?;
        let boot = running_boot(machine).ok_or(ApplyError::Unfit("the machine does not run"))?;
        let filled = self.volumes.fill(&self.pod, &shim, boot).await;
        if let Err(error @ CallError::Failed { .. }) = &filled {
            self.shared.events.warning(&self.pod, "FailedMount", chain(error), None);
        }
        Ok(filled?)
    }

    async fn start(
        &mut self,
        spec: ContainerSpec,
        attempt: u32,
        after: Option<SignedDuration>,
    ) -> Result<(), ApplyError> {
        let shim = self.own_shim()?;
        let name = spec.name.clone();
        let image = self.pod.container(&name).map(|container| container.image.clone()).unwrap_or_default();
        let (events, pod) = (self.shared.events.clone(), self.pod.clone());
        let at = Timestamp::now();
        let refused = match shim.start(spec, attempt).await {
            Ok(()) => None,
            Err(CallError::Failed { reason, message, .. }) if guest_refused(&reason) => Some(message),
            Err(error) => return Err(error.into()),
        };
        if !self.just_pulled.remove(&name) {
            let here = format!("Container image {image:?} already present on machine");
            events.normal(&pod, "Pulled", here, Some(&name));
        }
        events.normal(&pod, "Created", format!("Created container: {name}"), Some(&name));
        match &refused {
            None => events.normal(&pod, "Started", format!("Started container {name}"), Some(&name)),
            Some(message) => {
                events.warning(
                    &pod,
                    "Failed",
                    format!("Error: failed to start container {name:?}: {message}"),
                    Some(&name),
                );
            }
        }
        if refused.is_none() {
            self.begin_post_start(&name, attempt);
        }
        self.memory.started(&name, StartRecord { attempt, at, refused }, after);
        Ok(())
    }

    /// Asks a container to end: its hook first, if it has one, while this goes on.
    async fn stop(&mut self, container: &str, deadline: Timestamp) {
        let signal = self.stop_signal(container);
        let hook = self.pod.container(container).and_then(|container| container.hooks.pre_stop.clone());
        match (hook, self.shim()) {
            (Some(hook), Some(shim)) => self.begin_stop(hook, shim, container, signal, deadline),
            (Some(_) | None, _) => self.signal(container, signal, false).await,
        }
    }

    fn stop_signal(&self, container: &str) -> i32 {
        let of_pod = self.pod.container(container).and_then(|container| container.stop_signal.as_deref());
        let of_image = self.images.get(container).and_then(|image| image.stop_signal.as_deref());
        of_pod.or(of_image).and_then(signal::number).unwrap_or(signal::TERM)
    }

    /// Sends a signal. A failure is no reason to stop: the deadline comes, and then the machine goes.
    async fn signal(&self, container: &str, signal: i32, all: bool) {
        let Some(shim) = self.shim() else { return };
        if let Err(error) = shim.signal(container, signal, all).await {
            tracing::info!(pod = self.pod.name, container, signal, error = %chain(&error), "a signal was not delivered");
        }
    }
}

/// Whether a failed start is the container's own fault, so that asking again for the same attempt is of no use.
fn guest_refused(why: &str) -> bool {
    [
        reason::EXECUTABLE_NOT_FOUND,
        reason::NOT_EXECUTABLE,
        reason::UNKNOWN_USER,
        reason::IMAGE_UNAVAILABLE,
        reason::VOLUME_UNAVAILABLE,
        reason::BAD_REQUEST,
        reason::SYSTEM_ERROR,
    ]
    .contains(&why)
}

/// Returns once the pod is to be deleted or is gone.
async fn deletion_wanted(mut wanted: watch::Receiver<Wanted>) {
    let deleted = |wanted: &Wanted| match wanted {
        Wanted::Gone => true,
        Wanted::Pod(pod) => pod.deletion.is_some(),
    };
    // A closed channel is the end of the session, which ends the worker where it waits.
    if wanted.wait_for(deleted).await.is_err() {
        std::future::pending::<()>().await;
    }
}
