//! A test, and the codename that it answers to.

use super::{Context, Outcome};
use std::{future::Future, pin::Pin, time::Duration};

/// What a test does.
pub type Body = for<'a> fn(&'a Context) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// How long a test may take unless it says otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(180);

/// A test of ours that answers to an entry of the published list.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// The entry's name.
    pub codename: &'static str,
    /// Whether it runs alone, after all others.
    pub serial: bool,
    /// How long it may take.
    pub limit: Duration,
    /// What it does.
    pub body: Body,
}

/// A test; see [`run!`](crate::run) for its body.
#[must_use]
pub const fn test(codename: &'static str, body: Body) -> Test {
    Test { codename, serial: false, limit: DEFAULT_LIMIT, body }
}

impl Test {
    /// It runs alone, after all others: it looks at or changes what is everybody's.
    #[must_use]
    pub const fn serial(mut self) -> Self {
        self.serial = true;
        self
    }

    /// It may take this long, in seconds.
    #[must_use]
    pub const fn within(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }
}

/// The body of a test out of an asynchronous function of the context, and of more arguments if need be:
/// `run!(restart)` or `run!(lifecycle, kind())`.
#[macro_export]
macro_rules! run {
    ($function:path $(, $argument:expr)*) => {
        |context| Box::pin($function(context $(, $argument)*))
    };
}
