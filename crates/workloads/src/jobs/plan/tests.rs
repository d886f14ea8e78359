//! A world in which a job's plan is carried out while its pods run, fail and vanish, with crashes between any two steps.

use super::*;
use crate::jobs::tally::{FAILURES, FINALIZER, INDEX};
use orrery_reconcile::{ObjectKey, Projected, Uid, objects::Exit};
use proptest::prelude::*;
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "a literal reads best by value")]
fn job(spec: Value) -> Job {
    let mut object = json!({"metadata": {"namespace": "demo", "name": "work", "uid": "j"},
        "spec": {"template": {"spec": {"containers": [], "restartPolicy": "Never"}}}});
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Job::project(serde_json::from_value(object).unwrap()).unwrap()
}

struct World {
    job: Job,
    pods: Vec<Pod>,
    second: i64,
    made: usize,
    notes: Vec<&'static str>,
}

impl World {
    fn new(spec: Value) -> Self {
        Self { job: job(spec), pods: Vec::new(), second: 1_000, made: 0, notes: Vec::new() }
    }

    fn view(&self) -> Vec<Arc<Pod>> {
        self.pods.iter().cloned().map(Arc::new).collect()
    }

    fn plan(&self) -> Plan {
        plan(&self.job, &self.view(), at(self.second))
    }

    /// Looks and does the first `steps` of: delete, create, write the status, take finalizers off.
    fn look(&mut self, steps: usize) {
        self.second += 1_000;
        let plan = self.plan();
        if steps > 0 {
            for pod in self.pods.iter_mut().filter(|pod| plan.delete.iter().any(|gone| gone.meta.uid == pod.meta.uid)) {
                pod.meta.deleting = Some(at(self.second));
            }
        }
        if steps > 1 {
            for new in &plan.create {
                self.made += 1;
                let mut pod = Pod::default();
                pod.meta.key = ObjectKey::new("demo", format!("p{}", self.made));
                pod.meta.uid = Uid(format!("p{}", self.made));
                pod.meta.finalizers = vec![FINALIZER.to_owned()];
                if let Some(index) = new.index {
                    pod.annotations.insert(INDEX.into(), index.to_string());
                }
                if let Some((counted, _)) = new.failures {
                    pod.annotations.insert(FAILURES.into(), counted.to_string());
                }
                self.pods.push(pod);
            }
        }
        if steps > 2 {
            self.job.status = plan.status;
            self.notes.extend(plan.notes.iter().map(|note| note.reason));
        }
        if steps > 3 {
            for pod in self.pods.iter_mut().filter(|pod| plan.free.iter().any(|free| free.meta.uid == pod.meta.uid)) {
                pod.meta.finalizers.clear();
            }
        }
        self.reap();
    }

    /// The kubelet ends what is being deleted; what has no finalizer is removed then.
    fn reap(&mut self) {
        for pod in self.pods.iter_mut().filter(|pod| pod.meta.deleting.is_some() && !pod.is_over()) {
            pod.phase = Phase::Failed;
        }
        self.pods.retain(|pod| pod.meta.deleting.is_none() || !pod.meta.finalizers.is_empty());
    }

    fn end(&mut self, name: &str, phase: Phase, code: i32) {
        let second = self.second;
        let pod = self.pods.iter_mut().find(|pod| pod.meta.key.name == name).unwrap();
        (pod.phase, pod.finished) = (phase, Some(at(second)));
        pod.exits = vec![Exit { container: "c".into(), code }];
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            self.look(4);
        }
    }

    fn says(&self, type_: &str) -> Option<String> {
        self.job.status.condition(type_).map(|condition| condition.reason.clone().unwrap_or_default())
    }

    fn counts(&self) -> (i32, i32, i32) {
        (self.job.status.active, self.job.status.succeeded, self.job.status.failed)
    }
}

