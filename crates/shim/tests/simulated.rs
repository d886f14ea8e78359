//! The shim with a simulated machine: what it promises on its socket.
#![allow(clippy::unwrap_used)] // Helpers of tests, outside of test functions.

mod harness;

use harness::{Client, Shim, Watch, container, exec, process, start, with_stdin};
use orrery_vmm::{Fault, LaunchError, LaunchSpec, Machine, Running, Simulated, Start, Template};
use orrery_wire::{
    guest::reason as guest_reason,
    hello::{Hello, Welcome},
    shim::{MachinePhase, ShimReply, ShimRequest, StreamKind, reason},
};

async fn running() -> (Shim, Client) {
    let shim = Shim::start(Simulated::default()).await;
    let mut client = shim.client().await;
    client.power_on().await;
    (shim, client)
}

fn off(grace_seconds: u32) -> ShimRequest {
    ShimRequest::PowerOff { grace_seconds }
}

fn signal(name: &str, signal: i32) -> ShimRequest {
    ShimRequest::SignalContainer { name: name.into(), signal, all: false }
}

fn attach(name: &str, stdin: bool) -> ShimRequest {
    ShimRequest::Attach { container: name.into(), stdin }
}

#[tokio::test]
async fn a_machine_goes_from_off_over_running_to_off_and_counts_its_boots() {
    let shim = Shim::start(Simulated::default()).await;
    let mut client = shim.client().await;
    let before = client.status().await;
    assert_eq!((before.phase, before.boot, before.last_end), (MachinePhase::Off, 0, None));
    for boot in 1..3 {
        client.power_on().await;
        client.power_on().await;
        let status = client.status().await;
        assert_eq!((status.phase, status.boot), (MachinePhase::Running, boot));
        assert!(status.booted_at > 0);
        assert_eq!(status.last_end.is_none(), boot == 1, "how the last boot ended stays known during the next");
        client.done(off(5)).await;
        client.done(off(5)).await;
        let end = client.status().await.last_end.unwrap();
        assert!(end.requested && end.message.contains("guest-shutdown"), "{end:?}");
    }
}

#[tokio::test]
async fn output_is_logged_in_cri_format_and_the_exit_is_told_after_the_last_line() {
    let (shim, mut client) = running().await;
    let mut watch = Watch::start(shim.client().await).await;
    client.done(start("web", 0, process(&["echo", "hello", "world"]))).await;
    let ended = watch.until_ended("web").await;
    let exit = ended.exit.unwrap();
    assert_eq!((exit.exit.code, exit.machine_ended, ended.boot), (0, false, 1));
    assert_eq!(ended.log_file, "web/0.log");
    let log = shim.log("web/0.log");
    assert!(log.ends_with(" stdout F hello world\n") && log.lines().count() == 1, "{log}");

    client.done(start("web", 1, process(&["err", "oh"]))).await;
    watch.until("the second attempt", |status| container(status, "web").unwrap().attempt == 1).await;
    watch.until_ended("web").await;
    assert!(shim.log("web/1.log").ends_with(" stderr F oh\n"));
}

#[tokio::test]
async fn the_same_attempt_starts_once_and_an_older_one_never() {
    let (_shim, mut client) = running().await;
    client.done(start("web", 1, process(&["sleep"]))).await;
    client.done(start("web", 1, process(&["sleep"]))).await;
    let (refusal, text) = client.refused(start("web", 2, process(&["sleep"]))).await;
    assert_eq!(refusal, guest_reason::BAD_STATE);
    assert!(text.contains("still runs"), "{text}");
    let (refusal, _) = client.refused(start("web", 0, process(&["sleep"]))).await;
    assert_eq!(refusal, guest_reason::BAD_STATE);
}

