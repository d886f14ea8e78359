//! What a failed pod means for its job, and when a job has succeeded early. Pure.
//! (<https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy>, `#success-policy`)

use super::{indexes::Indexes, object::Job};
use k8s_openapi::api::batch::v1::{PodFailurePolicyRule, SuccessPolicy};
use orrery_reconcile::objects::{Exit, Phase, Pod};

/// What a failed pod means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts towards the limits.
    Counts,
    /// It does not count.
    Ignored,
    /// Its index has failed for good.
    FailsIndex,
    /// The job has failed, and why.
    FailsJob(String),
}

/// Whether a pod has failed as far as its job is concerned. One that is being deleted has, unless it is to be waited for.
pub(super) fn has_failed(job: &Job, pod: &Pod) -> bool {
    match pod.phase {
        Phase::Failed => true,
        Phase::Succeeded => false,
        Phase::Pending | Phase::Running | Phase::Unknown => !job.replaces_failed_only && pod.meta.deleting.is_some(),
    }
}

/// The first rule that matches decides.
pub(super) fn verdict(job: &Job, pod: &Pod) -> Verdict {
    let rules = job.failure_policy.iter().flat_map(|policy| &policy.rules);
    for (index, rule) in rules.enumerate() {
        let Some(why) = why_it_matches(rule, pod) else { continue };
        let verdict = match rule.action.as_str() {
            "Ignore" => Verdict::Ignored,
            "FailIndex" if job.backoff_limit_per_index.is_some() => Verdict::FailsIndex,
            "FailJob" => Verdict::FailsJob(format!("{why} matching {} rule at index {index}", rule.action)),
            "Count" => Verdict::Counts,
            // An action that is not known, or has no meaning here, is no rule.
            _ => continue,
        };
        return verdict;
    }
    Verdict::Counts
}

fn why_it_matches(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let key = &pod.meta.key;
    if let Some(codes) = &rule.on_exit_codes {
        let of_container = |exit: &&Exit| codes.container_name.as_ref().is_none_or(|name| *name == exit.container);
        let matches = |exit: &&Exit| match codes.operator.as_str() {
            "In" => codes.values.contains(&exit.code),
            "NotIn" => !codes.values.contains(&exit.code),
            _ => false,
        };
        let exit = pod.exits.iter().filter(|exit| exit.code != 0).filter(of_container).find(matches)?;
        return Some(format!("Container {} for pod {key} failed with exit code {}", exit.container, exit.code));
    }
    let patterns = rule.on_pod_conditions.iter().flatten();
    let mut matching =
        patterns.filter(|pattern| pod.has_condition(&pattern.type_, pattern.status.as_deref().unwrap_or("True")));
    matching.next().map(|pattern| format!("Pod {key} has condition {}", pattern.type_))
}

/// Why the job has succeeded although it may not be complete.
pub(super) fn success(policy: Option<&SuccessPolicy>, completions: i32, succeeded: &Indexes) -> Option<String> {
    for (index, rule) in policy.iter().flat_map(|policy| &policy.rules).enumerate() {
        let met = match (&rule.succeeded_indexes, rule.succeeded_count) {
            (Some(text), count) => {
                let required = Indexes::parse(text, completions);
                required.common(succeeded) >= count.unwrap_or_else(|| required.total())
            }
            (None, Some(count)) => succeeded.total() >= count,
            (None, None) => false,
        };
        if met {
            return Some(format!("Matched rules at index {index}"));
        }
    }
    None
}
