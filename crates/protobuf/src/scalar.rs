//! Values that are one thing in JSON and another on the wire, and JSON that stays JSON.

use crate::wire;
use base64::Engine;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A value that is a number or a text.
#[derive(Clone, Copy)]
pub(crate) enum IntOrText<'a> {
    Int(i64),
    Text(&'a str),
}

/// Bytes, which JSON has as base64.
pub(crate) fn put_base64(out: &mut Vec<u8>, number: u32, text: &str) -> Result<(), String> {
    wire::put_nested(out, number, |out| {
        base64::engine::general_purpose::STANDARD.decode_vec(text, out).map_err(|error| format!("no base64: {error}"))
    })
}

/// A time as seconds and nanoseconds since 1970; of `whole` seconds, or of microseconds.
pub(crate) fn put_time(out: &mut Vec<u8>, number: u32, text: &str, whole: bool) -> Result<(), String> {
    let time: jiff::Timestamp = text.parse().map_err(|_| format!("{text:?} is no time"))?;
    let (mut seconds, mut nanos) = (time.as_second(), time.subsec_nanosecond());
    if nanos < 0 {
        (seconds, nanos) = (seconds - 1, nanos + 1_000_000_000);
    }
    let nanos = if whole { 0 } else { nanos / 1000 * 1000 };
    wire::put_message(out, number, |out| {
        wire::put_number(out, 1, seconds.cast_unsigned());
        wire::put_number(out, 2, i64::from(nanos).cast_unsigned());
    });
    Ok(())
}

/// A duration as Go writes it, in nanoseconds.
pub(crate) fn put_duration(out: &mut Vec<u8>, number: u32, text: &str) -> Result<(), String> {
    let duration: jiff::SignedDuration = text.parse().map_err(|_| format!("{text:?} is no duration"))?;
    let nanos = i64::try_from(duration.as_nanos()).map_err(|_| format!("{text:?} is too long"))?;
    wire::put_message(out, number, |out| wire::put_number(out, 1, nanos.cast_unsigned()));
    Ok(())
}

/// A number or a text: which of the two, and both.
pub(crate) fn put_int_or_text(out: &mut Vec<u8>, number: u32, value: IntOrText<'_>) {
    let (kind, int, text) = match value {
        IntOrText::Int(int) => (0, int, ""),
        IntOrText::Text(text) => (1, 0, text),
    };
    wire::put_message(out, number, |out| {
        wire::put_number(out, 1, kind);
        wire::put_number(out, 2, int.cast_unsigned());
        wire::put_bytes(out, 3, text.as_bytes());
    });
}

/// A scalar of JSON as JSON.
pub(crate) fn put_json(
    out: &mut Vec<u8>,
    number: u32,
    value: &(impl serde::Serialize + ?Sized),
) -> Result<(), serde_json::Error> {
    wire::put_nested(out, number, |out| wire::put_nested(out, 1, |out| serde_json::to_writer(out, value)))
}

/// Writes JSON as JSON, without spaces.
pub(crate) struct Transcribe<'a>(pub(crate) &'a mut Vec<u8>);

impl Transcribe<'_> {
    fn scalar<E: serde::de::Error>(self, value: &(impl serde::Serialize + ?Sized)) -> Result<(), E> {
        serde_json::to_writer(self.0, value).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Transcribe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Transcribe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self(out) = self;
        out.push(b'[');
        let start = out.len();
        while items.next_element_seed(Element { out: &mut *out, first: start })?.is_some() {}
        out.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self(out) = self;
        out.push(b'{');
        let start = out.len();
        while entries.next_key_seed(Element { out: &mut *out, first: start })?.is_some() {
            out.push(b':');
            entries.next_value_seed(Transcribe(&mut *out))?;
        }
        out.push(b'}');
        Ok(())
    }
}

/// Writes an element or a key, after a comma if it is not the first.
struct Element<'a> {
    out: &'a mut Vec<u8>,
    /// Where the first one begins.
    first: usize,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.out.len() > self.first {
            self.out.push(b',');
        }
        Transcribe(self.out).deserialize(deserializer)
    }
}
