//! Joins the messages of the wire with the objects of JSON into the table.

use super::{
    facts,
    prost::{Field, Messages, Shape},
    shapes::{Json, JsonField},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write,
};

/// Messages whose JSON form is no object of their fields. The crate `protobuf` knows them by name.
const SPECIAL: [&str; 11] = [
    "apiextensions.v1.JSON",
    "apiextensions.v1.JSONSchemaPropsOrArray",
    "apiextensions.v1.JSONSchemaPropsOrBool",
    "apiextensions.v1.JSONSchemaPropsOrStringArray",
    "intstr.IntOrString",
    "meta.v1.Duration",
    "meta.v1.FieldsV1",
    "meta.v1.MicroTime",
    "meta.v1.Time",
    "resource.Quantity",
    "runtime.RawExtension",
];

/// A field as the table states it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    number: u32,
    name: String,
    kind: String,
}

/// Makes the table's lines, without its heading.
///
/// # Errors
/// What is missing or does not fit, each on a line.
pub(super) fn make(messages: &Messages, json: &Json<'_>) -> Result<String, String> {
    let messages = with_gaps(messages)?;
    let mut maker = Maker {
        messages: &messages,
        json,
        names: names(&messages, json),
        parents: BTreeMap::new(),
        problems: Vec::new(),
    };
    let mut queue: VecDeque<String> = maker
        .json
        .kinds
        .iter()
        .map(|(_, _, name)| (*name).to_owned())
        .filter(|name| !name.starts_with("meta."))
        .collect();
    queue.extend(facts::ALSO.iter().map(|(name, _)| (*name).to_owned()));
    let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    while let Some(name) = queue.pop_front() {
        if rows.contains_key(&name) || SPECIAL.contains(&name.as_str()) {
            continue;
        }
        let (fields, used) = maker.message(&name);
        rows.insert(name, fields);
        queue.extend(used);
    }
    maker.check_pointers(&rows);
    if maker.problems.is_empty() { Ok(write(json, &rows)) } else { Err(maker.problems.join("\n")) }
}

/// The messages, and what the crate does not have of them yet.
fn with_gaps(messages: &Messages) -> Result<Messages, String> {
    let mut all = messages.clone();
    for (name, like) in facts::LIKE {
        if !all.contains_key(name) {
            let fields =
                all.get(like).cloned().ok_or_else(|| format!("{name} is to be like {like}, which is not there"))?;
            let package = |name: &str| name.rsplit_once('.').map_or("", |(package, _)| package).to_owned();
            let (from, to) = (package(like), package(name));
            let moved =
                |field: Field| Field { base: field.base.replace(&format!("{from}."), &format!("{to}.")), ..field };
            all.insert(name.to_owned(), fields.into_iter().map(moved).collect());
        }
    }
    for (name, field) in facts::GONE {
        if let Some(fields) = all.get_mut(name) {
            fields.retain(|known| known.name != field);
        }
    }
    Ok(all)
}

