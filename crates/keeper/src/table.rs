//! The roles that an installation has, on disk: what the next keeper starts.

use crate::protocol::RoleSpec;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// One role of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) spec: RoleSpec,
    /// Held down by somebody.
    pub(crate) held: bool,
}

/// All roles, in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Table {
    path: PathBuf,
    rows: Vec<Row>,
}

impl Table {
    /// The table at `path`, empty when there is none.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let rows = match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path: path.to_owned(), rows })
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Adds or replaces a role; whether its specification changed.
    pub(crate) fn put(&mut self, spec: RoleSpec) -> io::Result<bool> {
        match self.rows.iter_mut().find(|row| row.spec.name == spec.name) {
            Some(row) if row.spec == spec => return Ok(false),
            Some(row) => row.spec = spec,
            None => self.rows.push(Row { spec, held: false }),
        }
        self.save().map(|()| true)
    }

    /// Holds down or lets go of the roles that answer to `name`; their names.
    pub(crate) fn hold(&mut self, name: &str, held: bool) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for row in self.rows.iter_mut().filter(|row| row.spec.answers_to(name)) {
            row.held = held;
            names.push(row.spec.name.clone());
        }
        self.save().map(|()| names)
    }

    fn save(&self) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        fs::write(&temporary, serde_json::to_vec_pretty(&self.rows)?)?;
        fs::File::open(&temporary)?.sync_all()?;
        fs::rename(temporary, &self.path)
    }
}
