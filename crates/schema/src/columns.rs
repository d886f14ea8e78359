//! Printer columns of custom resources (`apiextensions-apiserver/pkg/registry/customresource/tableconvertor`), and the
//! paths of `selectableFields` and `scale` with their rules.

use crate::jsonpath::{Path, SimplePath, printed};
use crate::path::{child, index};
use crate::structural::{Structural, find_field};
use orrery_machinery::status::{FieldError, FieldReason};
use serde_json::Value;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
    /// Texts, or anything as text.
    String,
    /// True and false.
    Boolean,
    /// Times, shown as how long ago.
    Date,
}

/// One of `additionalPrinterColumns`, ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The heading.
    pub name: String,
    /// What it holds.
    pub kind: ColumnType,
    path: Path,
}

/// What stands in a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A value; null for nothing.
    Value(Value),
    /// A time, to be shown as how long ago; RFC 3339.
    Since(String),
}

impl Column {
    /// Reads a column of a definition that was checked; nothing when it is malformed all the same.
    #[must_use]
    pub fn read(column: &Value) -> Option<Self> {
        let kind = match column["type"].as_str()? {
            "integer" => ColumnType::Integer,
            "number" => ColumnType::Number,
            "string" => ColumnType::String,
            "boolean" => ColumnType::Boolean,
            "date" => ColumnType::Date,
            _ => return None,
        };
        Some(Self {
            name: column["name"].as_str()?.to_owned(),
            kind,
            path: Path::parse(column["jsonPath"].as_str()?).ok()?,
        })
    }

    /// What the column shows of `object`.
    #[must_use]
    pub fn cell(&self, object: &Value) -> Cell {
        let found = self.path.find(object).unwrap_or_default();
        let Some(value) = found.first() else { return Cell::Value(Value::Null) };
        Cell::Value(match (self.kind, value) {
            (ColumnType::String, value) => printed(value).into(),
            (ColumnType::Integer, Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => whole.into(),
                (None, Some(float)) => (float as i64).into(),
                (None, None) => Value::Null,
            },
            (ColumnType::Number, Value::Number(_)) | (ColumnType::Boolean, Value::Bool(_)) => (*value).clone(),
            (ColumnType::Date, Value::String(text)) if text.parse::<jiff::Timestamp>().is_ok() => {
                return Cell::Since(text.clone());
            }
            (ColumnType::Date, Value::String(_)) => "<invalid>".into(),
            (ColumnType::Integer | ColumnType::Number | ColumnType::Boolean | ColumnType::Date, _) => Value::Null,
        })
    }
}

const TYPES: &str = "boolean,date,integer,number,string";
const FORMATS: [&str; 9] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password", ""];

/// Checks one of `additionalPrinterColumns`, which stands at `path`.
#[must_use]
pub fn check_column(column: &Value, path: &str) -> Vec<FieldError> {
    let text = |part: &str| column[part].as_str().unwrap_or_default();
    let mut errors = Vec::new();
    if text("name").is_empty() {
        errors.push(FieldError::required(child(path, "name"), ""));
    }
    let one_of = format!("must be one of {TYPES}");
    match text("type") {
        "" => errors.push(FieldError::required(child(path, "type"), &one_of)),
        kind if TYPES.split(',').any(|known| known == kind) => {}
        _ => errors.push(FieldError::invalid(child(path, "type"), &column["type"], &one_of)),
    }
    if !FORMATS.contains(&text("format")) {
        let why = format!("must be one of {}", FORMATS[..8].join(","));
        errors.push(FieldError::invalid(child(path, "format"), &column["format"], &why));
    }
    let field = child(path, "jsonPath");
    match text("jsonPath") {
        "" => errors.push(FieldError::required(field, "")),
        json if !json.starts_with('.') => {
            errors.push(FieldError::invalid(field, &json.into(), "must be a simple json path starting with ."));
        }
        json => {
            if let Err(error) = Path::parse(json) {
                errors.push(FieldError::invalid(field, &json.into(), &format!("is an invalid path: {error}")));
            }
        }
    }
    errors
}

/// How many selectable fields a version may have.
const MAX_SELECTABLE_FIELDS: usize = 8;

/// Checks `selectableFields`, which stand at `path`.
#[must_use]
pub fn check_selectable_fields(fields: &Value, schema: &Structural, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for (i, field) in fields.as_array().into_iter().flatten().enumerate() {
        let at = child(&index(path, i), "jsonPath");
        let text = field["jsonPath"].as_str().unwrap_or_default();
        if text.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        let (found, leaf) = match find_field(schema, text, false) {
            Ok(found) => found,
            Err(error) => {
                errors.push(FieldError::invalid(at, &text.into(), &format!("is an invalid path: {error}")));
                continue;
            }
        };
        if found == "metadata" || found.starts_with("metadata.") {
            errors.push(FieldError::invalid(&*at, &text.into(), "must not point to fields in metadata"));
        }
        if !["string", "boolean", "integer"].contains(&leaf.kind.as_str()) {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                formats are allowed.";
            errors.push(FieldError::invalid(&*at, &text.into(), why));
        }
        if seen.contains(&found) {
            errors.push(FieldError::duplicate(at, &text.into()));
        } else {
            seen.push(found);
        }
    }
    if seen.len() > MAX_SELECTABLE_FIELDS {
        let message = format!("Too many: {}: must have at most {MAX_SELECTABLE_FIELDS} items", seen.len());
        errors.push(FieldError { reason: FieldReason::Invalid, field: path.to_owned(), message });
    }
    errors
}

