//! Reads the messages that a crate of prost types declares, without compiling it: numbers, types and names of fields.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use syn::{Fields, GenericArgument, Item, ItemStruct, PathArguments, Type};

/// A message's fields, in the order of the source.
pub(super) type Messages = BTreeMap<String, Vec<Field>>;

/// A field as the crate declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) number: u32,
    /// Its name in the source, without `r#`.
    pub(super) name: String,
    pub(super) shape: Shape,
    /// `string`, `bytes`, `int`, `bool`, `double`, or a message's name.
    pub(super) base: String,
}

/// How often a field may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    List,
    Map,
}

/// The messages of the source tree at `root`. A message's name is its package's last two parts and its own: `apps.v1.Deployment`,
/// or one where the package has no version: `resource.Quantity`.
///
/// # Errors
/// When a file cannot be read, or declares a field in a way that is not known.
pub(super) fn read(root: &Path) -> Result<Messages, String> {
    let mut messages = Messages::new();
    read_directory(root, root, &mut messages)?;
    Ok(messages)
}

fn read_directory(root: &Path, directory: &Path, messages: &mut Messages) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).map_err(told)?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read_directory(root, &path, messages)?;
        } else if path.file_name().is_some_and(|name| name == "mod.rs") {
            let module: Vec<String> =
                directory.strip_prefix(root).map_err(|error| error.to_string())?.iter().map(part).collect();
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            read_file(&module, &text, messages).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}

fn part(name: &std::ffi::OsStr) -> String {
    name.to_string_lossy().into_owned()
}

fn read_file(module: &[String], text: &str, messages: &mut Messages) -> Result<(), String> {
    let file = syn::parse_file(text).map_err(|error| error.to_string())?;
    for item in file.items {
        let Item::Struct(item) = item else { continue };
        let is_message = item.attrs.iter().any(|attribute| attribute.path().is_ident("derive"));
        if is_message {
            messages.insert(message_name(module, &item.ident.to_string()), fields(module, &item)?);
        }
    }
    Ok(())
}

fn message_name(module: &[String], name: &str) -> String {
    let last = module.last().map_or("", String::as_str);
    let versioned = last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let package = &module[module.len().saturating_sub(if versioned { 2 } else { 1 })..];
    format!("{}.{name}", package.join("."))
}

fn fields(module: &[String], item: &ItemStruct) -> Result<Vec<Field>, String> {
    let Fields::Named(named) = &item.fields else { return Ok(Vec::new()) };
    let mut fields = Vec::new();
    for field in &named.named {
        let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = name.trim_start_matches("r#").to_owned();
        let told = |why: &str| format!("{}.{name}: {why}", item.ident);
        let attribute = field.attrs.iter().find(|attribute| attribute.path().is_ident("prost"));
        let attribute = attribute.ok_or_else(|| told("no prost attribute"))?;
        let text = attribute.meta.require_list().map_err(|error| told(&error.to_string()))?.tokens.to_string();
        let number = value_of(&text, "tag").and_then(|tag| tag.parse().ok()).ok_or_else(|| told("no tag"))?;
        let words: Vec<&str> = text.split([',', ' ', '"', '=']).filter(|word| !word.is_empty()).collect();
        let (shape, wire) = match words.first() {
            // `btree_map = "string, TYPE"`
            Some(&"btree_map") => (Shape::Map, words.get(2)),
            Some(_) if words.contains(&"repeated") => (Shape::List, words.first()),
            Some(_) | None => (Shape::One, words.first()),
        };
        let base = match wire.copied() {
            Some(scalar @ ("string" | "bytes" | "bool" | "double")) => scalar.to_owned(),
            Some("int32" | "int64") => "int".to_owned(),
            Some("message") => type_name(module, &field.ty).ok_or_else(|| told("of no type that is understood"))?,
            Some(_) | None => return Err(told("of no wire type that is understood")),
        };
        fields.push(Field { number, name, shape, base });
    }
    Ok(fields)
}

/// `KEY = "VALUE"` within an attribute.
fn value_of<'a>(attribute: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = attribute.split_once(&format!("{key} = \""))?;
    rest.split('"').next()
}

/// The message that a field's type holds: the innermost type of `Option<Box<..>>`, `Vec<..>` or `BTreeMap<String, ..>`.
fn type_name(module: &[String], ty: &Type) -> Option<String> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    if let PathArguments::AngleBracketed(arguments) = &last.arguments {
        let GenericArgument::Type(inner) = arguments.args.last()? else { return None };
        return type_name(module, inner);
    }
    let mut place = module.to_vec();
    let segments: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    let (name, modules) = segments.split_last()?;
    for segment in modules {
        match segment.as_str() {
            "super" => drop(place.pop()),
            other => place.push(other.trim_start_matches("r#").to_owned()),
        }
    }
    Some(message_name(&place, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_become_fields() {
        let source = r#"
            #[derive(Clone, PartialEq, ::prost::Message)]
            pub struct Thing {
                /// Words.
                #[prost(string, repeated, tag = "2")]
                pub r#type: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
                #[prost(message, optional, boxed, tag = "10")]
                pub spec: ::core::option::Option<::prost::alloc::boxed::Box<super::super::other::v2::Spec>>,
                #[prost(btree_map = "string, message", tag = "3")]
                pub limits: ::prost::alloc::collections::BTreeMap<::prost::alloc::string::String, Limit>,
                #[prost(int32, repeated, packed = "false", tag = "4")]
                pub ports: ::prost::alloc::vec::Vec<i32>,
            }
        "#;
        let mut messages = Messages::new();
        let module = ["api", "things", "v1"].map(str::to_owned);
        read_file(&module, source, &mut messages).unwrap();
        let field =
            |number, name: &str, shape, base: &str| Field { number, name: name.into(), shape, base: base.into() };
        let expected = vec![
            field(2, "type", Shape::List, "string"),
            field(10, "spec", Shape::One, "other.v2.Spec"),
            field(3, "limits", Shape::Map, "things.v1.Limit"),
            field(4, "ports", Shape::List, "int"),
        ];
        assert_eq!(messages.get("things.v1.Thing"), Some(&expected));
        assert_eq!(message_name(&["pkg", "resource"].map(str::to_owned), "Quantity"), "resource.Quantity");
    }
}
