//! Where a machine stands and what follows from what happens to it. Pure: no clock, no process.
//!
//! ```text
//!   Off      --Launched------> Booting           start the boot timer
//!   Booting  --GuestReady----> Running           stop the timer
//!   Booting  --PowerOff------> Quitting          quit (there is no guest to ask), start the quit timer
//!   Booting  --TimeUp--------> Killed            kill
//!   Running  --PowerOff------> Asked             ask the guest, start the grace timer
//!   Asked    --PowerOff------> Asked             shorten the grace
//!   Asked    --TimeUp--------> Quitting          quit, start the quit timer
//!   Quitting --TimeUp--------> Killed            kill
//!   Booting, Running --GuestFailed--> Killed     kill
//!   Asked    --GuestFailed---> Quitting          quit: a guest on its way down may well break off
//!   any      --Ended---------> Off               stop the timer
//! ```
//! What is not drawn changes nothing: it is late, or asks for what is so already.

use orrery_wire::shim::MachinePhase;

/// Where the machine stands, as finely as the shim needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Off,
    Booting,
    Running,
    Stopping(Stop),
}

/// How far an end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stop {
    /// The guest was asked to power off.
    Asked,
    /// QEMU was asked to quit.
    Quitting,
    /// QEMU was killed.
    Killed,
}

/// What happens to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// QEMU was started.
    Launched,
    /// The guest has taken its identity.
    GuestReady,
    /// The guest broke the protocol, fell silent or refused its identity.
    GuestFailed,
    /// Somebody wants it off.
    PowerOff,
    /// The timer that an action started has run out.
    TimeUp,
    /// QEMU has ended.
    Ended,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    StartTimer(Timer),
    ShortenGrace,
    StopTimer,
    AskGuest,
    Quit,
    Kill,
}

/// Which patience begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    Boot,
    Grace,
    Quit,
}

/// What may be answered to a wish to power the machine on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PowerOn {
    /// It is off: launch it.
    Launch,
    /// It boots already: wait for it.
    Wait,
    /// It runs already.
    Already,
    /// It is on its way down: ask again once it is off.
    Refuse,
}

impl State {
    /// May the machine be powered on now?
    pub(crate) fn power_on(self) -> PowerOn {
        match self {
            Self::Off => PowerOn::Launch,
            Self::Booting => PowerOn::Wait,
            Self::Running => PowerOn::Already,
            Self::Stopping(Stop::Asked | Stop::Quitting | Stop::Killed) => PowerOn::Refuse,
        }
    }

    /// The next state, and what is to be done on the way.
    pub(crate) fn step(self, input: Input) -> (Self, &'static [Action]) {
        use Action::{AskGuest, Kill, Quit, ShortenGrace, StartTimer, StopTimer};
        const QUITTING: State = State::Stopping(Stop::Quitting);
        const KILLED: State = State::Stopping(Stop::Killed);
        const QUIT: &[Action] = &[Quit, StartTimer(Timer::Quit)];
        match (self, input) {
            (Self::Off, Input::Launched) => (Self::Booting, &[StartTimer(Timer::Boot)]),
            (Self::Booting, Input::GuestReady) => (Self::Running, &[StopTimer]),
            (Self::Booting, Input::PowerOff) | (Self::Stopping(Stop::Asked), Input::TimeUp | Input::GuestFailed) => {
                (QUITTING, QUIT)
            }
            (Self::Booting, Input::TimeUp | Input::GuestFailed)
            | (Self::Running, Input::GuestFailed)
            | (QUITTING, Input::TimeUp) => (KILLED, &[StopTimer, Kill]),
            (Self::Running, Input::PowerOff) => (Self::Stopping(Stop::Asked), &[AskGuest, StartTimer(Timer::Grace)]),
            (Self::Stopping(Stop::Asked), Input::PowerOff) => (self, &[ShortenGrace]),
            (Self::Booting | Self::Running | Self::Stopping(_), Input::Ended) => (Self::Off, &[StopTimer]),
            (Self::Off, Input::GuestReady | Input::GuestFailed | Input::PowerOff | Input::TimeUp | Input::Ended)
            | (Self::Booting | Self::Running | Self::Stopping(_), Input::Launched)
            | (Self::Running | Self::Stopping(_), Input::GuestReady)
            | (Self::Running | KILLED, Input::TimeUp)
            | (QUITTING | KILLED, Input::PowerOff | Input::GuestFailed) => (self, &[]),
        }
    }
}

