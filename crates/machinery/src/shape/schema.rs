//! Shapes from JSON schemas, as OpenAPI documents and custom resource definitions have them.
//!
//! Understood are `type`, `format`, `properties`, `required`, `additionalProperties`, `items`, `default`, `$ref`, `allOf` of
//! one reference, and of the extensions `x-kubernetes-` `list-type`, `list-map-keys`, `map-type`, `patch-strategy`,
//! `patch-merge-key`, `preserve-unknown-fields`, `embedded-resource` and `int-or-string`. A list without `list-type` is a map
//! or set if its patch strategy is `merge`, else atomic; an object without properties is a granular map of anything
//! (`k8s.io/kube-openapi/pkg/schemaconv`).

mod extensions;

use super::{Atom, AtomId, Field, List, Map, Scalar, Shape, Shapes, object_meta};
use serde_json::{Map as JsonMap, Value};
use std::{collections::BTreeMap, sync::Arc};

/// What cannot be understood of a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct SchemaError {
    /// The path within the schema, such as `spec.list[]`.
    pub at: String,
    /// What is wrong.
    pub what: String,
}

/// Schemas may be nested so deep.
const DEPTH_LIMIT: usize = 128;

/// The shape of a custom resource's version from its structural schema (`openAPIV3Schema`). `apiVersion`, `kind` and
/// `metadata` are what they are for every kind, whatever the schema says of them.
///
/// # Errors
/// All that cannot be understood, together.
pub fn custom_resource(schema: &Value, preserve_unknown_fields: bool) -> Result<Shape, Vec<SchemaError>> {
    let none = JsonMap::new();
    let mut builder = Builder::new(&none);
    builder.preserve = preserve_unknown_fields;
    let atom = builder.atom(schema, preserve_unknown_fields, "", 0);
    let root = builder.shapes.add(atom);
    builder.make_resource(root);
    let shapes = builder.finish()?;
    Ok(Shape::new(Arc::new(shapes), root))
}

/// Makes a table of the definitions of an OpenAPI document.
pub struct Builder<'a> {
    definitions: &'a JsonMap<String, Value>,
    shapes: Shapes,
    named: BTreeMap<&'a str, AtomId>,
    /// Atoms that are another one with a map type of their own.
    overrides: Vec<(AtomId, AtomId, bool)>,
    scalars: BTreeMap<&'static str, AtomId>,
    problems: Vec<SchemaError>,
    preserve: bool,
    from_structs: bool,
}

impl<'a> Builder<'a> {
    /// A table to be made of schemas that refer to `definitions`.
    #[must_use]
    pub fn new(definitions: &'a JsonMap<String, Value>) -> Self {
        Self {
            definitions,
            shapes: Shapes::new(),
            named: BTreeMap::new(),
            overrides: Vec::new(),
            scalars: BTreeMap::new(),
            problems: Vec::new(),
            preserve: false,
            from_structs: false,
        }
    }

    /// The schemas come from upstream's structures: what is required or has a default is always there
    /// ([`Field::always`]), and a required key of a list's elements that is missing is empty, 0 or false.
    #[must_use]
    pub fn from_structs(mut self) -> Self {
        self.from_structs = true;
        self
    }

    /// Adds the definition `name` with all that it refers to.
    pub fn add(&mut self, name: &'a str) -> AtomId {
        if name.ends_with("io.k8s.apimachinery.pkg.runtime.RawExtension") {
            return Shapes::UNTYPED;
        }
        if let Some(id) = self.named.get(name) {
            return *id;
        }
        let id = self.shapes.add(Atom::default());
        self.named.insert(name, id);
        let atom = match self.definitions.get(name) {
            // Quantities are text in schemas, but numbers are accepted.
            Some(_) if name.ends_with("io.k8s.apimachinery.pkg.api.resource.Quantity") => scalar(Scalar::Untyped),
            Some(schema) => self.atom(schema, self.preserve, name, 0),
            None => {
                self.problem(name, "is not defined");
                Atom::default()
            }
        };
        self.shapes.set(id, atom);
        id
    }

