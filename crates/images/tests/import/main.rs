//! Imports archives made by hand and looks at what comes out.

mod archives;
mod model;
#[path = "../support/mod.rs"]
mod support;

use archives::Item::{Device, Dir, File, HardLink, Plain, Symlink};
use archives::{Item, docker, gzip, layer, oci};
use orrery_images::{Digest, ImageStore, ImportError, LayerError};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use support::{extract, hindrance};

struct Bench {
    directory: tempfile::TempDir,
    store: ImageStore,
}

impl Bench {
    fn new() -> Option<Self> {
        if let Some(why) = hindrance() {
            orrery_testing::skipped(why);
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = ImageStore::open(&directory.path().join("images")).expect("open");
        Some(Self { directory, store })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn import(&self, layers: &[&[Item]]) -> Result<PathBuf, ImportError> {
        let layers: Vec<_> = layers.iter().map(|items| layer(items)).collect();
        oci(&self.path("archive.tar"), "localhost/test:1", &layers, |_| {});
        self.store.import_archive(&self.path("archive.tar"), None, &|_| {})?;
        let image = self.store.resolve("localhost/test:1").expect("it was imported");
        let tree = self.path("tree");
        if tree.exists() {
            fs::remove_dir_all(&tree).expect("remove");
        }
        extract(&image.erofs_path, &tree);
        Ok(tree)
    }

    fn assert_nothing_left(&self) {
        for directory in ["staging", "erofs", "blobs/sha256"] {
            let left = fs::read_dir(self.path("images").join(directory)).expect("read").count();
            assert_eq!(left, 0, "something is left in {directory}");
        }
    }
}

/// Paths below `tree`, with contents or targets.
fn look(tree: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut queue = vec![tree.to_owned()];
    while let Some(directory) = queue.pop() {
        for entry in fs::read_dir(directory).expect("read") {
            let path = entry.expect("read").path();
            let name = path.strip_prefix(tree).expect("below").display().to_string();
            let kind = fs::symlink_metadata(&path).expect("look").file_type();
            if kind.is_dir() {
                found.insert(format!("{name}/"), String::new());
                queue.push(path);
            } else if kind.is_symlink() {
                found.insert(name, format!("-> {}", fs::read_link(&path).expect("read").display()));
            } else {
                found.insert(name, fs::read_to_string(&path).expect("read"));
            }
        }
    }
    found
}

fn names(tree: &Path) -> Vec<String> {
    look(tree).into_keys().collect()
}

#[test]
fn later_layers_replace_and_hide_what_earlier_ones_have() {
    let Some(bench) = Bench::new() else { return };
    let lower: &[Item] =
        &[Dir("d/", 0o755), Plain("d/a"), Plain("d/b"), Dir("d/sub/", 0o755), Plain("d/sub/x"), Plain("f")];
    type Case = (&'static str, &'static [Item], &'static [&'static str]);
    let table: &[Case] = &[
        ("a whiteout hides a file", &[Plain("d/.wh.a")], &["d/", "d/b", "d/sub/", "d/sub/x", "f"]),
        ("a whiteout hides a directory", &[Plain(".wh.d")], &["f"]),
        (
            "a whiteout of nothing is no error",
            &[Plain("no/.wh.x"), Plain("f/.wh.y")],
            &["d/", "d/a", "d/b", "d/sub/", "d/sub/x", "f"],
        ),
        (
            "an opaque directory keeps its own entries, whatever the order",
            &[Plain("d/new"), Plain("d/sub/y"), Plain("d/.wh..wh..opq")],
            &["d/", "d/new", "d/sub/", "d/sub/y", "f"],
        ),
        (
            "a whiteout leaves this layer's entry of the same name",
            &[Plain("d/sub/y"), Plain("d/.wh.sub")],
            &["d/", "d/a", "d/b", "d/sub/", "d/sub/y", "f"],
        ),
        (
            "a whiteout of a new link leaves what it points at",
            &[Symlink("l", "d"), Plain(".wh.l")],
            &["d/", "d/a", "d/b", "d/sub/", "d/sub/x", "f", "l"],
        ),
        ("a file replaces a directory", &[Plain("d")], &["d", "f"]),
        (
            "a directory replaces a file",
            &[Dir("f", 0o755), Plain("f/x")],
            &["d/", "d/a", "d/b", "d/sub/", "d/sub/x", "f/", "f/x"],
        ),
        ("a link replaces a directory", &[Symlink("d", "f")], &["d", "f"]),
        (
            "a directory given again keeps its entries",
            &[Dir("d", 0o700)],
            &["d/", "d/a", "d/b", "d/sub/", "d/sub/x", "f"],
        ),
    ];
    for (what, upper, expected) in table {
        let tree = bench.import(&[lower, upper]).expect(what);
        assert_eq!(names(&tree), *expected, "{what}");
    }
}

#[test]
fn entries_keep_their_kind_owner_mode_and_time() {
    let Some(bench) = Bench::new() else { return };
    let lower: &[Item] = &[
        Dir("./bin/", 0o751),
        File("bin/su", "program", 0o4755, 42),
        HardLink("bin/again", "/bin/su"),
        Symlink("etc", "/usr/etc"),
        Symlink("out", "../../../../etc/passwd"),
        Device("null"),
        Plain("usr/etc/deep/file"),
    ];
    // Written through the link: it leads to usr/etc of the image, as it will in the container.
    let tree = bench.import(&[lower, &[Plain("etc/more")]]).expect("import");
    let found = look(&tree);
    let expected = [
        "bin/",
        "bin/again",
        "bin/su",
        "etc",
        "out",
        "usr/",
        "usr/etc/",
        "usr/etc/deep/",
        "usr/etc/deep/file",
        "usr/etc/more",
    ];
    assert_eq!(found.keys().collect::<Vec<_>>(), expected);
    assert_eq!((found["etc"].as_str(), found["out"].as_str()), ("-> /usr/etc", "-> ../../../../etc/passwd"));
    let look = |path: &str| fs::symlink_metadata(tree.join(path)).expect("look");
    let program = look("bin/su");
    assert_eq!((program.mode() & 0o777, program.uid(), program.mtime()), (0o755, 42, 1_234_567));
    assert_eq!(found["bin/again"], "program");
    assert_eq!((look("bin").mode() & 0o7777, look("bin").mtime()), (0o751, 1_234_567));
    assert_eq!(look("usr").mode() & 0o7777, 0o755);
}

#[test]
fn entries_that_lead_out_of_the_image_are_refused_or_stay_inside() {
    let Some(bench) = Bench::new() else { return };
    let victim = bench.path("victim");
    fs::create_dir(&victim).expect("create");
    fs::write(victim.join("file"), "precious").expect("write");
    // The staging directory has five levels below the bench.
    let refused: &[&[Item]] = &[
        &[Plain("../../../../../victim/file")],
        &[Plain("a/../../x")],
        &[HardLink("x", "../../../../../victim/file")],
        &[HardLink("x", "missing")],
        &[Plain("a/.wh...")],
        &[Symlink("dangling", "nowhere"), Plain("dangling/x")],
        &[Plain("f"), Plain("f/x")],
        &[Symlink("circle", "circle"), Plain("circle/x")],
        &[HardLink("hard", "/")],
    ];
    for (number, items) in refused.iter().enumerate() {
        let outcome = bench.import(&[items]);
        let Err(ImportError::Layer { source, .. }) = outcome else { panic!("case {number}: {outcome:?}") };
        assert!(matches!(source, LayerError::Refused { .. } | LayerError::Create { .. }), "case {number}: {source:?}");
        bench.assert_nothing_left();
    }
    let out: &'static str = Box::leak(victim.display().to_string().into_boxed_str());
    let through_link: &'static str = "link/file";
    // The link's text names a directory of this machine; for the image it is one of its own.
    for items in [
        vec![Symlink("link", out), Plain(through_link)],
        vec![Symlink("link", out), HardLink("x", through_link)],
        vec![Symlink("link", out), Plain("link/.wh.file"), Plain("link/.wh..wh..opq")],
        vec![Symlink("up", "../../../../../../../.."), Plain("up/etc/orrery-escape")],
    ] {
        // Whether it is refused or stays inside, nothing outside changes.
        drop(bench.import(&[&items]));
        assert_eq!(look(&victim), BTreeMap::from([("file".to_owned(), "precious".to_owned())]));
        assert!(!Path::new("/etc/orrery-escape").exists());
    }
}

#[test]
fn damaged_and_strange_archives_are_refused_and_leave_nothing() {
    let Some(bench) = Bench::new() else { return };
    let layers = [layer(&[Plain("a")])];
    let archive = bench.path("archive.tar");
    let import = || bench.store.import_archive(&archive, None, &|_| {});
    let layer_blob = format!("blobs/sha256/{}", Digest::of(&gzip(&layers[0])).hex());

    oci(&archive, "localhost/x:1", &layers, |members| {
        let blob = members.iter_mut().find(|(name, _)| *name == layer_blob).expect("the layer is there");
        blob.1 = gzip(&layer(&[Plain("b")]));
    });
    assert!(matches!(import(), Err(ImportError::Mismatch { .. })));
    oci(&archive, "localhost/x:1", &layers, |members| members.retain(|(name, _)| *name != layer_blob));
    assert!(matches!(import(), Err(ImportError::BadArchive { .. })));
    oci(&archive, "localhost/x:1", &layers, |members| {
        members.iter_mut().filter(|(name, _)| name.starts_with("blobs/")).for_each(|(_, content)| content.push(b' '));
    });
    assert!(matches!(import(), Err(ImportError::Mismatch { .. })));
    oci(&archive, "localhost/x:1", &layers, |members| members.retain(|(name, _)| name == "oci-layout"));
    assert!(matches!(import(), Err(ImportError::UnknownFormat)));
    oci(&archive, "just-a-tag", &layers, |_| {});
    assert!(matches!(import(), Err(ImportError::NoName)));
    oci(&archive, "bad/NAME:1", &layers, |_| {});
    assert!(matches!(import(), Err(ImportError::BadName { .. })));
    fs::write(&archive, "no archive").expect("write");
    assert!(import().is_err());
    bench.assert_nothing_left();
}

#[test]
fn images_are_found_by_name_digest_and_id_and_share_their_file() {
    let Some(bench) = Bench::new() else { return };
    let archive = bench.path("archive.tar");
    let layers = [layer(&[Plain("a")]), layer(&[Plain("b")])];
    let manifest = oci(&archive, "busybox:latest", &layers, |_| {});
    let imported = bench.store.import_archive(&archive, None, &|_| {}).expect("import");
    assert_eq!((imported.len(), imported[0].reference.as_str()), (1, "docker.io/library/busybox:latest"));
    let image = bench.store.resolve("busybox").expect("it is there");
    let by_digest = bench.store.resolve(&format!("busybox@{manifest}"));
    assert_eq!(by_digest.as_ref(), Some(&image));
    assert_eq!(bench.store.resolve(image.id.as_str()).as_ref(), Some(&image));
    assert_eq!(bench.store.resolve(&format!("other@{manifest}")), None);
    assert_eq!(bench.store.resolve("NOT A NAME"), None);
    assert_eq!(image.config.entrypoint, ["/bin/serve"]);
    assert_eq!((image.config.cmd[0].as_str(), image.config.env[0].as_str()), ("--all", "A=b"));
    assert_eq!((image.config.user.as_str(), image.config.working_dir.as_str()), ("7:8", "/srv"));
    assert_eq!((image.config.exposed_ports[0].as_str(), image.config.labels["for"].as_str()), ("80/tcp", "tests"));

    // The same image by another road, in the other format and gzipped as a whole.
    docker(&archive, &["localhost/b:2", "c"], &layers);
    fs::write(&archive, gzip(&fs::read(&archive).expect("read"))).expect("write");
    let again = bench.store.import_archive(&archive, None, &|_| {}).expect("import");
    assert_eq!(again.iter().filter(|image| image.was_present).count(), 2);
    let named = bench.store.import_archive(&archive, Some("mine"), &|_| {}).expect("import");
    assert_eq!(named[0].reference, "docker.io/library/mine:latest");
    let list = bench.store.list().expect("list");
    assert!(list.iter().all(|listed| listed.erofs_path == image.erofs_path));
    let names: Vec<_> = list.iter().map(|listed| listed.reference.as_str()).collect();
    assert_eq!(
        names,
        [
            "docker.io/library/busybox:latest",
            "docker.io/library/c:latest",
            "docker.io/library/mine:latest",
            "localhost/b:2",
        ]
    );

    for (name, left) in [("mine", true), ("busybox", true), ("c", true), ("localhost/b:2", false)] {
        assert!(bench.store.remove(name).expect("remove"));
        assert!(!bench.store.remove(name).expect("remove"));
        assert_eq!(image.erofs_path.exists(), left, "{name}");
    }
    bench.assert_nothing_left();
}

#[test]
fn the_same_archive_gives_the_same_bytes() {
    let Some(bench) = Bench::new() else { return };
    let items: &[Item] = &[Dir("d", 0o755), Plain("d/a"), Plain("b"), Symlink("l", "b")];
    let bytes = |bench: &Bench| {
        bench.import(&[items]).expect("import");
        let image = bench.store.resolve("localhost/test:1").expect("it is there");
        let bytes = fs::read(&image.erofs_path).expect("read");
        assert!(bench.store.remove("localhost/test:1").expect("remove"));
        bytes
    };
    let first = bytes(&bench);
    assert!(first == bytes(&bench));
}

#[test]
fn what_a_killed_import_left_is_swept_and_what_is_at_work_is_not() {
    let Some(bench) = Bench::new() else { return };
    let (stale, busy) = (bench.path("images/staging/import-stale"), bench.path("images/staging/import-busy"));
    for directory in [&stale, &busy] {
        fs::create_dir_all(directory.join("rootfs/deep")).expect("create");
    }
    symlink("/etc", stale.join("rootfs/link")).expect("link");
    let held = fs::File::open(&busy).expect("open");
    held.lock().expect("lock");
    ImageStore::open(&bench.path("images")).expect("open");
    assert!(!stale.exists() && busy.exists() && Path::new("/etc/passwd").exists());
}
