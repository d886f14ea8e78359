//! Tables: one situation, one plan.

use super::*;
use crate::probe::Outcome;
use orrery_wire::guest::ProcessExit;
use orrery_wire::shim::{ContainerExit, ContainerStatus, MachineEnd, MachinePhase};
use serde_json::{Value, json};

/// The pod `demo/hello` on `host-1`, with `over` merged into it.
pub(crate) fn test_pod(over: &Value) -> PodView {
    let mut pod = json!({
        "metadata": { "name": "hello", "namespace": "demo", "uid": "0f8fad5b-d9cb-469f-a165-70867728950e" },
        "spec": { "nodeName": "host-1", "containers": [{ "name": "main", "image": "busybox" }] },
    });
    merge(&mut pod, over);
    PodView::project(&serde_json::from_value(pod).unwrap()).unwrap()
}

fn merge(into: &mut Value, over: &Value) {
    match (into, over) {
        (Value::Object(into), Value::Object(over)) => {
            for (key, value) in over {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, over) => *into = over.clone(),
    }
}

pub(super) const START: i64 = 1_800_000_000;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

pub(super) fn nanos(second: i64) -> u64 {
    u64::try_from(START + second).unwrap() * 1_000_000_000
}

/// A pod with all that a plan is made from; what a test does not say is the usual.
pub(super) struct Scene {
    pub(super) pod: PodView,
    pub(super) images: BTreeMap<String, ImageState>,
    pub(super) config_errors: BTreeMap<String, String>,
    pub(super) volumes: VolumeState,
    pub(super) probes: Prober,
    pub(super) machine: Machine,
    pub(super) addresses: Addresses,
    pub(super) previous: PodStatus,
    pub(super) memory: Memory,
}

impl Scene {
    pub(super) fn new(over: &Value) -> Self {
        let pod = test_pod(over);
        let images = pod.all_containers().map(|c| (c.name.clone(), ImageState::Present { id: "sha256:1".into() }));
        Self {
            images: images.collect(),
            config_errors: BTreeMap::new(),
            volumes: VolumeState::Filled,
            probes: Prober::default(),
            machine: Machine::Absent,
            addresses: Addresses { pod_ip: Some("10.244.0.7".into()), host_ip: "127.0.0.1".into() },
            previous: pod.status.clone(),
            memory: Memory::default(),
            pod,
        }
    }

    /// Plans, and publishes the status.
    pub(super) fn plan(&mut self, second: i64) -> PodPlan {
        let seen = Observation {
            pod: &self.pod,
            images: &self.images,
            config_errors: &self.config_errors,
            volumes: self.volumes,
            probes: &self.probes,
            machine: &self.machine,
            addresses: &self.addresses,
            previous: &self.previous,
            now: at(second),
        };
        let plan = plan(&seen, &self.memory);
        self.previous = plan.status.clone();
        plan
    }

    fn delete(&mut self, deadline: i64) {
        self.pod.deletion = Some(Deletion { deadline: at(deadline), grace_seconds: 30 });
    }
}

fn machine(phase: MachinePhase, boot: u32, containers: Vec<ContainerStatus>) -> Machine {
    let booted_at = nanos(0);
    Machine::Present(MachineStatus { sequence: 1, phase, boot, booted_at, qemu_pid: None, last_end: None, containers })
}

fn container(name: &str, attempt: u32, boot: u32, started: i64, ended: Option<(i64, i32)>) -> ContainerStatus {
    let exit = ended.map(|(at, code)| ContainerExit {
        exit: ProcessExit { code, signal: None, out_of_memory: false, unix_nanos: nanos(at), message: None },
        at: nanos(at),
        machine_ended: false,
    });
    let log_file = format!("{name}/{attempt}.log");
    ContainerStatus { name: name.into(), attempt, boot, started_at: nanos(started), exit, log_file }
}

fn start(name: &str, attempt: u32) -> Action {
    Action::Start { container: name.into(), attempt, after: None }
}

fn stop(name: &str, attempt: u32, deadline: i64) -> Action {
    Action::Stop { container: name.into(), attempt, deadline: at(deadline) }
}

fn kill(name: &str, attempt: u32) -> Action {
    Action::Kill { container: name.into(), attempt }
}

fn restart(name: &str, attempt: u32, ran: i64) -> Action {
    Action::Start { container: name.into(), attempt, after: Some(SignedDuration::from_secs(ran)) }
}

fn phase(plan: &PodPlan) -> &str {
    plan.status.phase.as_deref().unwrap()
}

fn first_container(plan: &PodPlan) -> Value {
    serde_json::to_value(&plan.status.container_statuses.as_ref().unwrap()[0]).unwrap()
}

fn condition(plan: &PodPlan, type_: &str) -> (String, Option<String>, i64) {
    let list = plan.status.conditions.as_ref().unwrap();
    let found = list.iter().find(|c| c.type_ == type_).unwrap();
    (found.status.clone(), found.reason.clone(), found.last_transition_time.as_ref().unwrap().0.as_second() - START)
}

#[test]
fn a_pod_goes_from_admission_to_running() {
    let mut scene = Scene::new(&json!({}));
    let plan = scene.plan(1);
    assert_eq!((plan.actions.as_slice(), phase(&plan)), ([Action::Admit].as_slice(), "Pending"));
    assert_eq!(first_container(&plan)["state"]["waiting"]["reason"], "ContainerCreating");
    scene.machine = machine(MachinePhase::Off, 0, vec![]);
    assert_eq!(scene.plan(2).actions, [Action::PowerOn]);
    scene.machine = machine(MachinePhase::Booting, 1, vec![]);
    assert_eq!(scene.plan(3).actions, []);
    scene.machine = machine(MachinePhase::Running, 1, vec![]);
    let plan = scene.plan(4);
    assert_eq!(plan.actions, [start("main", 0)]);
    assert_eq!(condition(&plan, "PodReadyToStartContainers"), ("True".into(), None, 4));
    assert_eq!(condition(&plan, "Ready"), ("False".into(), Some("ContainersNotReady".into()), 1));
    scene.machine = machine(MachinePhase::Running, 1, vec![container("main", 0, 1, 5, None)]);
    let plan = scene.plan(6);
    assert_eq!((plan.actions.as_slice(), phase(&plan), plan.wake_at), ([].as_slice(), "Running", None));
    assert_eq!(condition(&plan, "Ready"), ("True".into(), None, 6));
    assert_eq!(condition(&plan, "PodScheduled"), ("True".into(), None, 1));
    let shown = first_container(&plan);
    assert_eq!(shown["containerID"], "crx://0f8fad5b-d9cb-469f-a165-70867728950e/main/0");
    assert_eq!((&shown["ready"], &shown["started"], &shown["restartCount"]), (&json!(true), &json!(true), &json!(0)));
    assert_eq!(
        (plan.status.pod_ip.as_deref(), plan.status.host_ip.as_deref()),
        (Some("10.244.0.7"), Some("127.0.0.1"))
    );
    let again = scene.plan(60);
    assert_eq!(again.status, plan.status, "an unchanged pod is not published again");
}

#[test]
fn an_ended_container_follows_its_restart_policy() {
    let table = [
        ("Never", 0, "Succeeded", vec![Action::PowerOff]),
        ("Never", 3, "Failed", vec![Action::PowerOff]),
        ("OnFailure", 0, "Succeeded", vec![Action::PowerOff]),
        ("OnFailure", 3, "Running", vec![restart("main", 1, 2)]),
        ("Always", 0, "Running", vec![restart("main", 1, 2)]),
        ("Always", 3, "Running", vec![restart("main", 1, 2)]),
    ];
    for (policy, code, expected, actions) in table {
        let mut scene = Scene::new(&json!({ "spec": { "restartPolicy": policy } }));
        scene.machine = machine(MachinePhase::Running, 1, vec![container("main", 0, 1, 5, Some((7, code)))]);
        let plan = scene.plan(8);
        assert_eq!((phase(&plan), &plan.actions), (expected, &actions), "{policy} {code}");
        let state = &first_container(&plan)["state"]["terminated"];
        assert_eq!((&state["exitCode"], state["reason"] == "Completed"), (&json!(code), code == 0), "{policy} {code}");
    }
}

#[test]
fn a_crashing_container_waits_and_then_starts_again() {
    let mut scene = Scene::new(&json!({}));
    scene.machine = machine(MachinePhase::Running, 1, vec![container("main", 0, 1, 5, None)]);
    scene.plan(5);
    scene.memory.restarted("main", SignedDuration::from_secs(1));
    scene.machine = machine(MachinePhase::Running, 1, vec![container("main", 1, 1, 10, Some((11, 1)))]);
    let plan = scene.plan(12);
    assert_eq!((plan.actions.as_slice(), plan.wake_at, phase(&plan)), ([].as_slice(), Some(at(21)), "Running"));
    let shown = first_container(&plan);
    assert_eq!(shown["state"]["waiting"]["reason"], "CrashLoopBackOff");
    let message = "back-off 10s restarting failed container=main pod=hello_demo(0f8fad5b-d9cb-469f-a165-70867728950e)";
    assert_eq!(shown["state"]["waiting"]["message"], message);
    assert_eq!((&shown["lastState"]["terminated"]["exitCode"], &shown["restartCount"]), (&json!(1), &json!(1)));
    assert_eq!(plan.notices.iter().map(|n| n.reason).collect::<Vec<_>>(), ["BackOff"]);
    assert_eq!(scene.plan(15).notices, [], "told once");
    let plan = scene.plan(21);
    assert_eq!(plan.actions, [restart("main", 2, 1)]);
    assert_eq!(first_container(&plan)["state"]["waiting"]["reason"], "CrashLoopBackOff");
    scene.machine = machine(MachinePhase::Running, 1, vec![container("main", 2, 1, 22, None)]);
    let shown = first_container(&scene.plan(23));
    assert!(shown["state"]["running"].is_object());
    assert_eq!((&shown["lastState"]["terminated"]["exitCode"], &shown["restartCount"]), (&json!(1), &json!(2)));
}

#[test]
fn a_container_that_lost_its_machine_starts_again_at_once() {
    let mut scene = Scene::new(&json!({}));
    scene.machine = machine(MachinePhase::Running, 1, vec![container("main", 0, 1, 5, None)]);
    scene.plan(6);
    scene.memory.restarted("main", SignedDuration::ZERO);
    let mut lost = container("main", 0, 1, 5, Some((9, 137)));
    lost.exit.as_mut().unwrap().machine_ended = true;
    let Machine::Present(mut status) = machine(MachinePhase::Off, 1, vec![lost]) else { unreachable!() };
    status.last_end = Some(MachineEnd { at: nanos(9), requested: false, message: "QEMU was killed (signal 9)".into() });
    scene.machine = Machine::Present(status.clone());
    let plan = scene.plan(9);
    assert_eq!((plan.actions.as_slice(), phase(&plan)), ([Action::PowerOn].as_slice(), "Running"));
    assert_eq!(plan.notices[0].reason, "MachineEnded");
    let state = first_container(&plan)["state"]["terminated"].clone();
    assert_eq!((&state["exitCode"], &state["reason"]), (&json!(137), &json!("Error")));
    assert_eq!(state["message"], "The pod's machine ended: QEMU was killed (signal 9)");
    status.phase = MachinePhase::Running;
    status.boot = 2;
    scene.machine = Machine::Present(status);
    let plan = scene.plan(10);
    assert_eq!((plan.actions.as_slice(), plan.notices.len()), ([start("main", 1)].as_slice(), 0));
    let mut never = Scene::new(&json!({ "spec": { "restartPolicy": "Never" } }));
    never.machine = scene.machine.clone();
    assert_eq!(phase(&never.plan(11)), "Failed");
}

#[test]
fn a_machine_that_ends_before_it_was_of_use_rests_before_the_next_boot() {
    let mut scene = Scene::new(&json!({}));
    let Machine::Present(mut status) = machine(MachinePhase::Off, 1, vec![]) else { unreachable!() };
    status.last_end = Some(MachineEnd { at: nanos(9), requested: false, message: "QEMU ended".into() });
    scene.machine = Machine::Present(status);
    assert_eq!((scene.plan(10).actions, scene.plan(10).wake_at), (vec![], Some(at(19))));
    assert_eq!(scene.plan(19).actions, [Action::PowerOn]);
    scene.memory.boot_failed("no answer".into(), at(19));
    scene.memory.boot_failed("no answer".into(), at(30));
    assert_eq!(scene.plan(31).wake_at, Some(at(50)));
}

#[test]
fn a_missing_image_is_pulled_waited_for_and_pulled_again() {
    let mut scene = Scene::new(&json!({}));
    scene.images.insert("main".into(), ImageState::Absent);
    let pull = Action::Pull { image: "busybox".into(), container: "main".into() };
    let plan = scene.plan(1);
    assert_eq!((plan.actions.as_slice(), phase(&plan)), ([pull.clone()].as_slice(), "Pending"));
    assert_eq!(first_container(&plan)["state"]["waiting"]["reason"], "ContainerCreating");
    scene.memory.pulls.begun("busybox");
    assert_eq!((scene.plan(2).actions, scene.plan(2).notices.len()), (vec![], 0));
    scene.memory.pulls.failed("busybox", "no such host".into(), at(3));
    let table = [
        (3, "ErrImagePull", "no such host", 5, vec!["Failed"], false),
        (4, "ErrImagePull", "no such host", 5, vec![], false),
        (
            5,
            "ImagePullBackOff",
            "Back-off pulling image \"busybox\": ErrImagePull: no such host",
            13,
            vec!["BackOff", "Failed"],
            false,
        ),
        (13, "ImagePullBackOff", "Back-off pulling image \"busybox\": ErrImagePull: no such host", 0, vec![], true),
    ];
    for (second, reason, message, wake, told, again) in table {
        let plan = scene.plan(second);
        let waiting = first_container(&plan)["state"]["waiting"].clone();
        assert_eq!((&waiting["reason"], &waiting["message"]), (&json!(reason), &json!(message)), "{second}");
        assert_eq!(plan.notices.iter().map(|notice| notice.reason).collect::<Vec<_>>(), told, "{second}");
        assert_eq!(plan.actions == [pull.clone()], again, "{second}");
        assert_eq!(plan.wake_at, (wake > 0).then(|| at(wake)), "{second}");
    }
    // A second container of the same image does not pull it a second time.
    let containers = json!([{ "name": "main", "image": "i:1" }, { "name": "side", "image": "i:1" }]);
    let mut two = Scene::new(&json!({ "spec": { "containers": containers } }));
    two.images = two.images.into_keys().map(|name| (name, ImageState::Absent)).collect();
    assert_eq!(two.plan(1).actions, [Action::Pull { image: "i:1".into(), container: "main".into() }]);
}

#[test]
fn an_image_that_is_never_pulled_or_has_no_name_is_told_as_the_kubelet_does() {
    let over = json!({ "spec": { "containers": [{ "name": "main", "image": "i", "imagePullPolicy": "Never" }] } });
    let mut never = Scene::new(&over);
    never.images.insert("main".into(), ImageState::Absent);
    let plan = never.plan(1);
    assert_eq!((plan.actions.as_slice(), plan.wake_at), ([].as_slice(), Some(at(6))));
    assert_eq!(first_container(&plan)["state"]["waiting"]["reason"], "ErrImageNeverPull");
    assert_eq!((plan.notices.len(), never.plan(6).notices.len()), (2, 0));
    let unusable = ImageState::Unusable { reason: "InvalidImageName", message: "what is this".into() };
    never.images.insert("main".into(), unusable);
    let plan = never.plan(7);
    assert_eq!(first_container(&plan)["state"]["waiting"]["reason"], "InvalidImageName");
    assert_eq!(plan.notices[0].reason, "InspectFailed");
}

#[test]
fn a_container_without_configuration_waits_while_the_others_run() {
    let containers = json!([{ "name": "main", "image": "i" }, { "name": "side", "image": "i" }]);
    let mut scene = Scene::new(&json!({ "spec": { "containers": containers } }));
    scene.config_errors.insert("main".into(), "secret \"s\" not found".into());
    scene.machine = machine(MachinePhase::Running, 1, vec![]);
    let plan = scene.plan(1);
    assert_eq!((plan.actions.as_slice(), plan.wake_at), ([start("side", 0)].as_slice(), Some(at(11))));
    let waiting = first_container(&plan)["state"]["waiting"].clone();
    assert_eq!(
        (&waiting["reason"], &waiting["message"]),
        (&json!("CreateContainerConfigError"), &json!("secret \"s\" not found"))
    );
    assert_eq!(plan.notices[0].message, "Error: secret \"s\" not found");
}

#[test]
fn init_containers_run_one_after_another_before_the_others() {
    let over =
        json!({ "spec": { "initContainers": [{ "name": "one", "image": "i" }, { "name": "two", "image": "i" }] } });
    let mut scene = Scene::new(&over);
    let done = |name, boot| container(name, boot - 1, boot, 1, Some((2, 0)));
    let table = [
        (vec![], vec![start("one", 0)]),
        (vec![container("one", 0, 1, 1, None)], vec![]),
        (vec![done("one", 1)], vec![start("two", 0)]),
        (vec![done("one", 1), done("two", 1)], vec![start("main", 0)]),
    ];
    for (containers, actions) in table {
        scene.machine = machine(MachinePhase::Running, 1, containers.clone());
        let plan = scene.plan(3);
        assert_eq!((&plan.actions, phase(&plan)), (&actions, "Pending"), "{containers:?}");
        let initialized = containers.len() == 2;
        assert_eq!(condition(&plan, "Initialized").0, if initialized { "True" } else { "False" });
    }
    let mut lost = container("main", 0, 1, 3, Some((4, 137)));
    lost.exit.as_mut().unwrap().machine_ended = true;
    scene.machine = machine(MachinePhase::Running, 2, vec![done("one", 1), done("two", 1), lost]);
    let plan = scene.plan(5);
    assert_eq!((plan.actions.len(), phase(&plan)), (1, "Running"), "a new boot prepares anew");
    assert!(matches!(&plan.actions[0], Action::Start { container, attempt: 1, .. } if container == "one"));
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let over = json!({ "spec": { "restartPolicy": "Never", "initContainers": [{ "name": "one", "image": "i" }] } });
    let mut scene = Scene::new(&over);
    scene.machine = machine(MachinePhase::Running, 1, vec![container("one", 0, 1, 1, Some((2, 1)))]);
    let plan = scene.plan(3);
    assert_eq!((phase(&plan), plan.actions.as_slice()), ("Failed", [Action::PowerOff].as_slice()));
    assert_eq!(condition(&plan, "Initialized").0, "False");
}

#[test]
fn deletion_asks_then_kills_then_gives_the_machine_back() {
    let mut scene = Scene::new(&json!({}));
    scene.machine = machine(MachinePhase::Running, 1, vec![container("main", 0, 1, 1, None)]);
    scene.plan(2);
    scene.delete(40);
    let plan = scene.plan(10);
    assert_eq!((plan.actions.as_slice(), plan.wake_at), ([stop("main", 0, 40)].as_slice(), Some(at(40))));
    assert_eq!((plan.notices[0].message.as_str(), phase(&plan)), ("Stopping container main", "Running"));
    scene.memory.asked_to_end("main", 0, at(40));
    assert_eq!(scene.plan(20).actions, []);
    assert_eq!(scene.plan(40).actions, [kill("main", 0)]);
    scene.memory.killed("main", 0, at(40));
    assert_eq!(scene.plan(41).wake_at, Some(at(42)));
    let stuck = scene.plan(42);
    assert_eq!(stuck.actions, [Action::Release, Action::DeletePod]);
    scene.memory.endings.clear();
    assert_eq!(phase(&scene.plan(42)), "Failed", "what was forgotten does not bring a pod back");
    scene.previous.phase = Some("Running".into());
    scene.machine = machine(MachinePhase::Running, 1, vec![container("main", 0, 1, 1, Some((41, 137)))]);
    let plan = scene.plan(42);
    assert_eq!((plan.actions.as_slice(), phase(&plan)), ([Action::Release, Action::DeletePod].as_slice(), "Failed"));
    scene.machine = Machine::Absent;
    assert_eq!(scene.plan(43).actions, [Action::DeletePod]);
}

#[test]
fn a_pod_that_is_refused_unsupported_or_too_old_says_so() {
    let mut refused = Scene::new(&json!({}));
    refused.memory.refusal = Some(Refusal { reason: "OutOfmemory".into(), message: "64 MiB are left".into() });
    let plan = refused.plan(1);
    assert_eq!((phase(&plan), plan.status.reason.as_deref()), ("Failed", Some("OutOfmemory")));
    assert_eq!(plan.status.message.as_deref(), Some("Pod was rejected: 64 MiB are left"));

    let mut held =
        Scene::new(&json!({ "spec": { "volumes": [{ "name": "v", "nfs": { "server": "s", "path": "/" } }] } }));
    let plan = held.plan(1);
    assert_eq!((phase(&plan), plan.actions.len(), plan.notices[0].reason), ("Pending", 0, "FailedMount"));
    assert_eq!(first_container(&plan)["state"]["waiting"]["reason"], "CreateContainerConfigError");
    assert_eq!(held.plan(2).notices, []);

    let sysctls = json!([{ "name": "kernel.msgmax", "value": "1" }]);
    let mut forbidden = Scene::new(&json!({ "spec": { "securityContext": { "sysctls": sysctls } } }));
    let plan = forbidden.plan(1);
    assert_eq!(
        (phase(&plan), plan.status.reason.as_deref(), plan.actions.len()),
        ("Failed", Some("SysctlForbidden"), 0)
    );

    let mut old = Scene::new(&json!({ "spec": { "activeDeadlineSeconds": 60 } }));
    old.machine = machine(MachinePhase::Running, 1, vec![container("main", 0, 1, 1, None)]);
    assert_eq!((old.plan(1).wake_at, phase(&old.plan(2)).to_owned()), (Some(at(61)), "Running".to_owned()));
    let plan = old.plan(61);
    assert_eq!((plan.actions.as_slice(), phase(&plan)), ([stop("main", 0, 91)].as_slice(), "Running"));
    old.machine = machine(MachinePhase::Running, 1, vec![container("main", 0, 1, 1, Some((62, 143)))]);
    let plan = old.plan(62);
    assert_eq!((phase(&plan), plan.status.reason.as_deref()), ("Failed", Some("DeadlineExceeded")));
    assert_eq!(plan.actions, [Action::PowerOff]);
}

#[test]
fn a_start_that_the_guest_refuses_counts_as_an_attempt() {
    let mut scene = Scene::new(&json!({}));
    scene.machine = machine(MachinePhase::Running, 1, vec![]);
    let refused = StartRecord { attempt: 0, refused: Some("no such program: /nope".into()), at: at(1) };
    scene.memory.started("main", refused, None);
    let plan = scene.plan(2);
    assert_eq!((plan.actions.as_slice(), plan.wake_at), ([].as_slice(), Some(at(11))));
    let last = first_container(&plan)["lastState"]["terminated"].clone();
    assert_eq!((&last["reason"], &last["exitCode"]), (&json!("StartError"), &json!(128)));
    assert_eq!(scene.plan(11).actions, [restart("main", 1, 0)]);
}

#[test]
fn a_silent_shim_is_brought_back_and_nothing_is_said_of_the_containers() {
    let mut scene = Scene::new(&json!({}));
    scene.machine = machine(MachinePhase::Running, 1, vec![container("main", 0, 1, 1, None)]);
    let before = scene.plan(2).status;
    scene.machine = Machine::Silent;
    let plan = scene.plan(3);
    assert_eq!((plan.actions.as_slice(), &plan.status), ([Action::Admit].as_slice(), &before));
}

/// A probe that fails at its first try, in a hurry.
fn failing(over: &Value) -> Value {
    let mut probe = json!({ "exec": { "command": ["false"] }, "failureThreshold": 1 });
    merge(&mut probe, over);
    probe
}

fn fail_probes(scene: &mut Scene, second: i64) {
    for due in scene.probes.look(&scene.pod, &scene.machine, at(second)) {
        scene.probes.finished(&due, Outcome::Failure("no".into()), at(second));
    }
}

#[test]
fn a_container_that_fails_its_liveness_probe_is_ended_and_started_again() {
    let probe = failing(&json!({ "terminationGracePeriodSeconds": 5 }));
    let over = json!({ "spec": { "containers": [{ "name": "main", "image": "i", "livenessProbe": probe }] } });
    let mut scene = Scene::new(&over);
    let running = |attempt, started| container("main", attempt, 1, started, None);
    scene.machine = machine(MachinePhase::Running, 1, vec![running(0, 1)]);
    scene.plan(2);
    fail_probes(&mut scene, 2);
    let plan = scene.plan(2);
    assert_eq!((plan.actions.as_slice(), plan.wake_at), ([stop("main", 0, 7)].as_slice(), Some(at(7))));
    assert_eq!(plan.notices[0].message, "Container main failed liveness probe, will be restarted");
    scene.memory.asked_to_end("main", 0, at(7));
    let plan = scene.plan(3);
    assert_eq!((plan.actions.len(), plan.notices.len(), plan.wake_at), (0, 0, Some(at(7))));
    assert_eq!(scene.plan(7).actions, [kill("main", 0)]);
    scene.memory.killed("main", 0, at(7));
    scene.machine = machine(MachinePhase::Running, 1, vec![container("main", 0, 1, 1, Some((8, 137)))]);
    assert_eq!(scene.plan(8).actions, [restart("main", 1, 7)]);
    scene.machine = machine(MachinePhase::Running, 1, vec![running(1, 9)]);
    assert_eq!(scene.plan(9).actions, [], "the next attempt has failed nothing");
    let mut hooked = Scene::new(&json!({ "spec": { "restartPolicy": "Never" } }));
    hooked.machine = machine(MachinePhase::Running, 1, vec![running(0, 1)]);
    hooked.memory.failed_starts.insert("main".into(), 0);
    let plan = hooked.plan(2);
    assert_eq!(plan.actions, [stop("main", 0, 32)]);
    assert_eq!(plan.notices[0].message, "Container main failed PostStartHook");
}

#[test]
fn a_container_is_ready_when_its_probe_says_so() {
    let over =
        json!({ "spec": { "containers": [{ "name": "main", "image": "i", "readinessProbe": failing(&json!({})) }] } });
    let mut scene = Scene::new(&over);
    scene.machine = machine(MachinePhase::Running, 1, vec![container("main", 0, 1, 1, None)]);
    let shown = |plan: &PodPlan| (first_container(plan)["ready"].clone(), first_container(plan)["started"].clone());
    let plan = scene.plan(2);
    assert_eq!((shown(&plan), condition(&plan, "Ready").0.as_str()), ((json!(false), json!(true)), "False"));
    let due = scene.probes.look(&scene.pod, &scene.machine, at(2)).remove(0);
    scene.probes.finished(&due, Outcome::Success, at(3));
    let plan = scene.plan(3);
    assert_eq!((shown(&plan), condition(&plan, "Ready").0.as_str()), ((json!(true), json!(true)), "True"));
}

#[test]
fn sidecars_start_before_the_others_and_end_after_them() {
    let side = |name: &str| json!({ "name": name, "image": "i", "restartPolicy": "Always" });
    let mut slow = side("slow");
    slow["startupProbe"] = failing(&json!({ "failureThreshold": 9 }));
    let over = json!({ "spec": { "restartPolicy": "Never",
        "initContainers": [slow, side("side"), { "name": "init", "image": "i" }] } });
    let mut scene = Scene::new(&over);
    let runs = |name| container(name, 0, 1, 1, None);
    let seen = |scene: &mut Scene, containers: Vec<ContainerStatus>, second| {
        scene.machine = machine(MachinePhase::Running, 1, containers);
        scene.plan(second)
    };
    assert_eq!(seen(&mut scene, vec![], 1).actions, [start("slow", 0)]);
    assert_eq!(seen(&mut scene, vec![runs("slow")], 2).actions, [], "its startup probe has not succeeded");
    let due = scene.probes.look(&scene.pod, &scene.machine, at(2)).remove(0);
    scene.probes.finished(&due, Outcome::Success, at(2));
    assert_eq!(scene.plan(3).actions, [start("side", 0)]);
    let done = container("init", 0, 1, 1, Some((2, 0)));
    assert_eq!(seen(&mut scene, vec![runs("slow"), runs("side")], 4).actions, [start("init", 0)]);
    let plan = seen(&mut scene, vec![runs("slow"), runs("side"), done.clone()], 5);
    assert_eq!(
        (plan.actions.as_slice(), condition(&plan, "Initialized").0.as_str()),
        ([start("main", 0)].as_slice(), "True")
    );
    // One that ends is started again while the others run.
    let ended = container("side", 0, 1, 1, Some((6, 1)));
    let plan = seen(&mut scene, vec![runs("slow"), ended, done.clone(), runs("main")], 6);
    assert_eq!((plan.actions.as_slice(), phase(&plan)), ([restart("side", 1, 5)].as_slice(), "Running"));
    // The work is done: sidecars go, the last one first.
    let main = container("main", 0, 1, 1, Some((8, 0)));
    let plan = seen(&mut scene, vec![runs("slow"), runs("side"), done.clone(), main.clone()], 8);
    assert_eq!((plan.actions.as_slice(), phase(&plan)), ([stop("side", 0, 38)].as_slice(), "Running"));
    scene.memory.asked_to_end("side", 0, at(38));
    let gone = container("side", 0, 1, 1, Some((9, 143)));
    let plan = seen(&mut scene, vec![runs("slow"), gone.clone(), done.clone(), main.clone()], 9);
    assert_eq!(plan.actions, [stop("slow", 0, 39)]);
    let slow = container("slow", 0, 1, 1, Some((10, 143)));
    let plan = seen(&mut scene, vec![slow, gone, done, main], 10);
    assert_eq!((plan.actions.as_slice(), phase(&plan)), ([Action::PowerOff].as_slice(), "Succeeded"));
}

#[test]
fn containers_wait_for_the_volumes_of_this_boot() {
    let mut scene = Scene::new(&json!({}));
    scene.volumes = VolumeState::Obstructed;
    let plan = scene.plan(1);
    assert_eq!((plan.actions.as_slice(), plan.wake_at), ([].as_slice(), Some(at(11))));
    assert_eq!(first_container(&plan)["state"]["waiting"]["reason"], "ContainerCreating");
    scene.volumes = VolumeState::Unfilled;
    assert_eq!(scene.plan(2).actions, [Action::Admit]);
    scene.machine = machine(MachinePhase::Off, 0, vec![]);
    assert_eq!(scene.plan(3).actions, [Action::PowerOn]);
    scene.machine = machine(MachinePhase::Running, 1, vec![]);
    assert_eq!(scene.plan(4).actions, [Action::FillVolumes]);
    scene.volumes = VolumeState::Filled;
    assert_eq!(scene.plan(5).actions, [Action::Start { container: "main".into(), attempt: 0, after: None }]);
    // What changes while everything runs is brought up to date.
    scene.machine = machine(MachinePhase::Running, 1, vec![container("main", 0, 1, 1, None)]);
    scene.volumes = VolumeState::Unfilled;
    assert_eq!(scene.plan(6).actions, [Action::FillVolumes]);
}

#[test]
fn conditions_of_others_stay() {
    let gates = json!({ "spec": { "readinessGates": [{ "conditionType": "example.com/up" }] } });
    let mut scene = Scene::new(&gates);
    scene.machine = machine(MachinePhase::Running, 1, vec![container("main", 0, 1, 1, None)]);
    assert_eq!(condition(&scene.plan(2), "Ready").1.as_deref(), Some("ReadinessGatesNotReady"));
    let up = json!({ "type": "example.com/up", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    scene.pod.status.conditions = Some(vec![serde_json::from_value(up).unwrap()]);
    let plan = scene.plan(3);
    assert_eq!(condition(&plan, "Ready"), ("True".into(), None, 3));
    assert_eq!(condition(&plan, "example.com/up").0, "True");
}
