//! What becomes of hollow pods, as the API would see it.

use super::*;
use serde_json::json;

/// A hollow pod with the object that an API server would keep for it.
struct World {
    object: Value,
    pod: HollowPod,
    now: Timestamp,
}

impl World {
    fn new(spec: &Value, annotations: &Value) -> Self {
        let object = json!({
            "metadata": { "name": "p", "namespace": "n", "uid": "0f8fad5b-d9cb-469f-a165-70867728950e",
                "resourceVersion": "1", "generation": 1, "annotations": annotations },
            "spec": spec, "status": { "phase": "Pending" },
        });
        let place = Place { host_ip: "127.64.0.1".into(), pod_ip: "10.0.0.1".into() };
        let pod = HollowPod::new(&serde_json::from_value(object.clone()).unwrap(), place).unwrap();
        Self { object, pod, now: Timestamp::from_second(1_000_000).unwrap() }
    }

    /// Writes until nothing is to be written; whether the pod was removed.
    fn settle(&mut self) -> bool {
        for _ in 0..10 {
            match self.pod.advance(self.now) {
                None => return false,
                Some(Write::Delete) => return true,
                Some(Write::Status(patch)) => {
                    for (field, value) in patch["status"].as_object().unwrap() {
                        self.object["status"][field] = value.clone();
                    }
                    self.show();
                }
            }
        }
        panic!("it does not settle: {}", self.object);
    }

    fn show(&mut self) {
        let version: u64 = self.object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        self.object["metadata"]["resourceVersion"] = json!((version + 1).to_string());
        self.pod.update(&serde_json::from_value(self.object.clone()).unwrap()).unwrap();
    }

    fn pass(&mut self, seconds: i64) -> bool {
        self.now += SignedDuration::from_secs(seconds);
        self.settle()
    }

    fn phase(&self) -> &str {
        self.object["status"]["phase"].as_str().unwrap()
    }

    fn ready(&self) -> &str {
        let conditions = self.object["status"]["conditions"].as_array().unwrap();
        conditions.iter().find(|condition| condition["type"] == "Ready").unwrap()["status"].as_str().unwrap()
    }

    fn delete(&mut self, grace: i64) {
        let deadline = self.now + SignedDuration::from_secs(grace);
        self.object["metadata"]["deletionTimestamp"] = json!(deadline.to_string());
        self.object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        self.show();
    }
}

fn spec(policy: &str, command: &Value) -> Value {
    json!({ "restartPolicy": policy, "nodeName": "h", "containers": [{ "name": "c", "image": "i", "command": command }] })
}

#[test]
fn a_pod_runs_at_once_with_an_address_and_is_ready() {
    let mut world = World::new(&spec("Always", &json!([])), &json!({}));
    assert!(!world.settle());
    let status = &world.object["status"];
    assert_eq!((world.phase(), world.ready()), ("Running", "True"));
    assert_eq!((&status["podIP"], &status["observedGeneration"]), (&json!("10.0.0.1"), &json!(1)));
    assert_eq!(status["containerStatuses"][0]["ready"], true);
    assert_eq!(world.pod.wake_at, None);
}

#[test]
fn a_container_ends_when_its_course_is_over_and_the_pod_with_it() {
    for (command, code, phase) in
        [(json!(["sleep", "5"]), 0, "Succeeded"), (json!(["sh", "-c", "sleep 5; exit 3"]), 3, "Failed")]
    {
        let mut world = World::new(&spec("Never", &command), &json!({}));
        world.settle();
        assert_eq!(world.phase(), "Running");
        assert_eq!(world.pod.wake_at, Some(world.now + SignedDuration::from_secs(5)));
        world.pass(5);
        assert_eq!(world.phase(), phase);
        let terminated = &world.object["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(terminated["exitCode"], code);
    }
}

#[test]
fn a_failing_container_is_started_again_in_its_place() {
    let command = json!(["sh", "-c", "if [ -e /data/once ]; then exit 0; fi; touch /data/once; exit 1"]);
    let mut world = World::new(&spec("OnFailure", &command), &json!({}));
    world.settle();
    assert_eq!(world.phase(), "Succeeded");
    assert_eq!(world.object["status"]["containerStatuses"][0]["restartCount"], 1);
}

#[test]
fn a_crashing_container_waits_longer_each_time() {
    let mut world = World::new(&spec("Always", &json!(["false"])), &json!({}));
    world.settle();
    let waiting = &world.object["status"]["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(waiting["reason"], "CrashLoopBackOff");
    assert!(world.pod.wake_at.is_some());
    world.pass(10);
    assert_eq!(world.object["status"]["containerStatuses"][0]["restartCount"], 2);
}

#[test]
fn an_annotation_decides_on_readiness_and_may_change() {
    let mut world = World::new(&spec("Always", &json!([])), &json!({ READY: "false" }));
    world.settle();
    assert_eq!((world.phase(), world.ready()), ("Running", "False"));
    world.object["metadata"]["annotations"] = json!({});
    world.show();
    world.settle();
    assert_eq!(world.ready(), "True");
}

#[test]
fn a_deleted_pod_publishes_its_end_and_is_removed() {
    let mut world = World::new(&spec("Always", &json!([])), &json!({}));
    world.settle();
    world.delete(30);
    assert!(world.settle());
    assert_eq!((world.phase(), world.ready()), ("Succeeded", "False"));
    let mut interrupted = World::new(&spec("Never", &json!(["sleep", "100"])), &json!({}));
    interrupted.settle();
    interrupted.delete(30);
    assert!(interrupted.settle());
    assert_eq!(interrupted.phase(), "Failed");
}

#[test]
fn init_containers_come_first_and_a_failed_one_fails_the_pod() {
    let mut good = spec("Never", &json!(["true"]));
    good["initContainers"] = json!([{ "name": "i", "image": "i", "command": ["sleep", "3"] }]);
    let mut world = World::new(&good, &json!({}));
    world.settle();
    assert_eq!(world.phase(), "Pending");
    world.pass(3);
    assert_eq!(world.phase(), "Succeeded");
    let mut bad = good;
    bad["initContainers"][0]["command"] = json!(["false"]);
    let mut world = World::new(&bad, &json!({}));
    world.settle();
    assert_eq!(world.phase(), "Failed");
}

#[test]
fn variables_of_the_pod_reach_its_command() {
    let mut indexed = spec("Never", &json!(["sh", "-c", "exit $(JOB_COMPLETION_INDEX)"]));
    let path = "metadata.annotations['batch.kubernetes.io/job-completion-index']";
    indexed["containers"][0]["env"] =
        json!([{ "name": "JOB_COMPLETION_INDEX", "valueFrom": { "fieldRef": { "fieldPath": path } } }]);
    let mut world = World::new(&indexed, &json!({ "batch.kubernetes.io/job-completion-index": "4" }));
    world.settle();
    assert_eq!(world.object["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 4);
}

#[test]
fn a_pod_that_somebody_else_has_ended_stays_so() {
    let mut world = World::new(&spec("Always", &json!([])), &json!({}));
    world.settle();
    world.object["status"]["phase"] = json!("Failed");
    world.show();
    world.settle();
    assert_eq!((world.phase(), world.ready()), ("Failed", "False"));
}
