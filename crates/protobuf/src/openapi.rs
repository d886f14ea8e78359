//! The OpenAPI document of version 2 in its protobuf form, which clients of Kubernetes ask for by preference.
//!
//! Its messages are those of gnostic (`openapiv2/OpenAPIv2.proto`). The tables below state the fields that a document of an API
//! server has; what is not in them is left out. Values of any form are JSON text where gnostic has YAML, which JSON is.

use crate::wire;
use serde_json::{Map, Value};

/// The media type.
pub const OPENAPI_V2_MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The name by which most clients ask for it; as a media type it is malformed, so no answer has it.
pub const OPENAPI_V2_ASKED_AS: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// A message: its fields by JSON name and number, and the number of its extensions, whose names begin with `x-`; 0 without.
struct Shape {
    fields: &'static [(&'static str, u32, Form)],
    extensions: u32,
}

/// How a value is written.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Texts,
    Truth,
    Int,
    Double,
    Any,
    Anys,
    One(&'static Shape),
    Many(&'static Shape),
    /// A map, as a message of pairs.
    Pairs(&'static Shape),
    /// A message in field 1 of one more message.
    Within(&'static Shape),
    /// A schema, or whether there may be more.
    SchemaOrTruth,
    /// A text or several, in a message.
    Types,
    /// Paths, or extensions of the document.
    Paths,
    /// Parameters of the body and elsewhere, or references to them.
    Parameters,
    /// By code.
    Responses,
    /// A list of maps to lists.
    Requirements,
    /// By name; those that are keys.
    Keys,
}

static DOCUMENT: Shape = Shape {
    fields: &[
        ("swagger", 1, Form::Text),
        ("info", 2, Form::One(&INFO)),
        ("host", 3, Form::Text),
        ("basePath", 4, Form::Text),
        ("schemes", 5, Form::Texts),
        ("consumes", 6, Form::Texts),
        ("produces", 7, Form::Texts),
        ("paths", 8, Form::Paths),
        ("definitions", 9, Form::Pairs(&SCHEMA)),
        ("security", 12, Form::Requirements),
        ("securityDefinitions", 13, Form::Keys),
    ],
    extensions: 16,
};

static INFO: Shape = Shape {
    fields: &[("title", 1, Form::Text), ("version", 2, Form::Text), ("description", 3, Form::Text)],
    extensions: 7,
};

static SCHEMA: Shape = Shape {
    fields: &[
        ("$ref", 1, Form::Text),
        ("format", 2, Form::Text),
        ("title", 3, Form::Text),
        ("description", 4, Form::Text),
        ("default", 5, Form::Any),
        ("multipleOf", 6, Form::Double),
        ("maximum", 7, Form::Double),
        ("exclusiveMaximum", 8, Form::Truth),
        ("minimum", 9, Form::Double),
        ("exclusiveMinimum", 10, Form::Truth),
        ("maxLength", 11, Form::Int),
        ("minLength", 12, Form::Int),
        ("pattern", 13, Form::Text),
        ("maxItems", 14, Form::Int),
        ("minItems", 15, Form::Int),
        ("uniqueItems", 16, Form::Truth),
        ("maxProperties", 17, Form::Int),
        ("minProperties", 18, Form::Int),
        ("required", 19, Form::Texts),
        ("enum", 20, Form::Anys),
        ("additionalProperties", 21, Form::SchemaOrTruth),
        ("type", 22, Form::Types),
        ("items", 23, Form::Within(&SCHEMA)),
        ("allOf", 24, Form::Many(&SCHEMA)),
        ("properties", 25, Form::Pairs(&SCHEMA)),
        ("example", 30, Form::Any),
    ],
    extensions: 31,
};

static PATH_ITEM: Shape = Shape {
    fields: &[
        ("get", 2, Form::One(&OPERATION)),
        ("put", 3, Form::One(&OPERATION)),
        ("post", 4, Form::One(&OPERATION)),
        ("delete", 5, Form::One(&OPERATION)),
        ("options", 6, Form::One(&OPERATION)),
        ("head", 7, Form::One(&OPERATION)),
        ("patch", 8, Form::One(&OPERATION)),
        ("parameters", 9, Form::Parameters),
    ],
    extensions: 10,
};

static OPERATION: Shape = Shape {
    fields: &[
        ("tags", 1, Form::Texts),
        ("summary", 2, Form::Text),
        ("description", 3, Form::Text),
        ("operationId", 5, Form::Text),
        ("produces", 6, Form::Texts),
        ("consumes", 7, Form::Texts),
        ("parameters", 8, Form::Parameters),
        ("responses", 9, Form::Responses),
        ("schemes", 10, Form::Texts),
        ("deprecated", 11, Form::Truth),
        ("security", 12, Form::Requirements),
    ],
    extensions: 13,
};

static BODY: Shape = Shape {
    fields: &[
        ("description", 1, Form::Text),
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("required", 4, Form::Truth),
        ("schema", 5, Form::One(&SCHEMA)),
    ],
    extensions: 6,
};

/// Parameters in the path, and those in headers, which are numbered alike.
static PATH_PARAMETER: Shape = Shape {
    fields: &[
        ("required", 1, Form::Truth),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 5, Form::Text),
        ("format", 6, Form::Text),
        ("default", 9, Form::Any),
    ],
    extensions: 22,
};

static QUERY_PARAMETER: Shape = Shape {
    fields: &[
        ("required", 1, Form::Truth),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("allowEmptyValue", 5, Form::Truth),
        ("type", 6, Form::Text),
        ("format", 7, Form::Text),
        ("default", 10, Form::Any),
    ],
    extensions: 23,
};

static REFERENCE: Shape = Shape { fields: &[("$ref", 1, Form::Text), ("description", 2, Form::Text)], extensions: 0 };

static RESPONSE: Shape =
    Shape { fields: &[("description", 1, Form::Text), ("schema", 2, Form::Within(&SCHEMA))], extensions: 5 };

static KEY: Shape = Shape {
    fields: &[("type", 1, Form::Text), ("name", 2, Form::Text), ("in", 3, Form::Text), ("description", 4, Form::Text)],
    extensions: 5,
};

/// The protobuf form of an OpenAPI document of version 2.
#[must_use]
pub fn openapi_v2(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(&DOCUMENT, document, &mut out);
    out
}

/// Appends the fields of a message.
fn put(shape: &Shape, object: &Value, out: &mut Vec<u8>) {
    for (name, value) in entries(object) {
        match shape.fields.iter().find(|(known, ..)| known == name) {
            Some((_, number, form)) => field(*number, *form, value, out),
            None if shape.extensions > 0 && name.starts_with("x-") => {
                nested(out, shape.extensions, |out| pair(name, out, |out| any(value, out)));
            }
            None => {}
        }
    }
}

fn entries(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().map(Map::iter).into_iter().flatten()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn field(number: u32, form: Form, value: &Value, out: &mut Vec<u8>) {
    match form {
        Form::Text => value.as_str().into_iter().for_each(|text| wire::put_bytes(out, number, text.as_bytes())),
        Form::Texts => items(value).for_each(|text| field(number, Form::Text, text, out)),
        Form::Truth => value.as_bool().into_iter().for_each(|truth| wire::put_number(out, number, truth.into())),
        Form::Int => value.as_i64().into_iter().for_each(|int| wire::put_number(out, number, int.cast_unsigned())),
        Form::Double => value.as_f64().into_iter().for_each(|real| wire::put_fixed64(out, number, real.to_bits())),
        Form::Any => nested(out, number, |out| any(value, out)),
        Form::Anys => items(value).for_each(|value| field(number, Form::Any, value, out)),
        Form::One(shape) => nested(out, number, |out| put(shape, value, out)),
        Form::Many(shape) => items(value).for_each(|value| field(number, Form::One(shape), value, out)),
        Form::Pairs(shape) => nested(out, number, |out| {
            entries(value)
                .for_each(|(name, value)| nested(out, 1, |out| pair(name, out, |out| put(shape, value, out))));
        }),
        Form::Within(shape) => nested(out, number, |out| field(1, Form::One(shape), value, out)),
        Form::SchemaOrTruth => nested(out, number, |out| match value {
            Value::Bool(_) => field(2, Form::Truth, value, out),
            _ => field(1, Form::One(&SCHEMA), value, out),
        }),
        Form::Types => nested(out, number, |out| {
            field(1, if value.is_array() { Form::Texts } else { Form::Text }, value, out);
        }),
        Form::Paths => nested(out, number, |out| paths(value, out)),
        Form::Parameters => items(value).for_each(|value| nested(out, number, |out| parameter(value, out))),
        Form::Responses => nested(out, number, |out| {
            for (code, value) in entries(value) {
                nested(out, 1, |out| pair(code, out, |out| referred(&RESPONSE, value, out)));
            }
        }),
        Form::Requirements => items(value).for_each(|value| {
            nested(out, number, |out| {
                let lists = entries(value);
                lists.for_each(|(name, list)| {
                    nested(out, 1, |out| pair(name, out, |out| field(1, Form::Texts, list, out)));
                });
            });
        }),
        Form::Keys => nested(out, number, |out| {
            for (name, value) in entries(value).filter(|(_, value)| value["type"] == "apiKey") {
                nested(out, 1, |out| pair(name, out, |out| field(2, Form::One(&KEY), value, out)));
            }
        }),
    }
}

/// A message, or a reference to one.
fn referred(shape: &'static Shape, value: &Value, out: &mut Vec<u8>) {
    match value.get("$ref") {
        Some(_) => field(2, Form::One(&REFERENCE), value, out),
        None => field(1, Form::One(shape), value, out),
    }
}

fn paths(paths: &Value, out: &mut Vec<u8>) {
    for (path, item) in entries(paths) {
        if path.starts_with('/') {
            nested(out, 2, |out| pair(path, out, |out| put(&PATH_ITEM, item, out)));
        } else if path.starts_with("x-") {
            nested(out, 1, |out| pair(path, out, |out| any(item, out)));
        }
    }
}

fn parameter(value: &Value, out: &mut Vec<u8>) {
    if value.get("$ref").is_some() {
        return field(2, Form::One(&REFERENCE), value, out);
    }
    nested(out, 1, |out| match value["in"].as_str() {
        Some("body") => field(1, Form::One(&BODY), value, out),
        Some("header") => nested(out, 2, |out| field(1, Form::One(&PATH_PARAMETER), value, out)),
        Some("query") => nested(out, 2, |out| field(3, Form::One(&QUERY_PARAMETER), value, out)),
        Some("path") => nested(out, 2, |out| field(4, Form::One(&PATH_PARAMETER), value, out)),
        Some(_) | None => {}
    });
}

/// A name and what it stands for.
fn pair(name: &str, out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    wire::put_bytes(out, 1, name.as_bytes());
    nested(out, 2, value);
}

/// A value of any form.
fn any(value: &Value, out: &mut Vec<u8>) {
    wire::put_bytes(out, 2, value.to_string().as_bytes());
}

fn nested(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    wire::put_message(out, number, write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Field, Raw, fields};
    use serde_json::json;

    /// The bytes at a path of field numbers, of the first field of each number.
    fn at<'a>(mut bytes: &'a [u8], path: &[u32]) -> &'a [u8] {
        for wanted in path {
            let found = fields(bytes).map(Result::unwrap).find_map(|field| match field {
                Field { number, raw: Raw::Bytes(bytes) } if number == *wanted => Some(bytes),
                _ => None,
            });
            bytes = found.unwrap_or_else(|| panic!("no field {wanted} of {path:?}"));
        }
        bytes
    }

    #[test]
    fn a_document_lies_where_gnostic_looks() {
        let schema = json!({"type": "object", "x-kubernetes-group-version-kind": [{"kind": "A"}], "properties": {
            "b": {"type": "array", "items": {"$ref": "#/definitions/B"}}, "c": {"additionalProperties": {"type": "string"}, "default": {}}}});
        let parameters = json!([{"in": "body", "name": "body", "schema": {"$ref": "#/definitions/A"}}, {"in": "path", "name": "n", "type": "string"},
            {"in": "query", "name": "q", "type": "integer"}]);
        let get = json!({"operationId": "readA", "parameters": parameters, "responses": {"200": {"description": "OK", "schema": schema}}});
        let document = json!({"swagger": "2.0", "info": {"title": "T"}, "paths": {"/a": {"get": get}}, "definitions": {"A": schema},
            "security": [{"BearerToken": []}], "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization"}}});
        let bytes = openapi_v2(&document);
        let table: &[(&[u32], &str)] = &[
            (&[1], "2.0"),
            (&[2, 1], "T"),
            (&[9, 1, 1], "A"),
            (&[9, 1, 2, 22, 1], "object"),
            (&[9, 1, 2, 31, 1], "x-kubernetes-group-version-kind"),
            (&[9, 1, 2, 31, 2, 2], r#"[{"kind":"A"}]"#),
            (&[9, 1, 2, 25, 1, 1], "b"),
            (&[9, 1, 2, 25, 1, 2, 23, 1, 1], "#/definitions/B"),
            (&[8, 2, 1], "/a"),
            (&[8, 2, 2, 2, 5], "readA"),
            (&[8, 2, 2, 2, 8, 1, 1, 5, 1], "#/definitions/A"),
            (&[8, 2, 2, 2, 9, 1, 1], "200"),
            (&[8, 2, 2, 2, 9, 1, 2, 1, 1], "OK"),
            (&[8, 2, 2, 2, 9, 1, 2, 1, 2, 1, 22, 1], "object"),
            (&[12, 1, 1], "BearerToken"),
            (&[13, 1, 2, 2, 2], "authorization"),
        ];
        for (path, expected) in table {
            assert_eq!(std::str::from_utf8(at(&bytes, path)).unwrap(), *expected, "{path:?}");
        }
        let get = at(&bytes, &[8, 2, 2, 2]);
        let parameters: Vec<&[u8]> = fields(get)
            .map(Result::unwrap)
            .filter_map(|field| match field {
                Field { number: 8, raw: Raw::Bytes(bytes) } => Some(bytes),
                _ => None,
            })
            .collect();
        assert_eq!(at(parameters[1], &[1, 2, 4, 4]), b"n");
        assert_eq!(at(parameters[2], &[1, 2, 3, 6]), b"integer");
    }
}
