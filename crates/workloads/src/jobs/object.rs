//! Jobs as the controller sees them.

use crate::pods::Workload;
use k8s_openapi::{
    api::batch::v1::{self as batch, JobCondition, PodFailurePolicy, SuccessPolicy},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use orrery_reconcile::{Meta, Projected, Revision, Selector};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

/// Who manages jobs that name nobody else.
const MANAGER: &str = "kubernetes.io/job-controller";

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Job {
    pub(super) meta: Meta,
    pub(super) selector: Selector,
    /// Somebody else manages it (`spec.managedBy`).
    pub(super) foreign: bool,
    pub(super) indexed: bool,
    /// None: it is done when one pod has succeeded and none runs any more.
    pub(super) completions: Option<i32>,
    pub(super) parallelism: i32,
    pub(super) backoff_limit: i32,
    pub(super) backoff_limit_per_index: Option<i32>,
    pub(super) max_failed_indexes: Option<i32>,
    pub(super) active_deadline: Option<Duration>,
    pub(super) ttl: Option<Duration>,
    pub(super) suspended: bool,
    /// Pods that are being deleted are replaced only once they have ended.
    pub(super) replaces_failed_only: bool,
    pub(super) restarts_on_failure: bool,
    pub(super) failure_policy: Option<PodFailurePolicy>,
    pub(super) success_policy: Option<SuccessPolicy>,
    pub(super) status: JobStatus,
}

/// What is published.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct JobStatus {
    pub(super) active: i32,
    pub(super) ready: Option<i32>,
    pub(super) terminating: Option<i32>,
    pub(super) succeeded: i32,
    pub(super) failed: i32,
    pub(super) completed_indexes: String,
    pub(super) failed_indexes: Option<String>,
    pub(super) uncounted_succeeded: BTreeSet<String>,
    pub(super) uncounted_failed: BTreeSet<String>,
    pub(super) started: Option<Timestamp>,
    pub(super) completed: Option<Timestamp>,
    pub(super) conditions: Vec<JobCondition>,
}

impl Job {
    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// How it ended: `Complete` or `Failed`.
    pub(crate) fn finished_as(&self) -> Option<&'static str> {
        let how = &self.finished()?.type_;
        Some(if how == "Complete" { "Complete" } else { "Failed" })
    }

    pub(crate) fn started_at(&self) -> Option<Timestamp> {
        self.status.started
    }

    /// When it ended well.
    pub(crate) fn completed_at(&self) -> Option<Timestamp> {
        self.status.completed
    }

    /// `Complete` or `Failed`, when it has come to that.
    pub(super) fn finished(&self) -> Option<&JobCondition> {
        self.status.condition("Complete").or_else(|| self.status.condition("Failed"))
    }
}

impl JobStatus {
    /// The condition of this type, when it holds.
    pub(super) fn condition(&self, type_: &str) -> Option<&JobCondition> {
        self.conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
    }

    /// A merge patch of the status sub-resource that is refused when the object is not of `version` any more.
    pub(super) fn patch(&self, version: Revision) -> Value {
        let count = |count: i32| if count == 0 { Value::Null } else { count.into() };
        let text = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
        let list = |set: &BTreeSet<String>| if set.is_empty() { Value::Null } else { json!(set) };
        let conditions = if self.conditions.is_empty() { Value::Null } else { json!(self.conditions) };
        json!({
            "metadata": {"resourceVersion": version.to_string()},
            "status": {
                "active": count(self.active), "ready": self.ready, "terminating": self.terminating,
                "succeeded": count(self.succeeded), "failed": count(self.failed),
                "completedIndexes": text(&self.completed_indexes), "failedIndexes": self.failed_indexes,
                "uncountedTerminatedPods": {
                    "succeeded": list(&self.uncounted_succeeded), "failed": list(&self.uncounted_failed)},
                "startTime": self.started.map(Time), "completionTime": self.completed.map(Time),
                "conditions": conditions,
            },
        })
    }
}

impl Projected for Job {
    type Object = batch::Job;
    const PLURAL: &'static str = "jobs";

    fn project(mut object: batch::Job) -> Option<Self> {
        let meta = Meta::take(&mut object.metadata);
        let spec = object.spec.unwrap_or_default();
        let seconds = |count: i64| Duration::from_secs(u64::try_from(count).unwrap_or_default());
        let pod = spec.template.spec.as_ref();
        Some(Self {
            meta,
            selector: Selector::of(spec.selector.as_ref()),
            foreign: spec.managed_by.as_deref().is_some_and(|manager| manager != MANAGER),
            indexed: spec.completion_mode.as_deref() == Some("Indexed"),
            completions: spec.completions,
            parallelism: spec.parallelism.unwrap_or(1),
            backoff_limit: spec.backoff_limit.unwrap_or(6),
            backoff_limit_per_index: spec.backoff_limit_per_index,
            max_failed_indexes: spec.max_failed_indexes,
            active_deadline: spec.active_deadline_seconds.map(seconds),
            ttl: spec.ttl_seconds_after_finished.map(|count| seconds(count.into())),
            suspended: spec.suspend.unwrap_or_default(),
            replaces_failed_only: spec.pod_replacement_policy.as_deref() == Some("Failed")
                || spec.pod_failure_policy.is_some(),
            restarts_on_failure: pod.and_then(|pod| pod.restart_policy.as_deref()) == Some("OnFailure"),
            failure_policy: spec.pod_failure_policy,
            success_policy: spec.success_policy,
            status: status(object.status.unwrap_or_default()),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

fn status(status: batch::JobStatus) -> JobStatus {
    let uncounted = status.uncounted_terminated_pods.unwrap_or_default();
    JobStatus {
        active: status.active.unwrap_or_default(),
        ready: status.ready,
        terminating: status.terminating,
        succeeded: status.succeeded.unwrap_or_default(),
        failed: status.failed.unwrap_or_default(),
        completed_indexes: status.completed_indexes.unwrap_or_default(),
        failed_indexes: status.failed_indexes,
        uncounted_succeeded: uncounted.succeeded.into_iter().flatten().collect(),
        uncounted_failed: uncounted.failed.into_iter().flatten().collect(),
        started: status.start_time.map(|time| time.0),
        completed: status.completion_time.map(|time| time.0),
        conditions: status.conditions.unwrap_or_default(),
    }
}

impl Workload for Job {
    const GROUP: &'static str = "batch";
    const API_VERSION: &'static str = "batch/v1";
    const KIND: &'static str = "Job";

    fn selector(&self) -> &Selector {
        &self.selector
    }
}
