//! From a guest that boots to one that has its identity, and from then on the discipline of its clock.

use super::{Link, QUICK, START};
use crate::{clock, failure::Failure};
use orrery_wire::{
    guest::{GuestRequest, Identity},
    shim::reason,
};
use std::time::Duration;

/// Between two hellos.
const HELLO_EVERY: Duration = Duration::from_millis(200);
/// Between two settings of the guest's clock: emulated, it drifts by a millisecond a second.
const CLOCK_EVERY: Duration = Duration::from_secs(10);

/// Says hello until the guest answers, then gives it its identity.
pub(crate) async fn bring_up(link: &Link, mut identity: Identity) -> Result<(), Failure> {
    greet(link).await?;
    identity.unix_nanos = clock::now();
    link.request(GuestRequest::Configure(identity), START).await.map(drop)
}

/// Says hello until the guest answers with a version that both speak.
pub(crate) async fn greet(link: &Link) -> Result<(), Failure> {
    let mut ready = link.ready();
    let version = loop {
        link.say_hello().await?;
        let answer = tokio::time::timeout(HELLO_EVERY, ready.wait_for(Option::is_some)).await;
        match answer.map(|answer| answer.map(|version| version.flatten())) {
            Ok(Ok(version)) => break version,
            // It is still booting. Its port holds the hello, or will.
            Err(_elapsed) => {}
            Ok(Err(_closed)) => return Err(super::gone()),
        }
    };
    match version {
        Some(version) if orrery_wire::guest::VERSIONS.contains(&version) => Ok(()),
        Some(version) => {
            let text = format!("the guest's init chose version {version}, which it was not offered");
            Err(Failure::new(reason::GUEST_FAILED, text))
        }
        None => {
            let text = "the guest's init speaks no version of ours; install the init that came with this build";
            Err(Failure::new(reason::GUEST_FAILED, text))
        }
    }
}

/// Sets the guest's clock from time to time, for as long as the link lasts.
pub(crate) async fn keep_clock(link: Link) {
    loop {
        tokio::time::sleep(CLOCK_EVERY).await;
        let set = link.request(GuestRequest::SetClock { unix_nanos: clock::now() }, QUICK).await;
        match set {
            Ok(_) => {}
            Err(failure) if failure.reason == reason::NOT_RUNNING => return,
            Err(failure) => tracing::warn!(%failure, "the guest's clock was not set"),
        }
    }
}
