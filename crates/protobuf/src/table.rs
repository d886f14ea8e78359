//! The table of messages: `schema.txt`, which `cargo xtask protobuf` makes.
//!
//! A line `group GROUP PACKAGE` says in which package the kinds of a group are. Other lines are messages:
//! `PACKAGE.VERSION.NAME: NUMBER FIELD TYPE; ...`. A type is `string`, `bytes` (base64 in JSON), `int`, `bool`, `double` or a
//! message, after these marks:
//!
//! * `?`: a zero or empty value says something; others are left out, as Go leaves them out;
//! * `!`: the message's fields stand in place of the field itself;
//! * `[]`, `{}`: a list, or a map by text;
//! * `~` at the end: each list is wrapped in a message of its own.

use std::{collections::HashMap, sync::LazyLock};

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::parse(include_str!("schema.txt")));

/// The table, read when it is first asked for.
pub(crate) fn table() -> &'static Table {
    &TABLE
}

/// Which message, by its place in the table.
pub(crate) type MessageId = usize;

#[derive(Debug)]
pub(crate) struct Table {
    messages: Vec<Message>,
    names: HashMap<&'static str, MessageId>,
    /// By group.
    packages: HashMap<&'static str, &'static str>,
}

/// A message's fields.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: &'static str,
    /// In the order of their numbers.
    pub(crate) fields: Vec<Field>,
    /// Messages that stand in this one's place, each after the one in which it stands.
    pub(crate) inlines: Vec<Inline>,
    /// By JSON name, sorted: those of the inlined messages too.
    by_name: Vec<Named>,
}

/// A field and how its value is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) keeps_zero: bool,
    pub(crate) inline: bool,
    pub(crate) shape: Shape,
    pub(crate) of: Type,
}

/// A message that stands in another's place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inline {
    /// The number of its field.
    pub(crate) number: u32,
    /// Which inlined message that field is in; none for the message itself.
    pub(crate) within: Option<usize>,
}

/// A field that an object has by this name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    pub(crate) field: Field,
    /// Which inlined message it is in; none for the message itself.
    pub(crate) within: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    One,
    List,
    Map,
    /// A map of wrapped lists.
    MapOfLists,
}

/// What a value is, in JSON and on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Bytes,
    Int,
    Bool,
    Double,
    Message(MessageId),
    /// RFC 3339 with whole seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// Nanoseconds, as Go writes durations.
    Duration,
    /// A text, or a number for one.
    Quantity,
    IntOrString,
    /// Any JSON, whose text the message holds.
    Json,
    /// A schema or a list of schemas.
    SchemaOrList(MessageId),
    /// A schema, or whether everything is allowed.
    SchemaOrBool(MessageId),
    /// A schema or a list of texts.
    SchemaOrTexts(MessageId),
}

impl Table {
    fn parse(text: &'static str) -> Self {
        let lines = || text.lines().filter(|line| !line.starts_with('#'));
        let all: Vec<(&str, &str)> = lines().filter_map(|line| line.split_once(':')).collect();
        let names: HashMap<_, _> = all.iter().enumerate().map(|(id, (name, _))| (*name, id)).collect();
        let groups = lines().filter_map(|line| line.strip_prefix("group ")?.split_once(' '));
        let packages = groups.map(|(group, package)| (group.trim_matches('"'), package)).collect();
        let parse = |&(name, fields): &(&'static str, &'static str)| {
            let mut fields: Vec<Field> = fields.split(';').filter_map(|field| parse_field(field, &names)).collect();
            fields.sort_by_key(|field| field.number);
            Message { name, fields, inlines: Vec::new(), by_name: Vec::new() }
        };
        let mut table = Self { messages: all.iter().map(parse).collect(), names, packages };
        for id in 0..table.messages.len() {
            let (mut inlines, mut by_name) = (Vec::new(), Vec::new());
            table.name_fields(id, None, &mut inlines, &mut by_name);
            by_name.sort_by_key(|named: &Named| named.field.name);
            (table.messages[id].inlines, table.messages[id].by_name) = (inlines, by_name);
        }
        table
    }

    fn name_fields(&self, id: MessageId, within: Option<usize>, inlines: &mut Vec<Inline>, named: &mut Vec<Named>) {
        for field in &self.messages[id].fields {
            match field.of {
                Type::Message(inner) if field.inline => {
                    inlines.push(Inline { number: field.number, within });
                    self.name_fields(inner, Some(inlines.len() - 1), inlines, named);
                }
                _ => named.push(Named { field: *field, within }),
            }
        }
    }

    /// The message.
    pub(crate) fn message(&self, id: MessageId) -> &Message {
        &self.messages[id]
    }

    /// The message of this name, such as `apps.v1.Deployment`.
    pub(crate) fn by_name(&self, name: &str) -> Option<MessageId> {
        self.names.get(name).copied()
    }

    /// The message of a kind.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Option<MessageId> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let package = self.packages.get(group)?;
        let found = self.by_name(&format!("{package}.{version}.{kind}"));
        // `Status` is of the core group, but lies with the other types of metadata.
        found.or_else(|| self.by_name(&format!("meta.v1.{kind}")).filter(|_| group.is_empty() && version == "v1"))
    }

    /// All messages.
    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = (MessageId, &Message)> {
        self.messages.iter().enumerate()
    }
}

impl Message {
    /// The field of this number.
    pub(crate) fn field(&self, number: u32) -> Option<&Field> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok().map(|at| &self.fields[at])
    }

    /// The field of this JSON name, in the message or an inlined one.
    pub(crate) fn named(&self, name: &str) -> Option<&Named> {
        self.by_name.binary_search_by(|named| named.field.name.cmp(name)).ok().map(|at| &self.by_name[at])
    }
}

fn parse_field(text: &'static str, names: &HashMap<&'static str, MessageId>) -> Option<Field> {
    let mut parts = text.split_whitespace();
    let (number, name, mut base) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let mut take = |mark: &str| match base.strip_prefix(mark) {
        Some(rest) => {
            base = rest;
            true
        }
        None => false,
    };
    let (keeps_zero, inline, map, list) = (take("?"), take("!"), take("{}"), take("[]"));
    let shape = match (map, list) {
        (true, true) => Shape::MapOfLists,
        (true, false) => Shape::Map,
        (false, true) => Shape::List,
        (false, false) => Shape::One,
    };
    let of = parse_type(base.trim_end_matches('~'), names)?;
    Some(Field { number, name, keeps_zero, inline, shape, of })
}

fn parse_type(base: &str, names: &HashMap<&'static str, MessageId>) -> Option<Type> {
    let schema = || names.get("apiextensions.v1.JSONSchemaProps").copied();
    Some(match base {
        "string" => Type::Text,
        "bytes" => Type::Bytes,
        "int" => Type::Int,
        "bool" => Type::Bool,
        "double" => Type::Double,
        "meta.v1.Time" => Type::Time,
        "meta.v1.MicroTime" => Type::MicroTime,
        "meta.v1.Duration" => Type::Duration,
        "resource.Quantity" => Type::Quantity,
        "intstr.IntOrString" => Type::IntOrString,
        "meta.v1.FieldsV1" | "runtime.RawExtension" | "apiextensions.v1.JSON" => Type::Json,
        "apiextensions.v1.JSONSchemaPropsOrArray" => Type::SchemaOrList(schema()?),
        "apiextensions.v1.JSONSchemaPropsOrBool" => Type::SchemaOrBool(schema()?),
        "apiextensions.v1.JSONSchemaPropsOrStringArray" => Type::SchemaOrTexts(schema()?),
        name => Type::Message(*names.get(name)?),
    })
}
