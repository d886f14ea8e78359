//! Reads the files of the repository once, and takes the Rust files apart.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};
use syn::{Attribute, Item, spanned::Spanned, visit::Visit};

/// Why the sources could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("cannot list the files of the repository with git")]
    List(#[source] std::io::Error),
    #[error("git does not list the files of the repository: {0}")]
    Git(String),
    #[error("cannot read {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Every text file, and every Rust file taken apart.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Path below the root, and content.
    pub(crate) texts: Vec<(PathBuf, String)>,
    pub(crate) rust: Vec<RustFile>,
    /// Rust files that cannot be parsed, and why.
    pub(crate) broken: Vec<(PathBuf, String)>,
}

/// What the checks need to know of a Rust file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RustFile {
    pub(crate) path: PathBuf,
    /// All lines.
    pub(crate) lines: usize,
    /// Lines outside of `#[cfg(test)]` modules; none in a file that is all tests.
    pub(crate) lines_without_tests: usize,
    /// Lines of documentation at its top.
    pub(crate) doc_lines: usize,
    /// Groups of items: each type with what is implemented for it, and all functions together.
    pub(crate) groups: usize,
    /// Name and length of each function that has a body.
    pub(crate) functions: Vec<(String, usize)>,
}

impl RustFile {
    /// `crates/NAME` or `guest`: the first parts of the path, up to `src` or `tests`.
    pub(crate) fn package(&self) -> PathBuf {
        let inner = ["src", "tests", "benches", "examples", "build.rs", "fuzz_targets"];
        self.path.iter().take_while(|part| !inner.iter().any(|name| part == name)).collect()
    }

    /// Whether it is the root of a crate's library or program.
    pub(crate) fn is_crate_root(&self) -> bool {
        self.path.ends_with("src/lib.rs") || self.path.ends_with("src/main.rs")
    }
}

/// Reads what git tracks, and what is new and not ignored.
pub(crate) fn read(root: &Path) -> Result<Tree, ReadError> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(ReadError::List)?;
    if !listing.status.success() {
        return Err(ReadError::Git(String::from_utf8_lossy(&listing.stderr).trim().to_owned()));
    }
    let listed = String::from_utf8_lossy(&listing.stdout);
    let paths: BTreeSet<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    let mut tree = Tree::default();
    for path in paths {
        let full = root.join(path);
        // Listed but gone: deleted and not yet committed.
        if !full.is_file() {
            continue;
        }
        let bytes = std::fs::read(&full).map_err(|source| ReadError::File { path: full, source })?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        if path.ends_with(".rs") {
            match take_apart(Path::new(path), &text) {
                Ok(file) => tree.rust.push(file),
                Err(error) => tree.broken.push((path.into(), error.to_string())),
            }
        }
        tree.texts.push((path.into(), text));
    }
    Ok(tree)
}

/// Takes a Rust file apart.
pub(crate) fn take_apart(path: &Path, text: &str) -> Result<RustFile, syn::Error> {
    let file = syn::parse_file(text)?;
    let lines = text.lines().count();
    let tests: usize = file.items.iter().filter(|item| is_test_module(item)).map(span_lines).sum();
    let mut functions = Functions::default();
    functions.visit_file(&file);
    Ok(RustFile {
        path: path.to_owned(),
        lines,
        lines_without_tests: if is_test_file(path) { 0 } else { lines.saturating_sub(tests) },
        doc_lines: file.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).count(),
        groups: groups(&file.items),
        functions: functions.found,
    })
}

/// In a directory `tests`, or named as a module of tests.
fn is_test_file(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    path.iter().any(|part| part == "tests") || stem == "tests" || stem.ends_with("_tests")
}

fn span_lines(item: &Item) -> usize {
    let span = item.span();
    span.end().line - span.start().line + 1
}

fn has_cfg_test(attributes: &[Attribute]) -> bool {
    let is_test = |attribute: &&Attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    };
    attributes.iter().any(|attribute| is_test(&attribute))
}

fn is_test_module(item: &Item) -> bool {
    matches!(item, Item::Mod(module) if has_cfg_test(&module.attrs))
}

fn groups(items: &[Item]) -> usize {
    let mut names = BTreeSet::new();
    for item in items.iter().filter(|item| !is_test_module(item)) {
        let name = match item {
            Item::Struct(item) => item.ident.to_string(),
            Item::Enum(item) => item.ident.to_string(),
            Item::Union(item) => item.ident.to_string(),
            Item::Trait(item) => item.ident.to_string(),
            Item::Type(item) => item.ident.to_string(),
            Item::Impl(item) => self_type(&item.self_ty),
            Item::Fn(_) | Item::Const(_) | Item::Static(_) | Item::Macro(_) => "functions".to_owned(),
            _ => continue,
        };
        names.insert(name);
    }
    names.len()
}

/// The name of the type that something is implemented for.
fn self_type(implemented: &syn::Type) -> String {
    match implemented {
        syn::Type::Path(path) => path.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default(),
        syn::Type::Reference(reference) => self_type(&reference.elem),
        _ => String::new(),
    }
}

/// Collects functions with their length.
#[derive(Default)]
struct Functions {
    found: Vec<(String, usize)>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let lines = body.span().end().line - signature.span().start().line + 1;
        self.found.push((signature.ident.to_string(), lines));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "//! One.\n//! Two.\n\nuse a::b;\n\nstruct A;\n\nimpl A {\n    fn f() {\n        g();\n    }\n}\n\n\
        const C: u8 = 1;\n\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";

    #[test]
    fn a_file_is_measured_with_and_without_its_tests() {
        let file = take_apart(Path::new("crates/x/src/a.rs"), FILE).unwrap();
        assert_eq!((file.lines, file.lines_without_tests, file.doc_lines, file.groups), (19, 15, 2, 2));
        assert_eq!(file.functions, [("f".to_owned(), 3), ("t".to_owned(), 1)]);
        assert_eq!(file.package(), Path::new("crates/x"));
    }

    #[test]
    fn files_of_tests_count_no_lines_without_tests() {
        for path in ["crates/x/tests/a.rs", "crates/x/src/a/tests.rs", "crates/x/src/a_tests.rs"] {
            assert_eq!(take_apart(Path::new(path), FILE).unwrap().lines_without_tests, 0, "{path}");
        }
        assert!(take_apart(Path::new("a.rs"), "fn (").is_err());
    }

    #[test]
    fn this_repository_can_be_read() {
        let tree = read(&crate::root()).unwrap();
        assert!(tree.rust.iter().any(|file| file.path.ends_with("xtask/src/main.rs") && file.is_crate_root()));
    }
}
