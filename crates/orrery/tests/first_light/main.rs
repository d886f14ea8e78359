//! The whole path on this machine, with plain kubectl: up, use, break, heal, down, up again, purge.
//!
//! One test, because it is one installation: an instance of its own name, with its own ports, ranges and state, beside
//! whatever else runs. What it made is taken down again, also when it fails.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a failure is the finding; times and logs are told

mod confinement;
mod installation;
mod leftovers;
mod refusals;
mod servers;
mod volumes;

use installation::{Installation, http_get, wait_until};
use std::time::{Duration, Instant};

#[test]
fn a_stranger_gets_pods_as_micro_vms_and_they_survive_what_breaks() {
    let Some(orrery) = Installation::prepare("e2e") else { return };
    let began = Instant::now();
    orrery.up();
    eprintln!("first up took {:.1} s", began.elapsed().as_secs_f64());

    a_second_up_changes_nothing(&orrery);
    kubectl_works_on_the_demo_pod(&orrery);
    strangers_get_nothing(&orrery);
    a_page_is_served_by_a_second_image(&orrery);
    volumes::a_restricted_pod_has_what_it_asks_for_and_keeps_its_data(&orrery);
    servers::databases_keep_their_data_when_their_machines_are_killed(&orrery);
    confinement::a_privileged_pod_has_its_own_machine_and_nobody_elses_address(&orrery);
    a_killed_machine_comes_back(&orrery);
    killed_agents_take_no_guest_with_them(&orrery);
    a_killed_control_plane_comes_back(&orrery);
    a_pod_is_placed_without_the_manager(&orrery);
    a_role_is_held_down_and_brought_back(&orrery);
    refusals::another_state_with_the_same_name(&orrery);
    a_deleted_pod_leaves_nothing(&orrery);
    a_reboot_loses_nothing(&orrery);
    down_leaves_nothing_and_up_brings_the_same_pods_back(&orrery);
    orrery.purge();
    leftovers::assert_none(&orrery);
    assert!(!orrery.state().exists(), "purge removes the state");
}

#[test]
fn a_machine_that_is_not_ready_is_told_what_to_do() {
    let Some(orrery) = Installation::prepare("e2e-refused") else { return };
    refusals::not_root(&orrery);
    refusals::qemu_missing_or_too_old(&orrery);
    refusals::port_taken(&orrery);
    refusals::range_in_use(&orrery);
    refusals::no_disk(&orrery);
    refusals::an_image_that_is_none(&orrery);
    refusals::a_package_that_cannot_be_had(&orrery);
    leftovers::assert_none(&orrery);
    refusals::a_step_that_takes_too_long(&orrery);
    leftovers::assert_none(&orrery);
    refusals::an_interrupt(&orrery);
    leftovers::assert_none(&orrery);
}

fn a_second_up_changes_nothing(orrery: &Installation) {
    let before = (orrery.pod_uid("hello"), orrery.machine_pid("demo/hello"), orrery.role_pids());
    let began = Instant::now();
    orrery.up();
    eprintln!("second up took {:.1} s", began.elapsed().as_secs_f64());
    let after = (orrery.pod_uid("hello"), orrery.machine_pid("demo/hello"), orrery.role_pids());
    assert_eq!(before, after);
}

