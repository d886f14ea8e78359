//! What hangs below an object.

use super::Text;
use crate::meta;
use serde_json::Value;

/// A sub-resource.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// Such as `status`.
    pub name: Text,
    /// The kind that is sent and answered, such as `Eviction`.
    pub kind: Text,
    /// The API group of that kind.
    pub kind_group: Text,
    /// The version of that kind.
    pub kind_version: Text,
    /// Such as `get`.
    pub verbs: &'static [&'static str],
    /// What it does.
    pub does: Does,
}

/// What a sub-resource does.
#[derive(Debug, Clone)]
pub enum Does {
    /// Reads the object, and writes the part of it that the function lets through.
    Part(PartOf),
    /// Reads and writes the number of replicas as `autoscaling/v1 Scale`.
    Scale(ScalePaths),
    /// Something else, which a handler of the server knows.
    Handled,
}

/// Makes of the old object and what a client sent the object to store: takes from the old one all that the sub-resource may
/// not change.
pub type PartOf = fn(old: &Value, sent: Value) -> Value;

/// Where a kind keeps what `Scale` shows: names joined by `.`, from the object's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    /// Such as `spec.replicas`.
    pub spec_replicas: Text,
    /// Such as `status.replicas`.
    pub status_replicas: Text,
    /// Such as `status.selector`, a text, or `spec.selector`, a label selector; none when there is no such field.
    pub selector: Option<Text>,
}

const PART_VERBS: &[&str] = &["get", "patch", "update"];

impl Subresource {
    /// A part of the object, read and written by itself.
    #[must_use]
    pub const fn part(name: &'static str, part: PartOf, group: Text, version: Text, kind: Text) -> Self {
        Self {
            name: Text::Borrowed(name),
            kind,
            kind_group: group,
            kind_version: version,
            verbs: PART_VERBS,
            does: Does::Part(part),
        }
    }

    /// `scale`, as `autoscaling/v1 Scale`.
    #[must_use]
    pub const fn scale(paths: ScalePaths) -> Self {
        Self {
            name: Text::Borrowed("scale"),
            kind: Text::Borrowed("Scale"),
            kind_group: Text::Borrowed("autoscaling"),
            kind_version: Text::Borrowed("v1"),
            verbs: PART_VERBS,
            does: Does::Scale(paths),
        }
    }

    /// One that a handler of the server knows, of the kind `group/version kind`.
    #[must_use]
    pub const fn handled(
        name: &'static str,
        (group, version, kind): (&'static str, &'static str, &'static str),
        verbs: &'static [&'static str],
    ) -> Self {
        Self {
            name: Text::Borrowed(name),
            kind: Text::Borrowed(kind),
            kind_group: Text::Borrowed(group),
            kind_version: Text::Borrowed(version),
            verbs,
            does: Does::Handled,
        }
    }
}

/// The usual `status`: labels, annotations and the like may be changed along with it.
#[must_use]
pub fn replace_status(old: &Value, mut sent: Value) -> Value {
    let mut kept = old.clone();
    *meta::metadata_mut(&mut kept) = std::mem::take(meta::metadata_mut(&mut sent));
    if let Some(object) = kept.as_object_mut() {
        match sent.get_mut("status").map(Value::take) {
            None | Some(Value::Null) => object.remove("status"),
            Some(status) => object.insert("status".to_owned(), status),
        };
    }
    kept
}
