//! Whether a job is to be made now, and which old ones are to go. Pure.

use super::{object::CronJob, schedule::Schedule};
use crate::jobs::Job;
use k8s_openapi::jiff::Timestamp;
use orrery_reconcile::{ObjectKey, Tone, Uid};
use std::{sync::Arc, time::Duration};

/// What happens while the last job still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concurrency {
    Allow,
    /// Nothing is made.
    Forbid,
    /// The running one is deleted.
    Replace,
}

/// A job that is running, as the status names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ActiveJob {
    pub(super) name: String,
    pub(super) uid: Uid,
}

/// What to say of the cron job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) tone: Tone,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// What to do.
#[derive(Debug, PartialEq, Default)]
pub(super) struct Plan {
    /// Those that are replaced, and those beyond the history that is kept.
    pub(super) delete: Vec<ObjectKey>,
    /// The job to make, and for which time.
    pub(super) create: Option<(String, Timestamp)>,
    pub(super) active: Vec<ActiveJob>,
    pub(super) last_successful: Option<Timestamp>,
    pub(super) notes: Vec<Note>,
    pub(super) again: Option<Duration>,
}

impl Plan {
    fn note(&mut self, tone: Tone, reason: &'static str, message: String) {
        self.notes.push(Note { tone, reason, message });
    }
}

/// The name of the job for a time: there is one for each minute, however often it is tried.
pub(super) fn job_name(cron: &CronJob, time: Timestamp) -> String {
    format!("{}-{}", cron.meta.key.name, time.as_second() / 60)
}

/// `jobs` are those that the cron job owns.
pub(super) fn plan(cron: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let mut plan = Plan { last_successful: cron.last_successful, ..Plan::default() };
    follow(cron, jobs, &mut plan);
    forget(cron, jobs, &mut plan);
    if cron.meta.deleting.is_none() {
        schedule(cron, jobs, &mut plan, now);
    }
    plan
}

/// Which jobs run, and what became of those that ran.
fn follow(cron: &CronJob, jobs: &[Arc<Job>], plan: &mut Plan) {
    for job in jobs {
        let meta = job.meta();
        let known = cron.active.iter().any(|active| active.uid == meta.uid);
        match (job.finished_as(), known) {
            (None, _) => {
                if !known && meta.deleting.is_none() {
                    let message = format!("Saw a job that the controller did not create or forgot: {}", meta.key.name);
                    plan.note(Tone::Warning, "UnexpectedJob", message);
                }
                plan.active.push(ActiveJob { name: meta.key.name.clone(), uid: meta.uid.clone() });
            }
            (Some(how), true) => {
                let message = format!("Saw completed job: {}, condition: {how}", meta.key.name);
                plan.note(Tone::Normal, "SawCompletedJob", message);
            }
            (Some(_), false) => {}
        }
        plan.last_successful = plan.last_successful.max(job.completed_at());
    }
    for active in &cron.active {
        if !jobs.iter().any(|job| job.meta().uid == active.uid) {
            plan.note(Tone::Normal, "MissingJob", format!("Active job went missing: {}", active.name));
        }
    }
    plan.active.sort();
}

/// Ended jobs beyond what is kept, oldest first.
fn forget(cron: &CronJob, jobs: &[Arc<Job>], plan: &mut Plan) {
    for (how, kept) in [("Complete", cron.successful_kept), ("Failed", cron.failed_kept)] {
        let Some(kept) = kept else { continue };
        let mut ended: Vec<&Arc<Job>> =
            jobs.iter().filter(|job| job.finished_as() == Some(how) && job.meta().deleting.is_none()).collect();
        ended.sort_by_key(|job| (job.started_at(), job.meta().key.clone()));
        let surplus = ended.len().saturating_sub(kept);
        plan.delete.extend(ended.into_iter().take(surplus).map(|job| job.meta().key.clone()));
    }
}