fn kubectl_works_on_the_demo_pod(orrery: &Installation) {
    let nodes = orrery.kubectl(&["get", "nodes", "--no-headers"]);
    assert!(nodes.contains("host-1") && nodes.contains(" Ready"), "{nodes}");
    let described = orrery.kubectl(&["describe", "pod", "hello"]);
    for part in ["Node:", "host-1", "Successfully assigned demo/hello to host-1", "Started container hello"] {
        assert!(described.contains(part), "no {part:?} in:\n{described}");
    }
    let logs = orrery.kubectl(&["logs", "hello", "--tail=1"]);
    assert!(logs.starts_with("hello from hello, Linux "), "{logs}");
    let used = orrery.kubectl(&["top", "pod", "hello", "--containers", "--no-headers"]);
    let used: Vec<&str> = used.split_whitespace().collect();
    assert!(
        matches!(used.as_slice(), ["hello", "hello", cpu, memory] if cpu.ends_with('m') && memory.ends_with("Mi")),
        "{used:?}"
    );
    let followed = orrery.kubectl_for(Duration::from_secs(12), &["logs", "-f", "hello", "--tail=1"]);
    assert!(followed.lines().count() >= 2, "following shows new lines:\n{followed}");
    assert_eq!(
        orrery.kubectl(&["exec", "hello", "--", "sh", "-c", "echo out; cat /proc/sys/kernel/hostname"]),
        "out\nhello\n"
    );
    let failed = orrery.kubectl_output(&["exec", "hello", "--", "sh", "-c", "exit 7"]);
    assert_eq!(failed.status.code(), Some(7), "{failed:?}");
    let typed = orrery.kubectl_terminal(&["exec", "-it", "hello", "--", "sh"], "tty; exit 3\n");
    assert!(typed.contains("/dev/pts/0") || typed.contains("/dev/pts/"), "exec -it has a terminal:\n{typed}");
    let piped = orrery.kubectl_input(&["exec", "-i", "hello", "--", "sh", "-c", "wc -c"], &"x".repeat(300_000));
    assert_eq!(piped.trim(), "300000");
    let piped = orrery.kubectl_spdy(&["exec", "-i", "hello", "--", "sh", "-c", "wc -c"], &"x".repeat(300_000));
    assert_eq!(piped.trim(), "300000");
    let applied = orrery.kubectl_input(&["apply", "-f", "-"], &configmap("one"));
    assert!(applied.contains("configmap/settings created"), "{applied}");
    let applied = orrery.kubectl_input(&["apply", "-f", "-"], &configmap("two"));
    assert!(applied.contains("configmap/settings configured"), "{applied}");
    assert_eq!(orrery.kubectl(&["get", "configmap", "settings", "-o", "jsonpath={.data.key}"]), "two");
    orrery.kubectl(&["delete", "configmap", "settings"]);
    let hosts = orrery.manager_kubectl(&["get", "hosts,computeclusters,zones,supervisors,workloadnamespaces,tasks"]);
    for part in ["host-1", "cluster-1", "zone-1", "supervisor-1", "demo", "enable-supervisor-1"] {
        assert!(hosts.contains(part), "no {part} in the inventory:\n{hosts}");
    }
}

fn configmap(value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{key: {value}}}\n")
}

fn strangers_get_nothing(orrery: &Installation) {
    let refused = orrery.stranger_kubectl(&["get", "pods", "-A"]);
    assert!(!refused.status.success(), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("Unauthorized") || said.contains("must be logged in") || said.contains("forbidden"),
        "{said}"
    );
}

fn a_page_is_served_by_a_second_image(orrery: &Installation) {
    orrery.import("nginx.tar", "localhost/demo/nginx:latest");
    orrery.kubectl_input(&["apply", "-f", "-"], NGINX);
    orrery.kubectl(&["wait", "--for=condition=Ready", "pod/web", "--timeout=120s"]);
    let address = orrery.kubectl(&["get", "pod", "web", "-o", "jsonpath={.status.podIP}"]);
    let page = wait_until("the page", || http_get(&address, 80));
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<html"), "{page}");
    let logs = wait_until("the access log", || {
        let logs = orrery.kubectl(&["logs", "web"]);
        logs.contains("\"GET / HTTP/1.1\" 200").then_some(logs)
    });
    assert!(logs.contains("10.245."), "the access log names the machine's address:\n{logs}");
    let script = format!("printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 {address} 80");
    for websockets in [true, false] {
        let forwarded = orrery.port_forward("pod/web", 80, websockets, |port| {
            [(); 3].map(|()| http_get("127.0.0.1", port).unwrap_or_default())
        });
        assert!(forwarded.iter().all(|page| page.contains("<html")), "over WebSocket: {websockets}\n{forwarded:?}");
    }
    let from_another_pod = orrery.kubectl(&["exec", "hello", "--", "sh", "-c", &script]);
    assert!(from_another_pod.contains("200 OK"), "{from_another_pod}");
}

const NGINX: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: nginx
    image: localhost/demo/nginx:latest
    imagePullPolicy: IfNotPresent
    ports: [{containerPort: 80}]
    resources: {limits: {memory: 128Mi}}
";

fn a_killed_machine_comes_back(orrery: &Installation) {
    let uid = orrery.pod_uid("hello");
    let pid = orrery.machine_pid("demo/hello");
    orrery.kill(pid);
    orrery.wait_restarted("hello", 1);
    assert_eq!(orrery.pod_uid("hello"), uid, "the pod is the same");
    assert_ne!(orrery.machine_pid("demo/hello"), pid);
    let last = orrery.kubectl(&[
        "get",
        "pod",
        "hello",
        "-o",
        "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}",
    ]);
    assert_eq!(last, "137");
    let logs =
        wait_until("output of the new start", || Some(orrery.kubectl(&["logs", "hello"])).filter(|l| !l.is_empty()));
    assert!(logs.starts_with("hello from"), "{logs}");
}

