//! Guests that send what no guest should: the shim ends them or goes on, answers its clients all the while, and boots the next.
#![allow(clippy::unwrap_used)] // Helpers of tests, outside of test functions.

mod harness;

use harness::{Client, Shim, liar::Liar, process, start, within};
use orrery_wire::{
    frame::{Frame, FrameKind, MAX_PAYLOAD},
    guest::{FromGuest, ProcessExit},
    shim::{MachinePhase, ShimRequest},
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use std::time::Duration;

fn frame(stream: u32, kind: FrameKind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame { stream, kind, payload: payload.to_vec() }.encode_into(&mut bytes);
    bytes
}

fn message(message: &FromGuest) -> Vec<u8> {
    frame(0, FrameKind::Control, &serde_json::to_vec(message).unwrap())
}

/// A machine that runs a container, whose stream is 1.
async fn running() -> (Shim, Client, Liar) {
    let liar = Liar::default();
    let shim = Shim::start(liar.clone()).await;
    let mut client = shim.client().await;
    client.power_on().await;
    client.done(start("web", 0, process(&["sleep"]))).await;
    (shim, client, liar)
}

/// The shim answers at once, ends the machine within its grace, and boots it anew with all that belongs to that.
async fn unharmed(client: &mut Client, boot: u32, what: &str) {
    tokio::time::timeout(Duration::from_secs(20), async {
        client.status().await;
        client.request(ShimRequest::PowerOff { grace_seconds: 1 }).await;
        assert_eq!(client.status().await.phase, MachinePhase::Off, "{what}");
        client.power_on().await;
        client.done(start("web", boot, process(&["sleep"]))).await;
    })
    .await
    .unwrap_or_else(|_| panic!("{what}: the shim hangs"));
}

#[tokio::test]
async fn lies_of_a_guest_harm_no_shim() {
    let exit = ProcessExit { code: 0, signal: None, out_of_memory: false, unix_nanos: u64::MAX, message: None };
    let ended = |stream| message(&FromGuest::Exited { stream, exit: exit.clone() });
    let ready = message(&FromGuest::Ready { version: Some(77), build: "\u{1b}[2J".repeat(5000), uptime_seconds: -1.0 });
    let long = "x".repeat(30_000);
    let credit = |bytes: u32| frame(1, FrameKind::Credit, &bytes.to_le_bytes());
    let lies: [(&str, Vec<u8>); 18] = [
        ("half a header and silence", vec![9, 0, 0]),
        ("half a payload and silence", frame(0, FrameKind::Control, &[b' '; 1000])[..500].to_vec()),
        (
            "a frame that is too long by a byte",
            [&u32::try_from(MAX_PAYLOAD + 1).unwrap().to_le_bytes()[..], &[0; 9]].concat(),
        ),
        ("a frame of four gigabytes", [255; 9].to_vec()),
        ("no JSON", frame(0, FrameKind::Control, b"{{{")),
        ("JSON without bottom", frame(0, FrameKind::Control, &vec![b'['; MAX_PAYLOAD])),
        ("an empty message", frame(0, FrameKind::Control, b"")),
        ("a message on a process's stream", frame(1, FrameKind::Control, b"{}")),
        ("an answer to no request", message(&FromGuest::Done { id: u64::MAX, pid: None })),
        ("a long refusal of no request", message(&FromGuest::Failed { id: 0, reason: long.clone(), message: long })),
        ("the end of no process", ended(4_000_000_000)),
        ("the end of the messages' stream", ended(0)),
        ("an end twice", [ended(1), ended(1)].concat()),
        ("output after the end", [ended(1), frame(1, FrameKind::Stdout, b"still here")].concat()),
        ("another greeting, a thousand times", ready.repeat(1000)),
        ("all the credit there is, twice", [credit(u32::MAX), credit(u32::MAX)].concat()),
        ("credit of three bytes", frame(1, FrameKind::Credit, &[1, 2, 3])),
        ("input", frame(1, FrameKind::Stdin, b"for you")),
    ];
    let (_shim, mut client, liar) = running().await;
    for (boot, (what, lie)) in (1..).zip(lies) {
        liar.say(lie);
        tokio::time::sleep(Duration::from_millis(20)).await;
        unharmed(&mut client, boot, what).await;
    }
}

#[tokio::test]
async fn random_frames_of_a_guest_harm_no_shim() {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..64),
        Just(br#"{"done":{"id":3,"pid":null}}"#.to_vec()),
        Just(br#"{"exited":{"stream":1,"exit":{"code":1,"signal":9,"out_of_memory":true,"unix_nanos":5}}}"#.to_vec()),
        Just(vec![b'\n'; MAX_PAYLOAD]),
    ];
    let one = (0..4u32, 0..7u8, payload, 0..12usize).prop_map(|(stream, kind, payload, cut)| {
        let mut bytes = frame(stream, FrameKind::Control, &payload);
        bytes[8] = kind;
        // Some end early; what follows is then read as their rest.
        if cut == 0 {
            bytes.truncate(bytes.len() / 2);
        }
        bytes
    });
    let many = proptest::collection::vec(one, 1..12).prop_map(|frames| frames.concat());
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let (_shim, mut client, liar) = running().await;
    for boot in 1..60 {
        let lie = many.new_tree(&mut runner).unwrap().current();
        liar.say(lie.clone());
        within("the lie to be heard", tokio::time::sleep(Duration::from_millis(5))).await;
        unharmed(&mut client, boot, &format!("{lie:?}")).await;
    }
}
