//! One boot: from the launch of QEMU until everything that belonged to it has ended.

use super::{Driver, EventKind, now};
use crate::{
    container::{ContainerHandle, Reporter},
    failure::{Failure, chain},
    launch,
    link::{Link, LinkEnd, QUICK, bring_up, keep_clock},
    phase::Input,
    warm::Linked,
};
use orrery_vmm::{Guest, LaunchError, LaunchSpec, MachineExit, Running, Start};
use orrery_wire::{
    guest::{GuestRequest, Identity},
    shim::reason,
};
use std::{collections::HashMap, sync::Arc};
use tokio::task::JoinSet;

/// Containers that are being started, with who waits for them.
pub(super) struct Starting {
    pub(super) attempt: u32,
    pub(super) waiting: Vec<super::Reply>,
}

/// A QEMU and what was started with it.
pub(super) struct Boot {
    pub(super) number: u32,
    guest: Arc<dyn Guest>,
    pub(super) link: Link,
    reporter: Reporter,
    /// Set once QEMU has ended.
    pub(super) exit: Option<MachineExit>,
    /// Whether the control port has.
    pub(super) link_ended: bool,
    /// Whether the guest has taken its identity.
    pub(super) ready: bool,
    /// Whether somebody wanted it off.
    pub(super) requested: bool,
    /// What the guest did wrong, when it was ended for that.
    pub(super) failure: Option<String>,
    pub(super) running: HashMap<String, ContainerHandle>,
    pub(super) starting: HashMap<String, Starting>,
    /// Ended with the boot. Containers are not among these: each ends by itself, with its log whole.
    tasks: JoinSet<()>,
}

impl Boot {
    fn begin(number: u32, linked: Linked, identity: Identity, reporter: Reporter) -> Self {
        let Linked { guest, link, link_end } = linked;
        let mut tasks = JoinSet::new();
        let (running, report) = (Arc::clone(&guest), reporter.clone());
        tasks.spawn(async move { report.tell(EventKind::MachineEnded(running.wait().await)).await });
        let report = reporter.clone();
        tasks.spawn(async move {
            if let Ok(LinkEnd::Violation(text)) = link_end.await {
                report.tell(EventKind::GuestFailed(format!("it broke the protocol: {text}"))).await;
            }
            report.tell(EventKind::LinkEnded).await;
        });
        let (conversation, report) = (link.clone(), reporter.clone());
        tasks.spawn(async move {
            match bring_up(&conversation, identity).await {
                Ok(()) => report.tell(EventKind::GuestReady).await,
                // The end of the machine tells more than that it is gone.
                Err(failure) if failure.reason == reason::NOT_RUNNING => return,
                Err(failure) => return report.tell(EventKind::GuestFailed(failure.message)).await,
            }
            keep_clock(conversation).await;
        });
        Self {
            number,
            guest,
            link,
            reporter,
            exit: None,
            link_ended: false,
            ready: false,
            requested: false,
            failure: None,
            running: HashMap::new(),
            starting: HashMap::new(),
            tasks,
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        if self.exit.is_some() { None } else { self.guest.pid() }
    }

    pub(super) fn ask_guest(&mut self) {
        let (link, reporter) = (self.link.clone(), self.reporter.clone());
        self.tasks.spawn(async move {
            if let Err(failure) = link.request(GuestRequest::PowerOff, QUICK).await
                && failure.reason != reason::NOT_RUNNING
            {
                reporter.tell(EventKind::GuestFailed(format!("it does not power off: {failure}"))).await;
            }
        });
    }

    pub(super) fn quit(&mut self) {
        let guest = Arc::clone(&self.guest);
        self.tasks.spawn(async move {
            if let Err(error) = guest.quit().await {
                tracing::warn!(error = chain(&error), "QEMU does not quit");
            }
        });
    }

    pub(super) fn kill(&self) {
        self.guest.kill();
    }

    /// The port was closed: unless QEMU ends by itself in a moment, nothing good will come of it.
    pub(super) fn hang_up(&mut self) {
        const MOMENT: std::time::Duration = std::time::Duration::from_secs(5);
        let (guest, reporter) = (Arc::clone(&self.guest), self.reporter.clone());
        self.tasks.spawn(async move {
            if tokio::time::timeout(MOMENT, guest.wait()).await.is_err() {
                reporter.tell(EventKind::GuestFailed("its control port was closed".into())).await;
            }
        });
    }

    fn is_over(&self) -> bool {
        self.exit.is_some() && self.link_ended && self.running.is_empty() && self.starting.is_empty()
    }

    /// How it ended: whether that was wanted, for people, and what a wish to power on is answered with.
    fn verdict(&self) -> (String, Failure) {
        let exit = self.exit.as_ref().map(ToString::to_string).unwrap_or_default();
        match &self.failure {
            Some(text) => {
                let message = format!("the guest failed: {text}; {exit}");
                (message.clone(), Failure::new(reason::GUEST_FAILED, message))
            }
            None if self.requested => {
                let answer = Failure::new(reason::NOT_RUNNING, "the machine was powered off while it booted");
                (exit, answer)
            }
            None => (exit.clone(), Failure::new(reason::QEMU_FAILED, exit)),
        }
    }
}

impl Driver {
    /// Starts QEMU and what goes with it.
    pub(super) async fn launch(&mut self, mut identity: Identity) {
        let spec = launch::spec(&self.config, self.template.as_ref());
        identity.disks = Some(launch::guest_disks(&spec));
        match self.launch_any(spec).await {
            Ok(linked) => {
                self.record.begin_boot(now());
                let number = self.record.boot;
                self.boot = Some(Boot::begin(number, linked, identity, self.reporter(number)));
                self.feed(Input::Launched);
            }
            Err(error) => self.launch_failed(&error),
        }
    }