#[tokio::test]
async fn a_start_that_fails_leaves_the_last_attempt_as_it_was() {
    let (_shim, mut client) = running().await;
    let (refusal, text) = client.refused(start("web", 0, process(&["nothing-like-it"]))).await;
    assert_eq!(refusal, guest_reason::EXECUTABLE_NOT_FOUND);
    assert!(text.contains("nothing-like-it"));
    assert!(client.status().await.containers.is_empty());
    client.done(start("web", 0, process(&["sleep"]))).await;
    let (refusal, _) = client.refused(start("../web", 0, process(&["sleep"]))).await;
    assert_eq!(refusal, guest_reason::BAD_STATE);
}

#[tokio::test]
async fn a_signal_ends_a_container_with_128_and_its_number() {
    let (shim, mut client) = running().await;
    let mut watch = Watch::start(shim.client().await).await;
    client.done(start("web", 0, process(&["sleep"]))).await;
    client.done(signal("web", 15)).await;
    let exit = watch.until_ended("web").await.exit.unwrap().exit;
    assert_eq!((exit.code, exit.signal), (143, Some(15)));
    let (refusal, _) = client.refused(signal("web", 15)).await;
    assert_eq!(refusal, guest_reason::NOT_FOUND);
}

#[tokio::test]
async fn an_exec_has_its_own_streams_and_exit_code() {
    let (shim, mut client) = running().await;
    client.done(start("web", 0, process(&["sleep"]))).await;
    let stream = shim.client().await.stream(exec("web", process(&["exit", "7"]))).await;
    assert_eq!(stream.finish().await.2.code, 7);

    let mut stream = shim.client().await.stream(exec("web", with_stdin(process(&["cat"])))).await;
    stream.send(StreamKind::Stdin, b"to and fro").await;
    stream.send(StreamKind::StdinEnd, b"").await;
    let (stdout, stderr, exit) = stream.finish().await;
    assert_eq!((stdout.as_slice(), stderr.as_slice(), exit.code), (b"to and fro".as_slice(), b"".as_slice(), 0));
    // Nothing of it is in the container's log.
    assert_eq!(shim.log("web/0.log"), "");

    let (refusal, _) = shim.client().await.refused(exec("web", process(&["nothing"]))).await;
    assert_eq!(refusal, guest_reason::EXECUTABLE_NOT_FOUND);
    let (refusal, _) = shim.client().await.refused(exec("other", process(&["cat"]))).await;
    assert_eq!(refusal, guest_reason::NOT_FOUND);
}

#[tokio::test]
async fn a_port_is_reached_until_it_closes_or_is_not_there() {
    let shim = Shim::start(Simulated::default()).await;
    let mut client = shim.client().await;
    let (refusal, _) = client.refused(ShimRequest::Forward { port: 7 }).await;
    assert_eq!(refusal, reason::NOT_RUNNING);
    client.power_on().await;
    shim.client().await.stream(ShimRequest::Forward { port: 7 }).await.echoes(&[7; 300_000]).await;
    let (refusal, _) = client.refused(ShimRequest::Forward { port: 8 }).await;
    assert_eq!(refusal, guest_reason::NOT_CONNECTED);
}

#[tokio::test]
async fn volumes_have_the_files_that_were_published_last() {
    let (shim, _client) = running().await;
    harness::volumes::files_are_published(&shim).await;
}

#[tokio::test]
async fn what_would_never_end_by_itself_ends_with_its_client() {
    let (shim, mut client) = running().await;
    client.done(start("web", 0, process(&["sleep", "1000"]))).await;
    let process = Box::new(process(&["stubborn"]));
    let deaf = ShimRequest::Exec { container: "web".into(), process, bound: true };
    for request in [ShimRequest::Forward { port: 9 }, deaf] {
        begun_and_dropped(&shim, &request).await;
    }
}

