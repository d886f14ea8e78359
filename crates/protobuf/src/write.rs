//! From JSON to the wire, in one pass: each value is written as it is read, without a tree between.
//!
//! Fields follow the order of the JSON, which readers of protobuf do not mind; maps follow it too, and our JSON is sorted.
//! What the table does not know is left out, as upstream's types leave it out, and so is `null`.

use crate::{
    scalar::{self, IntOrText},
    table::{Field, Message, MessageId, Named, Shape, Type, table},
    wire,
};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Writes a message's fields from a JSON object.
pub(crate) struct Object<'a> {
    pub(crate) message: &'static Message,
    pub(crate) out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object that is a {}", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        // The fields of messages that stand in this one's place may be anywhere among its own.
        let mut inlined: Vec<Vec<u8>> = Vec::new();
        while let Some(named) = fields.next_key_seed(Key(self.message))? {
            match named {
                None => drop(fields.next_value::<IgnoredAny>()?),
                Some(Named { field, within: None }) => fields.next_value_seed(Slot { field, out: &mut *self.out })?,
                Some(Named { field, within: Some(place) }) => {
                    inlined.resize_with(self.message.inlines.len(), Vec::new);
                    fields.next_value_seed(Slot { field, out: &mut inlined[place] })?;
                }
            }
        }
        // Each stands after the one that it is in, so the inner ones are done first.
        for place in (0..inlined.len()).rev() {
            let (inline, bytes) = (self.message.inlines[place], std::mem::take(&mut inlined[place]));
            if !bytes.is_empty() {
                let out = inline.within.map_or(&mut *self.out, |within| &mut inlined[within]);
                wire::put_bytes(out, inline.number, &bytes);
            }
        }
        Ok(())
    }
}

/// Finds a field by its name.
struct Key(&'static Message);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<Named>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<Named>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.named(name).copied())
    }
}

/// Writes a field: its one value, each of its elements, or each of its entries.
struct Slot<'a> {
    field: Field,
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Slot<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.field.shape {
            Shape::One => One { number: self.field.number, of: self.field.of, out: self.out }.deserialize(deserializer),
            Shape::List | Shape::Map | Shape::MapOfLists => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Slot<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.field.shape == Shape::List { "list" } else { "map" };
        write!(f, "a {what} for {}", self.field.name)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if self.field.shape != Shape::List {
            return Err(A::Error::custom(format!("{} is no map", self.field.name)));
        }
        let (number, of) = (self.field.number, self.field.of);
        while items.next_element_seed(One { number, of, out: &mut *self.out })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        if self.field.shape == Shape::List {
            return Err(A::Error::custom(format!("{} is no list", self.field.name)));
        }
        let lists = self.field.shape == Shape::MapOfLists;
        loop {
            let more = wire::put_nested(self.out, self.field.number, |out| {
                let Some(()) = entries.next_key_seed(One { number: 1, of: Type::Text, out: &mut *out })? else {
                    return Ok(false);
                };
                if lists {
                    let field = Field { number: 1, shape: Shape::List, ..self.field };
                    wire::put_nested(out, 2, |out| entries.next_value_seed(Slot { field, out }))?;
                } else {
                    entries.next_value_seed(One { number: 2, of: self.field.of, out })?;
                }
                Ok(true)
            })?;
            if !more {
                // The entry that was begun is none.
                let begun = wire::tag_length(self.field.number) + 1;
                self.out.truncate(self.out.len() - begun);
                return Ok(());
            }
        }
    }
}

/// Writes one value as a field.
struct One<'a> {
    number: u32,
    of: Type,
    out: &'a mut Vec<u8>,
}

