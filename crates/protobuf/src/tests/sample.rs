//! Objects with every field of their message filled, made from the table.

use crate::table::{Message, Shape, Type, table};
use serde_json::{Map, Value, json};

/// How many different samples there are of a message.
pub(super) const VARIANTS: usize = 4;
/// Deepest nesting of one message in itself: schemas hold schemas.
const WITHIN_ITSELF: usize = 2;

/// Makes one sample. Values differ from field to field.
pub(super) struct Maker {
    variant: usize,
    count: i64,
    /// Messages around the one that is made.
    path: Vec<&'static str>,
}

impl Maker {
    pub(super) fn new(variant: usize) -> Self {
        Self { variant, count: 0, path: Vec::new() }
    }

    /// The fields of a message, with those of the messages that stand in its place.
    pub(super) fn object(&mut self, message: &'static Message) -> Map<String, Value> {
        let mut object = Map::new();
        self.path.push(message.name);
        for field in &message.fields {
            if let (true, Type::Message(inner)) = (field.inline, field.of) {
                object.extend(self.object(table().message(inner)));
                continue;
            }
            let Some(value) = self.value(field.of, field.keeps_zero) else { continue };
            let value = match field.shape {
                Shape::One => value,
                Shape::List => self.value(field.of, true).map_or_else(|| json!([value]), |more| json!([value, more])),
                Shape::Map => json!({"a": value, "é.example.com/b": value}),
                Shape::MapOfLists => json!({"groups": [value, "second"], "more": [value]}),
            };
            object.insert(field.name.to_owned(), value);
        }
        self.path.pop();
        object
    }

    /// A value; none where messages would hold themselves for ever.
    fn value(&mut self, of: Type, zero: bool) -> Option<Value> {
        self.count += 1;
        let n = self.count;
        Some(match of {
            Type::Text => self.text(zero),
            Type::Bytes => json!(["AAECAw==", "/w==", "aGVsbG8="][self.variant % 3]),
            Type::Int => match self.variant {
                0 => json!(n),
                1 if zero => json!(0),
                1 => json!(n * 1000),
                2 => json!(-n),
                _ => json!(i64::from(i32::MAX) - n),
            },
            Type::Bool => json!(!(zero && self.variant == 1)),
            Type::Double => match self.variant {
                0 => json!(n),
                1 if zero => json!(0),
                _ => json!(f64::from(i32::try_from(n).unwrap_or(1)) + 0.25),
            },
            Type::Time => json!(["2026-01-02T03:04:05Z", "1969-12-31T23:59:59Z"][self.variant % 2]),
            Type::MicroTime => json!(["2026-01-02T03:04:05.000006Z", "1969-12-31T23:59:59.999999Z"][self.variant % 2]),
            Type::Duration => json!("90s"),
            Type::Quantity => json!(["100m", "1Gi", "5", "0"][self.variant]),
            Type::IntOrString => {
                [json!(n), json!(if zero { 0 } else { 1 }), json!("25%"), json!("http")][self.variant].clone()
            }
            Type::Json => json!({"f:spec": {"a": [1, -2.5, null, true, "x\"é"], ".": {}}, "n": n}),
            Type::Message(id) => return self.nested(id),
            Type::SchemaOrList(id) | Type::SchemaOrBool(id) | Type::SchemaOrTexts(id) => self.schema_or(of, id)?,
        })
    }

    fn text(&self, zero: bool) -> Value {
        let n = self.count;
        match self.variant {
            0 => json!(format!("text-{n}")),
            1 if zero => json!(""),
            1 => json!(format!("é \u{1F600} \"{n}\"\n")),
            2 => json!("x".repeat(100 + usize::try_from(n % 100).unwrap_or(0))),
            _ => json!("a"),
        }
    }

    fn nested(&mut self, id: usize) -> Option<Value> {
        let message = table().message(id);
        let around = self.path.iter().filter(|name| **name == message.name).count();
        (around < WITHIN_ITSELF).then(|| Value::Object(self.object(message)))
    }

    fn schema_or(&mut self, of: Type, id: usize) -> Option<Value> {
        let schema = self.nested(id)?;
        Some(match (of, self.variant) {
            (_, 0) => schema,
            (Type::SchemaOrBool(_), variant) => json!(variant == 1),
            (Type::SchemaOrTexts(_), _) => json!(["a", "b"]),
            _ => json!([schema, {}]),
        })
    }
}
