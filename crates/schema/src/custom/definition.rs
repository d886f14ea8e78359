//! The rules of definitions: those of the built-in kind, and those that need schemas to be understood.

use super::{CLEANUP, GROUP, PLURAL};
use crate::{columns, structural::Structural};
use orrery_machinery::{
    descriptor::{DecodeError, ResourceDescriptor, Rules},
    meta,
    status::{ApiError, FieldError},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// The descriptor, with the rules of schemas added when it is that of definitions.
#[must_use]
pub fn with_schema_rules(mut resource: ResourceDescriptor) -> ResourceDescriptor {
    if resource.is(GROUP, PLURAL) {
        resource.rules = Arc::new(DefinitionRules { kind: Arc::clone(&resource.rules) });
    }
    resource
}

struct DefinitionRules {
    /// The rules of the built-in kind.
    kind: Arc<dyn Rules>,
}

impl Rules for DefinitionRules {
    fn decode(&self, object: &mut Value) -> Result<Vec<String>, DecodeError> {
        self.kind.decode(object)
    }

    fn default(&self, object: &mut Value) {
        self.kind.default(object);
    }

    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = self.kind.validate(object, old);
        // What is unchanged was fine when it came in; rules that came later don't hold up other changes.
        if old.is_none_or(|old| old["spec"] != object["spec"]) {
            for (index, version) in super::list(object, "/spec/versions").iter().enumerate() {
                check_version(version, &format!("spec.versions[{index}]"), &mut errors);
            }
        }
        errors
    }

    fn validate_part(&self, part: &str, object: &Value, old: &Value) -> Vec<FieldError> {
        self.kind.validate_part(part, object, old)
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        self.kind.warnings(object, old)
    }

    fn prepare_create(&self, object: &mut Value) {
        self.kind.prepare_create(object);
        let status = json!({"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": []});
        super::set_field(object, "status", Some(status));
        note_stored_version(object);
    }

    fn prepare_update(&self, old: &Value, new: &mut Value) {
        self.kind.prepare_update(old, new);
        note_stored_version(new);
    }

    fn prepare_delete(&self, object: &mut Value) {
        let mut finalizers: Vec<Value> = meta::finalizers(object).into_iter().map(Value::from).collect();
        if !finalizers.iter().any(|finalizer| finalizer == CLEANUP) {
            finalizers.push(CLEANUP.into());
            super::set_meta(object, "finalizers", Some(finalizers.into()));
        }
    }

    fn schema(&self) -> Value {
        self.kind.schema()
    }

    fn on_read(&self, object: &mut Value) -> Result<(), ApiError> {
        self.kind.on_read(object)
    }
}

/// Objects of the storage version may lie in the store from now on.
fn note_stored_version(object: &mut Value) {
    let storage = super::list(object, "/spec/versions").iter().find(|version| version["storage"] == true);
    let Some(name) = storage.map(|version| version["name"].clone()) else { return };
    if let Some(stored) = object.pointer_mut("/status/storedVersions").and_then(Value::as_array_mut)
        && !stored.contains(&name)
    {
        stored.push(name);
    }
}

fn check_version(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let schema_path = format!("{path}.schema.openAPIV3Schema");
    let schema = &version["schema"]["openAPIV3Schema"];
    if !schema.is_object() {
        errors.push(FieldError::required(schema_path, "schemas are required"));
        return;
    }
    let structural = match Structural::parse_at(schema, &schema_path) {
        Ok(structural) => structural,
        Err(found) => {
            errors.extend(found);
            return;
        }
    };
    for (index, column) in super::list(version, "/additionalPrinterColumns").iter().enumerate() {
        errors.extend(columns::check_column(column, &format!("{path}.additionalPrinterColumns[{index}]")));
    }
    if version["selectableFields"].is_array() {
        let fields = &version["selectableFields"];
        errors.extend(columns::check_selectable_fields(fields, &structural, &format!("{path}.selectableFields")));
    }
    let scale = &version["subresources"]["scale"];
    if scale.is_object() {
        errors.extend(columns::check_scale(scale, &format!("{path}.subresources.scale")));
    }
}
