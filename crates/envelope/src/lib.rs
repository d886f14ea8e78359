//! How objects lie in the store: a header, and the object's JSON without its resource version, which is the revision of the
//! last write.
//!
//! ```text
//! 1 | length of the header u32 | schema generation u32 | where the resource version goes u32
//!   | apiVersion | labels | selectable fields | JSON
//! ```
//!
//! Numbers are little-endian; texts have their length (u16) before them, lists their count (u16). The header lets `get`,
//! `list` and `watch` select objects and send them on without parsing: the resource version is spliced into the bytes
//! ([`Stored::write`]) when they are of the version and schema generation that is asked for, else the object is decoded,
//! converted and defaulted ([`decode`]).
//!
//! This is the only place that knows the format. Bytes that begin with `{` have no header; they are read the slow way.
//!
//! What it is not: it has no tasks and no store; it makes and reads bytes. Start reading at [`encode`], then [`Stored`].
#![forbid(unsafe_code)]

mod lines;

pub use lines::Lines;

use bytes::{BufMut, Bytes};
use orrery_machinery::{
    descriptor::ResourceDescriptor,
    discovery::group_version,
    meta,
    selector::{FieldSelector, LabelSelector},
    status::ApiError,
};
use orrery_store::{Entry, Revision};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// The format of the header.
const FORMAT: u8 = 1;
/// Length of the part of the header that is always there.
const FIXED: usize = 13;

/// The bytes to store for an object that is as it is served.
///
/// # Errors
/// When the object cannot be converted to the stored version, or is nested so deep that readers would refuse it.
pub fn encode(resource: &ResourceDescriptor, object: &Value) -> Result<Bytes, ApiError> {
    if meta::is_deeper(object, meta::DEPTH_LIMIT) {
        let message = format!("the object is nested deeper than {} levels", meta::DEPTH_LIMIT);
        return Err(ApiError::bad_request(message));
    }
    if resource.is_stored_as_served() {
        return Ok(write(resource, object, true));
    }
    let mut object = object.clone();
    resource.rules.on_write(&mut object)?;
    let stored = &resource.stored;
    object["apiVersion"] = group_version(&stored.group, &stored.version).into();
    object["kind"] = stored.kind.clone().into();
    Ok(write(resource, &object, false))
}

/// The bytes for an object in the version that it says, whichever is stored.
pub fn encode_as_is(resource: &ResourceDescriptor, object: &Value) -> Bytes {
    write(resource, object, false)
}

fn write(resource: &ResourceDescriptor, object: &Value, as_served: bool) -> Bytes {
    let (json, splice) = write_json(object);
    let index = Index::of(resource, object);
    // Without a place for the resource version the object is always decoded. So are those that came in as another kind,
    // whose fields are not those of the stored kind's selectors.
    let splice = if as_served && index.fits() { splice } else { 0 };
    let mut out = Vec::with_capacity(json.len() + 256);
    out.put_u8(FORMAT);
    out.put_u32_le(0);
    out.put_u32_le(resource.schema_generation);
    out.put_u32_le(splice);
    put_text(&mut out, object["apiVersion"].as_str().unwrap_or_default());
    index.put(&mut out);
    let header = u32::try_from(out.len()).unwrap_or(u32::MAX);
    out[1..5].copy_from_slice(&header.to_le_bytes());
    out.extend_from_slice(&json);
    // It stays as long as the object: no more memory than it needs.
    out.into_boxed_slice().into()
}

/// The object's JSON without its resource version, and the place after `"metadata":{` in it; 0 when there is none where
/// something may be put in.
fn write_json(object: &Value) -> (Vec<u8>, u32) {
    let mut out = Vec::with_capacity(1024);
    let Value::Object(fields) = object else { return (object.to_string().into_bytes(), 0) };
    let mut splice = 0;
    put_fields(&mut out, fields.iter(), |out, name, value| match value {
        Value::Object(metadata) if name == "metadata" => {
            let before = out.len();
            put_fields(out, metadata.iter().filter(|(name, _)| *name != "resourceVersion"), |out, _, value| {
                put_json(out, value);
            });
            if out.len() > before + "{}".len() {
                splice = u32::try_from(before + 1).unwrap_or(0);
            }
        }
        value => put_json(out, value),
    });
    (out, splice)
}

