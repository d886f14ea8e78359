//! When an image is pulled, and when again after a failure.
//!
//! ```text
//!   (needed) --Action::Pull--> running --> pulled
//!                 ^              |
//!                 |              v
//!                 +-- waited -- failed      the wait doubles from 10 s to 300 s
//! ```

use orrery_api::k8s::api::core::v1::Container;
use orrery_api::k8s::jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(300);
/// A failure after this long is a first one again, as by the kubelet.
const FORGOTTEN: SignedDuration = SignedDuration::from_secs(600);
/// How long a failure itself is shown before the waiting after it is.
const SHOWN: SignedDuration = SignedDuration::from_secs(2);

/// Begins the names of images that are only ever imported by hand.
pub const LOCAL: &str = "localhost/";

/// `imagePullPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// The registry is asked before each pod's first start.
    Always,
    /// The registry is asked for what is not here, or not for this pod.
    IfNotPresent,
    /// The registry is never asked.
    Never,
}

/// What is here of an image, seen from one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// Nothing.
    Nothing,
    /// The image, but it was pulled with credentials that the pod does not have.
    Guarded,
    /// The image, for this pod too.
    Usable,
}

impl PullPolicy {
    /// The policy of a container; the API server has filled it in, and this is how. Of what is called `localhost/...`, which
    /// no registry has, what is here is the newest.
    #[must_use]
    pub fn of(container: &Container) -> Self {
        let policy = Self::by_name_of(container);
        let local = container.image.as_deref().is_some_and(|image| image.starts_with(LOCAL));
        if local && policy == Self::Always { Self::IfNotPresent } else { policy }
    }

    fn by_name_of(container: &Container) -> Self {
        match container.image_pull_policy.as_deref() {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            Some("IfNotPresent") => Self::IfNotPresent,
            Some(_) | None => {
                let image = container.image.as_deref().unwrap_or_default();
                let name = image.rsplit('/').next().unwrap_or_default();
                let tag = name.split_once(':').map(|(_, tag)| tag);
                if !name.contains('@') && tag.is_none_or(|tag| tag == "latest") {
                    Self::Always
                } else {
                    Self::IfNotPresent
                }
            }
        }
    }

    /// Whether what is here is used without asking the registry.
    #[must_use]
    pub fn takes(self, here: Here) -> bool {
        match self {
            Self::Always => false,
            Self::IfNotPresent | Self::Never => here == Here::Usable,
        }
    }
}

/// The pulls of one pod, by image reference. Losing it costs waits, not safety.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulls(BTreeMap<String, Record>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    running: bool,
    failure: Option<Failure>,
}

/// How the last pull of an image failed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    at: Timestamp,
    wait: SignedDuration,
    message: String,
}

/// What to do about an image that has to be pulled, and what to show of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// Begin to pull.
    Begin { after: Option<&'a str> },
    /// It is being pulled; the failure before, if there was one, goes on being shown.
    Running { after: Option<&'a str> },
    /// It has just failed.
    Failed { message: &'a str, until: Timestamp },
    /// It failed, and is tried again then.
    BackOff { message: &'a str, until: Timestamp },
}

impl Pulls {
    /// Remembers that a pull has begun.
    pub fn begun(&mut self, image: &str) {
        let record = self.0.entry(image.to_owned()).or_insert(Record { running: true, failure: None });
        record.running = true;
    }

    /// Remembers that a pull is done.
    pub fn done(&mut self, image: &str) {
        self.0.remove(image);
    }

    /// Remembers that a pull has failed, and why, for people.
    pub fn failed(&mut self, image: &str, message: String, at: Timestamp) {
        let before = self.0.remove(image).and_then(|record| record.failure);
        let recent = before.filter(|before| at.duration_since(before.at) < before.wait + FORGOTTEN);
        let wait = recent.map_or(FIRST_WAIT, |before| (before.wait * 2).min(LONGEST_WAIT));
        self.0.insert(image.to_owned(), Record { running: false, failure: Some(Failure { at, wait, message }) });
    }

    /// Whether an image is being pulled.
    #[must_use]
    pub fn is_running(&self, image: &str) -> bool {
        self.0.get(image).is_some_and(|record| record.running)
    }

    pub(crate) fn verdict(&self, image: &str, now: Timestamp) -> Verdict<'_> {
        let Some(record) = self.0.get(image) else { return Verdict::Begin { after: None } };
        let Some(Failure { at, wait, message }) = &record.failure else { return Verdict::Running { after: None } };
        let (shown, again) = (*at + SHOWN, *at + *wait);
        match record.running {
            true => Verdict::Running { after: Some(message) },
            false if now < shown => Verdict::Failed { message, until: shown },
            false if now < again => Verdict::BackOff { message, until: again },
            false => Verdict::Begin { after: Some(message) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn the_policy_is_the_containers_or_follows_from_the_tag() {
        let digest = format!("x@sha256:{}", "0".repeat(64));
        let table = [
            ("x", None, PullPolicy::Always),
            ("x:latest", None, PullPolicy::Always),
            ("r:5000/x", None, PullPolicy::Always),
            ("x:1", None, PullPolicy::IfNotPresent),
            (&digest, None, PullPolicy::IfNotPresent),
            ("x", Some("IfNotPresent"), PullPolicy::IfNotPresent),
            ("x:1", Some("Always"), PullPolicy::Always),
            ("x", Some("Never"), PullPolicy::Never),
            ("localhost/x", None, PullPolicy::IfNotPresent),
            ("localhost/x", Some("Never"), PullPolicy::Never),
            ("localhost:5000/x", None, PullPolicy::Always),
        ];
        for (image, policy, expected) in table {
            let container = Container {
                image: Some(image.to_owned()),
                image_pull_policy: policy.map(str::to_owned),
                ..Container::default()
            };
            assert_eq!(PullPolicy::of(&container), expected, "{image} {policy:?}");
        }
    }

    #[test]
    fn what_is_here_is_taken_by_policy_and_by_right() {
        let table = [
            (PullPolicy::Always, [false, false, false]),
            (PullPolicy::IfNotPresent, [false, false, true]),
            (PullPolicy::Never, [false, false, true]),
        ];
        for (policy, expected) in table {
            let taken = [Here::Nothing, Here::Guarded, Here::Usable].map(|here| policy.takes(here));
            assert_eq!(taken, expected, "{policy:?}");
        }
    }

    #[test]
    fn waits_double_to_five_minutes_and_begin_anew_after_a_quiet_time() {
        let mut pulls = Pulls::default();
        let mut now = 0;
        for wait in [10, 20, 40, 80, 160, 300, 300] {
            assert!(matches!(pulls.verdict("x", at(now)), Verdict::Begin { .. }));
            pulls.begun("x");
            assert!(matches!(pulls.verdict("x", at(now)), Verdict::Running { .. }) && pulls.is_running("x"));
            pulls.failed("x", "why".into(), at(now));
            assert_eq!(pulls.verdict("x", at(now)), Verdict::Failed { message: "why", until: at(now + 2) });
            assert_eq!(pulls.verdict("x", at(now + 2)), Verdict::BackOff { message: "why", until: at(now + wait) });
            assert_eq!(pulls.verdict("y", at(now)), Verdict::Begin { after: None }, "images do not wait for others");
            now += wait;
        }
        now += 600;
        pulls.failed("x", "why".into(), at(now));
        assert!(matches!(pulls.verdict("x", at(now + 10)), Verdict::Begin { after: Some("why") }));
        pulls.done("x");
        assert_eq!(pulls.verdict("x", at(now)), Verdict::Begin { after: None });
    }
}