/// Begins more of it than can be open at once, each time from a client that goes away.
async fn begun_and_dropped(shim: &Shim, request: &ShimRequest) {
    for number in 0..400 {
        harness::within(&format!("{request:?}, number {number}"), async {
            // The end of those before is noticed a little later.
            loop {
                let mut client = shim.client().await;
                match client.request(request.clone()).await {
                    ShimReply::Streaming => break drop(client),
                    ShimReply::Failed { reason, .. } if reason == guest_reason::BAD_STATE => {
                        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    }
                    other => panic!("{other:?}"),
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_slow_exec_holds_up_nothing_else_and_loses_nothing() {
    const BYTES: usize = 10_000_000;
    let (shim, mut client) = running().await;
    client.done(start("web", 0, process(&["sleep"]))).await;
    // Its output is not read for now. A simulated guest sends only against credit, and the shim ends one that does not.
    let flood = shim.client().await.stream(exec("web", process(&["flood", &BYTES.to_string()]))).await;
    let quick = shim.client().await.stream(exec("web", process(&["echo", "quick"]))).await;
    assert_eq!(quick.finish().await.0, b"quick\n");
    let (stdout, _, exit) = flood.finish().await;
    assert_eq!((stdout.len(), exit.code), (BYTES, 0));
}

#[tokio::test]
async fn input_is_sent_only_against_credit() {
    let (shim, mut client) = running().await;
    client.done(start("web", 0, process(&["sleep"]))).await;
    // It reads nothing: a simulated guest ends when it gets more than its credit.
    let mut deaf = shim.client().await.stream(exec("web", with_stdin(process(&["sleep"])))).await;
    for _ in 0..6 {
        deaf.send(StreamKind::Stdin, &[b'x'; 60_000]).await;
    }
    let mut echo = shim.client().await.stream(exec("web", with_stdin(process(&["cat"])))).await;
    let mut echoed = 0;
    for _ in 0..40 {
        echo.send(StreamKind::Stdin, &[b'y'; 60_000]).await;
        while echoed % 60_000 != 0 || echoed == 0 {
            echoed += echo.next().await.unwrap().payload.len();
        }
        echoed = 0;
    }
    assert_eq!(client.status().await.phase, MachinePhase::Running);
}

#[tokio::test]
async fn an_exec_whose_connection_goes_away_gets_the_end_of_its_input_and_does_not_block() {
    let (shim, mut client) = running().await;
    client.done(start("web", 0, process(&["sleep"]))).await;
    for _ in 0..300 {
        // More of them than streams are allowed at once: each has to end.
        let stream = shim.client().await.stream(exec("web", with_stdin(process(&["cat"])))).await;
        drop(stream);
    }
    let flood = shim.client().await.stream(exec("web", process(&["flood", "3000000"]))).await;
    drop(flood);
    let stream = shim.client().await.stream(exec("web", process(&["echo", "still here"]))).await;
    assert_eq!(stream.finish().await.0, b"still here\n");
}

#[tokio::test]
async fn attached_connections_hear_the_container_and_one_may_speak() {
    let (shim, mut client) = running().await;
    client.done(start("web", 0, with_stdin(process(&["cat"])))).await;
    let mut speaker = shim.client().await.stream(attach("web", true)).await;
    let listener = shim.client().await.stream(attach("web", false)).await;
    let (refusal, text) = shim.client().await.refused(attach("web", true)).await;
    assert_eq!(refusal, guest_reason::BAD_STATE);
    assert!(text.contains("another connection"));
    speaker.send(StreamKind::Stdin, b"one line\n").await;
    assert_eq!(speaker.next().await.unwrap().payload, b"one line\n");
    speaker.send(StreamKind::StdinEnd, b"").await;
    assert_eq!(speaker.finish().await.2.code, 0);
    assert_eq!(listener.finish().await.0, b"one line\n");
    assert!(shim.log("web/0.log").ends_with("stdout F one line\n"));
}

#[tokio::test]
async fn what_runs_when_the_machine_is_powered_off_ends_with_it_and_the_next_boot_starts_empty() {
    let (shim, mut client) = running().await;
    client.done(start("web", 0, process(&["sleep"]))).await;
    client.done(start("job", 0, process(&["echo", "x"]))).await;
    let pending = shim.client().await.stream(exec("web", process(&["sleep"]))).await;
    client.done(off(5)).await;
    assert_eq!(pending.finish().await.2.code, 137);
    let status = client.status().await;
    let web = container(&status, "web").unwrap().exit.unwrap();
    assert_eq!((web.exit.code, web.exit.signal, web.machine_ended), (137, Some(9), true));
    assert!(!container(&status, "job").unwrap().exit.unwrap().machine_ended);
    let (refusal, _) = client.refused(start("web", 1, process(&["sleep"]))).await;
    assert_eq!(refusal, reason::NOT_RUNNING);

    client.power_on().await;
    client.done(start("web", 1, process(&["sleep"]))).await;
    let web = container(&client.status().await, "web").unwrap();
    assert_eq!((web.attempt, web.boot, web.exit), (1, 2, None));
}

#[tokio::test]
async fn a_guest_that_ignores_the_wish_to_power_off_is_ended_after_its_grace() {
    let shim = Shim::start(Simulated::with_fault(Fault::IgnoresPowerOff)).await;
    let mut client = shim.client().await;
    client.power_on().await;
    client.done(off(0)).await;
    let end = client.status().await.last_end.unwrap();
    assert!(end.requested && end.message.contains("host-qmp-quit"), "{end:?}");
}

#[tokio::test]
async fn a_guest_that_breaks_the_protocol_is_killed_with_the_reason() {
    for (fault, words) in [
        (Fault::SendsGarbage, "unknown kind 238"),
        (Fault::SendsOversizedFrame, "longer than the limit"),
        (Fault::IgnoresCredit, "came with credit for"),
        (Fault::InventsStreams, "no running process"),
    ] {
        let shim = Shim::start(Simulated::with_fault(fault)).await;
        let mut client = shim.client().await;
        let mut watch = Watch::start(shim.client().await).await;
        client.power_on().await;
        client.request(start("web", 0, process(&["sleep"]))).await;
        let end = watch.until_off().await.last_end.unwrap();
        assert!(!end.requested && end.message.contains(words), "{fault:?}: {end:?}");
    }
}

#[tokio::test]
async fn a_guest_that_never_becomes_ready_is_reported_to_who_powered_it_on() {
    for (fault, expected, words) in [
        (Fault::DoesNotStart, reason::QEMU_FAILED, "simulated"),
        (Fault::SpeaksNoVersion, reason::GUEST_FAILED, "no version"),
        (Fault::RefusesIdentity, reason::GUEST_FAILED, "simulated"),
    ] {
        let shim = Shim::start(Simulated::with_fault(fault)).await;
        let mut client = shim.client().await;
        let identity = Box::new(harness::identity());
        let (refusal, text) = client.refused(ShimRequest::PowerOn { identity }).await;
        assert_eq!(refusal, expected, "{fault:?}");
        assert!(text.contains(words), "{fault:?}: {text}");
        assert_eq!(client.status().await.phase, MachinePhase::Off);
    }
}

#[tokio::test]
async fn a_machine_that_boots_for_ever_can_be_powered_off() {
    let shim = Shim::start(Simulated::with_fault(Fault::NeverReady)).await;
    let mut booting = shim.client().await;
    booting.send(&ShimRequest::PowerOn { identity: Box::new(harness::identity()) }).await;
    let mut watch = Watch::start(shim.client().await).await;
    watch.until("the boot", |status| status.phase == MachinePhase::Booting).await;
    shim.client().await.done(off(60)).await;
    let reply: ShimReply = booting.receive().await;
    assert!(matches!(reply, ShimReply::Failed { .. }));
}

#[tokio::test]
async fn a_guest_that_dies_by_itself_was_not_asked_to() {
    let shim = Shim::start(Simulated::with_fault(Fault::EndsWhenConfigured)).await;
    let mut watch = Watch::start(shim.client().await).await;
    let mut client = shim.client().await;
    client.request(ShimRequest::PowerOn { identity: Box::new(harness::identity()) }).await;
    let end = watch.until_off().await.last_end.unwrap();
    assert!(!end.requested && end.message.contains("guest-panic"), "{end:?}");
}

#[tokio::test]
async fn a_shim_that_crashes_leaves_what_its_successor_needs() {
    let mut shim = Shim::start(Simulated::default()).await;
    let mut client = shim.client().await;
    client.power_on().await;
    client.done(start("web", 0, process(&["sleep"]))).await;
    shim.crash().await;
    shim.restart(Simulated::default()).await;
    let mut client = shim.client().await;
    let status = client.status().await;
    assert_eq!((status.phase, status.boot), (MachinePhase::Off, 1));
    assert!(!status.last_end.unwrap().requested);
    let exit = container(&client.status().await, "web").unwrap().exit.unwrap();
    assert_eq!((exit.exit.code, exit.machine_ended), (137, true));
    client.power_on().await;
    assert_eq!(client.status().await.boot, 2);
}

#[tokio::test]
async fn a_shim_that_is_told_to_end_powers_off_first_and_cleans_up() {
    let (mut shim, mut client) = running().await;
    let (refusal, _) = client.refused(ShimRequest::Exit).await;
    assert_eq!(refusal, reason::STILL_RUNNING);
    assert!(shim.config.runtime_directory.join("shim.pid").exists());
    shim.stop().await.unwrap();
    assert_eq!(std::fs::read_dir(&shim.config.runtime_directory).unwrap().count(), 0);
    shim.restart(Simulated::default()).await;
    let mut client = shim.client().await;
    assert!(client.status().await.last_end.unwrap().requested);
    client.done(ShimRequest::Exit).await;
    shim.ended().await.unwrap();
}

/// Guests that go on from a template end at once; those that boot are well.
struct BadTemplates;

#[async_trait::async_trait]
impl Machine for BadTemplates {
    async fn launch(&self, spec: LaunchSpec) -> Result<Running, LaunchError> {
        let fault = matches!(spec.start, Start::Clone(_)).then_some(Fault::EndsWhenConfigured);
        fault.map_or_else(Simulated::default, Simulated::with_fault).launch(spec).await
    }
}

#[tokio::test]
async fn a_machine_that_does_not_come_up_from_its_template_boots_the_next_time() {
    let mut shim = Shim::start(BadTemplates).await;
    let template = Template::create(shim.config.machine.memory_bytes).unwrap();
    orrery_shim::make_template(std::sync::Arc::new(Simulated::default()), &shim.config, &template).await.unwrap();
    shim.template = Some(template);
    shim.crash().await;
    shim.restart(BadTemplates).await;
    let mut client = shim.client().await;
    let power_on = || ShimRequest::PowerOn { identity: Box::new(harness::identity()) };
    let (refusal, _) = client.refused(power_on()).await;
    assert_eq!(refusal, reason::QEMU_FAILED);
    client.done(power_on()).await;
    let status = client.status().await;
    assert_eq!((status.phase, status.boot), (MachinePhase::Running, 2));
}

#[tokio::test]
async fn a_second_shim_for_the_same_machine_does_not_start() {
    let shim = Shim::start(Simulated::default()).await;
    let second = orrery_shim::run_with(
        std::sync::Arc::new(Simulated::default()),
        shim.config.clone(),
        None,
        tokio_util::sync::CancellationToken::new(),
    );
    assert!(matches!(second.await, Err(orrery_shim::RunError::AlreadyRunning(_))));
    shim.client().await.status().await;
}

#[tokio::test]
async fn an_unknown_version_is_refused_with_a_way_out() {
    let shim = Shim::start(Simulated::default()).await;
    let mut client = Client::connect(&shim.config.admission.shim_socket).await;
    let hello = Hello { versions: vec![99], role: "test".into(), build: "9".into() };
    let welcome: Welcome = client.ask(&hello).await;
    assert!(matches!(welcome, Welcome::Refused { versions, .. } if versions == [1]));
}
