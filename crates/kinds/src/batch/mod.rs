//! `batch/v1`: what runs to its end.

mod cron_job;
mod failure_policy;
mod job;
mod schedule;
mod success_policy;

use orrery_machinery::descriptor::FixedResource;

pub(crate) fn descriptors() -> [FixedResource; 2] {
    [job::descriptor(), cron_job::descriptor()]
}
