//! The real machine: a QEMU process.

mod arguments;
mod child;
mod console;
mod guest;
mod launch;
mod qmp;
mod tap;

pub(crate) use arguments::{MACHINE, SANDBOX};
pub use qmp::QmpError;

use crate::machine::{LaunchError, LaunchSpec, Machine, Running};
use async_trait::async_trait;
use std::path::PathBuf;

/// Boots guests with QEMU.
#[derive(Debug, Clone)]
pub struct Qemu {
    program: PathBuf,
}

impl Qemu {
    /// Uses the QEMU at `program`, such as `/usr/bin/qemu-system-x86_64`.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }
}

#[async_trait]
impl Machine for Qemu {
    async fn launch(&self, spec: LaunchSpec) -> Result<Running, LaunchError> {
        launch::launch(&self.program, &spec).await
    }
}
