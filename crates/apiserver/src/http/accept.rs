//! Which representation a client wants.

use ::http::{HeaderMap, header};
use orrery_machinery::status::ApiError;

/// How an object, a list or a watch is written. Always as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Representation {
    /// As it is.
    Object,
    /// As `meta.k8s.io/v1 Table`.
    Table,
    /// As `meta.k8s.io/v1 PartialObjectMetadata`, or its list.
    Metadata,
}

/// A media type of an `Accept` header with its parameters.
pub(crate) struct Media<'a> {
    pub(crate) name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Media<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or("");
        Self { name, parameters: parts.filter_map(|part| part.split_once('=')).collect() }
    }

    pub(crate) fn parameter(&self, name: &str) -> &'a str {
        self.parameters.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    fn is_json(&self) -> bool {
        matches!(self.name, "application/json" | "application/*" | "*/*" | "")
    }
}

/// The media types that a client accepts, in its order.
pub(crate) fn media(headers: &HeaderMap) -> Vec<Media<'_>> {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(Media::parse)
        .collect()
}

/// The first representation in the client's list that is served.
pub(crate) fn representation(headers: &HeaderMap) -> Result<Representation, ApiError> {
    let accepted = media(headers);
    if accepted.is_empty() {
        return Ok(Representation::Object);
    }
    for media in &accepted {
        if !media.is_json() {
            continue;
        }
        let meta = media.parameter("g") == "meta.k8s.io" && media.parameter("v") == "v1";
        match media.parameter("as") {
            "" => return Ok(Representation::Object),
            "Table" if meta => return Ok(Representation::Table),
            "PartialObjectMetadata" | "PartialObjectMetadataList" if meta => return Ok(Representation::Metadata),
            _ => {}
        }
    }
    Err(ApiError::not_acceptable("application/json"))
}

/// Whether the client takes an object as it is. What is never stored (a review) has no other form.
pub(crate) fn takes_object(headers: &HeaderMap) -> bool {
    let accepted = media(headers);
    let transformed = |media: &&Media<'_>| media.is_json() && !media.parameter("as").is_empty();
    // Only those who ask for nothing but tables or metadata are turned away.
    accepted.is_empty() || accepted.iter().filter(transformed).count() < accepted.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_served_representation_wins() {
        let table = [
            ("application/json", Some(Representation::Object)),
            ("*/*", Some(Representation::Object)),
            ("application/vnd.kubernetes.protobuf, application/json", Some(Representation::Object)),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io",
                Some(Representation::Table),
            ),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Some(Representation::Object)),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(Representation::Metadata)),
            ("application/vnd.kubernetes.protobuf", None),
            ("application/json;as=Other;v=v1;g=meta.k8s.io", None),
        ];
        for (accept, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(representation(&headers).ok(), expected, "{accept}");
        }
        assert_eq!(representation(&HeaderMap::new()).ok(), Some(Representation::Object));
    }

    #[test]
    fn only_who_asks_for_nothing_but_transformed_objects_takes_none() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        for (accept, expected) in [
            (table.to_owned(), false),
            (format!("{table},application/json"), true),
            ("application/json".to_owned(), true),
            ("application/vnd.kubernetes.protobuf".to_owned(), true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(takes_object(&headers), expected, "{accept}");
        }
        assert!(takes_object(&HeaderMap::new()));
    }
}
