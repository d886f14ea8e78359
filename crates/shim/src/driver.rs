//! The task that owns the machine.
//!
//! It takes [`Order`]s from connections and [`Event`]s from what it has started, keeps the [`State`] and the record, and
//! publishes a [`MachineStatus`] after each change, once the record of it is on disk. It waits for nobody but the launch
//! of QEMU, which is bounded; everything else that takes time is a task that reports back.
//!
//! A boot is over when three things have come in, in whatever order: QEMU's exit, the end of its control port, and the
//! end of every container's log. Only then is the machine off; so an exit code that was on its way is not lost.

mod boot;
mod containers;

use crate::{
    clock,
    container::{ContainerHandle, GuestHandle, Reporter},
    failure::Failure,
    phase::{Action, Input, PowerOn, State, Timer},
    record::Record,
    warm::Linked,
};
use boot::Boot;
use orrery_vmm::{Machine, MachineExit, Template};
use orrery_wire::{
    guest::{ContainerSpec, Identity, ProcessExit},
    machine::{Acceleration, ShimConfig},
    shim::{MachineStatus, reason},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// See [`boot_patience`]. Emulated on a busy host a guest takes many times its usual seconds.
const BOOT_EMULATED: Duration = Duration::from_secs(120);
const BOOT: Duration = Duration::from_secs(30);
/// How long QEMU may take to quit.
const QUIT: Duration = Duration::from_secs(5);
/// The grace of a guest whose shim is told to end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
const QUEUE: usize = 64;

/// Where the outcome of an order goes.
pub(crate) type Reply = oneshot::Sender<Result<(), Failure>>;

/// A running guest, and the names of its running containers by their streams.
pub(crate) type Streams = (GuestHandle, Vec<(u32, String)>);

/// What a connection wants of the machine.
#[derive(Debug)]
pub(crate) enum Order {
    PowerOn { identity: Box<Identity>, reply: Reply },
    PowerOff { grace: Duration, reply: Reply },
    Start { spec: Box<ContainerSpec>, attempt: u32, reply: Reply },
    Find { container: String, reply: oneshot::Sender<Result<ContainerHandle, Failure>> },
    FindGuest { reply: oneshot::Sender<Result<GuestHandle, Failure>> },
    Streams { reply: oneshot::Sender<Result<Streams, Failure>> },
    Exit { reply: Reply },
}

/// Something that happened in a boot.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) boot: u32,
    pub(crate) kind: EventKind,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum EventKind {
    GuestReady,
    GuestFailed(String),
    LinkEnded,
    MachineEnded(MachineExit),
    Started { name: String, attempt: u32, handle: ContainerHandle, at: u64 },
    StartFailed { name: String, failure: Failure },
    ContainerEnded { name: String, attempt: u32, exit: ProcessExit, machine_ended: bool },
}

/// A cheap handle for connections.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    orders: mpsc::Sender<Order>,
    pub(crate) status: watch::Receiver<MachineStatus>,
}

impl Handle {
    /// Gives an order and waits for its outcome.
    pub(crate) async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> Order,
    ) -> Result<T, Failure> {
        let ending = || Failure::new(reason::NOT_RUNNING, "the machine's shim is ending");
        let (reply, outcome) = oneshot::channel();
        self.orders.send(order(reply)).await.map_err(|_closed| ending())?;
        outcome.await.map_err(|_dropped| ending())?
    }
}

/// What boots go on from instead of a kernel.
#[derive(Default)]
pub(crate) struct Origin {
    /// Every boot.
    pub(crate) template: Option<Template>,
    /// The first one.
    pub(crate) warm: Option<Linked>,
}

/// The owner of the machine.
pub(crate) struct Driver {
    config: Arc<ShimConfig>,
    machine: Arc<dyn Machine>,
    template: Option<Template>,
    /// What the first boot goes on with.
    warm: Option<Linked>,
    state: State,
    timer: Option<Instant>,
    grace: Duration,
    boot: Option<Boot>,
    record: Record,
    saved: Record,
    status: watch::Sender<MachineStatus>,
    events: mpsc::Sender<Event>,
    power_on: Vec<Reply>,
    power_off: Vec<Reply>,
    /// Outcomes that are told once the status that they come from is saved and shown.
    outcomes: Vec<(Reply, Result<(), Failure>)>,
    ending: bool,
}