    /// What was added, by name.
    #[must_use]
    pub fn names(&self) -> BTreeMap<&'a str, AtomId> {
        self.named.clone()
    }

    /// The table.
    ///
    /// # Errors
    /// All that could not be understood.
    pub fn finish(mut self) -> Result<Shapes, Vec<SchemaError>> {
        for (id, base, atomic) in std::mem::take(&mut self.overrides) {
            let mut atom = self.shapes.get(base).clone();
            if let Some(map) = &mut atom.map {
                map.atomic = atomic;
            }
            self.shapes.set(id, atom);
        }
        if self.problems.is_empty() { Ok(self.shapes) } else { Err(self.problems) }
    }

    fn problem(&mut self, at: &str, what: impl Into<String>) {
        self.problems.push(SchemaError { at: at.to_owned(), what: what.into() });
    }

    /// The number of the atom for `schema`.
    fn place(&mut self, schema: &'a Value, preserve: bool, at: &str, depth: usize) -> AtomId {
        let Some(name) = reference(schema) else {
            let atom = self.atom(schema, preserve, at, depth);
            return self.intern(atom);
        };
        let base = self.add(name);
        match self.map_type(schema, at) {
            None => base,
            Some(atomic) => {
                let id = self.shapes.add(Atom::default());
                self.overrides.push((id, base, atomic));
                id
            }
        }
    }

    /// Adds an atom; scalars stand in the table once.
    fn intern(&mut self, atom: Atom) -> AtomId {
        let name = match &atom {
            Atom { scalar: Some(scalar), list: None, map: None } => text_name(*scalar),
            _ => return self.shapes.add(atom),
        };
        if let Some(id) = self.scalars.get(name) {
            return *id;
        }
        let id = self.shapes.add(atom);
        self.scalars.insert(name, id);
        id
    }

    fn atom(&mut self, schema: &'a Value, preserve: bool, at: &str, depth: usize) -> Atom {
        if depth > DEPTH_LIMIT {
            self.problem(at, format!("is nested deeper than {DEPTH_LIMIT} levels"));
            return Atom::default();
        }
        let preserve = preserve || extensions::is_set(schema, "x-kubernetes-preserve-unknown-fields");
        if extensions::is_set(schema, "x-kubernetes-int-or-string") {
            return scalar(Scalar::Untyped);
        }
        let properties = schema["properties"].as_object();
        match schema["type"].as_str() {
            None if properties.is_none_or(JsonMap::is_empty) => self.shapes.get(Shapes::DEDUCED).clone(),
            None | Some("object") => Atom { map: Some(self.map(schema, preserve, at, depth)), ..Atom::default() },
            Some("array") => Atom { list: self.list(schema, preserve, at, depth), ..Atom::default() },
            Some("integer" | "number") => scalar(Scalar::Numeric),
            Some("boolean") => scalar(Scalar::Boolean),
            Some("string") => match schema["format"].as_str() {
                None | Some("" | "byte") => scalar(Scalar::String),
                Some(_) => scalar(Scalar::Untyped),
            },
            Some(other) => {
                self.problem(at, format!("has the unknown type {other:?}"));
                scalar(Scalar::Untyped)
            }
        }
    }

    fn map(&mut self, schema: &'a Value, preserve: bool, at: &str, depth: usize) -> Map {
        let properties = schema["properties"].as_object();
        let mut fields = Vec::with_capacity(properties.map_or(0, JsonMap::len));
        for (name, property) in properties.into_iter().flatten() {
            let below = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            let atom = self.place(property, preserve, &below, depth + 1);
            let always = self.from_structs && (property.get("default").is_some() || requires(schema, name));
            let patch = self.patch(property, &below);
            fields.push(Field { name: name.clone().into(), atom, always, patch });
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        let rest = match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => Some(Shapes::DEDUCED),
            Some(Value::Bool(false)) => None,
            Some(other) => Some(self.place(other, preserve, &format!("{at}{{}}"), depth + 1)),
            None if preserve || fields.is_empty() => Some(Shapes::DEDUCED),
            None => None,
        };
        let atomic = self.map_type(schema, at).unwrap_or(false);
        let mut map = Map { fields: fields.into(), rest, atomic };
        if extensions::is_set(schema, "x-kubernetes-embedded-resource") {
            self.embed_resource(&mut map);
        }
        map
    }

    fn list(&mut self, schema: &'a Value, preserve: bool, at: &str, depth: usize) -> Option<List> {
        let Some(items) = schema.get("items") else {
            self.problem(at, "is a list without items");
            return None;
        };
        let element = self.place(items, preserve, &format!("{at}[]"), depth + 1);
        Some(List { element, kind: self.list_kind(schema, items, at) })
    }

    fn make_resource(&mut self, root: AtomId) {
        let mut atom = std::mem::take(self.shapes.get_mut(root));
        match &mut atom.map {
            Some(map) => {
                let own = ["apiVersion", "kind", "metadata"];
                map.fields = map.fields.iter().filter(|field| !own.contains(&&*field.name)).cloned().collect();
                self.embed_resource(map);
            }
            None => self.problem("", "is no object"),
        }
        self.shapes.set(root, atom);
    }

    /// Adds `apiVersion`, `kind` and `metadata` where they are not declared.
    fn embed_resource(&mut self, map: &mut Map) {
        let text = self.intern(scalar(Scalar::String));
        let meta = object_meta(&mut self.shapes);
        let mut fields = std::mem::take(&mut map.fields).into_vec();
        for (name, atom) in [("apiVersion", text), ("kind", text), ("metadata", meta)] {
            if !fields.iter().any(|field| field.name == name) {
                fields.push(Field { name: name.into(), atom, always: false, patch: None });
            }
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        map.fields = fields.into();
    }
}

fn scalar(scalar: Scalar) -> Atom {
    Atom { scalar: Some(scalar), ..Atom::default() }
}

fn text_name(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::String => "string",
        Scalar::Numeric => "numeric",
        Scalar::Boolean => "boolean",
        Scalar::Untyped => "untyped",
    }
}

fn requires(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|required| required.iter().any(|r| r.as_str() == Some(name)))
}

/// The name of the definition that `schema` refers to.
fn reference(schema: &Value) -> Option<&str> {
    let direct = schema.get("$ref").and_then(Value::as_str);
    let wrapped = || match schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([only]) => only.get("$ref").and_then(Value::as_str),
        _ => None,
    };
    direct.or_else(wrapped).map(|path| path.rsplit('/').next().unwrap_or(path))
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
