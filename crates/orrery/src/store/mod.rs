//! `orrery store`: look at, check, compact, back up and restore the stores of this machine.
//!
//! A store that a process has open is reached through that process, so that a backup needs no stop; what needs the file
//! alone (check, restore) is refused meanwhile, with the command that helps.

mod print;

use crate::{
    args::{Output, Store, StoreName},
    instance::Instance,
    say,
};
use orrery_api::names::SupervisorName;
use orrery_store::{
    Control, OpenError,
    maintain::{self, CheckReport, MaintenanceError},
};
use serde::Serialize;
use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

/// The file of a store in its directory.
const FILE: &str = "store.db";
const MANAGER: &str = "manager";

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Maintenance(#[from] MaintenanceError),
    #[error(
        "{role} has the store open (process {holder}); stop it first: orrery stop {role}; afterwards: orrery start {role}"
    )]
    InUse { role: String, holder: String },
    #[error("there is no store on this machine yet; `orrery up` makes some, or name one by its file")]
    None,
    #[error("{0:?} is neither `manager`, nor a Supervisor's name, nor a path (which has a slash in it)")]
    Name(String),
    #[error("cannot list {path}")]
    List {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} is damaged; see above what to do")]
    Damaged(String),
    #[error("cannot write the answer as JSON")]
    Json(#[source] serde_json::Error),
    #[error("the check ended unexpectedly")]
    Task(#[source] tokio::task::JoinError),
}

/// A store of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    /// `manager`, a Supervisor's name, or the path.
    name: String,
    path: PathBuf,
}

impl Named {
    fn find(instance: &Instance, name: &StoreName) -> Result<Self, StoreError> {
        let name = name.0.as_str();
        let path = if name == MANAGER {
            instance.manager_directory().join(FILE)
        } else if name.contains('/') {
            PathBuf::from(name)
        } else {
            let supervisor: SupervisorName = name.parse().map_err(|_| StoreError::Name(name.to_owned()))?;
            instance.supervisors().join(supervisor.as_str()).join(FILE)
        };
        Ok(Self { name: name.to_owned(), path })
    }

    /// The one that is named, or all that this machine has.
    fn find_all(instance: &Instance, name: Option<&StoreName>) -> Result<Vec<Self>, StoreError> {
        if let Some(name) = name {
            return Ok(vec![Self::find(instance, name)?]);
        }
        let mut names = vec![MANAGER.to_owned()];
        let supervisors = instance.supervisors();
        match fs::read_dir(&supervisors) {
            Ok(entries) => {
                names.extend(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(StoreError::List { path: supervisors, source }),
        }
        names[1..].sort();
        let found = names.into_iter().filter_map(|name| Self::find(instance, &StoreName(name)).ok());
        let found: Vec<Self> = found.filter(|store| store.path.exists()).collect();
        if found.is_empty() { Err(StoreError::None) } else { Ok(found) }
    }

    async fn control(&self) -> Result<Option<Control>, StoreError> {
        Ok(Control::connect(&self.path).await?)
    }

    /// Says what to stop when the store is in use.
    fn in_use(&self, error: MaintenanceError) -> StoreError {
        match error {
            MaintenanceError::Open(OpenError::InUse { holder, .. }) if !self.name.contains('/') => {
                StoreError::InUse { role: self.name.clone(), holder }
            }
            error => error.into(),
        }
    }

    /// Does something with the file that takes a while.
    async fn offline<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, MaintenanceError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || work(&path)).await.map_err(StoreError::Task)?;
        done.map_err(|error| self.in_use(error))
    }
}

/// An answer with the store's name, as JSON has it.
#[derive(Debug, Serialize)]
struct Answer<'a, T> {
    store: &'a str,
    path: &'a Path,
    #[serde(flatten)]
    answer: T,
}

fn show<T: Serialize>(
    output: Output,
    store: &Named,
    answer: &T,
    text: impl FnOnce() -> String,
) -> Result<(), StoreError> {
    let json = Answer { store: &store.name, path: &store.path, answer };
    say(&match output {
        Output::Json => serde_json::to_string(&json).map_err(StoreError::Json)?,
        Output::Table => text(),
    });
    Ok(())
}

