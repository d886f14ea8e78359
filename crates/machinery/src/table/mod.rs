//! Objects as people see them: `meta.k8s.io/v1 Table`, and objects cut down to their metadata.
//!
//! The columns are `Name`, then the descriptor's, and `Age` before the first that only `-o wide` shows. A descriptor whose
//! columns include one called `Name` writes its table out in full, and nothing is added ([`NAME`] and [`AGE`] are
//! there for it).

mod duration;

pub use duration::{age, human_duration, unix_seconds};

use crate::descriptor::{Column, ResourceDescriptor, TableColumn};
use crate::meta;
use crate::status::ApiError;
use serde_json::{Map, Value, json};

/// The object's name.
pub const NAME: Column = Column {
    name: "Name",
    kind: "string",
    priority: 0,
    description: "Name must be unique within a namespace.",
    cell: |object, _| meta::name(object).into(),
};

/// The time since the object was created, such as `5d`.
pub const AGE: Column = Column {
    name: "Age",
    kind: "string",
    priority: 0,
    description: "The time since the object was created, by the server's clock.",
    cell: |object, now| age(meta::creation_timestamp(object), now).into(),
};

/// How much of the object stands in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter `includeObject`.
    ///
    /// # Errors
    /// 400 when it is none of the three.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => Err(ApiError::bad_request(format!("unrecognized includeObject value: {other:?}"))),
        }
    }
}

/// All columns of a built-in kind's table, in their order: its own, or with `Name` and `Age` added.
pub(crate) fn all_columns(own: &[Column]) -> Vec<Column> {
    if own.iter().any(|column| column.name == NAME.name) {
        return own.to_vec();
    }
    let wide = own.iter().position(|column| column.priority > 0).unwrap_or(own.len());
    [&[NAME], &own[..wide], &[AGE], &own[wide..]].concat()
}

/// `columnDefinitions` of a resource's table.
#[must_use]
pub fn column_definitions(descriptor: &ResourceDescriptor) -> Value {
    let definition = |column: &TableColumn| {
        json!({
            "name": column.name,
            "type": column.kind,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        })
    };
    descriptor.columns.iter().map(definition).collect()
}

/// One row. `now` is in Unix seconds.
#[must_use]
pub fn row(descriptor: &ResourceDescriptor, object: &Value, include: IncludeObject, now: i64) -> Value {
    let cells: Vec<Value> = descriptor.columns.iter().map(|column| (column.cell)(object, now)).collect();
    let mut row = json!({"cells": cells});
    match include {
        IncludeObject::None => {}
        IncludeObject::Metadata => row["object"] = partial_object_metadata(object),
        IncludeObject::Object => row["object"] = object.clone(),
    }
    row
}

/// A table. `list_metadata` is the list's `metadata` (resourceVersion, continue, remainingItemCount), or of a single
/// object only its resourceVersion. A watch sends the definitions with its first event only; set `headings` then.
#[must_use]
pub fn render<'a>(
    descriptor: &ResourceDescriptor,
    objects: impl IntoIterator<Item = &'a Value>,
    list_metadata: &Value,
    include: IncludeObject,
    headings: bool,
    now: i64,
) -> Value {
    let rows: Vec<Value> = objects.into_iter().map(|object| row(descriptor, object, include, now)).collect();
    let definitions = if headings { column_definitions(descriptor) } else { Value::Null };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": list_metadata, "columnDefinitions": definitions, "rows": rows,
    })
}

/// `apiVersion` and `kind` of objects of which there is only the metadata.
pub const PARTIAL_METADATA: (&str, &str) = ("meta.k8s.io/v1", "PartialObjectMetadata");

/// The object cut down to `PartialObjectMetadata`.
#[must_use]
pub fn partial_object_metadata(object: &Value) -> Value {
    let metadata = object["metadata"].as_object().cloned().unwrap_or_else(Map::new);
    let (api_version, kind) = PARTIAL_METADATA;
    json!({"kind": kind, "apiVersion": api_version, "metadata": metadata})
}

/// A list cut down to `PartialObjectMetadataList`.
#[must_use]
pub fn partial_object_metadata_list<'a>(objects: impl IntoIterator<Item = &'a Value>, list_metadata: &Value) -> Value {
    let items: Vec<Value> = objects.into_iter().map(partial_object_metadata).collect();
    json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": list_metadata, "items": items,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::{FixedResource, test_descriptor};

    fn widget() -> Value {
        json!({
            "kind": "Widget", "apiVersion": "test.io/v1",
            "metadata": {"name": "a", "creationTimestamp": "2024-01-01T00:00:00Z"}, "spec": {"size": "big"},
        })
    }

    #[test]
    fn a_table_has_name_the_descriptors_columns_and_age() {
        let now = unix_seconds("2024-01-01T00:05:00Z").unwrap();
        let table = render(
            &test_descriptor().into(),
            [&widget()],
            &json!({"resourceVersion": "7"}),
            IncludeObject::Metadata,
            true,
            now,
        );
        assert_eq!(table["rows"][0]["cells"], json!(["a", "big", "5m"]));
        let names: Vec<&str> =
            table["columnDefinitions"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
        assert_eq!(names, ["Name", "Size", "Age"]);
        assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
        assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "a");
        assert_eq!(table["metadata"]["resourceVersion"], "7");
    }

    #[test]
    fn age_stands_before_what_only_wide_shows() {
        const WIDE: Column = Column { name: "IP", priority: 1, ..NAME };
        const NARROW: Column = Column { name: "Ready", ..NAME };
        let names = |columns_of: &'static [Column]| {
            let descriptor = ResourceDescriptor::from(FixedResource { columns: columns_of, ..test_descriptor() });
            descriptor.columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&[NARROW, WIDE]), ["Name", "Ready", "Age", "IP"]);
        assert_eq!(names(&[]), ["Name", "Age"]);
        assert_eq!(names(&[NARROW, NAME]), ["Ready", "Name"]);
    }

    #[test]
    fn a_row_includes_as_much_of_the_object_as_was_asked() {
        let row = |include| row(&test_descriptor().into(), &widget(), include, 0);
        assert_eq!(row(IncludeObject::None).get("object"), None);
        assert_eq!(row(IncludeObject::Object)["object"], widget());
        assert_eq!(IncludeObject::parse("").unwrap(), IncludeObject::Metadata);
        assert_eq!(IncludeObject::parse("all").unwrap_err().code, 400);
    }
}
