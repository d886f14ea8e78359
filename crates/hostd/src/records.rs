//! The host's memory on disk, under its state directory:
//!
//! ```text
//!   ledger.json                 where the search for addresses goes on
//!   machines/UUID/intent.json   the machine's intent
//!   machines/UUID/...           what others keep for the machine; goes with it
//! ```
//!
//! Files are replaced whole: written beside, synced, renamed, and the directory synced.

use crate::{
    config::Layout,
    effects::{EffectError, Loaded, Records, failed},
    intent::{INTENT_VERSION, Intent},
};
use async_trait::async_trait;
use orrery_api::names::MachineId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs,
    io::{self, Write},
    net::Ipv4Addr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The version of `ledger.json` that is written.
const LEDGER_VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct LedgerRecord {
    version: u32,
    next_address: Ipv4Addr,
}

/// What every record begins with; the rest is read only when the version is known.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error("it was written by another version of the host agent (format {found}, this one reads {known})")]
    Version { found: u32, known: u32 },
    #[error("it is malformed")]
    Json(#[from] serde_json::Error),
    #[error("it is of machine {0}, whose directory this is not")]
    OtherMachine(MachineId),
}

/// The records in a state directory.
#[derive(Debug, Clone)]
pub(crate) struct DiskRecords {
    layout: Layout,
}

impl DiskRecords {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout }
    }

    fn load_now(&self) -> Result<Loaded, EffectError> {
        let mut loaded = Loaded::default();
        for id in machine_directories(&self.layout.machines())? {
            let path = self.layout.intent(id);
            let Some(bytes) = read_if_there(&path)? else {
                loaded.orphans.push(id);
                continue;
            };
            let intent = parse::<Intent>(&bytes, INTENT_VERSION)
                .and_then(
                    |intent| if intent.place() == id { Ok(intent) } else { Err(RecordError::OtherMachine(intent.id)) },
                )
                .map_err(failed(format!("read {}", path.display())))?;
            loaded.intents.push(intent);
        }
        if let Some(bytes) = read_if_there(&self.layout.ledger())? {
            let record: LedgerRecord =
                parse(&bytes, LEDGER_VERSION).map_err(failed(format!("read {}", self.layout.ledger().display())))?;
            loaded.next_address = Some(record.next_address);
        }
        Ok(loaded)
    }

    fn remove_now(&self, id: MachineId) -> io::Result<()> {
        let directory = self.layout.machine(id);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let intent = self.layout.intent(id);
        for entry in entries {
            let entry = entry?;
            if entry.path() == intent {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        match fs::remove_file(&intent) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        fs::remove_dir(&directory)?;
        sync_directory(&self.layout.machines())
    }
}

#[async_trait]
impl Records for DiskRecords {
    async fn load(&self) -> Result<Loaded, EffectError> {
        let this = self.clone();
        blocking(move || this.load_now()).await
    }

    async fn save_next_address(&self, next: Ipv4Addr) -> Result<(), EffectError> {
        let path = self.layout.ledger();
        let record = LedgerRecord { version: LEDGER_VERSION, next_address: next };
        blocking(move || write_json(&path, &record)).await
    }

    async fn save(&self, intent: &Intent) -> Result<(), EffectError> {
        let (path, machines, intent) = (self.layout.intent(intent.place()), self.layout.machines(), intent.clone());
        let directory = self.layout.machine(intent.place());
        blocking(move || {
            fs::create_dir_all(&directory).map_err(failed(format!("make {}", directory.display())))?;
            sync_directory(&machines).map_err(failed(format!("sync {}", machines.display())))?;
            write_json(&path, &intent)
        })
        .await
    }

    async fn remove(&self, id: MachineId) -> Result<(), EffectError> {
        let this = self.clone();
        blocking(move || this.remove_now(id).map_err(failed(format!("remove the files of machine {id}")))).await
    }
}

/// Runs file operations away from the runtime's threads: a sync may take long.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EffectError> + Send + 'static,
) -> Result<T, EffectError> {
    tokio::task::spawn_blocking(work).await.map_err(failed("finish a file operation"))?
}

