//! When a role's process is started. Pure: time is passed in.
//!
//! ```text
//!              start due                     process ended
//!   Waiting ---------------> Running --------------------------> Waiting (longer each time)
//!      ^  |  hold              |  hold                              |
//!      |  +--------> Held      +--------> Stopping --ended--> Held <+ hold
//!      |  release      |                      | release (starts again once ended)
//!      +---------------+<---------------------+
//! ```

use std::time::Duration;

/// The first wait after an end.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// After running for so long, a role's next end counts as its first.
const GOOD_WHILE: Duration = Duration::from_secs(30);

/// Where a role stands. Times are since some fixed moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Duration },
    Running { since: Duration },
    Stopping,
    Held,
}

/// What to do about a role now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start its process.
    Start,
    /// Ask again after this time.
    Wait(Duration),
    /// Ask its process to end.
    Stop,
    /// Nothing until something happens.
    Nothing,
}

/// Decides when a role is started.
#[derive(Debug, Clone)]
pub struct Role {
    state: State,
    wanted: bool,
    next_wait: Duration,
}

impl Role {
    /// A role that is to run (`wanted`), or is held down.
    #[must_use]
    pub fn new(wanted: bool) -> Self {
        let state = if wanted { State::Waiting { until: Duration::ZERO } } else { State::Held };
        Self { state, wanted, next_wait: FIRST_WAIT }
    }

    /// What to do now.
    #[must_use]
    pub fn action(&self, now: Duration) -> Action {
        match self.state {
            State::Waiting { until } if until <= now => Action::Start,
            State::Waiting { until } => Action::Wait(until - now),
            State::Running { .. } if !self.wanted => Action::Stop,
            State::Running { .. } | State::Stopping | State::Held => Action::Nothing,
        }
    }

    /// Its process runs: it was started, or adopted.
    pub fn started(&mut self, now: Duration) {
        self.state = State::Running { since: now };
    }

    /// It was asked to end.
    pub fn stopping(&mut self) {
        self.state = State::Stopping;
    }

    /// Its process ended, or could not be started.
    pub fn ended(&mut self, now: Duration) {
        if let State::Running { since } = self.state
            && now.saturating_sub(since) >= GOOD_WHILE
        {
            self.next_wait = FIRST_WAIT;
        }
        let asked_for = matches!(self.state, State::Stopping);
        self.state = if !self.wanted {
            State::Held
        } else if asked_for {
            State::Waiting { until: now }
        } else {
            let wait = self.next_wait;
            self.next_wait = (wait * 2).min(LONGEST_WAIT);
            State::Waiting { until: now + wait }
        };
    }

    /// Holds it down.
    pub fn hold(&mut self) {
        self.wanted = false;
        if let State::Waiting { .. } = self.state {
            self.state = State::Held;
        }
    }

    /// Lets it run.
    pub fn release(&mut self, now: Duration) {
        self.wanted = true;
        self.next_wait = FIRST_WAIT;
        match self.state {
            State::Held | State::Waiting { .. } => self.state = State::Waiting { until: now },
            State::Running { .. } | State::Stopping => {}
        }
    }

    /// Whether it is to run.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_role_that_keeps_ending_is_started_less_and_less_often() {
        let mut role = Role::new(true);
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(role.action(now), Action::Start);
            role.started(now);
            role.ended(now);
            let Action::Wait(wait) = role.action(now) else { panic!("must wait") };
            waits.push(wait.as_millis());
            now += wait;
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn an_end_after_a_good_while_counts_as_the_first() {
        let mut role = Role::new(true);
        role.started(Duration::ZERO);
        role.ended(Duration::ZERO);
        role.started(Duration::from_secs(1));
        let end = Duration::from_secs(31);
        role.ended(end);
        assert_eq!(role.action(end), Action::Wait(FIRST_WAIT));
    }

    proptest! {
        /// Whatever happens, a held role is not started and a wanted one is never forgotten.
        #[test]
        fn a_role_is_started_exactly_when_it_is_wanted(events in prop::collection::vec(0u8..5, 0..60)) {
            let mut role = Role::new(true);
            let mut wanted = true;
            let mut running = false;
            let mut now = Duration::ZERO;
            for event in events {
                now += Duration::from_millis(50);
                match event {
                    0 => { role.hold(); wanted = false; }
                    1 => { role.release(now); wanted = true; }
                    2 if running => { role.ended(now); running = false; }
                    _ => match role.action(now) {
                        Action::Start => { prop_assert!(wanted && !running); role.started(now); running = true; }
                        Action::Stop => { prop_assert!(!wanted && running); role.stopping(); }
                        Action::Wait(wait) => { prop_assert!(wanted && !running); prop_assert!(wait <= LONGEST_WAIT); }
                        Action::Nothing => {}
                    },
                }
                prop_assert_eq!(role.is_wanted(), wanted);
            }
            // Let it settle: it ends up as it is wanted.
            for _ in 0..4 {
                now += LONGEST_WAIT;
                match role.action(now) {
                    Action::Start => { role.started(now); running = true; }
                    Action::Stop => { role.stopping(); role.ended(now); running = false; }
                    Action::Wait(_) => {}
                    Action::Nothing if !wanted && running => { role.ended(now); running = false; }
                    Action::Nothing => {}
                }
            }
            prop_assert_eq!(running, wanted);
        }
    }
}
