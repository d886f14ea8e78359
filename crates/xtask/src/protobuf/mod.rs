//! Makes the table of protobuf messages out of three sources: the numbers and types of fields from the crate `k8s-pb`, which
//! is made of upstream's `generated.proto`; their JSON names from the table of shapes; and few facts that neither has.

mod facts;
mod prost;
mod shapes;
mod table;

use cargo_metadata::MetadataCommand;
use clap::Args;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Where the sources are.
#[derive(Args)]
pub(crate) struct Options {
    /// The source of the crate k8s-pb, if not where cargo keeps it.
    #[arg(long)]
    source: Option<PathBuf>,
    /// Where to write the table, if not to the crate that carries it.
    #[arg(long)]
    output: Option<PathBuf>,
}

const HEADER: &str = "\
# Numbers and types of the fields of protobuf bodies. Made by `cargo xtask protobuf`; change the generator, not this file.
# How to read it: crates/protobuf/src/table.rs.
";

pub(crate) fn run(root: &Path, options: &Options) -> ExitCode {
    let output = options.output.clone().unwrap_or_else(|| root.join("crates/protobuf/src/schema.txt"));
    match make(root, options).and_then(|text| fs::write(&output, &text).map(|()| text.len()).map_err(|e| e.to_string()))
    {
        Ok(bytes) => {
            println!("{}: {bytes} bytes", output.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("cannot make the table of messages:\n{error}");
            ExitCode::FAILURE
        }
    }
}

fn make(root: &Path, options: &Options) -> Result<String, String> {
    let source = match &options.source {
        Some(source) => source.clone(),
        None => crate_source(root)?,
    };
    let messages = prost::read(&source)?;
    let shapes = root.join("crates/shapes/src/shapes.txt");
    let shapes = fs::read_to_string(&shapes).map_err(|error| format!("{}: {error}", shapes.display()))?;
    table::make(&messages, &shapes::read(&shapes)).map(|table| format!("{HEADER}{table}"))
}

/// Where cargo keeps the source of `k8s-pb`, with which the tests of the crate `protobuf` compare.
fn crate_source(root: &Path) -> Result<PathBuf, String> {
    let metadata = MetadataCommand::new().current_dir(root).exec().map_err(|error| error.to_string())?;
    let found = metadata.packages.into_iter().find(|package| package.name.as_str() == "k8s-pb");
    let found = found.ok_or("the workspace does not use the crate k8s-pb")?;
    found
        .manifest_path
        .parent()
        .map(|path| path.join("src").into_std_path_buf())
        .ok_or_else(|| "k8s-pb has no source".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_that_is_carried_is_the_one_that_is_made() {
        let root = crate::root();
        let carried = fs::read_to_string(root.join("crates/protobuf/src/schema.txt")).unwrap();
        let made = make(&root, &Options { source: None, output: None }).unwrap();
        assert!(made == carried, "run `cargo xtask protobuf`");
    }
}