    /// A warm machine that does not take its disks is ended; the next best then does as well.
    async fn launch_any(&mut self, spec: LaunchSpec) -> Result<Linked, LaunchError> {
        if let Some(warm) = self.warm.take() {
            match warm.equip(&spec.disks).await {
                Ok(()) => {
                    tracing::info!("the machine goes on from a warm one");
                    return Ok(warm);
                }
                Err(error) => tracing::warn!(error = chain(&error), "the warm machine is of no use"),
            }
            warm.end().await;
        }
        self.launch_or_boot(spec).await.map(Linked::from)
    }

    /// A machine that is no clone of its template after all boots: that takes longer and does as well.
    async fn launch_or_boot(&self, spec: LaunchSpec) -> Result<Running, LaunchError> {
        if self.template.is_none() {
            return self.machine.launch(spec).await;
        }
        let boots = LaunchSpec { start: Start::Kernel(launch::kernel(&self.config)), ..spec.clone() };
        match self.machine.launch(spec).await {
            Ok(running) => {
                tracing::info!("the machine goes on from its template");
                Ok(running)
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the machine boots, as its template is of no use");
                self.machine.launch(boots).await
            }
        }
    }

    fn launch_failed(&mut self, error: &LaunchError) {
        let message = chain(error);
        tracing::error!(error = message, "the machine was not started");
        self.fail_power_on(&Failure::new(reason::QEMU_FAILED, message));
    }

    /// Closes the boot once everything of it has ended.
    pub(super) fn finish_boot(&mut self) {
        let Some(boot) = self.boot.take_if(|boot| boot.is_over()) else { return };
        let (message, answer) = boot.verdict();
        tracing::info!(boot = boot.number, requested = boot.requested, message, "the machine has ended");
        if !boot.ready && !boot.requested && self.template.take().is_some() {
            tracing::warn!("the machine boots the next time: it did not come up from its template");
        }
        self.record.end_boot(now(), boot.requested, message);
        self.feed(Input::Ended);
        self.fail_power_on(&answer);
    }

    fn fail_power_on(&mut self, failure: &Failure) {
        let waiting = std::mem::take(&mut self.power_on);
        self.outcomes.extend(waiting.into_iter().map(|reply| (reply, Err(failure.clone()))));
    }
}