/// A name as both sides have it: letters and digits, small.
fn flat(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// A message's name as both sides have it.
fn flat_message(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// The names that the table has for the crate's messages: JSON's, where it has one.
fn names(messages: &Messages, json: &Json<'_>) -> BTreeMap<String, String> {
    let known = json.objects.keys().copied().chain(SPECIAL);
    let by_flat: BTreeMap<String, &str> = known.map(|name| (flat_message(name), name)).collect();
    let named =
        |name: &String| by_flat.get(&flat_message(name)).map_or_else(|| name.clone(), |found| (*found).to_owned());
    messages.keys().map(|name| (name.clone(), named(name))).collect()
}

struct Maker<'a> {
    messages: &'a Messages,
    json: &'a Json<'a>,
    /// The table's name of each message of the crate.
    names: BTreeMap<String, String>,
    /// The JSON objects in whose place messages stand that JSON has no object for.
    parents: BTreeMap<String, String>,
    problems: Vec<String>,
}

impl Maker<'_> {
    fn name<'b>(&'b self, message: &'b str) -> &'b str {
        self.names.get(message).map_or(message, String::as_str)
    }

    fn fields_of(&self, name: &str) -> Option<&Vec<Field>> {
        let found =
            self.names.iter().find(|(message, named)| named.as_str() == name && self.messages.contains_key(*message));
        found.and_then(|(message, _)| self.messages.get(message))
    }

    /// The fields of a message, and the messages that they hold.
    fn message(&mut self, name: &str) -> (Vec<Row>, Vec<String>) {
        let Some(fields) = self.fields_of(name).cloned() else {
            self.problems.push(format!("{name}: no such message"));
            return Default::default();
        };
        let own = self.json.objects.get(name);
        let parent = self.parents.get(name).and_then(|parent| self.json.objects.get(parent.as_str()));
        let known: Vec<JsonField<'_>> = own.or(parent).into_iter().flatten().copied().collect();
        let mut missing: BTreeSet<&str> = own.into_iter().flatten().map(|field| field.name).collect();
        // A kind says what it is in the envelope.
        if fields.iter().all(|field| field.name != "kind") {
            missing.retain(|field| *field != "kind" && *field != "apiVersion");
        }
        let (mut rows, mut used) = (Vec::new(), Vec::new());
        for field in fields {
            let base = self.name(&field.base).to_owned();
            let found = known.iter().find(|own| flat(own.name) == flat(&field.name));
            let json_name = match found {
                Some(found) => found.name.to_owned(),
                None => camel(&field.name),
            };
            let inner = if found.is_none() { self.inner(&base, &known) } else { BTreeSet::new() };
            let inlined = known.iter().any(|own| inner.contains(&flat(own.name)));
            if found.is_none() && !inlined && !known.is_empty() {
                self.problems.push(format!("{name}.{}: JSON has no such field", field.name));
            }
            missing.retain(|own| found.is_none_or(|found| found.name != *own) && !inner.contains(&flat(own)));
            if inlined {
                self.parents.insert(base.clone(), name.to_owned());
            }
            let always = found.is_some_and(|found| found.always);
            let kind = if inlined {
                used.push(base.clone());
                format!("!{base}")
            } else {
                self.kind(name, &json_name, &field, always, &mut used)
            };
            rows.push(Row { number: field.number, name: json_name, kind });
        }
        missing.retain(|field| !facts::UNNUMBERED.contains(&(name, field)));
        if !missing.is_empty() {
            let missing: Vec<&str> = missing.into_iter().collect();
            self.problems.push(format!("{name}: no number is known for {}", missing.join(", ")));
        }
        rows.sort_by_key(|row| row.number);
        (rows, used)
    }

    /// The names of the fields that a message lends to the object in whose place it stands.
    fn inner(&self, message: &str, known: &[JsonField<'_>]) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for field in self.fields_of(message).into_iter().flatten() {
            let name = flat(&field.name);
            if known.iter().all(|own| flat(own.name) != name) && field.base.contains('.') {
                names.extend(self.inner(self.name(&field.base), known));
            }
            names.insert(name);
        }
        names
    }

    /// The table's word for a field's type. Adds the messages that it holds to `used`.
    fn kind(&self, message: &str, name: &str, field: &Field, always: bool, used: &mut Vec<String>) -> String {
        let mut base = self.name(&field.base).to_owned();
        let mut wrapped = "";
        // A map's list is a message of its own.
        if field.shape == Shape::Map
            && let Some([only]) = self.fields_of(&base).map(Vec::as_slice)
            && only.shape == Shape::List
        {
            (base, wrapped) = (format!("[]{}", only.base), "~");
        } else if base.contains('.') {
            used.push(base.clone());
        }
        let scalar = !base.contains('.') || base == "intstr.IntOrString";
        let says_zero = field.shape == Shape::One && scalar && (always || facts::says_zero(message, name, &base));
        let mark = if says_zero { "?" } else { "" };
        let shape = match field.shape {
            Shape::One => "",
            Shape::List => "[]",
            Shape::Map => "{}",
        };
        format!("{mark}{shape}{base}{wrapped}")
    }

    /// Facts about fields that are not there are mistakes.
    fn check_pointers(&mut self, rows: &BTreeMap<String, Vec<Row>>) {
        for (message, field) in facts::pointers() {
            let known = rows.get(message).is_some_and(|rows| rows.iter().any(|row| row.name == field));
            if !known {
                self.problems.push(format!("{message}.{field} is called a pointer, but is not in the table"));
            }
        }
    }
}

/// A name of the crate as JSON writes most of them.
fn camel(name: &str) -> String {
    let mut out = String::new();
    for (index, word) in name.split('_').enumerate() {
        let mut letters = word.chars();
        out.extend(letters.next().map(|c| if index > 0 { c.to_ascii_uppercase() } else { c }));
        out.push_str(letters.as_str());
    }
    out
}

fn write(json: &Json<'_>, rows: &BTreeMap<String, Vec<Row>>) -> String {
    let mut out = String::new();
    let package = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let mut groups: BTreeMap<&str, String> = BTreeMap::new();
    for (group, _, name) in json.kinds.iter().filter(|(_, _, name)| !name.starts_with("meta.")) {
        groups.insert(group, package(name));
    }
    groups.insert("meta.k8s.io", "meta".to_owned());
    for (group, package) in groups {
        let group = if group.is_empty() { "\"\"" } else { group };
        let _ = writeln!(out, "group {group} {package}");
    }
    for (name, rows) in rows {
        let fields: Vec<String> = rows.iter().map(|row| format!("{} {} {}", row.number, row.name, row.kind)).collect();
        let line = format!("{name}: {}", fields.join("; "));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}
