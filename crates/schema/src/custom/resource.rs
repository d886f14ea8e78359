//! The resources that a definition defines: a descriptor for each served version.

use crate::{
    columns::{self, Cell},
    jsonpath::SimplePath,
    publish::{self, Names},
    resource::Schema,
    structural::Structural,
};
use orrery_machinery::{
    descriptor::{
        DecodeError, Does, FieldReader, ResourceDescriptor, Rules, ScalePaths, Storage, StoredAs, Subresource,
        TableColumn, Text,
    },
    meta::{self, NameRule},
    shape::{self, Shape},
    status::{ApiError, FieldError},
    table,
};
use serde_json::Value;
use std::sync::Arc;

/// The descriptors of a definition's served versions, or why one cannot be served: its schema cannot be read, which
/// validation does not let in.
#[must_use]
pub fn descriptors(definition: &Value) -> Vec<Result<ResourceDescriptor, String>> {
    let versions = super::list(definition, "/spec/versions");
    let Some(storage) = versions.iter().find(|version| version["storage"] == true) else { return Vec::new() };
    let served = versions.iter().filter(|version| version["served"] == true);
    served
        .map(|version| {
            descriptor(definition, version, storage).map_err(|errors| {
                let errors: Vec<String> =
                    errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
                format!("version {}: {}", version["name"], errors.join(", "))
            })
        })
        .collect()
}

fn owned(value: &Value) -> Text {
    value.as_str().unwrap_or_default().to_owned().into()
}

fn descriptor(definition: &Value, version: &Value, storage: &Value) -> Result<ResourceDescriptor, Vec<FieldError>> {
    let (spec, names) = (&definition["spec"], &definition["status"]["acceptedNames"]);
    let structural = Structural::parse(&version["schema"]["openAPIV3Schema"])?;
    let texts = |field: &str| names[field].as_array().into_iter().flatten().map(owned).collect();
    let (group, kind, plural) = (owned(&spec["group"]), owned(&names["kind"]), owned(&names["plural"]));
    let (version_name, list_kind) = (owned(&version["name"]), owned(&names["listKind"]));
    let namespaced = spec["scope"] == "Namespaced";
    let rules = CustomRules {
        schema: Schema::new(structural),
        namespaced,
        names: [&group, &version_name, &kind, &list_kind, &plural].map(|text| text.to_string()),
    };
    Ok(ResourceDescriptor {
        subresources: subresources(version, (&group, &version_name, &kind)),
        columns: table_columns(version),
        selectable_fields: selectable_fields(version),
        stored: StoredAs {
            group: group.clone(),
            version: owned(&storage["name"]),
            kind: kind.clone(),
            plural: plural.clone(),
        },
        group,
        version: version_name,
        kind,
        list_kind,
        plural,
        singular: owned(&names["singular"]),
        short_names: texts("shortNames"),
        categories: texts("categories"),
        namespaced,
        storage: Storage::Stored,
        // Defaults of the schema are filled in again when it has changed since the object was written.
        schema_generation: u32::try_from(meta::generation(definition)).unwrap_or(u32::MAX),
        closed: meta::is_deleting(definition)
            .then_some(Text::Borrowed("create not allowed while custom resource definition is terminating")),
        counts_generation: true,
        unconditional_update: false,
        create_on_update: false,
        strategic_patches: false,
        shape: shape(version),
        converter: (spec["conversion"]["strategy"] == "Webhook")
            .then(|| Arc::new(spec["conversion"]["webhook"].clone())),
        rules: Arc::new(rules),
    })
}

/// How objects merge. Where the schema says nothing that can be used, maps merge and lists are replaced.
fn shape(version: &Value) -> Shape {
    let schema = &version["schema"]["openAPIV3Schema"];
    let preserve = schema["x-kubernetes-preserve-unknown-fields"] == true;
    shape::schema::custom_resource(schema, preserve).unwrap_or_else(|_| Shape::deduced())
}

/// `status` and `scale`, as far as the version has them.
fn subresources(version: &Value, (group, name, kind): (&Text, &Text, &Text)) -> Vec<Subresource> {
    let mut found = Vec::new();
    if version["subresources"]["status"].is_object() {
        found.push(Subresource::part("status", replace_status, group.clone(), name.clone(), kind.clone()));
    }
    let scale = &version["subresources"]["scale"];
    if scale.is_object() {
        let path = |field: &str| scale[field].as_str().map(|path| Text::from(path.trim_start_matches('.').to_owned()));
        found.push(Subresource::scale(ScalePaths {
            spec_replicas: path("specReplicasPath").unwrap_or_default(),
            status_replicas: path("statusReplicasPath").unwrap_or_default(),
            selector: path("labelSelectorPath"),
        }));
    }
    debug_assert!(found.iter().all(|subresource| !matches!(subresource.does, Does::Handled)));
    found
}

/// Only the status is changed through `status`; the metadata of a custom resource is not.
fn replace_status(old: &Value, mut sent: Value) -> Value {
    let mut kept = old.clone();
    super::set_field(&mut kept, "status", sent.get_mut("status").map(Value::take));
    for field in ["resourceVersion", "managedFields", "uid"] {
        super::set_meta(&mut kept, field, sent["metadata"].get(field).cloned());
    }
    kept
}

fn table_columns(version: &Value) -> Vec<TableColumn> {
    let asked = super::list(version, "/additionalPrinterColumns");
    let mut all = vec![TableColumn::from(table::NAME)];
    if asked.is_empty() {
        all.push(TableColumn::from(table::AGE));
    }
    all.extend(asked.iter().filter_map(|definition| {
        let column = columns::Column::read(definition)?;
        Some(TableColumn {
            name: owned(&definition["name"]),
            kind: owned(&definition["type"]),
            format: owned(&definition["format"]),
            priority: definition["priority"].as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(0),
            description: owned(&definition["description"]),
            cell: Arc::new(move |object, now| match column.cell(object) {
                Cell::Value(value) => value,
                Cell::Since(time) => table::age(&time, now).into(),
            }),
        })
    }));
    all
}

fn selectable_fields(version: &Value) -> Vec<FieldReader> {
    let fields = super::list(version, "/selectableFields").iter();
    fields
        .filter_map(|field| {
            let path = SimplePath::parse(field["jsonPath"].as_str()?).ok()?;
            let name = field["jsonPath"].as_str()?.trim_start_matches('.').to_owned();
            let value = move |object: &Value| columns::selectable_value(&path, object);
            Some(FieldReader { path: name.into(), value: Arc::new(value) })
        })
        .collect()
}

/// The rules of objects of one version.
struct CustomRules {
    schema: Schema,
    namespaced: bool,
    /// Group, version, kind, list's kind, plural.
    names: [String; 5],
}

impl Rules for CustomRules {
    fn decode(&self, object: &mut Value) -> Result<Vec<String>, DecodeError> {
        self.schema.admit(object).map_err(|error| DecodeError { path: error.field, message: error.message })
    }

    fn default(&self, object: &mut Value) {
        self.schema.apply_defaults(object);
    }

    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = meta::validate_extension(object, old, self.namespaced, NameRule::DnsSubdomain);
        errors.extend(self.schema.validate(object, old).errors);
        errors
    }

    fn schema(&self) -> Value {
        let [group, version, kind, list_kind, plural] = &self.names;
        let names = Names { group, version, kind, list_kind, plural };
        publish::openapi_v3(Some(self.schema.structural()), &names)
    }

    fn on_read(&self, object: &mut Value) -> Result<(), ApiError> {
        self.schema.restore(object);
        Ok(())
    }
}
