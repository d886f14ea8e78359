//! How often the probes of a pod's containers ended, and how.

use orrery_lifecycle::probe::{Outcome, ProbeKind};
use std::collections::BTreeMap;

/// Counters by container, probe and end. The words are the kubelet's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProbeCounts(BTreeMap<(String, &'static str, &'static str), u64>);

impl ProbeCounts {
    /// One more.
    pub(crate) fn count(&mut self, container: &str, kind: ProbeKind, outcome: &Outcome) {
        let kind = match kind {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        };
        let result = match outcome {
            Outcome::Success => "successful",
            Outcome::Failure(_) => "failed",
            Outcome::Unknown => "unknown",
        };
        *self.0.entry((container.to_owned(), kind, result)).or_default() += 1;
    }

    /// The container, the probe, the end, and how often.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &'static str, &'static str, u64)> {
        self.0.iter().map(|((container, kind, result), count)| (container.as_str(), *kind, *result, *count))
    }
}
