//! The cache against a script of events.

use super::{watch::Interruption, *};
use futures::stream;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::WatchEvent;
use serde_json::json;
use std::sync::Mutex;

#[derive(Debug, PartialEq)]
struct Note {
    meta: Meta,
    text: String,
}

impl Projected for Note {
    type Object = ConfigMap;
    const PLURAL: &'static str = "configmaps";

    fn project(mut object: ConfigMap) -> Option<Self> {
        let text = object.data.take()?.remove("text")?;
        Some(Self { meta: Meta::take(&mut object.metadata), text })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

fn note(name: &str, text: &str, version: u64, controller: Option<&str>) -> ConfigMap {
    let owners = controller
        .map(|uid| json!([{"apiVersion": "v1", "kind": "Owner", "name": "o", "uid": uid, "controller": true}]));
    serde_json::from_value(json!({
        "metadata": {"namespace": "demo", "name": name, "uid": name, "resourceVersion": version.to_string(),
                     "ownerReferences": owners},
        "data": {"text": text},
    }))
    .unwrap()
}

fn names(list: &[Arc<Note>]) -> Vec<&str> {
    list.iter().map(|note| note.meta.key.name.as_str()).collect()
}

#[tokio::test]
async fn a_cache_tells_changes_and_knows_how_far_it_has_come() {
    let cache = Cache::<Note>::default();
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let to = Arc::clone(&told);
    cache.on_change(move |old, new| {
        let text = |note: Option<&Note>| note.map_or("-".to_owned(), |note| note.text.clone());
        to.lock().unwrap().push(format!("{}>{}", text(old), text(new)));
    });
    cache.replace(
        [note("a", "a1", 3, None), note("b", "b1", 4, None)].into_iter().filter_map(Note::project).collect(),
        Revision(5),
    );
    cache.synced().await;
    let events = [
        WatchEvent::Modified(note("a", "a2", 6, Some("u1"))),
        // Nothing but its version changed: not told, but the cache has come further.
        WatchEvent::Modified(note("a", "a2", 7, Some("u1"))),
        WatchEvent::Added(note("c", "c1", 8, Some("u1"))),
        WatchEvent::Deleted(note("b", "b1", 9, None)),
    ];
    assert!(matches!(cache.take_in_all(stream::iter(events.map(Ok))).await, Interruption::Ended));
    assert_eq!(*told.lock().unwrap(), ["->a1", "->b1", "a1>a2", "->c1", "b1>-"]);
    assert_eq!(cache.revision(), Revision(9));
    assert_eq!(names(&cache.controlled_by(&Uid("u1".into()))), ["a", "c"]);
    assert_eq!(names(&cache.without_controller("demo")), Vec::<&str>::new());
    assert_eq!(names(&cache.in_namespace("demo")), ["a", "c"]);
    assert_eq!(names(&cache.in_namespace("dem")), Vec::<&str>::new());

    told.lock().unwrap().clear();
    cache.replace([note("c", "c1", 8, None)].into_iter().filter_map(Note::project).collect(), Revision(12));
    assert_eq!(*told.lock().unwrap(), ["c1>c1", "a2>-"], "a new list tells only what differs, owners included");
    assert_eq!(cache.revision(), Revision(12));
}

#[tokio::test]
async fn an_object_that_loses_interest_is_removed() {
    let cache = Cache::<Note>::default();
    let mut bare = note("a", "", 2, None);
    bare.data = None;
    let events = [WatchEvent::Added(note("a", "x", 1, None)), WatchEvent::Modified(bare)];
    assert!(matches!(cache.take_in_all(stream::iter(events.map(Ok))).await, Interruption::Ended));
    assert!(cache.all().is_empty());
    assert_eq!(cache.revision(), Revision(2));
}