#[test]
fn a_job_runs_as_many_as_allowed_until_enough_have_succeeded() {
    let mut world = World::new(json!({"completions": 3, "parallelism": 2}));
    world.look(4);
    assert_eq!((world.pods.len(), world.job.status.active), (2, 2));
    assert!(world.job.status.started.is_some());
    world.end("p1", Phase::Succeeded, 0);
    world.look(4);
    assert_eq!(world.pods.len(), 3);
    world.end("p2", Phase::Succeeded, 0);
    world.end("p3", Phase::Succeeded, 0);
    world.settle();
    assert_eq!(world.counts(), (0, 3, 0));
    assert_eq!(world.says("SuccessCriteriaMet").as_deref(), Some("CompletionsReached"));
    assert_eq!(world.says("Complete").as_deref(), Some("CompletionsReached"));
    assert!(world.job.status.completed.is_some());
    assert_eq!(world.notes, ["Completed"]);
    assert!(world.pods.iter().all(|pod| pod.meta.finalizers.is_empty()));
}

#[test]
fn a_failed_pod_is_replaced_after_a_backoff_and_too_many_fail_the_job() {
    let mut world = World::new(json!({"completions": 1, "backoffLimit": 1}));
    world.look(4);
    world.end("p1", Phase::Failed, 1);
    let soon = plan(&world.job, &world.view(), at(world.second + 4));
    assert_eq!((soon.create.len(), soon.again), (0, Some(Duration::from_secs(6))));
    world.look(4);
    assert_eq!(world.pods.len(), 2);
    world.end("p2", Phase::Failed, 1);
    world.settle();
    assert_eq!(world.says("FailureTarget").as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(world.says("Failed").as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!((world.counts(), world.notes.as_slice()), ((0, 0, 2), ["BackoffLimitExceeded"].as_slice()));
}

#[test]
fn without_completions_one_success_is_enough_once_all_have_ended() {
    let mut world = World::new(json!({"parallelism": 2}));
    world.look(4);
    world.end("p1", Phase::Succeeded, 0);
    world.look(4);
    assert_eq!(world.pods.len(), 2, "nothing new begins");
    assert_eq!(world.says("Complete"), None);
    world.end("p2", Phase::Failed, 1);
    world.settle();
    assert_eq!(world.says("Complete").as_deref(), Some("CompletionsReached"));
    assert_eq!(world.counts(), (0, 1, 1));
}

#[test]
fn indexes_are_filled_from_the_lowest_and_each_succeeds_once() {
    let mut world = World::new(json!({"completions": 4, "parallelism": 2, "completionMode": "Indexed"}));
    world.look(4);
    world.end("p2", Phase::Succeeded, 0);
    world.end("p1", Phase::Failed, 1);
    world.look(4);
    let indexes: Vec<&str> =
        world.pods.iter().filter(|pod| pod.is_active()).map(|pod| pod.annotations[INDEX].as_str()).collect();
    assert_eq!(indexes, ["0", "2"]);
    world.settle();
    assert_eq!(world.job.status.completed_indexes, "1");
    world.end("p3", Phase::Succeeded, 0);
    world.end("p4", Phase::Succeeded, 0);
    world.look(4);
    world.end("p5", Phase::Succeeded, 0);
    world.settle();
    assert_eq!((world.job.status.completed_indexes.as_str(), world.counts()), ("0-3", (0, 4, 1)));
}

#[test]
fn each_index_has_failures_of_its_own_and_the_job_goes_on_with_the_others() {
    let spec = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1,
        "backoffLimit": i32::MAX});
    let mut world = World::new(spec);
    world.look(4);
    world.end("p1", Phase::Failed, 1);
    world.look(4);
    assert_eq!(world.pods[0].meta.finalizers.len(), 1, "it carries the count until its successor does");
    assert_eq!(world.pods[2].annotations[FAILURES], "1");
    world.end("p3", Phase::Failed, 1);
    world.settle();
    assert_eq!(world.job.status.failed_indexes.as_deref(), Some("0"));
    assert_eq!(world.says("Failed"), None);
    world.end("p2", Phase::Succeeded, 0);
    world.settle();
    assert_eq!(world.says("Failed").as_deref(), Some("FailedIndexes"));
    assert_eq!((world.job.status.completed_indexes.as_str(), world.counts()), ("1", (0, 1, 2)));
}

#[test]
fn more_failed_indexes_than_allowed_end_the_job() {
    let spec = json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed", "backoffLimitPerIndex": 0,
        "backoffLimit": i32::MAX, "maxFailedIndexes": 1});
    let mut world = World::new(spec);
    world.look(4);
    world.end("p1", Phase::Failed, 1);
    world.end("p3", Phase::Failed, 1);
    world.settle();
    assert_eq!(world.says("Failed").as_deref(), Some("MaxFailedIndexesExceeded"));
    assert_eq!(world.job.status.failed_indexes.as_deref(), Some("0,2"));
}