fn put_fields<'a>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'a String, &'a Value)>,
    mut put_value: impl FnMut(&mut Vec<u8>, &str, &Value),
) {
    out.push(b'{');
    for (index, (name, value)) in fields.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_json(out, name);
        out.push(b':');
        put_value(out, name, value);
    }
    out.push(b'}');
}

fn put_json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a JSON value can be written to memory");
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16_le(length);
    out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

/// What selectors look at.
struct Index<'a> {
    labels: Vec<(&'a str, &'a str)>,
    fields: Vec<String>,
}

impl<'a> Index<'a> {
    fn of(resource: &ResourceDescriptor, object: &'a Value) -> Self {
        let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
        Self {
            labels: labels.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect(),
            fields: resource.selectable_fields.iter().map(|field| (field.value)(object)).collect(),
        }
    }

    /// Whether the header can hold it.
    fn fits(&self) -> bool {
        let short = |text: &str| text.len() <= usize::from(u16::MAX);
        self.labels.len() <= usize::from(u16::MAX)
            && self.labels.iter().all(|(key, value)| short(key) && short(value))
            && self.fields.iter().all(|value| short(value))
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.put_u16_le(u16::try_from(self.labels.len()).unwrap_or(u16::MAX));
        for (key, value) in self.labels.iter().take(usize::from(u16::MAX)) {
            put_text(out, key);
            put_text(out, value);
        }
        out.put_u16_le(u16::try_from(self.fields.len()).unwrap_or(u16::MAX));
        for value in self.fields.iter().take(usize::from(u16::MAX)) {
            put_text(out, value);
        }
    }
}

type Labels<'a> = Vec<(&'a str, &'a str)>;

/// The bytes of an entry, with what its header says.
pub struct Stored<'a> {
    generation: u32,
    /// Where the resource version goes.
    splice: usize,
    api_version: &'a str,
    /// Labels and selectable fields; read when they are asked for.
    index: &'a [u8],
    json: &'a [u8],
}

impl<'a> Stored<'a> {
    /// Reads the header; none when there is none, or not one that is understood.
    pub fn read(value: &'a [u8]) -> Option<Self> {
        let (&FORMAT, _) = value.split_first()? else { return None };
        let number = |at: usize| value.get(at..at + 4).and_then(|n| n.try_into().ok()).map(u32::from_le_bytes);
        let header = usize::try_from(number(1)?).ok()?;
        let mut rest = value.get(FIXED..header)?;
        let api_version = take_text(&mut rest)?;
        let splice = usize::try_from(number(9)?).ok()?;
        Some(Self { generation: number(5)?, splice, api_version, index: rest, json: value.get(header..)? })
    }

    /// Labels, and the values of the selectable fields; none when the header is damaged.
    fn index(&self) -> Option<(Labels<'a>, Vec<&'a str>)> {
        let mut rest = self.index;
        let mut labels = Vec::new();
        for _ in 0..take_u16(&mut rest)? {
            labels.push((take_text(&mut rest)?, take_text(&mut rest)?));
        }
        let mut fields = Vec::new();
        for _ in 0..take_u16(&mut rest)? {
            fields.push(take_text(&mut rest)?);
        }
        Some((labels, fields))
    }

    /// Whether the bytes may be sent as they are to who asks for `resource`.
    pub fn is_as_served(&self, resource: &ResourceDescriptor) -> bool {
        self.splice > 0
            && self.generation == resource.schema_generation
            && resource.is_stored_as_served()
            && is_api_version(self.api_version, resource)
    }

