//! The serial console, and the end of the machine.

use rustix::system::{RebootCommand, reboot};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process is the machine's init; not so in a process that is about to become a container's, nor in tests.
static IS_INIT: AtomicBool = AtomicBool::new(false);

/// Writes a line to the console, which is init's standard error. There is nobody to tell when that fails.
pub(crate) fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("crx-init: {line}\n").as_bytes());
}

/// From now on a panic powers the machine off instead of leaving it to the kernel.
pub(crate) fn guard_init() {
    IS_INIT.store(true, Ordering::Relaxed);
    std::panic::set_hook(Box::new(|panic| {
        say(&format!("{panic}"));
        if IS_INIT.load(Ordering::Relaxed) {
            power_off();
        }
    }));
}

/// The calling process is a child that runs on its own from now on.
pub(crate) fn leave_init() {
    IS_INIT.store(false, Ordering::Relaxed);
}

/// Ends the machine after an error that init cannot live with.
pub(crate) fn fatal(error: &dyn std::error::Error) -> ! {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    say(&format!("giving up: {text}"));
    power_off()
}

/// Switches the machine off; restarts it where the hardware cannot be switched off, which ends a QEMU that was started
/// with `-no-reboot`.
pub(crate) fn power_off() -> ! {
    rustix::fs::sync();
    let _ = reboot(RebootCommand::PowerOff);
    let _ = reboot(RebootCommand::Restart);
    crate::sys::exit_now(1)
}