impl One<'_> {
    fn mismatch<E: Error>(&self, what: impl fmt::Display) -> E {
        E::custom(format!("{what} where {:?} should be", self.of))
    }

    fn text<E: Error>(self, text: &str) -> Result<(), E> {
        let Self { number, of, out } = self;
        match of {
            Type::Text => wire::put_bytes(out, number, text.as_bytes()),
            Type::Bytes => scalar::put_base64(out, number, text).map_err(E::custom)?,
            Type::Time | Type::MicroTime => scalar::put_time(out, number, text, of == Type::Time).map_err(E::custom)?,
            Type::Duration => scalar::put_duration(out, number, text).map_err(E::custom)?,
            Type::Quantity => wire::put_nested(out, number, |out| {
                wire::put_bytes(out, 1, text.as_bytes());
                Ok(())
            })?,
            Type::IntOrString => scalar::put_int_or_text(out, number, IntOrText::Text(text)),
            Type::Json => scalar::put_json(out, number, text).map_err(E::custom)?,
            Type::Int | Type::Bool | Type::Double => return Err(Self { number, of, out }.mismatch("a text")),
            Type::Message(_) | Type::SchemaOrList(_) | Type::SchemaOrBool(_) | Type::SchemaOrTexts(_) => {
                return Err(Self { number, of, out }.mismatch("a text"));
            }
        }
        Ok(())
    }

    fn number<E: Error>(self, value: i64) -> Result<(), E> {
        let Self { number, of, out } = self;
        match of {
            Type::Int => wire::put_number(out, number, value.cast_unsigned()),
            #[allow(clippy::cast_precision_loss, reason = "as Go reads a number into a float64")]
            Type::Double => wire::put_fixed64(out, number, (value as f64).to_bits()),
            Type::IntOrString => scalar::put_int_or_text(out, number, IntOrText::Int(value)),
            Type::Quantity => return Self { number, of, out }.text(&value.to_string()),
            Type::Json => scalar::put_json(out, number, &value).map_err(E::custom)?,
            _ => return Err(Self { number, of, out }.mismatch("a number")),
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.of)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.of {
            Type::Bool => wire::put_number(self.out, self.number, value.into()),
            Type::SchemaOrBool(_) => wire::put_nested(self.out, self.number, |out| {
                wire::put_number(out, 1, value.into());
                Ok(())
            })?,
            Type::Json => scalar::put_json(self.out, self.number, &value).map_err(E::custom)?,
            _ => return Err(self.mismatch("a truth value")),
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.number(value),
            Err(_) if self.of == Type::Json => scalar::put_json(self.out, self.number, &value).map_err(E::custom),
            Err(_) => Err(self.mismatch("a number that is too large")),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.of {
            Type::Double => wire::put_fixed64(self.out, self.number, value.to_bits()),
            Type::Json => scalar::put_json(self.out, self.number, &value).map_err(E::custom)?,
            Type::Quantity => return self.text(&value.to_string()),
            _ => return Err(self.mismatch("a number with a fraction")),
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Self { number, of, out } = self;
        let object = |id: MessageId, number: u32, out: &mut Vec<u8>, map: A| {
            let message = table().message(id);
            wire::put_nested(out, number, |out| Object { message, out }.visit_map(map))
        };
        match of {
            Type::Message(id) => object(id, number, out, map),
            Type::SchemaOrList(id) | Type::SchemaOrTexts(id) => {
                wire::put_nested(out, number, |out| object(id, 1, out, map))
            }
            Type::SchemaOrBool(id) => wire::put_nested(out, number, |out| {
                wire::put_number(out, 1, 1);
                object(id, 2, out, map)
            }),
            Type::Json => wire::put_nested(out, number, |out| {
                wire::put_nested(out, 1, |out| scalar::Transcribe(out).visit_map(map))
            }),
            _ => Err(Self { number, of, out }.mismatch("an object")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let of = match self.of {
            Type::SchemaOrList(id) => Type::Message(id),
            Type::SchemaOrTexts(_) => Type::Text,
            Type::Json => {
                return wire::put_nested(self.out, self.number, |out| {
                    wire::put_nested(out, 1, |out| scalar::Transcribe(out).visit_seq(items))
                });
            }
            _ => return Err(self.mismatch("a list")),
        };
        wire::put_nested(self.out, self.number, |out| {
            while items.next_element_seed(One { number: 2, of, out: &mut *out })?.is_some() {}
            Ok(())
        })
    }
}
