//! What `orrery up` shows while it works: one line for each step, with the time it took.

use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// Shows steps: a spinner where there is a terminal, plain lines where there is none.
pub(crate) struct Progress {
    terminal: bool,
    began: Instant,
}

/// A step under way.
pub(crate) struct Step {
    bar: Option<ProgressBar>,
    name: String,
    began: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), began: Instant::now() }
    }

    /// Begins a step.
    pub(crate) fn begin(&self, name: &str) -> Step {
        let bar = self.terminal.then(|| {
            let bar = ProgressBar::new_spinner().with_message(name.to_owned());
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Step { bar, name: name.to_owned(), began: Instant::now() }
    }

    /// Time since the first step.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Step {
    /// Says what the step is doing now.
    pub(crate) fn note(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {detail}", self.name));
        }
    }

    /// Ends the step; `outcome` is a few words such as "already there".
    pub(crate) fn done(self, outcome: &str) {
        self.end('✓', outcome);
    }

    /// Ends the step badly.
    pub(crate) fn failed(self) {
        self.end('✗', "failed");
    }

    fn end(self, mark: char, outcome: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let outcome = if outcome.is_empty() { String::new() } else { format!(" ({outcome})") };
        let _ = writeln!(std::io::stderr(), "  {mark} {:<42} {seconds:>6.1} s{outcome}", self.name);
    }
}