impl Driver {
    /// The driver, its handle, and the queues that it is to be run with.
    pub(crate) fn new(
        config: Arc<ShimConfig>,
        machine: Arc<dyn Machine>,
        origin: Origin,
        record: Record,
    ) -> (Self, Handle, Queues) {
        let (orders, order_queue) = mpsc::channel(QUEUE);
        let (events, event_queue) = mpsc::channel(QUEUE);
        let (status, status_watch) = watch::channel(status_of(&record, State::Off, None));
        let driver = Self {
            config,
            machine,
            template: origin.template,
            warm: origin.warm,
            state: State::Off,
            timer: None,
            grace: Duration::ZERO,
            boot: None,
            saved: Record::default(),
            record,
            status,
            events,
            power_on: Vec::new(),
            power_off: Vec::new(),
            outcomes: Vec::new(),
            ending: false,
        };
        (driver, Handle { orders, status: status_watch }, Queues { orders: order_queue, events: event_queue })
    }

    /// Works until it is told to end, by an order or by `shutdown`, and the machine is off.
    pub(crate) async fn run(mut self, mut queues: Queues, shutdown: CancellationToken) {
        self.publish().await;
        while !(self.ending && self.state == State::Off) {
            let timer = self.timer;
            tokio::select! {
                // Cancel-safe: `recv` loses nothing. The handle outlives the driver, so there is always a sender.
                Some(order) = queues.orders.recv() => self.take_order(order).await,
                // Cancel-safe, and the driver itself holds a sender.
                Some(event) = queues.events.recv() => self.take_event(event).await,
                // Cancel-safe: the deadline is kept in `self.timer`.
                () = until(timer) => {
                    self.timer = None;
                    self.feed(Input::TimeUp);
                }
                // Cancel-safe: a token stays cancelled.
                () = shutdown.cancelled(), if !self.ending => self.end(),
            }
            self.finish_boot();
            self.answer_waiting();
            self.publish().await;
            for (reply, outcome) in self.outcomes.drain(..) {
                // Who asked may have gone.
                let _ = reply.send(outcome);
            }
        }
    }

    async fn take_order(&mut self, order: Order) {
        match order {
            Order::PowerOn { identity, reply } => self.order_power_on(*identity, reply).await,
            Order::PowerOff { grace, reply } => {
                self.power_off.push(reply);
                self.request_power_off(grace);
            }
            Order::Start { spec, attempt, reply } => self.start_container(*spec, attempt, reply),
            Order::Find { container, reply } => drop(reply.send(self.find_container(&container))),
            Order::FindGuest { reply } => drop(reply.send(self.find_guest())),
            Order::Streams { reply } => drop(reply.send(self.find_guest().map(|guest| (guest, self.streams())))),
            Order::Exit { reply } => {
                let outcome = match self.state {
                    State::Off => {
                        self.ending = true;
                        Ok(())
                    }
                    State::Booting | State::Running | State::Stopping(_) => {
                        Err(Failure::new(reason::STILL_RUNNING, "the machine is on; power it off first"))
                    }
                };
                self.answer(reply, outcome);
            }
        }
    }

    fn answer(&mut self, reply: Reply, outcome: Result<(), Failure>) {
        self.outcomes.push((reply, outcome));
    }

    async fn order_power_on(&mut self, identity: Identity, reply: Reply) {
        let refused = |text: &str| Err(Failure::new(reason::STILL_RUNNING, text));
        match self.state.power_on() {
            PowerOn::Launch if self.ending => self.answer(reply, refused("the machine's shim is ending")),
            PowerOn::Launch => {
                self.power_on.push(reply);
                self.launch(identity).await;
            }
            PowerOn::Wait => self.power_on.push(reply),
            PowerOn::Already => self.answer(reply, Ok(())),
            PowerOn::Refuse => {
                self.answer(reply, refused("the machine is powering off; ask again once it is off"));
            }
        }
    }

