//! Built-in kinds: tables of functions, turned into descriptors.

use super::{
    DecodeError, FieldReader, ResourceDescriptor, Rules, Storage, StoredAs, Subresource, TableColumn, Text,
    UnknownField, replace_status, unknown,
};
use crate::status::{ApiError, FieldError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::sync::Arc;

/// A built-in kind. All functions are pure; `now` is passed in. [`ResourceDescriptor::from`] makes it ready to be served.
#[derive(Clone, Copy)]
pub struct FixedResource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// The served version, which is also the stored one unless `stored_as` says otherwise.
    pub version: &'static str,
    /// Such as `Pod`.
    pub kind: &'static str,
    /// Such as `pods`.
    pub plural: &'static str,
    /// Such as `pod`.
    pub singular: &'static str,
    /// Such as `po`.
    pub short_names: &'static [&'static str],
    /// Such as `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether objects are stored, or answered at once by a handler (reviews).
    pub storage: Storage,
    /// Where objects lie when they are stored as another resource's: that one, and the way there and back.
    pub stored_as: Option<&'static OtherForm>,
    /// Changes when defaults or the form in the store do.
    pub schema_generation: u32,
    /// Whether there is the usual `/status` sub-resource ([`replace_status`]).
    pub has_status: bool,
    /// Sub-resources beyond that.
    pub subresources: &'static [Subresource],
    /// Checks the object against its type: the unknown fields, or why it is malformed.
    pub decode: fn(&Value) -> Result<Vec<UnknownField>, DecodeError>,
    /// Fills in defaults.
    pub default: fn(&mut Value),
    /// Checks a new object, or a change when the old one is given.
    pub validate: fn(&Value, Option<&Value>) -> Vec<FieldError>,
    /// Checks a change made through the named sub-resource; none to check it as any other change.
    pub validate_part: Option<PartRules>,
    /// What the client's user should know although the object is accepted.
    pub warnings: fn(&Value, Option<&Value>) -> Vec<String>,
    /// Prepares an object for its first write (such as a pod's initial phase).
    pub prepare_create: fn(&mut Value),
    /// Prepares a change of the main resource: takes from the old object what clients may not change.
    pub prepare_update: fn(&Value, &mut Value),
    /// Prepares the first request for deletion: may add finalizers and set the status.
    pub prepare_delete: fn(&mut Value),
    /// Whether an update that differs in more than metadata and status counts up `metadata.generation`.
    pub counts_generation: bool,
    /// Whether an update without a resource version is taken.
    pub unconditional_update: bool,
    /// Whether an update of a missing object creates it.
    pub create_on_update: bool,
    /// Whether deleting an object leaves its dependents alone unless asked otherwise.
    pub orphans_by_default: bool,
    /// Columns of a table beyond `Name`, `Namespace` being the client's and `Age` being added last, before those that
    /// only `-o wide` shows. With a column called `Name` among them, they are the whole table
    /// ([`crate::table::NAME`], [`crate::table::AGE`]).
    pub columns: &'static [Column],
    /// Fields that a field selector may name beyond `metadata.name` and `metadata.namespace`.
    pub selectable_fields: &'static [SelectableField],
    /// The OpenAPI v3 schema, with definitions under `$defs`.
    pub schema: fn() -> Value,
}

impl FixedResource {
    /// The starting point of each kind: stored, in namespaces, without names, rules and sub-resources.
    pub const PLAIN: Self = Self {
        group: "",
        version: "v1",
        kind: "",
        plural: "",
        singular: "",
        short_names: &[],
        categories: &[],
        namespaced: true,
        storage: Storage::Stored,
        stored_as: None,
        schema_generation: 1,
        has_status: false,
        subresources: &[],
        decode: |_| Ok(Vec::new()),
        default: |_| {},
        validate: |_, _| Vec::new(),
        validate_part: None,
        warnings: |_, _| Vec::new(),
        prepare_create: |_| {},
        prepare_update: |_, _| {},
        prepare_delete: |_| {},
        counts_generation: false,
        unconditional_update: true,
        create_on_update: false,
        orphans_by_default: false,
        columns: &[],
        selectable_fields: &[],
        schema: || Value::Null,
    };
}

