//! Every crate explains itself, and every file with more than one group of items says what it is.

use crate::{
    report::{Problem, Verdict},
    source::{RustFile, Tree},
};

/// A crate's root has at least so many lines of prose.
const ROOT_LINES: usize = 8;

pub(crate) fn check(tree: &Tree) -> Verdict {
    let problems: Vec<Problem> = tree.rust.iter().filter_map(problem).collect();
    let roots = tree.rust.iter().filter(|file| file.is_crate_root()).count();
    let documented = tree.rust.iter().filter(|file| file.doc_lines > 0).count();
    let summary = format!("{roots} crate roots; {documented} of {} files begin with `//!`", tree.rust.len());
    Verdict::new("docs", summary, problems)
}

fn problem(file: &RustFile) -> Option<Problem> {
    let path = file.path.display();
    if file.is_crate_root() && file.doc_lines < ROOT_LINES {
        return Some(Problem {
            what: format!("{path} has {} lines of `//!`; a crate's root has at least {ROOT_LINES}", file.doc_lines),
            fix: "say what the crate is and is not, its tasks and channels, and where to start reading".to_owned(),
        });
    }
    (file.groups > 1 && file.doc_lines == 0).then(|| Problem {
        what: format!("{path} has {} groups of items and no `//!`", file.groups),
        fix: "say in a line or two what holds the file together; if nothing does, split it".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_need_prose_and_mixed_files_need_a_line() {
        // path, lines of documentation, groups, fine
        let table = [
            ("crates/a/src/lib.rs", 8, 0, true),
            ("crates/a/src/lib.rs", 7, 0, false),
            ("crates/a/src/main.rs", 0, 1, false),
            ("crates/a/src/b.rs", 0, 1, true),
            ("crates/a/src/b.rs", 0, 2, false),
            ("crates/a/src/b.rs", 1, 5, true),
        ];
        for (path, doc_lines, groups, fine) in table {
            let file = RustFile {
                path: path.into(),
                lines: 1,
                lines_without_tests: 1,
                doc_lines,
                groups,
                functions: Vec::new(),
            };
            assert_eq!(problem(&file).is_none(), fine, "{path} {doc_lines} {groups}");
        }
    }
}
