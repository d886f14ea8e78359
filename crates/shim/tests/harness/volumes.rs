//! What holds for volumes of simulated and of real machines alike.

use super::{Client, Shim, Watch, container, mount, process, start, volume, with_mounts};
use orrery_wire::{
    guest::reason as guest_reason,
    shim::MachineStatus,
    volume::{FilePiece, VolumeStep},
};

/// Replaces all files of a volume by one.
async fn publish(client: &mut Client, name: &str, path: &str, data: &str) {
    let piece = FilePiece { path: path.into(), mode: 0o644, user: 0, group: 0, data: data.into() };
    client.done(volume(name, VolumeStep::Stage { first: true, pieces: vec![piece] })).await;
    client.done(volume(name, VolumeStep::Publish)).await;
}

/// A volume's files are there before a container that has it, and what is published last is what is read.
pub async fn files_are_published(shim: &Shim) {
    let (mut client, mut watch) = (shim.client().await, Watch::start(shim.client().await).await);
    let mounts = [mount("config", "/config", "", true)];
    let show = |attempt| with_mounts(start("show", attempt, process(&["cat", "/config/sub/key"])), &mounts);
    let (refusal, text) = client.refused(show(0)).await;
    assert_eq!((refusal.as_str(), text.contains("volume config")), (guest_reason::VOLUME_UNAVAILABLE, true), "{text}");
    for (attempt, word) in [(0, "one"), (1, "two")] {
        publish(&mut client, "config", "sub/key", word).await;
        client.done(show(attempt)).await;
        let ended = |status: &MachineStatus| {
            container(status, "show").is_some_and(|show| show.attempt == attempt && show.exit.is_some())
        };
        watch.until("the file to be shown", ended).await;
        assert!(shim.log(&format!("show/{attempt}.log")).contains(&format!("stdout P {word}")), "{word}");
    }
    let (refusal, _) = client.refused(volume("none", VolumeStep::Publish)).await;
    assert_eq!(refusal, guest_reason::BAD_STATE);
}