fn killed_agents_take_no_guest_with_them(orrery: &Installation) {
    let before = (orrery.started_at("hello"), orrery.machine_pid("demo/hello"), orrery.restarts("hello"));
    let lines = orrery.kubectl(&["logs", "hello"]).lines().count();
    for role in ["host-1/spherelet", "host-1/hostd"] {
        orrery.kill_role(role);
        wait_until("exec works again", || {
            let output = orrery.kubectl_output(&["exec", "hello", "--", "echo", "alive"]);
            output.status.success().then_some(())
        });
    }
    let after = (orrery.started_at("hello"), orrery.machine_pid("demo/hello"), orrery.restarts("hello"));
    assert_eq!(before, after, "the same container, never restarted");
    wait_until("the log goes on", || (orrery.kubectl(&["logs", "hello"]).lines().count() > lines).then_some(()));
}

fn a_killed_control_plane_comes_back(orrery: &Installation) {
    let before = (orrery.pod_uid("hello"), orrery.started_at("hello"), orrery.machine_pid("demo/hello"));
    orrery.kill_role("supervisor-1");
    wait_until("the API answers", || orrery.kubectl_output(&["get", "nodes"]).status.success().then_some(()));
    let after = (orrery.pod_uid("hello"), orrery.started_at("hello"), orrery.machine_pid("demo/hello"));
    assert_eq!(before, after);
    let shim = orrery.shim_pid("demo/hello");
    let restarts = orrery.restarts("hello");
    orrery.kill(shim);
    orrery.wait_restarted("hello", restarts + 1);
}

fn a_pod_is_placed_without_the_manager(orrery: &Installation) {
    orrery.run(&["stop", "manager"]);
    orrery.kubectl_input(&["apply", "-f", "-"], LONELY);
    orrery.kubectl(&["wait", "--for=condition=Ready", "pod/lonely", "--timeout=120s"]);
    let decided = orrery.kubectl(&[
        "get",
        "pod",
        "lonely",
        "-o",
        r"jsonpath={.metadata.annotations.drs\.orrery\.dev/decided-by}",
    ]);
    assert_eq!(decided, "scheduler", "the pod says that the manager was not asked");
    orrery.run(&["start", "manager"]);
    orrery.kill_role("manager");
    wait_until("the inventory answers", || {
        orrery.manager_kubectl_output(&["get", "hosts"]).status.success().then_some(())
    });
}

const LONELY: &str = "
apiVersion: v1
kind: Pod
metadata: {name: lonely}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: localhost/demo/busybox, imagePullPolicy: IfNotPresent, command: [sleep, '3600']}]
";

fn a_role_is_held_down_and_brought_back(orrery: &Installation) {
    orrery.run(&["stop", "host-1/spherelet"]);
    assert_eq!(orrery.role_state("host-1/spherelet"), "stopped");
    orrery.run(&["start", "host-1/spherelet"]);
    assert_eq!(orrery.role_state("host-1/spherelet"), "running");
    let restarts = orrery.restarts("hello");
    orrery.run(&["stop", "host-1", "--power-off"]);
    assert_eq!(orrery.role_state("host-1/hostd"), "stopped");
    orrery.run(&["start", "host-1"]);
    orrery.wait_restarted("hello", restarts + 1);
}

fn a_deleted_pod_leaves_nothing(orrery: &Installation) {
    let before = leftovers::count_taps(orrery);
    orrery.kubectl(&["delete", "pod", "lonely", "web", "--timeout=60s"]);
    wait_until("the machines are gone", || (orrery.machines().len() == 1).then_some(()));
    assert_eq!(leftovers::count_taps(orrery), before - 2);
    let gone = orrery.kubectl_output(&["get", "pod", "web"]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("NotFound"), "{gone:?}");
}

/// The nearest to a reboot: every process killed at once, runtime files gone.
fn a_reboot_loses_nothing(orrery: &Installation) {
    let (uid, restarts) = (orrery.pod_uid("hello"), orrery.restarts("hello"));
    let killed = leftovers::kill_everything(orrery);
    assert!(killed >= 6, "keeper, four roles and a shim at least; {killed} were killed");
    orrery.up();
    assert_eq!(orrery.pod_uid("hello"), uid, "the same pod");
    orrery.wait_restarted("hello", restarts + 1);
}

fn down_leaves_nothing_and_up_brings_the_same_pods_back(orrery: &Installation) {
    let uid = orrery.pod_uid("hello");
    leftovers::kill_keeper(orrery); // down works also without it
    orrery.run(&["down"]);
    leftovers::assert_none(orrery);
    assert!(orrery.state().exists(), "state stays");
    let began = Instant::now();
    orrery.up();
    eprintln!("up from kept state took {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(orrery.pod_uid("hello"), uid, "the same pod");
}
