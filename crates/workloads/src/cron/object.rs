//! CronJobs as the controller sees them.

use super::plan::{ActiveJob, Concurrency};
use crate::pods::Workload;
use k8s_openapi::{api::batch::v1 as batch, jiff::Timestamp};
use orrery_reconcile::{Meta, Projected, Selector, Uid};
use std::time::Duration;

/// A cron job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CronJob {
    pub(super) meta: Meta,
    pub(super) schedule: String,
    pub(super) zone: Option<String>,
    pub(super) suspended: bool,
    pub(super) concurrency: Concurrency,
    /// How late a job may begin; none: as late as it comes.
    pub(super) starting_deadline: Option<Duration>,
    /// How many ended jobs are kept; none: all.
    pub(super) successful_kept: Option<usize>,
    pub(super) failed_kept: Option<usize>,
    pub(super) active: Vec<ActiveJob>,
    pub(super) last_scheduled: Option<Timestamp>,
    pub(super) last_successful: Option<Timestamp>,
    /// It adopts nothing.
    selector: Selector,
}

impl Projected for CronJob {
    type Object = batch::CronJob;
    const PLURAL: &'static str = "cronjobs";

    fn project(mut object: batch::CronJob) -> Option<Self> {
        let meta = Meta::take(&mut object.metadata);
        let spec = object.spec;
        let status = object.status.unwrap_or_default();
        let kept = |limit: Option<i32>| limit.and_then(|limit| usize::try_from(limit).ok());
        let mut active: Vec<ActiveJob> = status
            .active
            .into_iter()
            .flatten()
            .map(|job| ActiveJob { name: job.name.unwrap_or_default(), uid: Uid(job.uid.unwrap_or_default()) })
            .collect();
        active.sort();
        Some(Self {
            meta,
            schedule: spec.schedule,
            zone: spec.time_zone.filter(|zone| !zone.is_empty()),
            suspended: spec.suspend.unwrap_or_default(),
            concurrency: match spec.concurrency_policy.as_deref() {
                Some("Forbid") => Concurrency::Forbid,
                Some("Replace") => Concurrency::Replace,
                _ => Concurrency::Allow,
            },
            starting_deadline: spec
                .starting_deadline_seconds
                .map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default())),
            successful_kept: kept(spec.successful_jobs_history_limit),
            failed_kept: kept(spec.failed_jobs_history_limit),
            active,
            last_scheduled: status.last_schedule_time.map(|time| time.0),
            last_successful: status.last_successful_time.map(|time| time.0),
            selector: Selector::default(),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Workload for CronJob {
    const GROUP: &'static str = "batch";
    const API_VERSION: &'static str = "batch/v1";
    const KIND: &'static str = "CronJob";

    fn selector(&self) -> &Selector {
        &self.selector
    }
}