#[test]
fn a_failure_policy_ignores_counts_fails_an_index_or_the_job() {
    let policy = |action: &str| {
        json!({"rules": [
        {"action": action, "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]})
    };
    let mut world = World::new(json!({"completions": 1, "backoffLimit": 0, "podFailurePolicy": policy("FailJob")}));
    world.look(4);
    world.pods[0].conditions = vec![("DisruptionTarget".into(), "True".into())];
    world.end("p1", Phase::Failed, 1);
    world.settle();
    assert_eq!((world.pods.len(), world.job.status.failed, world.says("Failed")), (2, 0, None));
    world.end("p2", Phase::Failed, 42);
    world.settle();
    assert_eq!(world.says("Failed").as_deref(), Some("PodFailurePolicy"));
    let message = world.job.status.condition("Failed").unwrap().message.clone().unwrap();
    assert_eq!(message, "Container c for pod demo/p2 failed with exit code 42 matching FailJob rule at index 0");

    let spec = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 5,
        "backoffLimit": i32::MAX, "podFailurePolicy": policy("FailIndex")});
    let mut world = World::new(spec);
    world.look(4);
    world.end("p1", Phase::Failed, 42);
    world.end("p2", Phase::Succeeded, 0);
    world.settle();
    assert_eq!((world.says("Failed").as_deref(), world.made), (Some("FailedIndexes"), 2));
}

#[test]
fn a_success_policy_ends_the_rest() {
    let table = [
        (json!({"succeededIndexes": "1"}), true),
        (json!({"succeededIndexes": "0-1"}), false),
        (json!({"succeededIndexes": "0-2", "succeededCount": 1}), true),
        (json!({"succeededCount": 1}), true),
        (json!({"succeededCount": 2}), false),
    ];
    for (rule, met) in table {
        let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed", "successPolicy": {"rules": [rule]}});
        let mut world = World::new(spec);
        world.look(4);
        world.end("p2", Phase::Succeeded, 0);
        world.settle();
        assert_eq!(world.says("Complete"), met.then(|| "SuccessPolicy".to_owned()), "{rule}");
        assert_eq!(world.counts(), if met { (0, 1, 0) } else { (2, 1, 0) }, "{rule}");
    }
}

#[test]
fn a_suspended_job_has_no_pods_and_its_time_begins_anew() {
    let mut world =
        World::new(json!({"completions": 2, "parallelism": 2, "suspend": true, "activeDeadlineSeconds": 5_000}));
    world.settle();
    assert_eq!((world.pods.len(), world.job.status.started), (0, None));
    assert_eq!(world.says("Suspended").as_deref(), Some("JobSuspended"));
    world.job.suspended = false;
    world.look(4);
    assert_eq!((world.pods.len(), world.says("Suspended")), (2, None));
    assert_eq!(world.job.status.started, Some(at(world.second)));
    world.job.suspended = true;
    world.settle();
    assert_eq!(world.job.status.active, 0);
    world.job.suspended = false;
    for _ in 0..10 {
        world.look(4);
    }
    assert_eq!(world.says("Failed").as_deref(), Some("DeadlineExceeded"));
    assert_eq!(world.notes, ["Suspended", "Resumed", "Suspended", "Resumed", "DeadlineExceeded"]);
}

#[test]
fn restarts_in_place_count_against_the_limit() {
    let mut world = World::new(json!({"completions": 1, "backoffLimit": 2,
        "template": {"spec": {"containers": [], "restartPolicy": "OnFailure"}}}));
    world.look(4);
    (world.pods[0].phase, world.pods[0].restarts) = (Phase::Running, 1);
    world.look(4);
    assert_eq!(world.says("FailureTarget"), None);
    world.pods[0].restarts = 2;
    world.settle();
    assert_eq!(world.says("Failed").as_deref(), Some("BackoffLimitExceeded"));
}

#[test]
fn a_smaller_parallelism_deletes_what_is_too_much() {
    let mut world = World::new(json!({"completions": 9, "parallelism": 4}));
    world.look(4);
    world.job.parallelism = 1;
    world.look(4);
    world.look(4);
    assert_eq!(world.job.status.active, 1);
}

#[derive(Debug, Clone)]
enum Event {
    /// Looks, and is killed after so many steps.
    Look(usize),
    Succeed(usize),
    Fail(usize),
    Delete(usize),
    Suspend(bool),
    Parallelism(i32),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..5usize).prop_map(Event::Look),
        3 => (0..12usize).prop_map(Event::Succeed),
        1 => (0..12usize).prop_map(Event::Fail),
        1 => (0..12usize).prop_map(Event::Delete),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => (0..4i32).prop_map(Event::Parallelism),
    ];
    prop::collection::vec(event, 0..60)
}

