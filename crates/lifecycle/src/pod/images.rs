//! What of a container's image keeps it from being started, and what is done about it.
//!
//! ```text
//!   image    Absent --Pull--> (pulling) --> Present
//!               |                 | fails
//!               | Never           v
//!               v            ErrImagePull --> ImagePullBackOff --Pull--> (pulling) --> ...
//!        ErrImageNeverPull
//! ```

use super::status::Waiting;
use super::view::ContainerView;
use super::{ImageState, Notice};
use crate::pull::{PullPolicy, Pulls, Verdict};
use orrery_api::k8s::jiff::{SignedDuration, Timestamp};

/// How often the host is asked whether a missing image has come.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// What to do about an image that is not to be had.
pub(super) struct Missing {
    /// What is shown; none while there is nothing to complain of.
    pub(super) waiting: Option<Waiting>,
    /// What is told when that is news.
    pub(super) notices: Vec<Notice>,
    /// Whether a pull begins.
    pub(super) pull: bool,
    /// When to look again.
    pub(super) wake: Option<Timestamp>,
}

/// What keeps `container` from having its image; none when it has it.
pub(super) fn missing(
    container: &ContainerView,
    state: Option<&ImageState>,
    pulls: &Pulls,
    now: Timestamp,
) -> Option<Missing> {
    let image = &container.image;
    let notice =
        |warning, reason, message| Notice { warning, reason, message, container: Some(container.name.clone()) };
    let error = |reason: &str| notice(true, "Failed", format!("Error: {reason}"));
    let wait = |reason, message: String| Some(Waiting { reason, message: Some(message) });
    let look_again = Some(now + LOOK_AGAIN);
    let missing = match state {
        Some(ImageState::Present { .. }) => return None,
        Some(ImageState::Unusable { reason, message }) => {
            let told = vec![notice(true, "InspectFailed", message.clone()), error(reason)];
            Missing { waiting: wait(reason, message.clone()), notices: told, pull: false, wake: look_again }
        }
        Some(ImageState::Absent) | None if container.pull_policy == PullPolicy::Never => {
            let message = format!("Container image {image:?} is not present with pull policy of Never");
            let told = vec![notice(true, "ErrImageNeverPull", message.clone()), error("ErrImageNeverPull")];
            Missing { waiting: wait("ErrImageNeverPull", message), notices: told, pull: false, wake: look_again }
        }
        Some(ImageState::Absent) | None => match pulls.verdict(image, now) {
            Verdict::Begin { after } => {
                Missing { waiting: after.map(|why| back_off(image, why)), notices: Vec::new(), pull: true, wake: None }
            }
            Verdict::Running { after } => {
                Missing { waiting: after.map(|why| back_off(image, why)), notices: Vec::new(), pull: false, wake: None }
            }
            Verdict::Failed { message, until } => Missing {
                waiting: wait("ErrImagePull", message.to_owned()),
                notices: vec![error("ErrImagePull")],
                pull: false,
                wake: Some(until),
            },
            Verdict::BackOff { message, until } => Missing {
                waiting: Some(back_off(image, message)),
                notices: vec![
                    notice(false, "BackOff", format!("Back-off pulling image {image:?}")),
                    error("ImagePullBackOff"),
                ],
                pull: false,
                wake: Some(until),
            },
        },
    };
    Some(missing)
}

fn back_off(image: &str, why: &str) -> Waiting {
    let message = format!("Back-off pulling image {image:?}: ErrImagePull: {why}");
    Waiting { reason: "ImagePullBackOff", message: Some(message) }
}
