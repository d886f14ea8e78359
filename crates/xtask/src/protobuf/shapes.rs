//! Reads what the table of shapes says of messages: the JSON names of fields, which of them are always there, and the kinds.

use std::collections::BTreeMap;

/// The objects that JSON knows, and the kinds of released versions.
#[derive(Debug, Default)]
pub(super) struct Json<'a> {
    /// By name, such as `apps.v1.Deployment`.
    pub(super) objects: BTreeMap<&'a str, Vec<JsonField<'a>>>,
    /// Group, version, and the name of the object.
    pub(super) kinds: Vec<(&'a str, &'a str, &'a str)>,
}

/// A field of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JsonField<'a> {
    pub(super) name: &'a str,
    /// Whether it is written also when nobody has set it.
    pub(super) always: bool,
}

/// Reads the text of the table (`orrery_machinery::shape::text` describes it).
pub(super) fn read(text: &str) -> Json<'_> {
    let mut json = Json::default();
    let mut object: Option<&mut Vec<JsonField<'_>>> = None;
    for line in text.lines() {
        if let Some(field) = line.strip_prefix(' ') {
            let name = field.split(' ').next().unwrap_or_default();
            if let (Some(object), false) = (&mut object, name == "*") {
                object.push(JsonField { name: name.trim_end_matches('+'), always: name.ends_with('+') });
            }
        } else if let Some(definition) = line.strip_prefix("def ") {
            let mut words = definition.split(' ');
            let name = words.next().unwrap_or_default();
            object = if words.next() == Some("=") { None } else { Some(json.objects.entry(name).or_default()) };
        } else if let Some(kind) = line.strip_prefix("kind ") {
            let mut words = kind.split(' ');
            let (place, name) = (words.next().unwrap_or_default(), words.next_back().unwrap_or_default());
            if let Some((group, version)) = place.split_once('/')
                && !version.contains("alpha")
                && !version.contains("beta")
            {
                json.kinds.push((group, version, name));
            }
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_kinds_of_released_versions_are_read() {
        let text = "# x\ndef a.v1.T\n spec+ @a.v1.S\n when x\n * s\ndef b.Time = x\nkind g/v1 T a.v1.T\nkind g/v1beta1 T a.v1beta1.T\n";
        let json = read(text);
        let field = |name, always| JsonField { name, always };
        assert_eq!(json.objects["a.v1.T"], [field("spec", true), field("when", false)]);
        assert_eq!(json.objects.len(), 1);
        assert_eq!(json.kinds, [("g", "v1", "a.v1.T")]);
    }
}