/// Rules of changes through a sub-resource: its name, the object, the old object.
pub type PartRules = fn(&str, &Value, &Value) -> Vec<FieldError>;

/// A form of objects that are stored as another resource's.
#[derive(Debug)]
pub struct OtherForm {
    /// What they are stored as.
    pub stored: StoredAs,
    /// From the stored form to this one; `apiVersion` and `kind` are set by the caller.
    pub on_read: fn(&mut Value),
    /// From this form to the stored one.
    pub on_write: fn(&mut Value),
}

/// A column of a table.
#[derive(Clone, Copy)]
pub struct Column {
    /// The heading, such as `Ready`.
    pub name: &'static str,
    /// `string`, `integer` or `date`.
    pub kind: &'static str,
    /// 0 is always shown; 1 only with `-o wide`.
    pub priority: i32,
    /// For people.
    pub description: &'static str,
    /// The cell's value for an object at the time `now` (Unix seconds).
    pub cell: fn(&Value, i64) -> Value,
}

/// A field that a field selector may name.
#[derive(Clone, Copy)]
pub struct SelectableField {
    /// Such as `spec.nodeName`.
    pub path: &'static str,
    /// The field's value as text; empty when it is unset.
    pub value: fn(&Value) -> String,
}

impl From<FixedResource> for ResourceDescriptor {
    fn from(fixed: FixedResource) -> Self {
        let [group, version, kind] = [fixed.group, fixed.version, fixed.kind].map(Text::Borrowed);
        let own = || StoredAs {
            group: group.clone(),
            version: version.clone(),
            kind: kind.clone(),
            plural: Text::Borrowed(fixed.plural),
        };
        let status = fixed
            .has_status
            .then(|| Subresource::part("status", replace_status, group.clone(), version.clone(), kind.clone()));
        let all = crate::table::all_columns(fixed.columns);
        Self {
            stored: fixed.stored_as.map_or_else(own, |other| other.stored.clone()),
            list_kind: format!("{kind}List").into(),
            plural: fixed.plural.into(),
            singular: fixed.singular.into(),
            short_names: fixed.short_names.iter().copied().map(Text::Borrowed).collect(),
            categories: fixed.categories.iter().copied().map(Text::Borrowed).collect(),
            namespaced: fixed.namespaced,
            storage: fixed.storage,
            schema_generation: fixed.schema_generation,
            subresources: fixed.subresources.iter().cloned().chain(status).collect(),
            closed: None,
            counts_generation: fixed.counts_generation,
            unconditional_update: fixed.unconditional_update,
            create_on_update: fixed.create_on_update,
            columns: all.into_iter().map(TableColumn::from).collect(),
            selectable_fields: fixed.selectable_fields.iter().copied().map(FieldReader::from).collect(),
            strategic_patches: true,
            shape: crate::shape::Shape::deduced(),
            converter: None,
            rules: Arc::new(fixed),
            group,
            version,
            kind,
        }
    }
}

impl From<Column> for TableColumn {
    fn from(column: Column) -> Self {
        let format = if column.name == crate::table::NAME.name { "name" } else { "" };
        Self {
            name: column.name.into(),
            kind: column.kind.into(),
            format: format.into(),
            priority: column.priority,
            description: column.description.into(),
            cell: Arc::new(column.cell),
        }
    }
}

impl From<SelectableField> for FieldReader {
    fn from(field: SelectableField) -> Self {
        Self { path: field.path.into(), value: Arc::new(field.value) }
    }
}

impl Rules for FixedResource {
    fn decode(&self, object: &mut Value) -> Result<Vec<String>, DecodeError> {
        let unknown = (self.decode)(object)?;
        unknown.iter().for_each(|field| field.remove_from(object));
        Ok(unknown.iter().map(|field| format!("unknown field {:?}", field.to_string())).collect())
    }

