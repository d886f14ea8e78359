//! What stays in the store and what goes: tags that move, images that nobody uses, credentials that are remembered.

use crate::archives::Item::Plain;
use crate::archives::{layer, oci};
use crate::content::Content;
use crate::fake::Fake;
use crate::{Bench, plain, robot};
use orrery_images::registry::{CollectionSettings, Keyring};
use orrery_images::{Digest, ImageStore};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// A registry whose tag can be moved.
fn movable(first: &Content) -> (Fake, Arc<Mutex<Content>>) {
    let content = Arc::new(Mutex::new(first.clone()));
    let served = content.clone();
    (Fake::start(move |asked| served.lock().expect("no panic holds it").answer(asked)), content)
}

#[tokio::test]
async fn an_image_whose_tag_moves_on_is_still_found_by_its_digest() {
    let Some(bench) = Bench::new() else { return };
    let (one, two) = (Content::new(&[&[Plain("one")]]), Content::new(&[&[Plain("two")]]));
    let (fake, content) = movable(&one);
    let (settings, name) = (plain(&fake.host), format!("{}/app:1", fake.host));
    bench.pull(&settings, &name, &Keyring::default()).await.expect("pulled");
    let before = bench.store.resolve(&name).expect("there");
    *content.lock().expect("no panic holds it") = two.clone();
    bench.pull(&settings, &name, &Keyring::default()).await.expect("pulled");
    assert_eq!(bench.store.resolve(&name).expect("there").id, two.config);
    assert_eq!(bench.store.resolve(&before.pinned()).expect("kept").id, one.config);
    let names: Vec<_> = bench.store.list().expect("list").into_iter().map(|image| image.reference).collect();
    assert_eq!(names, [name, before.pinned()]);
}

#[tokio::test]
async fn a_registry_cannot_call_anothers_private_image_its_own() {
    let Some(bench) = Bench::new() else { return };
    let content = Content::new(&[&[Plain("private")]]);
    let (owner, _) = movable(&content);
    let mut claim = content.clone();
    claim.blobs.retain(|digest, _| *digest == content.config);
    let (other, claimed) = movable(&claim);
    let settings = format!("{}{}", plain(&owner.host), plain(&other.host));
    let (private, mine) = (format!("{}/app", owner.host), format!("{}/mine", other.host));
    bench.pull(&settings, &private, &robot(&owner.host, "secret")).await.expect("pulled");
    bench.pull(&settings, &mine, &Keyring::default()).await.expect_err("it does not have the layers");
    assert!(bench.store.resolve(&mine).is_none());
    // One that has them may give them.
    *claimed.lock().expect("no panic holds it") = content.clone();
    let pulled = bench.pull(&settings, &mine, &Keyring::default()).await.expect("pulled");
    assert!(!pulled.was_present && bench.store.resolve(&mine).expect("there").access.allows(&[]));
    assert!(!bench.store.resolve(&private).expect("there").access.allows(&[]));
}

fn unused_since(root: &Path, id: &Digest, hours: u64) {
    let blob = File::options().write(true).open(root.join("blobs/sha256").join(id.hex())).expect("open");
    blob.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).expect("set");
}

#[tokio::test]
async fn what_nobody_uses_goes_and_what_is_used_or_was_imported_stays() {
    let Some(bench) = Bench::new() else { return };
    let contents = ["used", "old", "young"].map(|name| Content::new(&[&[Plain(name)]]));
    let (fake, served) = movable(&contents[0]);
    for (name, content) in ["used", "old", "young"].into_iter().zip(&contents) {
        *served.lock().expect("no panic holds it") = content.clone();
        let name = format!("{}/{name}", fake.host);
        bench.pull(&plain(&fake.host), &name, &Keyring::default()).await.expect("pulled");
    }
    let archive = bench.path("archive.tar");
    oci(&archive, "localhost/imported:1", &[layer(&[Plain("imported")])], |_| {});
    bench.store.import_archive(&archive, None, &|_| {}).expect("imported");
    let imported = bench.store.resolve("localhost/imported:1").expect("there").id;
    let root = bench.path("images");
    for id in [&contents[0].config, &contents[1].config, &imported] {
        unused_since(&root, id, 30);
    }
    unused_since(&root, &contents[2].config, 2);
    let settings = CollectionSettings {
        // Never by the disk, whatever it is that the test runs on.
        high_percent: 100,
        max_unused: Some(Duration::from_secs(24 * 3600)),
        ..CollectionSettings::default()
    };
    let used = bench.store.resolve(&format!("{}/used", fake.host)).expect("there");
    let in_use = BTreeSet::from([bench.store.image_of(&used.erofs_path).expect("it is in the store")]);
    assert_eq!(in_use, BTreeSet::from([contents[0].config.clone()]));
    let removed = bench.store.collect(&settings, &in_use).expect("collected");
    assert_eq!(removed.iter().map(|gone| &gone.id).collect::<Vec<_>>(), [&contents[1].config]);
    assert_eq!(removed[0].names, [format!("{}/old:latest", fake.host)]);
    assert!(bench.store.resolve(&format!("{}/old", fake.host)).is_none());
    // What was in use has been used until now.
    assert!(bench.store.collect(&settings, &BTreeSet::new()).expect("collected").is_empty());
    let asked = CollectionSettings { max_unused: Some(Duration::from_secs(3600)), ..settings };
    let removed: Vec<_> = bench.store.prune(&asked, &BTreeSet::new()).expect("pruned");
    let ids: BTreeSet<_> = removed.into_iter().map(|gone| gone.id).collect();
    assert_eq!(ids, BTreeSet::from([imported, contents[2].config.clone()]), "by hand, also what was imported");
    // A removal that was broken off after the names leaves files without one, which go with the next.
    std::fs::remove_file(root.join("index.json")).expect("remove");
    unused_since(&root, &contents[0].config, 30);
    assert_eq!(bench.store.collect(&settings, &BTreeSet::new()).expect("collected").len(), 1);
    for directory in ["erofs", "blobs/sha256"] {
        assert_eq!(std::fs::read_dir(root.join(directory)).expect("read").count(), 0, "{directory}");
    }
    ImageStore::open(&root).expect("open");
}