/// What a field selector compares: the value at `path` as text, empty when it is missing.
#[must_use]
pub fn selectable_value(path: &SimplePath, object: &Value) -> String {
    path.get(object).filter(|value| !value.is_null()).map(printed).unwrap_or_default()
}

/// Checks `subresources.scale`, which stands at `path`.
#[must_use]
pub fn check_scale(scale: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let parts: [(&str, &[&str], &str, bool); 3] = [
        ("specReplicasPath", &[".spec."], "should be a json path under .spec", true),
        ("statusReplicasPath", &[".status."], "should be a json path under .status", true),
        ("labelSelectorPath", &[".spec.", ".status."], "should be a json path under either .spec or .status", false),
    ];
    for (part, below, why, required) in parts {
        let (field, text) = (child(path, part), scale[part].as_str().unwrap_or_default());
        match (text, SimplePath::parse(text)) {
            ("", _) if required => errors.push(FieldError::required(field, "")),
            ("", _) => {}
            (_, Err(error)) => errors.push(FieldError::invalid(field, &text.into(), &error.to_string())),
            (_, Ok(_)) if !below.iter().any(|prefix| text.starts_with(prefix)) => {
                errors.push(FieldError::invalid(field, &text.into(), why));
            }
            (_, Ok(_)) => {}
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
    }

    #[test]
    fn a_cell_holds_what_its_column_says() {
        let object = json!({"spec": {"n": 3, "f": 1.9, "s": "text", "b": true, "t": "2020-01-02T03:04:05Z"}});
        let table = [
            ("integer", ".spec.n", Cell::Value(json!(3))),
            ("integer", ".spec.f", Cell::Value(json!(1))),
            ("integer", ".spec.s", Cell::Value(json!(null))),
            ("number", ".spec.f", Cell::Value(json!(1.9))),
            ("string", ".spec.n", Cell::Value(json!("3"))),
            ("string", ".spec.missing", Cell::Value(json!(null))),
            ("boolean", ".spec.b", Cell::Value(json!(true))),
            ("date", ".spec.t", Cell::Since("2020-01-02T03:04:05Z".into())),
            ("date", ".spec.s", Cell::Value(json!("<invalid>"))),
        ];
        for (kind, path, expected) in table {
            let column = Column::read(&json!({"name": "C", "type": kind, "jsonPath": path})).unwrap();
            assert_eq!(column.cell(&object), expected, "{kind} {path}");
        }
    }

    #[test]
    fn columns_selectable_fields_and_scale_are_checked() {
        let errors = check_column(&json!({"type": "odd", "format": "odd", "jsonPath": "a"}), "c");
        let expected = [
            "c.name: Required value",
            "c.type: Invalid value: \"odd\": must be one of boolean,date,integer,number,string",
            "c.format: Invalid value: \"odd\": must be one of byte,date,date-time,double,float,int32,int64,password",
            "c.jsonPath: Invalid value: \"a\": must be a simple json path starting with .",
        ];
        assert_eq!(texts(&errors), expected);
        let schema = Structural::read(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"a": {"type": "string"}, "o": {"type": "object"}}},
        }}))
        .unwrap();
        let fields =
            json!([{"jsonPath": ".spec.a"}, {"jsonPath": ".spec.a"}, {"jsonPath": ".spec.o"}, {"jsonPath": ".x"}]);
        let expected = [
            "f[1].jsonPath: Duplicate value: \".spec.a\"",
            "f[2].jsonPath: Invalid value: \".spec.o\": must point to a field of type string, boolean or integer. Enum string \
             fields and strings with formats are allowed.",
            "f[3].jsonPath: Invalid value: \".x\": is an invalid path: does not refer to a valid field",
        ];
        assert_eq!(texts(&check_selectable_fields(&fields, &schema, "f")), expected);
        let scale = json!({"specReplicasPath": ".status.n", "labelSelectorPath": "x"});
        let expected = [
            "s.specReplicasPath: Invalid value: \".status.n\": should be a json path under .spec",
            "s.statusReplicasPath: Required value",
            "s.labelSelectorPath: Invalid value: \"x\": must be a simple json path starting with .",
        ];
        assert_eq!(texts(&check_scale(&scale, "s")), expected);
        let path = SimplePath::parse(".spec.a").unwrap();
        assert_eq!(selectable_value(&path, &json!({"spec": {"a": true}})), "true");
    }
}