proptest! {
    #[test]
    fn every_pod_is_counted_once_whatever_is_killed_when(indexed in any::<bool>(), completions in 1..5i32, events in events()) {
        let mode = if indexed { "Indexed" } else { "NonIndexed" };
        let mut world = World::new(json!({"completions": completions, "parallelism": 3, "completionMode": mode, "backoffLimit": 1000}));
        let (mut succeeded, mut failed) = (0, 0);
        let mut indexes = std::collections::BTreeSet::new();
        for event in events {
            match event {
                Event::Look(steps) => {
                    let running: Vec<String> = world.pods.iter().filter(|pod| pod.is_active()).map(|pod| pod.meta.uid.0.clone()).collect();
                    world.look(steps);
                    // What the look deleted has ended without success.
                    let ended = world.pods.iter().filter(|pod| running.contains(&pod.meta.uid.0) && pod.meta.deleting.is_some()).count();
                    failed += i32::try_from(ended).unwrap();
                }
                Event::Succeed(index) => if let Some(pod) = world.pods.get(index).filter(|pod| pod.is_active()) {
                    succeeded += 1;
                    if let Some(text) = pod.annotations.get(INDEX) { indexes.insert(text.clone()); }
                    let name = pod.meta.key.name.clone();
                    world.end(&name, Phase::Succeeded, 0);
                },
                Event::Fail(index) => if let Some(pod) = world.pods.get(index).filter(|pod| pod.is_active()) {
                    failed += 1;
                    let name = pod.meta.key.name.clone();
                    world.end(&name, Phase::Failed, 1);
                },
                Event::Delete(index) => if let Some(pod) = world.pods.get_mut(index).filter(|pod| pod.is_active()) {
                    failed += 1;
                    pod.meta.deleting = Some(at(1));
                    world.reap();
                },
                Event::Suspend(suspended) => world.job.suspended = suspended,
                Event::Parallelism(to) => world.job.parallelism = to,
            }
            let active = world.pods.iter().filter(|pod| pod.is_active()).count();
            prop_assert!(active <= 3 + 3, "{active} at a time");
        }
        // Everybody left to run succeeds in the end.
        world.job.suspended = false;
        world.job.parallelism = 3;
        for _ in 0..40 {
            let before: Vec<String> = world.pods.iter().filter(|pod| pod.is_active()).map(|pod| pod.meta.key.name.clone()).collect();
            world.look(4);
            let ended = world.pods.iter().filter(|pod| before.contains(&pod.meta.key.name) && pod.meta.deleting.is_some());
            failed += i32::try_from(ended.count()).unwrap();
            let running: Vec<String> = world.pods.iter().filter(|pod| pod.is_active()).map(|pod| pod.meta.key.name.clone()).collect();
            if world.says("SuccessCriteriaMet").is_none() {
                for name in running {
                    succeeded += 1;
                    let pod = world.pods.iter().find(|pod| pod.meta.key.name == name).unwrap();
                    if let Some(text) = pod.annotations.get(INDEX) { indexes.insert(text.clone()); }
                    world.end(&name, Phase::Succeeded, 0);
                }
            }
        }
        prop_assert_eq!(world.says("Complete"), Some("CompletionsReached".to_owned()));
        let expected = if indexed { i32::try_from(indexes.len()).unwrap() } else { succeeded };
        prop_assert_eq!(world.counts(), (0, expected, failed));
        prop_assert!(world.pods.iter().all(|pod| pod.meta.finalizers.is_empty()));
    }
}
