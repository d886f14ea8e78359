//! Picks the modules that a guest needs out of a kernel's module tree, with what they depend on, in load order.
//!
//! A package's tree has no `modules.dep`, which is made at installation; so dependencies are read from the modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What guests use: virtio devices, and the file systems of a container's root.
const WANTED: &[&str] = &[
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "libcrc32c",
    "erofs",
    "overlay",
];

/// Why the modules could not be picked.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The kernel does not have it.
    #[error("the kernel lacks the module {0}, which guests need; use another kernel package")]
    Missing(String),
    /// A file cannot be read or written.
    #[error("cannot use {}: check the free space", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A module is compressed, and cannot be uncompressed.
    #[error("cannot uncompress {}: {why}", path.display())]
    Compressed {
        /// The module.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
}

/// Copies the modules from the tree `from` (`.../lib/modules/RELEASE`) into the new directory `to` as `NN-NAME.ko`, with
/// their list in the file `order`.
pub(super) fn select(from: &Path, to: &Path) -> Result<(), ModuleError> {
    let mut files = BTreeMap::new();
    find(from, &mut files)?;
    let built_in_list = from.join("modules.builtin");
    let built_in = fs::read_to_string(&built_in_list).map_err(file_error(&built_in_list))?;
    let built_in: BTreeSet<String> = built_in.lines().filter_map(|line| module_name(Path::new(line))).collect();

    let mut contents = BTreeMap::new();
    let mut needs = |name: &str| -> Result<Needs, ModuleError> {
        if built_in.contains(name) {
            return Ok(None);
        }
        let path = files.get(name).ok_or_else(|| ModuleError::Missing(name.to_owned()))?;
        let content = read(path)?;
        let needs = dependencies(&content);
        contents.insert(name.to_owned(), content);
        Ok(Some(needs))
    };
    let order = load_order(WANTED, &mut needs)?;

    fs::create_dir(to).map_err(file_error(to))?;
    let mut list = String::new();
    for (number, name) in order.iter().enumerate() {
        let file = format!("{number:02}-{name}.ko");
        let path = to.join(&file);
        fs::write(&path, &contents[name]).map_err(file_error(&path))?;
        list.push_str(&file);
        list.push('\n');
    }
    let path = to.join("order");
    fs::write(&path, list).map_err(file_error(&path))
}

/// What a module needs; none when it is built into the kernel.
type Needs = Option<Vec<String>>;

/// Puts modules in an order in which each comes after what it needs.
fn load_order<E>(wanted: &[&str], needs: &mut dyn FnMut(&str) -> Result<Needs, E>) -> Result<Vec<String>, E> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    // Each name is on the stack twice: to look up what it needs, then to be placed after that.
    let mut stack: Vec<(String, bool)> = wanted.iter().rev().map(|name| ((*name).to_owned(), false)).collect();
    while let Some((name, placed)) = stack.pop() {
        if placed {
            order.push(name);
        } else if seen.insert(name.clone())
            && let Some(needed) = needs(&name)?
        {
            stack.push((name, true));
            stack.extend(needed.into_iter().rev().map(|name| (name, false)));
        }
    }
    Ok(order)
}

/// The modules that a module says it needs: `depends=a,b` among the NUL-terminated strings of its `.modinfo` section.
fn dependencies(module: &[u8]) -> Vec<String> {
    let field = module.split(|byte| *byte == 0).find_map(|text| text.strip_prefix(b"depends="));
    let field = String::from_utf8_lossy(field.unwrap_or_default());
    field.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// `virtio_blk` of `.../virtio-blk.ko.xz`; none for files that are no modules.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, extension) = file.split_once('.')?;
    matches!(extension, "ko" | "ko.xz" | "ko.zst" | "ko.gz").then(|| name.replace('-', "_"))
}

fn find(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), ModuleError> {
    let error = file_error(directory);
    for entry in fs::read_dir(directory).map_err(&error)? {
        let entry = entry.map_err(&error)?;
        let kind = entry.file_type().map_err(&error)?;
        let path = entry.path();
        if kind.is_dir() {
            find(&path, files)?;
        } else if let Some(name) = module_name(&path).filter(|_| kind.is_file()) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// Reads a module, uncompressed: the guest's init passes it to the kernel as it is.
fn read(path: &Path) -> Result<Vec<u8>, ModuleError> {
    let (program, package) = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => ("xz", "xz-utils"),
        Some("zst") => ("zstd", "zstd"),
        Some("gz") => ("gzip", "gzip"),
        _ => return fs::read(path).map_err(file_error(path)),
    };
    let failed = |why: String| ModuleError::Compressed { path: path.to_owned(), why };
    let run = Command::new(program).arg("-dc").arg(path).output();
    let output = run.map_err(|error| failed(format!("{program} cannot be run ({error}); install {package}")))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> ModuleError {
    let path = path.to_owned();
    move |source| ModuleError::File { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn modules_come_after_what_they_need_and_built_in_ones_not_at_all() {
        let mut needs = |name: &str| -> Result<Needs, Infallible> {
            let needed: &[&str] = match name {
                "net" => &["ring", "failover", "core"],
                "failover" => &["base", "ring"],
                "core" => return Ok(None),
                // A circle, which a kernel never has, must not hang.
                "base" => &["failover"],
                _ => &[],
            };
            Ok(Some(needed.iter().map(|name| (*name).to_owned()).collect()))
        };
        let Ok(order) = load_order(&["ring", "net", "core", "ring"], &mut needs);
        assert_eq!(order, ["ring", "base", "failover", "net"]);
    }

    #[test]
    fn names_and_dependencies_are_read_in_either_spelling() {
        assert_eq!(module_name(Path::new("a/virtio-blk.ko.xz")).as_deref(), Some("virtio_blk"));
        assert_eq!(module_name(Path::new("modules.dep")), None);
        assert_eq!(dependencies(b"\x7fELF\0license=GPL\0depends=virtio,crc32c-intel\0x"), ["virtio", "crc32c_intel"]);
        assert!(dependencies(b"\0depends=\0").is_empty());
    }
}