impl From<State> for MachinePhase {
    fn from(state: State) -> Self {
        match state {
            State::Off => Self::Off,
            State::Booting => Self::Booting,
            State::Running => Self::Running,
            State::Stopping(_) => Self::Stopping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INPUTS: [Input; 6] =
        [Input::Launched, Input::GuestReady, Input::GuestFailed, Input::PowerOff, Input::TimeUp, Input::Ended];

    /// The world around the state machine: whether QEMU runs, and which patience is running out.
    #[derive(Debug, Default)]
    struct World {
        qemu: bool,
        timer: Option<Timer>,
        quits: u32,
        kills: u32,
    }

    impl World {
        fn apply(&mut self, action: Action) {
            match action {
                Action::StartTimer(timer) => self.timer = Some(timer),
                Action::StopTimer => self.timer = None,
                Action::ShortenGrace => assert_eq!(self.timer, Some(Timer::Grace)),
                Action::AskGuest => assert!(self.qemu),
                Action::Quit => self.quits += 1,
                Action::Kill => self.kills += 1,
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_a_stopping_machine_always_has_a_next_step(choices in prop::collection::vec(0usize..6, 0..60)) {
            let (mut state, mut world) = (State::Off, World::default());
            for choice in choices {
                let input = INPUTS[choice];
                // The world only lets happen what can.
                match input {
                    Input::Launched if world.qemu => continue,
                    Input::Launched => world.qemu = true,
                    Input::Ended if !world.qemu => continue,
                    Input::Ended => world.qemu = false,
                    Input::TimeUp if world.timer.is_none() => continue,
                    Input::TimeUp => world.timer = None,
                    Input::GuestReady | Input::GuestFailed | Input::PowerOff => {}
                }
                let (next, actions) = state.step(input);
                actions.iter().for_each(|action| world.apply(*action));
                state = next;
                if input == Input::Ended {
                    world.kills = 0;
                }
                prop_assert_eq!(state == State::Off, !world.qemu);
                // Who waits for an end waits for a timer or for a process that was killed.
                match state {
                    State::Booting | State::Stopping(Stop::Asked | Stop::Quitting) => prop_assert!(world.timer.is_some()),
                    State::Stopping(Stop::Killed) => prop_assert!(world.kills == 1 && world.timer.is_none()),
                    State::Off | State::Running => prop_assert!(world.timer.is_none()),
                }
            }
            // However far it got, patience ends every machine that is wanted off.
            if world.qemu {
                for input in [Input::PowerOff, Input::TimeUp, Input::TimeUp] {
                    state = state.step(input).0;
                }
                prop_assert_eq!(state, State::Stopping(Stop::Killed));
            }
        }
    }

    #[test]
    fn powering_on_is_answered_by_the_state() {
        for (state, expected) in [
            (State::Off, PowerOn::Launch),
            (State::Booting, PowerOn::Wait),
            (State::Running, PowerOn::Already),
            (State::Stopping(Stop::Asked), PowerOn::Refuse),
            (State::Stopping(Stop::Killed), PowerOn::Refuse),
        ] {
            assert_eq!(state.power_on(), expected);
        }
    }

    #[test]
    fn a_guest_that_breaks_off_while_it_powers_off_is_not_killed_at_once() {
        let (state, actions) = State::Stopping(Stop::Asked).step(Input::GuestFailed);
        assert_eq!(state, State::Stopping(Stop::Quitting));
        assert!(!actions.contains(&Action::Kill));
    }
}