    fn default(&self, object: &mut Value) {
        (self.default)(object);
    }

    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        (self.validate)(object, old)
    }

    fn validate_part(&self, part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
        match self.validate_part {
            Some(validate) => validate(part, object, old),
            None => (self.validate)(object, Some(old)),
        }
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        (self.warnings)(object, old)
    }

    fn prepare_create(&self, object: &mut Value) {
        (self.prepare_create)(object);
    }

    fn prepare_update(&self, old: &Value, new: &mut Value) {
        (self.prepare_update)(old, new);
    }

    fn prepare_delete(&self, object: &mut Value) {
        (self.prepare_delete)(object);
    }

    fn orphans_by_default(&self) -> bool {
        self.orphans_by_default
    }

    fn schema(&self) -> Value {
        (self.schema)()
    }

    fn on_read(&self, object: &mut Value) -> Result<(), ApiError> {
        if let Some(other) = self.stored_as {
            (other.on_read)(object);
        }
        Ok(())
    }

    fn on_write(&self, object: &mut Value) -> Result<(), ApiError> {
        if let Some(other) = self.stored_as {
            (other.on_write)(object);
        }
        Ok(())
    }
}

/// [`FixedResource::decode`] for a Rust type: unknown fields are those that the type ignores.
///
/// # Errors
/// When the object is not of type `T`, or has so many unknown fields that it can't be meant as one.
pub fn decode_as<T: DeserializeOwned>(object: &Value) -> Result<Vec<UnknownField>, DecodeError> {
    let mut unknown = Vec::new();
    let mut left = Some(unknown::LIMIT_BYTES);
    let result: Result<T, serde_json::Error> = serde_ignored::deserialize(object, |path| {
        let Some(limit) = left else { return };
        let field = UnknownField::new(&path, limit);
        left = field.as_ref().and_then(|field| limit.checked_sub(field.length()));
        unknown.extend(field);
    });
    match result {
        Ok(_) if left.is_none() => Err(DecodeError { path: String::new(), message: "too many unknown fields".into() }),
        Ok(_) => Ok(unknown),
        Err(_) => match serde_path_to_error::deserialize::<_, T>(object) {
            Ok(_) => Ok(unknown),
            Err(error) => Err(DecodeError { path: error.path().to_string(), message: error.inner().to_string() }),
        },
    }
}

/// [`FixedResource::schema`] for a Rust type.
#[must_use]
pub fn schema_of<T: schemars::JsonSchema>() -> Value {
    schemars::generate::SchemaSettings::openapi3().into_generator().into_root_schema_for::<T>().to_value()
}

/// Reads `object` as `T`, once [`FixedResource::decode`] has accepted it.
#[must_use]
pub fn read_as<T: DeserializeOwned>(object: &Value) -> Option<T> {
    T::deserialize(object).ok()
}

/// Writes `value` as JSON.
///
/// # Panics
/// Never for API types: their maps have string keys.
#[must_use]
pub fn to_value<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("an API type is JSON")
}

/// A resource for the tests of this crate.
#[cfg(test)]
pub(crate) fn test_descriptor() -> FixedResource {
    FixedResource {
        group: "test.io",
        version: "v1",
        kind: "Widget",
        plural: "widgets",
        singular: "widget",
        short_names: &["wd"],
        categories: &["all"],
        namespaced: true,
        has_status: true,
        decode: |_| Ok(Vec::new()),
        counts_generation: true,
        columns: &[Column {
            name: "Size",
            kind: "string",
            priority: 0,
            description: "How big.",
            cell: |object, _| object["spec"]["size"].clone(),
        }],
        selectable_fields: &[SelectableField {
            path: "spec.size",
            value: |object| object["spec"]["size"].as_str().unwrap_or_default().to_owned(),
        }],
        schema: || {
            serde_json::json!({
                "title": "Widget", "type": "object",
                "properties": {"spec": {"$ref": "#/$defs/WidgetSpec"}},
                "$defs": {"WidgetSpec": {"type": "object", "properties": {"size": {"type": "string"}}}},
            })
        },
        ..FixedResource::PLAIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::k8s::api::core::v1::Pod;
    use serde_json::json;

    #[test]
    fn unknown_and_malformed_fields_are_named_by_their_path() {
        let pod = |container: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": [container]}, "extra": 1});
        let unknown = decode_as::<Pod>(&pod(json!({"name": "a", "prots": []}))).unwrap();
        let shown: Vec<String> = unknown.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["extra", "spec.containers[0].prots"]);
        let error = decode_as::<Pod>(&pod(json!({"name": 5}))).unwrap_err();
        assert_eq!(error.path, "spec.containers[0].name");
    }
}
