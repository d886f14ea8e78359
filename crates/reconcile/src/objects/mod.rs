//! Projections of the kinds that more than one controller looks at.

mod namespace;
mod node;
mod pod;

pub use namespace::Namespace;
pub use node::Node;
pub use pod::{ContainerPort, Exit, Phase, Pod};

use std::collections::BTreeMap;

/// Only the annotations that some controller reads.
fn kept(annotations: Option<BTreeMap<String, String>>, wanted: &[&str]) -> BTreeMap<String, String> {
    let mut kept = annotations.unwrap_or_default();
    kept.retain(|key, _| wanted.contains(&key.as_str()));
    kept
}
