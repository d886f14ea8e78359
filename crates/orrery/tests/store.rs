//! `orrery store`, as an administrator runs it, on a store that this test has open or not.

use orrery_store::{Embedded, EmbeddedOptions, Op, Store, Txn};
use std::path::{Path, PathBuf};
use std::process::Output;

struct State(tempfile::TempDir);

impl State {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    async fn open(&self) -> Embedded {
        let path = self.path("supervisors/supervisor-1/store.db");
        Embedded::open(&path, EmbeddedOptions::default()).await.expect("open")
    }

    /// Runs `orrery store` beside this runtime, which has to answer it.
    async fn orrery(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_orrery"));
        command.arg("--state").arg(self.0.path()).arg("store").args(arguments);
        command.output().await.expect("orrery runs")
    }

    async fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.orrery(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn fails(&self, arguments: &[&str]) -> (String, String) {
        let output = self.orrery(arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    }
}

async fn put(store: &Embedded, key: &str, value: &str) {
    let op = Op::Put { key: key.into(), value: value.to_owned().into(), ttl: None };
    store.txn(Txn { compare: Vec::new(), ops: vec![op] }).await.expect("write");
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn a_running_store_is_counted_and_backed_up_and_the_rest_is_refused_with_what_helps() {
    let state = State::new();
    let (_, error) = state.fails(&["stats"]).await;
    assert!(error.contains("no store on this machine yet"), "{error}");
    let store = state.open().await;
    put(&store, "/registry/pods/demo/hello", "1").await;
    let stats = json(&state.succeeds(&["stats", "-o", "json"]).await);
    assert_eq!(
        (&stats["store"], &stats["objects"], &stats["historyChanges"]),
        (&"supervisor-1".into(), &1.into(), &1.into())
    );
    assert!(state.succeeds(&["stats"]).await.contains("/registry/pods/"));
    let copy = text(&state.path("copy.db"));
    assert!(state.succeeds(&["backup", "supervisor-1", &copy]).await.contains("1 objects at revision 1"));
    let (_, error) = state.fails(&["backup", "supervisor-1", &copy]).await;
    assert!(error.contains("is there already"), "{error}");
    for arguments in [vec!["check"], vec!["check", "supervisor-1"], vec!["restore", "supervisor-1", &copy]] {
        let (_, error) = state.fails(&arguments).await;
        assert!(error.contains("orrery stop supervisor-1"), "{arguments:?}: {error}");
    }
    assert!(state.succeeds(&["check", &copy]).await.contains("sound, 1 objects at revision 1"));
    assert_eq!(json(&state.succeeds(&["compact", "supervisor-1", "-o", "json"]).await)["compacted"], 1);
    store.close().await;
}

#[tokio::test]
async fn a_stopped_store_is_checked_compacted_and_restored() {
    let state = State::new();
    let store = state.open().await;
    put(&store, "/a", "before").await;
    store.close().await;
    let copy = text(&state.path("copy.db"));
    state.succeeds(&["backup", "supervisor-1", &copy]).await;
    let store = state.open().await;
    put(&store, "/a", "after").await;
    store.close().await;
    assert!(state.succeeds(&["check"]).await.contains("supervisor-1: sound"));
    assert!(state.succeeds(&["compact", "supervisor-1"]).await.contains("became"));
    let restored = json(&state.succeeds(&["restore", "supervisor-1", &copy, "-o", "json"]).await);
    assert_eq!(restored["backupRevision"], 1);
    let store = state.open().await;
    assert_eq!(store.get("/a").await.expect("get").expect("it is there").value, "before");
    assert!(store.current_revision().await.expect("revision").0 > 1_000_000_000);
    store.close().await;
}

#[tokio::test]
async fn damage_is_told_with_what_to_do_and_the_exit_code() {
    let state = State::new();
    let store = state.open().await;
    put(&store, "/a", &"x".repeat(1000)).await;
    store.close().await;
    let path = state.path("supervisors/supervisor-1/store.db");
    let mut bytes = std::fs::read(&path).expect("read");
    bytes.chunk_by_mut(|one, other| one == other).filter(|run| run.len() > 400 && run[0] == b'x').for_each(|run| {
        run[0] = b'y';
    });
    std::fs::write(&path, bytes).expect("write");
    let (told, error) = state.fails(&["check"]).await;
    assert!(told.contains("supervisor-1: damaged") && told.contains("does not match its checksum"), "{told}");
    assert!(told.contains("what to do: ") && error.contains("supervisor-1 is damaged"), "{told}{error}");
    let (_, error) = state.fails(&["backup", "supervisor-1", &text(&state.path("copy.db"))]).await;
    assert!(error.contains("orrery store restore"), "{error}");
    let (_, error) = state.fails(&["stats", "Nonsense Name"]).await;
    assert!(error.contains("neither `manager`"), "{error}");
}
