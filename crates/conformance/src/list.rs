//! The published list of conformance tests and their classes.
//!
//! The list is `conformance.yaml` as Kubernetes publishes it; the classes lie beside it in `conformance-classified.csv`.
//! Neither is part of this project: what a test has to check is read there.

use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Name of the file of classes, beside the list.
const CLASSES: &str = "conformance-classified.csv";

/// An entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name that upstream's test has, such as `[sig-node] Lease lease API should be available [Conformance]`.
    pub codename: String,
    /// What the test is about and has to see.
    pub description: String,
    /// Which part of the system it asks for: `api`, `ctrl`, ...
    pub class: String,
}

/// The list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// Its entries, in its order.
    pub entries: Vec<Entry>,
}

/// Why the list can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A file can't be read.
    #[error("cannot read {path}; name the list with --list FILE (conformance.yaml, with {CLASSES} beside it)")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The list is something else.
    #[error("{path} is not a list of conformance tests")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_yaml_ng::Error,
    },
    /// The classes are something else.
    #[error("{path} is not a table of classes (columns codename and class)")]
    Csv {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: csv::Error,
    },
}

#[derive(Deserialize)]
struct Published {
    codename: String,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct Classified {
    codename: String,
    class: String,
}

impl List {
    /// Reads the list and the classes beside it.
    ///
    /// # Errors
    /// When either can't be read or is something else.
    pub fn read(path: &Path) -> Result<Self, ListError> {
        let text = read(path)?;
        let classes_path = path.with_file_name(CLASSES);
        let classes =
            classes(&read(&classes_path)?).map_err(|source| ListError::Csv { path: classes_path.clone(), source })?;
        Self::parse(&text, &classes).map_err(|source| ListError::Yaml { path: path.to_owned(), source })
    }

    fn parse(text: &str, classes: &BTreeMap<String, String>) -> Result<Self, serde_yaml_ng::Error> {
        let published: Vec<Published> = serde_yaml_ng::from_str(text)?;
        let entry = |test: Published| Entry {
            class: classes.get(&test.codename).cloned().unwrap_or_else(|| "unclassified".to_owned()),
            codename: test.codename,
            description: test.description.split_whitespace().collect::<Vec<_>>().join(" "),
        };
        Ok(Self { entries: published.into_iter().map(entry).collect() })
    }

    /// The class of a codename; none when it is not in the list.
    #[must_use]
    pub fn class_of(&self, codename: &str) -> Option<&str> {
        self.entries.iter().find(|entry| entry.codename == codename).map(|entry| entry.class.as_str())
    }

    /// How many entries each class has.
    #[must_use]
    pub fn classes(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for entry in &self.entries {
            *counts.entry(entry.class.as_str()).or_default() += 1;
        }
        counts
    }
}

fn read(path: &Path) -> Result<String, ListError> {
    std::fs::read_to_string(path).map_err(|source| ListError::Read { path: path.to_owned(), source })
}

fn classes(text: &str) -> Result<BTreeMap<String, String>, csv::Error> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().map(|row| row.map(|row: Classified| (row.codename, row.class))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_get_their_class_and_a_description_in_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("conformance.yaml");
        let yaml = "- codename: '[sig-a] one, two'\n  description: |\n    Must\n    be.\n- codename: '[sig-b] three'\n";
        std::fs::write(&path, yaml).unwrap();
        let csv = "codename,testname,class\n\"[sig-a] one, two\",x,api\n";
        std::fs::write(path.with_file_name(CLASSES), csv).unwrap();
        let list = List::read(&path).unwrap();
        assert_eq!(list.class_of("[sig-a] one, two"), Some("api"));
        assert_eq!(list.entries[0].description, "Must be.");
        assert_eq!(list.class_of("[sig-b] three"), Some("unclassified"));
        assert_eq!(list.class_of("[sig-c] four"), None);
    }

    #[test]
    fn a_missing_list_says_which_file_and_which_option() {
        let error = List::read(Path::new("/nowhere/conformance.yaml")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/conformance.yaml") && error.contains("--list"), "{error}");
    }
}
