//! Making a template: a guest boots, is left alone until it has nothing to do, and is frozen.
//!
//! ```text
//!   launch in shared memory -> hello until it answers -> freeze -> quit -> seal
//! ```
//! The guest has no identity, no disk and no cable: nothing of a pod or of a network is in what all clones share.

use crate::{failure::Failure, launch, link::Link};
use orrery_vmm::{FreezeError, Guest, LaunchError, LaunchSpec, Machine, Start, Template};
use orrery_wire::machine::ShimConfig;
use std::{io, sync::Arc, time::Duration};

/// How long QEMU may take to quit before it is killed.
const QUIT: Duration = Duration::from_secs(5);

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The guest was not started.
    #[error("the guest of the template was not started")]
    Launch(#[source] LaunchError),
    /// The guest did not come up.
    #[error("the guest of the template does not answer: {0}; its console is in the machine's directory")]
    Guest(String),
    /// The guest was not frozen.
    #[error("the guest of the template was not frozen")]
    Freeze(#[source] FreezeError),
    /// The template can still be changed.
    #[error("the template cannot be sealed")]
    Seal(#[source] io::Error),
}

/// Boots a guest as `config` says, without disks and network interfaces, and makes `template` of it. Waits as long as the
/// guest takes: give it a time limit. When it is dropped QEMU goes with the thread that this is polled on.
///
/// # Errors
/// When the guest is not started, does not answer or cannot be frozen. It is ended then.
pub async fn make_template(
    machine: Arc<dyn Machine>,
    config: &ShimConfig,
    template: &Template,
) -> Result<(), TemplateError> {
    let kernel = launch::kernel(config);
    let bare = LaunchSpec { disks: Vec::new(), nics: Vec::new(), ..launch::spec(config, None) };
    let spec = LaunchSpec { start: Start::Template(kernel, template.clone()), ..bare };
    let running = machine.launch(spec).await.map_err(TemplateError::Launch)?;
    let (link, _end) = Link::start(running.control);
    let frozen = freeze(&link, running.guest.as_ref(), template).await;
    end(running.guest.as_ref()).await;
    frozen?;
    template.seal().await.map_err(TemplateError::Seal)
}

async fn freeze(link: &Link, guest: &dyn Guest, template: &Template) -> Result<(), TemplateError> {
    let silent = |failure: Failure| TemplateError::Guest(failure.message);
    crate::link::greet(link).await.map_err(silent)?;
    guest.freeze(template).await.map_err(TemplateError::Freeze)
}

async fn end(guest: &dyn Guest) {
    let quit = async {
        let asked = guest.quit().await;
        guest.wait().await;
        asked
    };
    if !matches!(tokio::time::timeout(QUIT, quit).await, Ok(Ok(()))) {
        guest.kill();
        guest.wait().await;
    }
}
