//! Registries that are slow, wrong, lie about sizes, vanish, lead elsewhere; disks that are full; images that are traps.

use crate::archives::{Item, gzip, layer};
use crate::content::{Content, MANIFEST};
use crate::fake::{Asked, Fake, Reply, Then};
use crate::{Bench, chain, plain, robot, two_layers};
use orrery_images::registry::{Keyring, PullError};
use orrery_images::{Digest, ImageStore};
use std::fs;
use std::time::{Duration, Instant};

/// A file with content that does not compress, so that a layer takes several pieces.
const NOISE: &str = "noise";

/// An image with one layer of `bytes` bytes, as it is.
fn large(bytes: usize) -> Content {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = header(bytes as u64);
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(bytes)
    .collect();
    archive.append_data(&mut header, NOISE, &noise[..]).expect("memory takes it");
    let layer = archive.into_inner().expect("memory takes it");
    Content::of(std::slice::from_ref(&layer), std::slice::from_ref(&layer))
}

/// Of a file, but for its name.
fn header(bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn is_layer(content: &Content, asked: &Asked) -> bool {
    content.layers.iter().any(|layer| asked.path.ends_with(layer.as_str()))
}

/// Serves `content` but for its layers, which `answer` gives.
fn layers_by(content: &Content, answer: impl Fn(&Asked, Reply) -> Reply + Send + Sync + 'static) -> Fake {
    let content = content.clone();
    Fake::start(move |asked| {
        let honest = content.answer(asked);
        if is_layer(&content, asked) { answer(asked, honest) } else { honest }
    })
}

/// Pulls from `fake` and expects the failure to be told with `word`, and nothing to be left.
async fn refused(bench: &Bench, fake: &Fake, settings: &str, word: &str) -> PullError {
    let settings = format!("{settings}\n{}", plain(&fake.host));
    let outcome = bench.pull(&settings, &format!("{}/app", fake.host), &Keyring::default()).await;
    let error = outcome.expect_err(word);
    assert!(chain(&error).contains(word), "expected {word:?}: {}", chain(&error));
    bench.assert_nothing_left();
    error
}

async fn pulled(bench: &Bench, fake: &Fake, settings: &str) {
    let settings = format!("{settings}\n{}", plain(&fake.host));
    bench.pull(&settings, &format!("{}/app", fake.host), &Keyring::default()).await.expect("pulled");
}

#[tokio::test]
async fn a_registry_may_take_its_time_but_not_be_silent() {
    let Some(bench) = Bench::new() else { return };
    let content = large(500);
    let slow = layers_by(&content, |_, mut honest| {
        honest.then = Then::Slowly(Duration::from_millis(400));
        honest
    });
    let began = Instant::now();
    pulled(&bench, &slow, "idle_timeout_seconds = 1").await;
    assert!(began.elapsed() > Duration::from_secs(1), "longer than it may be silent");
    bench.store.remove(&format!("{}/app", slow.host)).expect("removed");
    let silent = layers_by(&content, |_, mut honest| {
        honest.body.truncate(10);
        honest.then = Then::Silence;
        honest
    });
    refused(&bench, &silent, "idle_timeout_seconds = 1", "sent nothing for 1 s while its answer came").await;
    let mute = Fake::start(|_| Reply { length: Some(5), then: Then::Silence, ..Reply::new(200, b"") });
    refused(&bench, &mute, "idle_timeout_seconds = 1", "sent nothing for 1 s").await;
}

#[tokio::test]
async fn what_is_not_what_the_manifest_names_is_refused() {
    let Some(bench) = Bench::new() else { return };
    let content = two_layers();
    let other = layers_by(&content, |_, mut honest| {
        honest.body[20] ^= 1;
        honest
    });
    refused(&bench, &other, "", "is damaged or false").await;
    let longer = layers_by(&content, |_, honest| Reply::new(200, &[honest.body, vec![0]].concat()));
    refused(&bench, &longer, "", "bytes were announced").await;
    let endless = layers_by(&content, |_, honest| Reply { length: None, then: Then::Endless, ..honest });
    refused(&bench, &endless, "", "more came").await;
    assert!(endless.asked().iter().all(|asked| asked.before == 0), "what lied is not asked again");
    // The manifest lies about a size, or is not what the tag's digest says.
    for (lie, word) in [("\"size\":1,", "bytes were announced"), ("", "has no size")] {
        let mut false_size = content.clone();
        let (_, manifest) = false_size.manifests.values().find(|(kind, _)| *kind == MANIFEST).expect("one").clone();
        let mut value: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
        for layer in value["layers"].as_array_mut().expect("a list") {
            layer.as_object_mut().expect("an object").remove("size");
            if !lie.is_empty() {
                layer["size"] = 1.into();
            }
        }
        false_size.index(value.to_string().into_bytes());
        refused(&bench, &Fake::start(move |asked| false_size.answer(asked)), "", word).await;
    }
    let swapped = content.clone();
    let swapped = Fake::start(move |asked| {
        let mut reply = swapped.answer(asked);
        if asked.path.ends_with("/latest") {
            reply.body.push(b' ');
            reply.length = Some(reply.body.len());
        }
        reply
    });
    refused(&bench, &swapped, "", "is damaged or false").await;
    let long = Fake::start(|_| Reply { length: None, then: Then::Endless, ..Reply::new(200, &[b' '; 4096]) });
    refused(&bench, &long, "", "is longer than").await;
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let Some(bench) = Bench::new() else { return };
    let content = large(100_000);
    let cut = |mut honest: Reply, at: usize| {
        honest.body.truncate(at);
        honest
    };
    let vanishing =
        layers_by(&content, move |asked, honest| if asked.before < 2 { cut(honest, 40_000) } else { honest });
    pulled(&bench, &vanishing, "").await;
    let ranges: Vec<_> = vanishing.asked().into_iter().filter_map(|asked| asked.range).collect();
    assert_eq!(ranges, ["bytes=40000-", "bytes=80000-"]);
    bench.store.remove(&format!("{}/app", vanishing.host)).expect("removed");
    // One that does not know ranges begins anew, and is read anew.
    let whole = content.clone();
    let forgetful = layers_by(&content, move |asked, _| {
        let honest = whole.answer(&Asked { range: None, ..asked.clone() });
        if asked.before == 0 { cut(honest, 40_000) } else { honest }
    });
    pulled(&bench, &forgetful, "").await;
    bench.store.remove(&format!("{}/app", forgetful.host)).expect("removed");
    let gone = layers_by(&content, move |_, honest| cut(honest, 0));
    refused(&bench, &gone, "", "broke off").await;
}

#[tokio::test]
async fn refusals_and_failures_are_told_apart_and_what_may_pass_is_tried_again() {
    let Some(bench) = Bench::new() else { return };
    let content = two_layers();
    for (status, word, tries) in [
        (401, "(401): credentials are needed", 1),
        (403, "(403)", 1),
        (404, "(404)", 1),
        (418, "answers 418", 1),
        (429, "answers 429", 3),
        (503, "answers 503", 3),
    ] {
        let fake = Fake::start(move |_| Reply::new(status, b"<html>no JSON</html>"));
        refused(&bench, &fake, "", word).await;
        assert_eq!(fake.asked().len(), tries, "{status}");
    }
    let patient = content.clone();
    let patient = Fake::start(move |asked| match asked.before {
        0 => Reply::new(429, b"").with("Retry-After", "1"),
        _ => patient.answer(asked),
    });
    pulled(&bench, &patient, "").await;
    bench.store.remove(&format!("{}/app", patient.host)).expect("removed");
    let busy = Fake::start(|_| Reply::new(429, b"").with("Retry-After", "3600"));
    refused(&bench, &busy, "", "answers 429").await;
    assert_eq!(busy.asked().len(), 1, "it asked to be left alone");
    // The words of a registry are shown, but cannot play with a terminal.
    let rude = Fake::start(|_| Reply::new(403, b"{\"errors\":[{\"message\":\"a\\u001b[31mb\"}]}"));
    let error = refused(&bench, &rude, "", "(403): a [31mb").await;
    assert!(!chain(&error).contains('\u{1b}'));
}

#[tokio::test]
async fn credentials_are_shown_to_the_registry_and_to_nobody_it_leads_to() {
    let Some(bench) = Bench::new() else { return };
    let content = two_layers();
    let elsewhere = content.clone();
    let elsewhere = Fake::start(move |asked| elsewhere.answer(asked));
    let (target, honest) = (elsewhere.host.clone(), content.clone());
    let leading = Fake::start(move |asked| {
        if asked.authorization.is_none() {
            return Reply::new(401, b"").with("WWW-Authenticate", "Basic realm=\"test\"");
        }
        if is_layer(&honest, asked) {
            return Reply::new(307, b"").with("Location", format!("http://{target}{}", asked.path));
        }
        honest.answer(asked)
    });
    let name = format!("{}/app", leading.host);
    bench.pull(&plain(&leading.host), &name, &robot(&leading.host, "secret")).await.expect("pulled");
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|asked| asked.authorization.is_none()), "{asked:?}");
    bench.store.remove(&name).expect("removed");
    let round = Fake::start(|asked| Reply::new(302, b"").with("Location", asked.path.clone()));
    refused(&bench, &round, "", "redirects more than").await;
    for (location, word) in [("ftp://x/", "not secure"), ("http://a@b/", "it names"), ("http://[", "redirects to")] {
        let strange = Fake::start(move |_| Reply::new(302, b"").with("Location", location));
        refused(&bench, &strange, "", word).await;
    }
}