    /// Whether the selectors pick the object; only to be asked when it [`is_as_served`](Self::is_as_served). None when the
    /// header is damaged.
    pub fn is_selected(
        &self,
        resource: &ResourceDescriptor,
        (namespace, name): (&str, &str),
        labels: &LabelSelector,
        fields: &FieldSelector,
    ) -> Option<bool> {
        let (all_labels, all_fields) = self.index()?;
        let label = |key: &str| all_labels.iter().find(|(found, _)| *found == key).map(|(_, value)| *value);
        let field = |path: &str| match path {
            "metadata.name" => name,
            "metadata.namespace" => namespace,
            path => {
                let position = resource.selectable_fields.iter().position(|field| field.path == path);
                position.and_then(|position| all_fields.get(position).copied()).unwrap_or("")
            }
        };
        Some(labels.matches_by(label) && fields.matches_by(field))
    }

    /// Appends the JSON with `revision` for its resource version.
    pub fn write(&self, revision: Revision, out: &mut Vec<u8>) {
        let (before, after) = self.json.split_at(self.splice.min(self.json.len()));
        out.extend_from_slice(before);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(revision.0.to_string().as_bytes());
        out.extend_from_slice(b"\",");
        out.extend_from_slice(after);
    }

    /// What stands for the object where only its metadata is wanted: its header with the JSON of the metadata. None when the
    /// JSON is damaged; only to be asked when it [`is_as_served`](Self::is_as_served).
    pub fn metadata(self) -> Option<Self> {
        // It begins with the brace before the place of the resource version.
        let rest = self.json.get(self.splice.checked_sub(1)?..)?;
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let json = rest.get(..values.byte_offset())?;
        Some(Self { json, splice: 1, ..self })
    }

    /// How many bytes [`write`](Self::write) appends, or a few more.
    pub fn length(&self) -> usize {
        self.json.len() + 48
    }
}

fn is_api_version(text: &str, resource: &ResourceDescriptor) -> bool {
    match text.split_once('/') {
        None => resource.group.is_empty() && resource.version == text,
        Some((group, version)) => resource.group == group && resource.version == version,
    }
}

fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    let (number, tail) = rest.split_first_chunk::<2>()?;
    *rest = tail;
    Some(u16::from_le_bytes(*number))
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = take_u16(rest)?;
    let (text, tail) = rest.split_at_checked(usize::from(length))?;
    *rest = tail;
    std::str::from_utf8(text).ok()
}

/// Whether an entry is known to be of a version, such as `apps/v1`.
pub fn is_of_version(entry: &Entry, api_version: &str) -> bool {
    Stored::read(&entry.value).is_some_and(|stored| stored.api_version == api_version)
}

/// The object of an entry as it is stored, with its resource version.
///
/// # Errors
/// When the bytes are damaged.
pub fn decode_stored(entry: &Entry) -> Result<Value, ApiError> {
    parse(entry).map(|(object, _)| with_version(object, entry.mod_revision))
}

/// The object of an entry as it is served, with its resource version.
///
/// # Errors
/// When the bytes are damaged, or the object cannot be converted.
pub fn decode(resource: &ResourceDescriptor, entry: &Entry) -> Result<Value, ApiError> {
    decode_at(resource, entry, entry.mod_revision)
}

/// The object of an entry, with `revision` for its resource version (as a deletion shows it).
///
/// # Errors
/// As [`decode`].
pub fn decode_at(resource: &ResourceDescriptor, entry: &Entry, revision: Revision) -> Result<Value, ApiError> {
    let (mut object, generation) = parse(entry)?;
    let api_version = resource.api_version();
    if generation != Some(resource.schema_generation)
        || object["apiVersion"] != api_version.as_str()
        || object["kind"] != *resource.kind
    {
        resource.rules.on_read(&mut object)?;
        object["apiVersion"] = api_version.into();
        object["kind"] = resource.kind.clone().into();
    }
    Ok(with_version(object, revision))
}

/// The object, and the schema generation it was written with.
fn parse(entry: &Entry) -> Result<(Value, Option<u32>), ApiError> {
    let stored = Stored::read(&entry.value);
    let json = stored.as_ref().map_or(&*entry.value, |stored| stored.json);
    let object = serde_json::from_slice(json).map_err(|error| {
        ApiError::internal(format!("the stored object {} is damaged ({error}); restore it from a backup", entry.key))
    })?;
    Ok((object, stored.map(|stored| stored.generation)))
}

