//! Whether a store's file is as it was written.

use super::super::log::{OpenError, Reader, read_mark};
use super::MaintenanceError;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What was found out about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// What is wrong; nothing when the store is sound.
    pub problems: Vec<String>,
    /// The revision of the last write, if it can be read.
    pub revision: Option<u64>,
    /// How many objects there are, if all can be read.
    pub objects: Option<usize>,
    /// Whether every object can be read and is as it was written: then a backup of the file loses none.
    pub objects_sound: bool,
    /// What to do.
    pub advice: String,
}

impl CheckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Reads the whole file of the store at `path` and compares everything that is written twice or has a checksum.
///
/// # Errors
/// When the store is in use, not there, or of another program. Damage is no error but the report.
pub fn check(path: &Path) -> Result<CheckReport, MaintenanceError> {
    let reader = match Reader::open(path) {
        Ok(reader) => reader,
        Err(OpenError::Sqlite { doing, source, .. }) => {
            let problems = vec![format!("SQLite cannot {doing}: {source}")];
            return Ok(report(problems, None, None));
        }
        Err(error) => return Err(error.into()),
    };
    let mut problems = reader.integrity().unwrap_or_else(|error| vec![format!("SQLite cannot check it: {error}")]);
    let contents = match reader.load() {
        Ok(contents) => contents,
        Err(error) => {
            problems.push(told(&error));
            return Ok(report(problems, None, None));
        }
    };
    let mut acknowledged = None;
    if let Some(mark) = read_mark(path).filter(|mark| *mark > contents.revision) {
        problems.push(format!("it is at revision {}, but {} was acknowledged", contents.revision.0, mark.0));
        acknowledged = Some(mark);
    }
    let mut report = report(problems, Some(contents.revision.0), Some(contents.objects.len()));
    if acknowledged.is_some() {
        report.advice =
            "newer writes are missing: restore a backup that has them (orrery store restore); without one, back \
                         this file up (orrery store backup) and restore that, which goes on without them"
                .to_owned();
    }
    Ok(report)
}

/// What is wrong, without the store's name and without advice.
fn told(error: &OpenError) -> String {
    match error {
        OpenError::Damaged { what, .. } => what.clone(),
        OpenError::Sqlite { doing, source, .. } => format!("SQLite cannot {doing}: {source}"),
        other => other.to_string(),
    }
}

fn report(problems: Vec<String>, revision: Option<u64>, objects: Option<usize>) -> CheckReport {
    let objects_sound = objects.is_some();
    let advice = if problems.is_empty() {
        "nothing to do"
    } else if objects_sound {
        "every object can be read: back the store up (orrery store backup) and restore that (orrery store restore); then look \
         at the disk, which has changed what was written"
    } else {
        "not every object can be read: restore a backup (orrery store restore); then look at the disk, which has changed what \
         was written"
    };
    CheckReport { problems, revision, objects, objects_sound, advice: advice.to_owned() }
}