#[tokio::test]
async fn images_that_are_traps_are_refused() {
    let Some(bench) = Bench::new() else { return };
    // Unpacked it has another content than its configuration says.
    let other = Content::of(&[layer(&[Item::Plain("a")])], &[gzip(&layer(&[Item::Plain("b")]))]);
    refused(&bench, &Fake::start(move |asked| other.answer(asked)), "", "is damaged").await;
    // It leads out of its directory.
    let out = Content::new(&[&[Item::Plain("../../out")]]);
    refused(&bench, &Fake::start(move |asked| out.answer(asked)), "", "leads out of the image").await;
    // A few kilobytes that unpack to more than is allowed.
    let bomb = bomb(2 << 30);
    assert!(bomb.blobs.values().all(|blob| blob.len() < 20 << 20));
    refused(&bench, &Fake::start(move |asked| bomb.answer(asked)), "max_image_gib = 1", "the image is too large").await;
    // More is announced than is allowed: nothing is asked for.
    let mut large = two_layers();
    let manifest = large.manifests.values().find(|(kind, _)| *kind == MANIFEST).expect("one").1.clone();
    let mut value: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    value["layers"][0]["size"] = (2_u64 << 30).into();
    large.index(value.to_string().into_bytes());
    let fake = Fake::start(move |asked| large.answer(asked));
    refused(&bench, &fake, "max_image_gib = 1", "max_image_gib").await;
    // Not an image at all.
    let chart = Fake::start(|_| Reply::new(200, b"{\"schemaVersion\":1}"));
    refused(&bench, &chart, "", "cannot understand the manifest").await;
}