/// Sets the resource version.
pub fn with_version(mut object: Value, revision: Revision) -> Value {
    meta::metadata_mut(&mut object).insert("resourceVersion".to_owned(), json!(revision.0.to_string()));
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_machinery::descriptor::{FixedResource, SelectableField};

    fn widgets() -> ResourceDescriptor {
        FixedResource {
            group: "test.io",
            kind: "Widget",
            plural: "widgets",
            selectable_fields: &[SelectableField {
                path: "spec.size",
                value: |object| object["spec"]["size"].as_str().unwrap_or_default().to_owned(),
            }],
            ..FixedResource::PLAIN
        }
        .into()
    }

    fn widget() -> Value {
        json!({"apiVersion": "test.io/v1", "kind": "Widget", "spec": {"size": "big"},
            "metadata": {"name": "a", "resourceVersion": "7", "labels": {"app": "web"}}})
    }

    fn entry(value: Bytes) -> Entry {
        Entry { key: "k".into(), value, create_revision: Revision(1), mod_revision: Revision(9) }
    }

    #[test]
    fn the_resource_version_is_the_revision_and_is_not_stored() {
        let entry = entry(encode(&widgets(), &widget()).unwrap());
        let text = String::from_utf8_lossy(&entry.value).into_owned();
        assert!(!text.contains("resourceVersion"), "{text}");
        assert_eq!(decode(&widgets(), &entry).unwrap()["metadata"]["resourceVersion"], "9");
    }

    #[test]
    fn spliced_bytes_are_the_decoded_object() {
        let entry = entry(encode(&widgets(), &widget()).unwrap());
        let stored = Stored::read(&entry.value).unwrap();
        assert!(stored.is_as_served(&widgets()));
        let mut bytes = Vec::new();
        stored.write(Revision(9), &mut bytes);
        assert!(bytes.len() <= stored.length());
        let parsed: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(parsed, decode(&widgets(), &entry).unwrap());
        bytes.clear();
        stored.metadata().unwrap().write(Revision(9), &mut bytes);
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), parsed["metadata"]);
    }

    #[test]
    fn the_header_answers_selectors() {
        let entry = entry(encode(&widgets(), &widget()).unwrap());
        let stored = Stored::read(&entry.value).unwrap();
        let table = [
            ("app=web", "spec.size=big", true),
            ("app!=web", "", false),
            ("tier", "", false),
            ("", "spec.size=small", false),
            ("", "metadata.name=a,metadata.namespace=n", true),
        ];
        for (labels, fields, expected) in table {
            let labels = LabelSelector::parse(labels).unwrap();
            let fields = FieldSelector::parse(fields, &widgets()).unwrap();
            assert_eq!(stored.is_selected(&widgets(), ("n", "a"), &labels, &fields), Some(expected));
        }
    }

    #[test]
    fn another_version_or_generation_is_decoded() {
        let entry = entry(encode(&widgets(), &widget()).unwrap());
        let stored = Stored::read(&entry.value).unwrap();
        let newer = ResourceDescriptor { schema_generation: 5, ..widgets() };
        let other = ResourceDescriptor { version: "v2".into(), ..widgets() };
        assert!(!stored.is_as_served(&newer) && !stored.is_as_served(&other));
        assert_eq!(decode(&other, &entry).unwrap()["apiVersion"], "test.io/v2");
    }

    #[test]
    fn bytes_without_a_header_are_read_too_and_damage_is_told() {
        let plain = entry(Bytes::from_static(br#"{"apiVersion":"test.io/v1","kind":"Widget","metadata":{}}"#));
        assert_eq!(decode(&widgets(), &plain).unwrap()["metadata"]["resourceVersion"], "9");
        let whole = encode(&widgets(), &widget()).unwrap();
        for cut in 0..whole.len() - 1 {
            assert!(decode(&widgets(), &entry(whole.slice(..cut))).is_err(), "{cut}");
        }
    }
}