/// Replaces a file by the JSON of `value`, which is on the disk when this returns.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), EffectError> {
    let doing = || format!("write {}", path.display());
    let bytes = serde_json::to_vec_pretty(value).map_err(failed(doing()))?;
    write_whole(path, &bytes).map_err(failed(doing()))
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// A file's bytes, or none when there is no such file.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, EffectError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EffectError::new(format!("read {}", path.display()), error)),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8], known: u32) -> Result<T, RecordError> {
    let Versioned { version: found } = serde_json::from_slice(bytes)?;
    if found != known {
        return Err(RecordError::Version { found, known });
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// The machines that have a directory in `parent`; other entries are nobody's business.
pub(crate) fn machine_directories(parent: &PathBuf) -> Result<Vec<MachineId>, EffectError> {
    let doing = || format!("list {}", parent.display());
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(EffectError::new(doing(), error)),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed(doing()))?;
        ids.extend(entry.file_name().to_str().and_then(|name| name.parse::<MachineId>().ok()));
    }
    ids.sort();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{effects::chain, intent::Standing};
    use orrery_wire::host::{Admission, MachineSpec, Owner};

    fn intent(id: MachineId) -> Intent {
        let owner = Owner::Pod { namespace: "demo".into(), name: "hello".into(), uid: id.to_string() };
        let spec = MachineSpec {
            id: id.to_string(),
            name: "demo/hello".into(),
            owner,
            pool: "demo".into(),
            namespace: "demo".into(),
            vcpus: 1,
            cpu_milli: 1,
            memory_bytes: 1,
            overhead_bytes: 1,
            disks: Vec::new(),
            scratch_bytes: None,
            interfaces: Vec::new(),
        };
        let admission = Admission { shim_socket: "/s".into(), log_directory: "/l".into(), interfaces: Vec::new() };
        Intent { version: INTENT_VERSION, id, place: None, standing: Standing::Active, slot: 3, spec, admission }
    }

    fn id(number: u128) -> MachineId {
        MachineId(uuid::Uuid::from_u128(number))
    }

    fn records(directory: &Path) -> DiskRecords {
        let layout = Layout::new(directory.to_owned(), directory.join("run"));
        fs::create_dir_all(layout.machines()).unwrap();
        DiskRecords::new(layout)
    }

    #[tokio::test]
    async fn what_was_saved_is_loaded_and_what_was_removed_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let records = records(directory.path());
        records.save(&intent(id(1))).await.unwrap();
        records.save(&intent(id(2)).releasing()).await.unwrap();
        records.save_next_address(Ipv4Addr::new(10, 0, 0, 9)).await.unwrap();
        fs::create_dir_all(records.layout.logs(id(1)).join("app")).unwrap();
        fs::create_dir_all(records.layout.machine(id(3))).unwrap();
        let loaded = records.load().await.unwrap();
        assert_eq!(loaded.intents, [intent(id(1)), intent(id(2)).releasing()]);
        assert_eq!((loaded.orphans, loaded.next_address), (vec![id(3)], Some(Ipv4Addr::new(10, 0, 0, 9))));
        for number in [1, 1, 2, 3] {
            records.remove(id(number)).await.unwrap();
        }
        let loaded = records.load().await.unwrap();
        assert!(loaded.intents.is_empty() && loaded.orphans.is_empty());
        assert!(!records.layout.machine(id(1)).exists());
    }

    #[tokio::test]
    async fn an_intent_that_cannot_be_read_stops_the_load_and_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let records = records(directory.path());
        records.save(&intent(id(1))).await.unwrap();
        fs::write(records.layout.intent(id(1)), r#"{"version": 99}"#).unwrap();
        let text = chain(&records.load().await.unwrap_err());
        assert!(text.contains("intent.json") && text.contains("format 99"), "{text}");
        fs::write(records.layout.intent(id(1)), "{").unwrap();
        let text = chain(&records.load().await.unwrap_err());
        assert!(text.contains("malformed"), "{text}");
    }
}
