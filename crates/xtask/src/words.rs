//! Words that no text file of the repository has, from `check.toml`.

use crate::{
    report::{Problem, Verdict},
    source::Tree,
};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Why the list of words cannot be used.
#[derive(Debug, thiserror::Error)]
enum WordsError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is malformed")]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    #[serde(default)]
    forbidden: Vec<Forbidden>,
}

/// A text that may not stand anywhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Forbidden {
    text: String,
    /// What to do instead.
    instead: String,
}

pub(crate) fn check(tree: &Tree, list: &Path) -> Verdict {
    match read(list) {
        Ok(words) => judge(&tree.texts, &words),
        Err(error) => Verdict::cannot("words", &error),
    }
}

fn read(path: &Path) -> Result<Words, WordsError> {
    let text = std::fs::read_to_string(path).map_err(|source| WordsError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| WordsError::Parse { path: path.to_owned(), source: Box::new(source) })
}

fn judge(texts: &[(PathBuf, String)], words: &Words) -> Verdict {
    // This crate has to name the words.
    let judged = || texts.iter().filter(|(path, _)| !path.starts_with("crates/xtask"));
    let mut problems = Vec::new();
    for (path, text) in judged() {
        for (index, line) in text.lines().enumerate() {
            for word in words.forbidden.iter().filter(|word| line.contains(&word.text)) {
                problems.push(Problem {
                    what: format!("{}:{}: {:?}", path.display(), index + 1, word.text),
                    fix: word.instead.clone(),
                });
            }
        }
    }
    let summary = format!("{} texts, {} words that may not stand in them", judged().count(), words.forbidden.len());
    Verdict::new("words", summary, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_word_is_found_with_its_line() {
        let words = Words { forbidden: vec![Forbidden { text: "LATER".into(), instead: "do it now".into() }] };
        let texts = [
            (PathBuf::from("a.md"), "fine\nLATER: x\n".to_owned()),
            (PathBuf::from("crates/xtask/check.toml"), "LATER".to_owned()),
        ];
        let verdict = judge(&texts, &words);
        assert_eq!(verdict.problems, [Problem { what: "a.md:2: \"LATER\"".into(), fix: "do it now".into() }]);
    }

    #[test]
    fn the_list_of_this_repository_is_well_formed() {
        assert!(!read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("check.toml")).unwrap().forbidden.is_empty());
    }
}