pub(crate) async fn run(instance: &Instance, command: Store) -> Result<(), Box<dyn Error + Send + Sync>> {
    match command {
        Store::Stats { store, output } => {
            for store in Named::find_all(instance, store.as_ref())? {
                stats(&store, output).await?;
            }
        }
        Store::Check { store, output } => {
            let mut damaged = Vec::new();
            for store in Named::find_all(instance, store.as_ref())? {
                let report = check(&store, output).await?;
                if !report.is_sound() {
                    damaged.push(store.name);
                }
            }
            if !damaged.is_empty() {
                return Err(StoreError::Damaged(damaged.join(", ")).into());
            }
        }
        Store::Compact { store, output } => compact(&Named::find(instance, &store)?, output).await?,
        Store::Backup { store, file, output } => backup(&Named::find(instance, &store)?, &file, output).await?,
        Store::Restore { store, file, output } => restore(&Named::find(instance, &store)?, file, output).await?,
    }
    Ok(())
}

async fn stats(store: &Named, output: Output) -> Result<(), StoreError> {
    let control = store.control().await?;
    let running = control.is_some();
    let stats = match control {
        Some(control) => control.stats().await?,
        None => store.offline(maintain::stats).await?,
    };
    show(output, store, &stats, || print::stats(&store.name, running, &stats))
}

async fn check(store: &Named, output: Output) -> Result<CheckReport, StoreError> {
    let report = store.offline(maintain::check).await?;
    show(output, store, &report, || print::check(&store.name, &report))?;
    Ok(report)
}

async fn compact(store: &Named, output: Output) -> Result<(), StoreError> {
    if let Some(control) = store.control().await? {
        let compacted = control.compact().await?;
        let answer = serde_json::json!({"compacted": compacted});
        return show(output, store, &answer, || {
            format!(
                "{}: history up to revision {compacted} is forgotten; free space of the file goes back by itself",
                store.name
            )
        });
    }
    let (before, after) = store.offline(maintain::compact).await?;
    let answer = serde_json::json!({"bytesBefore": before, "bytesAfter": after});
    show(output, store, &answer, || format!("{}: {} became {}", store.name, print::size(before), print::size(after)))
}

async fn backup(store: &Named, file: &Path, output: Output) -> Result<(), StoreError> {
    // The process that has the store open may run elsewhere.
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let report = match store.control().await? {
        Some(control) => control.backup(&file).await?,
        None => store.offline(move |path| maintain::backup(path, &file)).await?,
    };
    show(output, store, &report, || print::backup(&store.name, &report))
}

async fn restore(store: &Named, file: PathBuf, output: Output) -> Result<(), StoreError> {
    let report = store.offline(move |path| maintain::restore(&file, path)).await?;
    show(output, store, &report, || print::restore(&store.name, &report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::names::InstanceName;

    #[test]
    fn a_store_is_named_by_its_role_or_by_its_path() {
        let instance = Instance::new(InstanceName::new("default").unwrap(), Some("/state".into()));
        let path = |name: &str| Named::find(&instance, &StoreName(name.to_owned())).map(|store| store.path);
        assert_eq!(path("manager").unwrap(), Path::new("/state/manager/store.db"));
        assert_eq!(path("supervisor-1").unwrap(), Path::new("/state/supervisors/supervisor-1/store.db"));
        assert_eq!(path("./some/store.db").unwrap(), Path::new("./some/store.db"));
        assert!(matches!(path("Not a name"), Err(StoreError::Name(_))));
        assert!(matches!(path(".."), Err(StoreError::Name(_))));
    }

    #[test]
    fn without_a_name_all_stores_of_the_machine_are_meant() {
        let state = tempfile::tempdir().unwrap();
        let instance = Instance::new(InstanceName::new("default").unwrap(), Some(state.path().to_owned()));
        assert!(matches!(Named::find_all(&instance, None), Err(StoreError::None)));
        for place in ["manager", "supervisors/two", "supervisors/one", "supervisors/empty"] {
            fs::create_dir_all(state.path().join(place)).unwrap();
        }
        for place in ["manager", "supervisors/two", "supervisors/one"] {
            fs::write(state.path().join(place).join(FILE), "").unwrap();
        }
        let names: Vec<String> =
            Named::find_all(&instance, None).unwrap().into_iter().map(|store| store.name).collect();
        assert_eq!(names, ["manager", "one", "two"]);
    }
}
