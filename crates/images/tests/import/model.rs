//! Random layers against a simple oracle: what is left is what the image format says.

use super::archives::{Item, layer, oci};
use super::support::{extract, hindrance};
use orrery_images::ImageStore;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PATHS: &[&str] = &["a", "b", "a/a", "a/b", "b/a", "a/a/a", "a/a/b", "a/b/a"];
const HIDES: &[(&str, &str)] = &[(".wh.a", "a"), ("a/.wh.a", "a/a"), ("a/.wh.b", "a/b"), ("b/.wh.a", "b/a")];
const OPAQUE: &[(&str, &str)] = &[("a/.wh..wh..opq", "a"), ("a/a/.wh..wh..opq", "a/a"), ("b/.wh..wh..opq", "b")];

/// An entry of a random layer.
#[derive(Debug, Clone, Copy)]
enum Step {
    File(&'static str),
    Dir(&'static str),
    Hide(&'static str, &'static str),
    Opaque(&'static str, &'static str),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::sample::select(PATHS).prop_map(Step::File),
        2 => prop::sample::select(PATHS).prop_map(Step::Dir),
        2 => prop::sample::select(HIDES).prop_map(|(marker, path)| Step::Hide(marker, path)),
        1 => prop::sample::select(OPAQUE).prop_map(|(marker, path)| Step::Opaque(marker, path)),
    ];
    prop::collection::vec(step, 0..8)
}

/// Whether a path is a directory.
type Tree = BTreeMap<String, bool>;

fn below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// The entries above a path, the top first.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(slash, _)| &path[..slash])
}

/// Applies a layer as the format defines it: first all that it hides of the lower layers, then all that it has. None if an
/// entry stands below a file.
fn expected(mut tree: Tree, steps: &[Step]) -> Option<Tree> {
    for step in steps {
        match step {
            Step::Hide(_, hidden) => tree.retain(|path, _| path != hidden && !below(path, hidden)),
            Step::Opaque(_, directory) => tree.retain(|path, _| !below(path, directory)),
            Step::File(_) | Step::Dir(_) => {}
        }
    }
    for step in steps {
        let (path, directory) = match step {
            Step::File(path) => (*path, false),
            Step::Dir(path) => (*path, true),
            Step::Hide(..) | Step::Opaque(..) => continue,
        };
        for parent in above(path) {
            if !*tree.entry(parent.to_owned()).or_insert(true) {
                return None;
            }
        }
        if !directory {
            tree.retain(|other, _| !below(other, path));
        }
        tree.insert(path.to_owned(), directory);
    }
    Some(tree)
}

/// Layers in which the order of entries matters, or that write below a file, have no defined outcome.
fn is_plain(steps: &[Step]) -> bool {
    let mut seen = BTreeSet::new();
    let mut files = BTreeSet::new();
    steps.iter().all(|step| match step {
        Step::File(path) => files.insert(*path) && seen.insert(*path),
        Step::Dir(path) => seen.insert(*path),
        Step::Hide(..) | Step::Opaque(..) => true,
    }) && seen.iter().all(|path| above(path).all(|parent| !files.contains(parent)))
}

fn markers_first(steps: Vec<Step>) -> Vec<Step> {
    let (markers, rest): (Vec<_>, Vec<_>) =
        steps.into_iter().partition(|step| matches!(step, Step::Hide(..) | Step::Opaque(..)));
    markers.into_iter().chain(rest).collect()
}

fn look(top: &Path, directory: &str, tree: &mut Tree) {
    for entry in std::fs::read_dir(top.join(directory)).expect("read") {
        let entry = entry.expect("read");
        let name = entry.file_name().into_string().expect("text");
        let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
        let is_directory = entry.file_type().expect("a type").is_dir();
        if is_directory {
            look(top, &path, tree);
        }
        tree.insert(path, is_directory);
    }
}

fn imported(layers: &[Vec<Step>]) -> Option<Tree> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let layers: Vec<_> = layers
        .iter()
        .map(|steps| {
            let items = steps.iter().map(|step| match *step {
                Step::File(path) | Step::Hide(path, _) | Step::Opaque(path, _) => Item::Plain(path),
                Step::Dir(path) => Item::Dir(path, 0o755),
            });
            layer(&items.collect::<Vec<_>>())
        })
        .collect();
    let archive = directory.path().join("archive.tar");
    oci(&archive, "localhost/test:1", &layers, |_| {});
    let store = ImageStore::open(&directory.path().join("images")).expect("open");
    store.import_archive(&archive, None, &|_| {}).ok()?;
    let top = directory.path().join("tree");
    extract(&store.resolve("localhost/test:1").expect("it was imported").erofs_path, &top);
    let mut tree = Tree::new();
    look(&top, "", &mut tree);
    Some(tree)
}

#[test]
fn random_layers_leave_what_the_format_says() {
    if let Some(why) = hindrance() {
        orrery_testing::skipped(why);
        return;
    }
    let layers = prop::collection::vec(steps().prop_filter("order would matter", |steps| is_plain(steps)), 1..4);
    let mut runner = TestRunner::new(Config { cases: 96, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&layers, |layers| {
        let oracle = layers.iter().try_fold(Tree::new(), |tree, steps| expected(tree, steps));
        let mut outcome = imported(&layers);
        if outcome.is_none() && oracle.is_some() {
            // Refused, since an entry stands below a file that is hidden only later in the layer. Written in the usual
            // order, hiding first, it is accepted.
            outcome = imported(&layers.into_iter().map(markers_first).collect::<Vec<_>>());
        }
        prop_assert_eq!(outcome, oracle);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