fn schedule(cron: &CronJob, jobs: &[Arc<Job>], plan: &mut Plan, now: Timestamp) {
    if cron.suspended {
        return;
    }
    let schedule = match Schedule::parse(&cron.schedule, cron.zone.as_deref()) {
        Ok(schedule) => schedule,
        Err(error) => {
            let message = format!("unparseable schedule {:?}: {error}", cron.schedule);
            return plan.note(Tone::Warning, "UnparseableSchedule", message);
        }
    };
    let wait = schedule.next(now).map(|next| Duration::try_from(next.duration_since(now)).unwrap_or_default());
    // A little later, so that it is surely due then.
    plan.again = wait.map(|wait| wait + Duration::from_millis(100));
    let begin = cron.last_scheduled.or(cron.meta.created).unwrap_or(now);
    let within = cron.starting_deadline.and_then(|deadline| now.checked_sub(deadline).ok());
    let Some((due, many)) = schedule.latest(within.map_or(begin, |within| begin.max(within)), now) else { return };
    if many {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.note(Tone::Warning, "TooManyMissedTimes", message.to_owned());
    }
    let name = job_name(cron, due);
    if cron.last_scheduled == Some(due) || jobs.iter().any(|job| job.meta().key.name == name) {
        return;
    }
    match cron.concurrency {
        Concurrency::Forbid if !plan.active.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            return plan.note(Tone::Normal, "JobAlreadyActive", message.to_owned());
        }
        Concurrency::Replace => {
            let namespace = &cron.meta.key.namespace;
            plan.delete.extend(plan.active.drain(..).map(|active| ObjectKey::new(namespace, active.name)));
        }
        Concurrency::Allow | Concurrency::Forbid => {}
    }
    plan.create = Some((name, due));
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_reconcile::Projected;
    use serde_json::{Value, json};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[expect(clippy::needless_pass_by_value, reason = "a literal reads best by value")]
    fn cron(spec: Value, status: Value) -> CronJob {
        let mut object = json!({
            "metadata": {"namespace": "demo", "name": "tick", "uid": "c", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"schedule": "*/10 * * * *", "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1,
                     "jobTemplate": {}},
            "status": status});
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        CronJob::project(serde_json::from_value(object).unwrap()).unwrap()
    }

    fn job(name: &str, ended: Option<&str>) -> Arc<Job> {
        let conditions: Vec<Value> = ended.iter().map(|how| json!({"type": how, "status": "True"})).collect();
        let object = json!({"metadata": {"namespace": "demo", "name": name, "uid": name},
            "spec": {"template": {}}, "status": {"startTime": "2026-01-01T00:00:00Z", "conditions": conditions,
            "completionTime": ended.filter(|how| *how == "Complete").map(|_| "2026-01-01T00:05:00Z")}});
        Arc::new(Job::project(serde_json::from_value(object).unwrap()).unwrap())
    }

    fn reasons(plan: &Plan) -> Vec<&str> {
        plan.notes.iter().map(|note| note.reason).collect()
    }

    #[test]
    fn a_job_is_made_once_for_each_time_that_is_due() {
        let now = at("2026-01-01T00:25:00Z");
        let due = at("2026-01-01T00:20:00Z");
        let first = plan(&cron(json!({}), json!({})), &[], now);
        let name = format!("tick-{}", due.as_second() / 60);
        assert_eq!(first.create, Some((name.clone(), due)));
        assert_eq!(first.again, Some(Duration::from_millis(300_100)));
        // Killed after it was made and before the status was written.
        assert_eq!(plan(&cron(json!({}), json!({})), &[job(&name, None)], now).create, None);
        let written = cron(json!({}), json!({"lastScheduleTime": "2026-01-01T00:20:00Z"}));
        assert_eq!(plan(&written, &[], now).create, None);
        assert_eq!(
            plan(&written, &[], at("2026-01-01T00:30:01Z")).create.map(|(_, due)| due),
            Some(at("2026-01-01T00:30:00Z"))
        );
    }

    #[test]
    fn suspension_deadline_and_concurrency_hold_it_back() {
        let now = at("2026-01-01T00:25:00Z");
        let create = |spec: Value, jobs: &[Arc<Job>]| plan(&cron(spec, json!({})), jobs, now);
        assert_eq!(create(json!({"suspend": true}), &[]), Plan::default());
        assert_eq!(create(json!({"startingDeadlineSeconds": 60}), &[]).create, None, "five minutes late");
        assert!(create(json!({"startingDeadlineSeconds": 600}), &[]).create.is_some());
        let running = [job("tick-1", None)];
        assert!(create(json!({"concurrencyPolicy": "Allow"}), &running).create.is_some());
        let forbidden = create(json!({"concurrencyPolicy": "Forbid"}), &running);
        assert!(forbidden.create.is_none() && reasons(&forbidden).contains(&"JobAlreadyActive"));
        let replaced = create(json!({"concurrencyPolicy": "Replace"}), &running);
        assert_eq!((replaced.delete.len(), replaced.active.len(), replaced.create.is_some()), (1, 0, true));
        assert_eq!(reasons(&create(json!({"schedule": "often"}), &[])), ["UnparseableSchedule"]);
        assert_eq!(
            reasons(&create(json!({"schedule": "* * * * *", "timeZone": "No/Where"}), &[])),
            ["UnparseableSchedule"]
        );
    }

    #[test]
    fn ended_jobs_leave_the_list_and_old_ones_go() {
        let status = json!({"active": [{"name": "b", "uid": "b"}, {"name": "lost", "uid": "lost"}],
            "lastScheduleTime": "2026-01-01T00:20:00Z"});
        let jobs = [job("a", Some("Complete")), job("b", Some("Complete")), job("c", Some("Failed")), job("d", None)];
        let plan = plan(&cron(json!({}), status), &jobs, at("2026-01-01T00:25:00Z"));
        assert_eq!(plan.delete, [ObjectKey::new("demo", "a")]);
        assert_eq!(plan.active, [ActiveJob { name: "d".into(), uid: Uid("d".into()) }]);
        assert_eq!(plan.last_successful, Some(at("2026-01-01T00:05:00Z")));
        assert_eq!(reasons(&plan), ["SawCompletedJob", "UnexpectedJob", "MissingJob"]);
    }
}