/// An image with one file of `bytes` zeros, which takes a thousandth of that compressed.
fn bomb(bytes: u64) -> Content {
    use std::io::Write as _;
    let mut header = header(bytes);
    header.set_path("zeros").expect("short");
    header.set_cksum();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(header.as_bytes()).expect("memory takes it");
    // The content's digest is never reached.
    let zeros = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        packed.write_all(&zeros).expect("memory takes it");
    }
    Content::of(&[Vec::new()], &[packed.finish().expect("memory takes it")])
}

/// A small file system in memory, taken away in the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = std::process::Command::new("mount");
        command.args(["-t", "tmpfs", "-o", size, "orrery-test"]).arg(directory.path());
        command.status().is_ok_and(|status| status.success()).then(|| Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_fails_the_pull_and_keeps_nothing() {
    let Some(mut bench) = Bench::new() else { return };
    let Some(disk) = SmallDisk::mount("size=3m") else {
        return orrery_testing::skipped("tmpfs cannot be mounted");
    };
    let root = disk.0.path().join("images");
    bench.store = ImageStore::open(&root).expect("open");
    let assert_nothing = || {
        for directory in ["staging", "erofs", "blobs/sha256"] {
            assert_eq!(
                fs::read_dir(root.join(directory)).expect("read").count(),
                0,
                "something is left in {directory}"
            );
        }
    };
    // Announced honestly it is refused before; packed small it fills the disk when it is unpacked; and the disk may be
    // filled by somebody else meanwhile.
    let filler = disk.0.path().join("filler");
    let honest = large(5 << 20);
    let honest = Fake::start(move |asked| honest.answer(asked));
    let packed = bomb(16 << 20);
    let packed = Fake::start(move |asked| packed.answer(asked));
    let raced = large(2 << 20);
    let raced = layers_by(&raced, move |_, honest| {
        fs::write(&filler, vec![0; 2 << 20]).expect("there is room");
        honest
    });
    for (fake, word) in [(&honest, "free: remove images"), (&packed, "No space left"), (&raced, "No space left")] {
        let outcome = bench.pull(&plain(&fake.host), &format!("{}/app", fake.host), &Keyring::default()).await;
        let error = outcome.expect_err(word);
        assert!(chain(&error).contains(word), "expected {word:?}: {}", chain(&error));
        assert_nothing();
    }
}

#[tokio::test]
async fn a_pull_that_is_given_up_or_killed_leaves_nothing_that_stays() {
    let Some(bench) = Bench::new() else { return };
    let silent = layers_by(&two_layers(), |_, mut honest| {
        honest.body.truncate(10);
        honest.then = Then::Silence;
        honest
    });
    let (settings, name) = (plain(&silent.host), format!("{}/app", silent.host));
    let given_up =
        tokio::time::timeout(Duration::from_secs(1), bench.pull(&settings, &name, &Keyring::default())).await;
    assert!(given_up.is_err(), "it waits for the registry");
    bench.assert_nothing_left();
    // What a process leaves that was killed: a staging directory that nobody holds.
    let left = bench.path("images/staging/import-killed/blobs/sha256");
    fs::create_dir_all(&left).expect("make");
    fs::write(left.join(Digest::of(b"half").hex()), b"ha").expect("write");
    ImageStore::open(&bench.path("images")).expect("open");
    bench.assert_nothing_left();
}
