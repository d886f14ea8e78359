//! A crate imports only what lies below it.
//!
//! Each crate names its layer under `[package.metadata.orrery]`. Normal and build dependencies go strictly down; what only
//! tests use may also be beside, or made for development. What is made for development may use its like.

use crate::report::{Problem, Verdict};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::{collections::BTreeMap, path::Path};

/// From bottom to top.
const LAYERS: [&str; 12] = ["guest", "0", "1", "1b", "1c", "2", "3", "4a", "4b", "4c", "5", "development"];

/// A crate of the workspace, as far as the rule is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Crate {
    name: String,
    layer: Option<String>,
    /// Crates of the workspace that it depends on.
    uses: Vec<Use>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Use {
    name: String,
    only_in_tests: bool,
}

pub(crate) fn check(root: &Path) -> Verdict {
    match MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec() {
        Ok(metadata) => judge(&metadata.packages.iter().map(read).collect::<Vec<_>>()),
        Err(error) => Verdict::cannot("layers", &error),
    }
}

fn read(package: &Package) -> Crate {
    let ours = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
    let uses = ours.map(|dependency| Use {
        name: dependency.name.clone(),
        only_in_tests: dependency.kind == DependencyKind::Development,
    });
    Crate {
        name: package.name.to_string(),
        layer: package.metadata["orrery"]["layer"].as_str().map(str::to_owned),
        uses: uses.collect(),
    }
}

fn judge(crates: &[Crate]) -> Verdict {
    let mut problems = Vec::new();
    let mut ranks = BTreeMap::new();
    for member in crates {
        let rank = LAYERS.iter().position(|layer| Some(*layer) == member.layer.as_deref());
        match rank {
            Some(rank) => {
                ranks.insert(member.name.as_str(), rank);
            }
            None => problems.push(Problem {
                what: format!("{} is in no layer ({:?})", member.name, member.layer),
                fix: format!("set `layer` under [package.metadata.orrery] to one of {}", LAYERS.join(", ")),
            }),
        }
    }
    let mut uses = 0;
    for member in crates {
        for used in &member.uses {
            uses += 1;
            let (Some(own), Some(other)) = (ranks.get(member.name.as_str()), ranks.get(used.name.as_str())) else {
                continue;
            };
            let development = |rank: usize| LAYERS[rank] == "development";
            let beside = other == own && (used.only_in_tests || development(*own));
            let fine = other < own || beside || (used.only_in_tests && development(*other));
            if !fine && used.name != member.name {
                problems.push(Problem {
                    what: format!(
                        "{} (layer {}) imports {} (layer {})",
                        member.name, LAYERS[*own], used.name, LAYERS[*other]
                    ),
                    fix: "state a narrow trait beside the code that needs it, and let a layer above plug it in"
                        .to_owned(),
                });
            }
        }
    }
    Verdict::new("layers", format!("{} crates, {uses} dependencies between them", crates.len()), problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, layer: &str, uses: &[(&str, bool)]) -> Crate {
        let uses = uses.iter().map(|(name, only_in_tests)| Use { name: (*name).into(), only_in_tests: *only_in_tests });
        Crate { name: name.into(), layer: Some(layer.into()), uses: uses.collect() }
    }

    #[test]
    fn dependencies_go_down_only() {
        // layer, layer of what it uses, only in tests, allowed
        let table = [
            ("1", "0", false, true),
            ("1", "1", false, false),
            ("1", "1", true, true),
            ("0", "1", true, false),
            ("4b", "4a", false, true),
            ("4a", "4b", false, false),
            ("development", "5", false, true),
            ("development", "development", false, true),
            ("5", "development", true, true),
            ("5", "development", false, false),
            ("0", "guest", false, true),
        ];
        for (own, other, only_in_tests, allowed) in table {
            let verdict = judge(&[member("a", own, &[("b", only_in_tests)]), member("b", other, &[])]);
            assert_eq!(verdict.is_good(), allowed, "{own} uses {other}, in tests: {only_in_tests}");
        }
    }

    #[test]
    fn a_crate_has_to_name_its_layer() {
        let verdict = judge(&[member("a", "6", &[]), Crate { layer: None, ..member("b", "0", &[]) }]);
        assert_eq!(verdict.problems.len(), 2);
    }
}