    async fn take_event(&mut self, event: Event) {
        // What an earlier boot still says has been accounted for at its end.
        let Some(boot) = self.boot.as_mut().filter(|boot| boot.number == event.boot) else { return };
        match event.kind {
            EventKind::GuestReady => {
                boot.ready = true;
                self.feed(Input::GuestReady);
            }
            EventKind::GuestFailed(text) => {
                tracing::warn!(reason = text, "the guest failed");
                boot.failure.get_or_insert(text);
                self.feed(Input::GuestFailed);
            }
            EventKind::LinkEnded => {
                boot.link_ended = true;
                // A guest that only closes its port is of no use either. One that has ended closes it as well.
                if boot.exit.is_none() {
                    boot.hang_up();
                }
            }
            EventKind::MachineEnded(exit) => boot.exit = Some(exit),
            EventKind::Started { name, attempt, handle, at } => self.container_started(&name, attempt, handle, at),
            EventKind::StartFailed { name, failure } => self.container_start_failed(&name, &failure),
            EventKind::ContainerEnded { name, attempt, exit, machine_ended } => {
                self.container_ended(&name, attempt, exit, machine_ended);
            }
        }
    }

    /// The shim is to end: power off, then leave.
    fn end(&mut self) {
        self.ending = true;
        self.request_power_off(SHUTDOWN_GRACE);
    }

    fn request_power_off(&mut self, grace: Duration) {
        self.grace = grace;
        if let Some(boot) = &mut self.boot {
            boot.requested = true;
        }
        self.feed(Input::PowerOff);
    }

    fn feed(&mut self, input: Input) {
        let (next, actions) = self.state.step(input);
        if next != self.state {
            tracing::info!(from = ?self.state, to = ?next, because = ?input, "machine");
        }
        self.state = next;
        for action in actions {
            self.act(*action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::StartTimer(timer) => self.timer = Some(Instant::now() + self.patience(timer)),
            Action::ShortenGrace => {
                let sooner = Instant::now() + self.grace;
                self.timer = Some(self.timer.map_or(sooner, |timer| timer.min(sooner)));
            }
            Action::StopTimer => self.timer = None,
            Action::AskGuest => self.boot.iter_mut().for_each(Boot::ask_guest),
            Action::Quit => self.boot.iter_mut().for_each(Boot::quit),
            Action::Kill => self.boot.iter().for_each(Boot::kill),
        }
    }

    fn patience(&self, timer: Timer) -> Duration {
        match timer {
            Timer::Boot => boot_patience(self.config.accelerator),
            Timer::Grace => self.grace,
            Timer::Quit => QUIT,
        }
    }

    fn answer_waiting(&mut self) {
        let waiting = match self.state {
            State::Running => std::mem::take(&mut self.power_on),
            State::Off => std::mem::take(&mut self.power_off),
            State::Booting | State::Stopping(_) => Vec::new(),
        };
        self.outcomes.extend(waiting.into_iter().map(|reply| (reply, Ok(()))));
    }

    /// Saves the record, then shows it.
    async fn publish(&mut self) {
        if self.record != self.saved {
            let (record, directory) = (self.record.clone(), self.config.state_directory.clone());
            let saved = tokio::task::spawn_blocking(move || record.save(&directory)).await;
            match saved {
                Ok(Ok(())) => self.saved = self.record.clone(),
                // It is tried again with the next change. What runs is shown all the same.
                Ok(Err(error)) => {
                    let directory = self.config.state_directory.display();
                    tracing::error!(%directory, error = &error as &dyn std::error::Error, "the status was not saved");
                }
                Err(error) => tracing::error!(%error, "the status was not saved"),
            }
        }
        let mut status = status_of(&self.record, self.state, self.boot.as_ref());
        self.status.send_if_modified(|shown| {
            status.sequence = shown.sequence;
            let changed = *shown != status;
            if changed {
                status.sequence += 1;
                *shown = status;
            }
            changed
        });
    }

    fn reporter(&self, boot: u32) -> Reporter {
        Reporter { boot, events: self.events.clone() }
    }
}

/// What the driver is fed with.
#[derive(Debug)]
pub(crate) struct Queues {
    orders: mpsc::Receiver<Order>,
    events: mpsc::Receiver<Event>,
}

/// How long a guest may take until it has its identity.
pub(crate) fn boot_patience(acceleration: Acceleration) -> Duration {
    match acceleration {
        Acceleration::Tcg => BOOT_EMULATED,
        Acceleration::Kvm => BOOT,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn status_of(record: &Record, state: State, boot: Option<&Boot>) -> MachineStatus {
    MachineStatus {
        sequence: 0,
        phase: state.into(),
        boot: record.boot,
        booted_at: record.booted_at,
        qemu_pid: boot.and_then(Boot::pid),
        last_end: record.last_end.clone(),
        containers: record.containers.clone(),
    }
}

/// The time for what the record says; in one place for the driver and its parts.
fn now() -> u64 {
    clock::now()
}
